//! What user space keeps in a block of tables beside the tables: whose their numbers are, and what their owner has to know to go
//! on with them. As JSON, so that fields may come and go from one version to the next.

use gateway_ebpf::layout::{Block, SAVED};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;
use crate::plan::Names;

/// The content of [`Block::saved`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) names: Names,
    /// The owner's own: this module does not look into it.
    pub(super) owner: Value,
}

impl Record {
    pub(super) fn write(&self, block: &mut Block) -> Result<(), Error> {
        let failed = |source| Error::Saved { source };
        let text = serde_json::to_vec(self).map_err(failed)?;
        let place = block.saved.get_mut(..text.len());
        place.ok_or(Error::TooMuchSaved { bytes: text.len(), limit: SAVED })?.copy_from_slice(&text);
        block.saved[text.len()..].fill(0);
        block.saved_bytes = text.len() as u64;
        Ok(())
    }

    pub(super) fn read(block: &Block) -> Result<Self, Error> {
        let bytes = usize::try_from(block.saved_bytes).unwrap_or(usize::MAX);
        let text = block.saved.get(..bytes).ok_or(Error::TooMuchSaved { bytes, limit: SAVED })?;
        serde_json::from_slice(text).map_err(|source| Error::Saved { source })
    }

    /// Whether it says the same of the same tables: what was to be done once is no part of that.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let lasting = |record: &Self| {
            let Names { numbers, scopes, .. } = &record.names;
            (numbers.clone(), scopes.clone())
        };
        self.owner == other.owner && lasting(self) == lasting(other)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gateway_ebpf::host::HostTables;

    use super::*;
    use crate::{model::InstanceName, plan::Scope};

    fn record() -> Record {
        let vip = "10.0.0.5".parse().unwrap();
        let vip6 = "fd00::5".parse().unwrap();
        let names = Names {
            numbers: [(InstanceName("gw-1".into()), 1)].into(),
            scopes: [(Scope::Vip(vip), 1), (Scope::Tcp(vip, 443), 2), (Scope::Tcp(vip6, 443), 3)].into(),
            forget: BTreeSet::from([7]),
            closed: BTreeSet::from([65_536]),
        };
        Record { names, owner: serde_json::json!({"generation": 3}) }
    }

    #[test]
    fn what_is_written_is_read_and_a_shorter_one_leaves_nothing_of_a_longer_one() {
        let mut block = HostTables::default().block;
        record().write(&mut block).unwrap();
        assert_eq!(Record::read(&block).unwrap(), record());
        let long = block.saved_bytes as usize;
        Record::default().write(&mut block).unwrap();
        assert_eq!(Record::read(&block).unwrap(), Record::default());
        assert!(block.saved[block.saved_bytes as usize..long].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_does_not_fit_and_what_cannot_be_read_is_refused() {
        let mut block = HostTables::default().block;
        let long = Record { owner: "x".repeat(SAVED).into(), ..record() };
        assert!(matches!(long.write(&mut block), Err(Error::TooMuchSaved { .. })));
        block.saved_bytes = u64::MAX;
        assert!(matches!(Record::read(&block), Err(Error::TooMuchSaved { .. })));
        block.saved_bytes = 1;
        assert!(matches!(Record::read(&block), Err(Error::Saved { .. })));
    }

    #[test]
    fn what_was_to_be_done_once_makes_no_difference() {
        let mut later = record();
        (later.names.forget, later.names.closed) = Default::default();
        assert!(later.is_like(&record()));
        later.names.numbers.clear();
        assert!(!later.is_like(&record()));
    }
}
