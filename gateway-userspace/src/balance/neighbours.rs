//! Keeps the kernel's neighbour entries of the instances true, and leaves none behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use tokio::time::timeout;

use super::state::State;
use crate::net::{
    self, Netlink,
    events::{Event, Events},
    neighbour::Neighbour,
};

/// How often the entries are used: as often as the kernel confirms managed entries (`interval_probe_time_ms`).
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How long the start waits for the first answers; an instance that is slower comes in when it answers.
const FIRST_ANSWERS: Duration = Duration::from_secs(1);

/// The entries that were not in the table before they were asked for here, with their interface.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    made: BTreeSet<(u32, IpAddr)>,
}

impl Neighbours {
    /// Has the kernel resolve or confirm each of `wanted` on `link`. Gives the table as it was before; the answers come as
    /// events.
    pub(super) async fn ask(
        &mut self,
        netlink: &Netlink,
        link: u32,
        wanted: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Vec<Neighbour>, net::Error> {
        let table = netlink.neighbours(link).await?;
        let known: BTreeMap<IpAddr, &Neighbour> = table.iter().map(|entry| (entry.ip, entry)).collect();
        for ip in wanted {
            match known.get(&ip) {
                // The operator's word stands, and asking would make it an ordinary entry.
                Some(entry) if entry.permanent => continue,
                Some(_) => {}
                None => {
                    self.made.insert((link, ip));
                }
            }
            netlink.resolve(link, ip).await?;
        }
        Ok(table)
    }

    /// An interface is gone, and with it its entries.
    pub(super) fn lose(&mut self, link: u32) {
        self.made.retain(|(on, _)| *on != link);
    }

    /// Takes the entries that were not there before out of the table.
    pub(super) async fn forget(self, netlink: &Netlink) {
        for (link, ip) in self.made {
            if let Err(error) = netlink.forget(link, ip).await {
                log::warn!("{error}");
            }
        }
    }
}

/// Takes up an entry of the table.
pub(super) fn learn(state: &mut State, entry: &Neighbour) {
    if let Some(mac) = entry.mac {
        state.learn(entry.link, entry.ip, mac);
    }
}

/// For a moment, and not for ever: an instance that is off must not keep the others from being served.
pub(super) async fn wait_for_answers(state: &mut State, events: &mut Events) -> Result<(), net::Error> {
    let answers = async {
        while !state.unresolved().is_empty() {
            if let Event::Neighbour(entry) = events.next().await.ok_or(net::Error::EventsEnded)? {
                learn(state, &entry);
            }
        }
        Ok::<_, net::Error>(())
    };
    if let Ok(outcome) = timeout(FIRST_ANSWERS, answers).await {
        outcome?;
    }
    for name in state.unresolved() {
        log::warn!("{name} does not answer; it takes no flows until it, or the router to it, does");
    }
    Ok(())
}
