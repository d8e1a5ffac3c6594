//! SNAT ports: the table first, then the instances are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use super::{Daemon, Message};
use crate::{
    balance::{
        leases::{Alarms, Answer, Askers, News, Wish},
        status,
    },
    model::InstanceName,
    net,
};

/// Whom this task speaks with of their ports.
#[derive(Debug, Default)]
pub(super) struct Lending {
    askers: Askers,
    alarms: Alarms,
    /// Why instances do not say what they use; each reason is logged once.
    mute: BTreeMap<InstanceName, String>,
}

impl Daemon<'_> {
    /// Which of the file's `balancer.address` this host has says which ports are its to lease.
    pub(super) async fn know_own_addresses(&mut self) -> Result<(), net::Error> {
        let model = Arc::clone(self.state.model());
        if model.snat.is_none() {
            return Ok(());
        }
        let here: BTreeSet<IpAddr> =
            self.netlink.addresses().await?.iter().map(|address| address.ip).collect();
        let own: Vec<_> = model.balancer.address.iter().copied().filter(|ip| here.contains(ip)).collect();
        if own.is_empty() && !model.balancer.address.is_empty() {
            log::warn!(
                "this host has none of balancer.address ({}), so it leases no SNAT ports: add its own address there, here and in \
                 the instances' files",
                status::list(&model.balancer.address)
            );
        }
        self.state.leases_mut().know(own);
        Ok(())
    }

    /// An instance's answer, or that there was none.
    pub(super) fn heard_of_ports(&mut self, answer: Answer) {
        let Answer { name, sent, report } = answer;
        if self.state.model().snat.is_none() || !self.plan.numbers.contains_key(&name) {
            return;
        }
        let report = match report {
            Ok(report) => report,
            Err(failure) => {
                let (failure, logged) =
                    (failure.to_string(), self.lending.mute.entry(name.clone()).or_default());
                if *logged != failure {
                    log::warn!(
                        "{name} does not say which SNAT ports it uses, so it gets no others: {failure}"
                    );
                    *logged = failure;
                }
                return;
            }
        };
        if self.lending.mute.remove(&name).is_some() {
            log::info!("{name} says again which SNAT ports it uses");
        }
        let now = Instant::now();
        for news in self.lending.alarms.heard(&name, &report, now) {
            say(&name, &news);
        }
        self.state.leases_mut().heard(&name, &sent, report, now);
    }

    /// Gives and takes back what is due, and has it written before anybody is told.
    pub(super) fn lend(&mut self) {
        let before = self.state.leases().table();
        let known: BTreeSet<_> = self.plan.numbers.keys().cloned().collect();
        self.state.lend(&known, Instant::now());
        if self.state.leases().table() == before {
            self.tell_of_ports();
            return;
        }
        self.apply_or_retry();
    }

    /// Has instances told what the table has for them.
    pub(super) fn tell_of_ports(&mut self) {
        // What is not in the table is nobody's to use.
        if self.behind {
            return;
        }
        let is_on = self.state.model().snat.is_some();
        let port = self.state.model().probe.port;
        let wish = |name: &InstanceName| {
            let (dip, from) = self.state.door(name)?;
            let is_local = self.local.as_ref() == Some(name);
            let from = from.or_else(|| self.state.leases().own(dip).filter(|_| !is_local));
            let order = self.state.leases().order(name);
            Some((name.clone(), Wish { to: SocketAddr::new(dip, port), from, order }))
        };
        let wishes = self.plan.numbers.keys().filter(|_| is_on).filter_map(wish).collect();
        self.lending.askers.direct(wishes, &self.outbox, Message::Ports);
        let numbers = &self.plan.numbers;
        self.lending.alarms.keep(|name| is_on && numbers.contains_key(name));
        self.lending.mute.retain(|name, _| is_on && numbers.contains_key(name));
    }
}

fn say(name: &InstanceName, news: &News) {
    match news {
        News::High { vip, used, of } => log::warn!(
            "{name}: {used} of its {of} SNAT ports of {vip} are in use towards one destination; more addresses in vip.public, \
             or connections that are kept, help"
        ),
        News::NoMoreHigh { vip } => log::info!("{name}: enough SNAT ports of {vip} are free again"),
        News::Exhausted { failed, destination } => log::error!(
            "{name}: no SNAT port was left for {failed} flows{}; `gateway status` has the destinations, and more addresses in \
             vip.public, or connections that are kept, help",
            destination.as_ref().map_or_else(String::new, |to| format!(", most of them to {to}"))
        ),
        News::Recovered => log::info!("{name}: flows find SNAT ports again"),
    }
}
