//! How flows leave the instance.

use std::{fs, path::Path};

use anyhow::Context as _;
use gateway_userspace::{
    dataplane::snat::Snat,
    plan::{PortBlock, Translation, translation::Lease},
};

use crate::pair::{DIP, Pair, VIP};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With the DIP.
    Untranslated,
    /// With the VIP, by gateway's programs at the interface.
    Gateway,
    /// With the VIP, by nftables.
    Nftables,
}

impl Way {
    /// What the others are compared with comes first.
    pub(crate) const ALL: [Self; 3] = [Self::Untranslated, Self::Gateway, Self::Nftables];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Untranslated => "no translation",
            Self::Gateway => "gateway",
            Self::Nftables => "nftables masquerade",
        }
    }

    /// Sets it up; what is returned has to live for it.
    pub(crate) fn begin(self, pair: &Pair) -> anyhow::Result<Option<Snat>> {
        match self {
            Self::Untranslated => Ok(None),
            Self::Gateway => {
                let mut snat = Snat::load()?;
                snat.apply(&all_ports())?;
                pair.instance.enter(|| snat.attach("eth0"))?;
                Ok(Some(snat))
            }
            Self::Nftables => masquerade(pair).map(|()| None),
        }
    }
}

/// All of the VIP's ports that any instance can have: nftables has as many.
fn all_ports() -> Translation {
    let active = (PortBlock::of(1024).0..PortBlock::COUNT).map(PortBlock).collect();
    Translation {
        dips: vec![DIP.into()],
        leases: [(VIP.into(), Lease { active, ..Lease::default() })].into(),
        ..Translation::default()
    }
}

fn masquerade(pair: &Pair) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write_and_load(
        pair,
        &folder.path().join("rules.nft"),
        &format!(
            "table ip bench {{
                chain leaving {{
                    type nat hook postrouting priority srcnat
                    ip saddr {DIP} masquerade
                }}
            }}\n"
        ),
    )
}

fn write_and_load(pair: &Pair, file: &Path, rules: &str) -> anyhow::Result<()> {
    fs::write(file, rules).with_context(|| format!("cannot write {}", file.display()))?;
    pair.instance.must(&format!("nft --file {}", file.display())).map(drop)
}
