//! What is wrong, and the word for it. Pure.

use super::{HealthWord, Instance, Outcome, State, Status, VipKind, WayWord};
use crate::model::AdminState;

impl Status {
    /// Derives from all the rest which VIPs are ready (R9), what is wrong, and `state`; `trouble` that is there already stays.
    pub fn judge(&mut self) {
        let takers = self.instances.iter().filter(|one| one.buckets > 0).count();
        for vip in self.vips.iter_mut().filter(|vip| takers == 0 && vip.ready) {
            vip.ready = false;
            vip.reason = Some("no instance takes new flows".into());
        }
        let ready = |kind| {
            let vips = self.vips.iter().filter(|vip| vip.ready && vip.kind == kind);
            vips.map(|vip| vip.address).collect::<Vec<_>>()
        };
        (self.private_ip_addresses, self.public_ip_addresses) =
            (ready(VipKind::Private), ready(VipKind::Public));
        let apply = &self.configuration.last_apply;
        if let Some(error) = &apply.error {
            let file = &self.configuration.file;
            let time = apply.time;
            self.trouble.push(match apply.outcome {
                Outcome::RolledBack => format!("{file} was rolled back at {time}: {error}"),
                _ => format!(
                    "{file} was not taken up at {time}, what was running goes on: {error}; mend it, then `gateway apply`"
                ),
            });
        }
        let unready = self.vips.iter().filter_map(|vip| Some((vip.address, vip.reason.as_ref()?)));
        self.trouble.extend(unready.map(|(address, reason)| format!("{address} is not ready: {reason}")));
        self.trouble.extend(self.instances.iter().filter_map(trouble_of));

        let unknown =
            |one: &Instance| one.health.as_ref().is_some_and(|health| health.state == HealthWord::Unknown);
        self.state = if self.vips.iter().any(|vip| vip.ready) {
            if self.trouble.is_empty() { State::Serving } else { State::Degraded }
        } else if takers == 0 && self.instances.iter().any(unknown) {
            State::Starting
        } else {
            State::NotServing
        };
    }
}

/// Why an instance that should serve does not.
fn trouble_of(one: &Instance) -> Option<String> {
    let name = &one.name;
    if one.admin_state.is_none_or(|state| state == AdminState::Down) {
        return None;
    }
    let silent: Vec<_> = one.dips.iter().filter(|dip| !dip.resolved).collect();
    if silent.len() == one.dips.len() || one.buckets == 0 && one.share > 0 {
        let addresses: Vec<_> = silent.iter().map(|dip| dip.address.to_string()).collect();
        return Some(format!(
            "{name} gets no flows: the next hop to {} does not answer; is its host up, and on this link?",
            addresses.join(", ")
        ));
    }
    // A way of old is still gone by: never without a word.
    if let Some(dip) = one.dips.iter().find(|dip| dip.resolved) {
        let address = dip.address;
        match (dip.way, dip.failed_since) {
            (WayWord::Failed, Some(since)) => {
                return Some(format!("the next hop to {name} ({address}) does not answer since {since}"));
            }
            (WayWord::NoRoute, _) => {
                return Some(format!(
                    "no route leads to {name} ({address}) any more; packets go the way they went: add one (`ip route add`)"
                ));
            }
            _ => {}
        }
    }
    let health = one.health.as_ref()?;
    let since = health.since;
    let why = health.last_error.as_deref().unwrap_or("no probe succeeded yet");
    match health.state {
        HealthWord::Down => Some(format!("{name} is down since {since}: {why}")),
        HealthWord::Gone => Some(format!("nobody answers at {name} since {since}: {why}")),
        HealthWord::Up | HealthWord::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{full, serving},
        *,
    };

    #[test]
    fn r60_what_is_as_it_should_be_is_serving() {
        let mut status = serving();
        status.judge();
        assert_eq!((status.state, &status.trouble[..]), (State::Serving, &[][..]));
        assert!(status.vips.iter().all(|vip| vip.ready && vip.reason.is_none()));
    }

    #[test]
    fn r9_without_an_instance_no_vip_is_ready_and_the_word_tells_why() {
        for (health, word) in [(HealthWord::Unknown, State::Starting), (HealthWord::Gone, State::NotServing)]
        {
            let mut status = serving();
            for one in &mut status.instances {
                one.buckets = 0;
                one.share = 0;
                one.health.as_mut().unwrap().state = health;
            }
            status.judge();
            assert_eq!(status.state, word);
            assert!(status.vips.iter().all(|vip| !vip.ready && vip.reason.is_some()));
        }
    }

    #[test]
    fn r9_one_vip_that_is_not_ready_is_degraded() {
        let mut status = serving();
        status.vips[0].ready = false;
        status.vips[0].reason = Some("eth0 is down or has no carrier".into());
        status.judge();
        assert_eq!(status.state, State::Degraded);
        assert_eq!(status.trouble, ["10.0.0.5 is not ready: eth0 is down or has no carrier"]);
        assert!(status.private_ip_addresses.is_empty());
        assert_eq!(status.public_ip_addresses, [status.vips[1].address]);
    }

    #[test]
    fn a_failed_apply_an_unhealthy_and_an_unreachable_instance_are_trouble_and_a_drained_one_is_none() {
        let mut status = full();
        status.trouble.clear();
        status.judge();
        assert_eq!(status.state, State::Degraded);
        let all = status.trouble.join("\n");
        for part in [
            "gateway.toml was not taken up at ",
            "gw-2 is down since ",
            "gw-3 gets no flows: the next hop to 10.0.0.13 ",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert!(!all.contains("gw-4"), "{all}");
    }
}
