//! Taking flows out that are over. The kernel's programs go on meanwhile: whatever is taken out is looked at again, and put back if a
//! packet has used it, or another flow has taken it over, in the moment between.

use gateway_ebpf::snat::{
    layout::{BLOCK_NONE, Entry, Key, RETURN_TO_DIP, Table},
    state,
};

use super::flows::Flows;
use crate::{dataplane::Error, plan::PortBlock};

/// Ticks after which an entry of the reverse map whose counterpart is not there is nobody's: both are made within one packet.
const ORPHAN: u32 = 60;

/// Both tables.
pub(super) struct Both<'f> {
    pub(super) forward: &'f Flows,
    pub(super) reverse: &'f Flows,
}

impl Both<'_> {
    /// Ends what is over, and what leaves by ports that are not this instance's any more. What lives is given.
    pub(super) fn sweep(&self, table: &Table, now: u32) -> Result<Vec<(Key, Entry)>, Error> {
        let is_over = |key: Key, entry: Entry| !is_leased(table, entry) || has_ended(table, key, entry, now);
        let mut living = self.forward.all()?;
        let mut failed = Ok(());
        living.retain(|&(key, entry)| {
            if failed.is_err() || !is_over(key, entry) {
                return true;
            }
            match self.end(table, key, |entry| is_over(key, entry)) {
                Ok(ended) => !ended,
                Err(error) => {
                    failed = Err(error);
                    true
                }
            }
        });
        failed.map(|()| living)
    }

    /// Ends every flow.
    pub(super) fn clear(&self) -> Result<(), Error> {
        for flows in [self.forward, self.reverse] {
            for (key, _) in flows.all()? {
                flows.remove(key)?;
            }
        }
        Ok(())
    }

    /// Takes out entries of the reverse map that nothing leads to. There are none unless a process was killed half-way in here.
    pub(super) fn sweep_orphans(&self, table: &Table, now: u32) -> Result<(), Error> {
        for (key, entry) in self.reverse.all()? {
            let is_orphan = |entry: Entry| -> Result<bool, Error> {
                let counterpart = self.forward.get(forward(key, entry))?;
                Ok(entry.idle(now) > ORPHAN
                    && counterpart.is_none_or(|there| reverse(table, forward(key, entry), there) != key))
            };
            if is_orphan(entry)?
                && let Some(taken) = self.reverse.take(key)?
                && taken != entry
            {
                self.reverse.put_back(key, taken)?;
            }
        }
        Ok(())
    }

    /// The forward entry first: a port is free only when nothing leaves by it any more.
    fn end(&self, table: &Table, key: Key, is_over: impl Fn(Entry) -> bool) -> Result<bool, Error> {
        let Some(entry) = self.forward.take(key)? else { return Ok(true) };
        if !is_over(entry) && self.forward.put_back(key, entry)? {
            return Ok(false);
        }
        let back = reverse(table, key, entry);
        if let Some(taken) = self.reverse.take(back)?
            && taken.port() != key.port()
            && !self.reverse.put_back(back, taken)?
        {
            // Two took it over in turn: one of them has to give way.
            self.forward.remove(forward(back, taken))?;
        }
        Ok(true)
    }
}

fn has_ended(table: &Table, key: Key, entry: Entry, now: u32) -> bool {
    state::is_over(entry, key.protocol(), &table.lives, now)
}

fn is_leased(table: &Table, entry: Entry) -> bool {
    let vip = table.vips.get(usize::from(entry.vip()));
    let state = vip.and_then(|vip| vip.states.get(usize::from(PortBlock::of(entry.port()).0)));
    state.is_some_and(|state| *state != BLOCK_NONE)
}

/// Where the answers to what leaves by this entry are.
fn reverse(table: &Table, key: Key, entry: Entry) -> Key {
    let vip = if table.flags & RETURN_TO_DIP != 0 { 0 } else { entry.vip() + 1 };
    Key::reverse(vip, key.protocol(), entry.port(), key.peer, key.peer_port())
}

/// What leaves to where this entry's answers come from.
fn forward(key: Key, entry: Entry) -> Key {
    Key::forward(key.protocol(), entry.port(), key.peer, key.peer_port())
}
