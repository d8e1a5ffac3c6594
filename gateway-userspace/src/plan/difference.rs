//! What another file would change, for the person who decides whether to take it up (R8). Pure.

use std::{
    collections::BTreeSet,
    fmt::{Debug, Display},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::model::{CertificateFiles, Dns, Endpoint, Instance, Model, Passthrough, Probe, Snat};

/// What lies between the running state and a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// 1
    pub schema_version: u32,
    /// The configuration in force.
    pub generation: u64,
    /// What would be other than it is; empty: nothing.
    pub changes: Vec<Change>,
    /// Changes that a running balancer does not take up; with any of them `apply` is refused.
    pub restarts: Vec<Restart>,
    /// What else `apply` would be refused for.
    pub refusals: Vec<String>,
    /// Buckets of the ring that would get another owner; absent where that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Moved>,
    /// Admin states set at run time, which hold whatever the file says.
    pub overrides: Vec<Override>,
}

/// One thing that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Of what: `instance gw-1`, `vip`, `network`, `endpoint gateway`, `probe`, `balancer`, `service`, `proxy`, `snat`, `dns`.
    pub subject: String,
    /// How.
    pub action: Action,
    /// The file's key; absent where the whole thing comes or goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// As it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// An address that clients or instances are reached by would change.
    pub address: bool,
}

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It stays, and one of its values becomes another one.
    Changed,
}

/// A change that takes a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// The file's key.
    pub key: String,
    /// As it is.
    pub from: String,
    /// As it would be.
    pub to: String,
    /// Why a running balancer cannot do it.
    pub why: String,
}

/// Buckets that change owner. Flows that began before stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moved {
    /// How many.
    pub moved: usize,
    /// Of how many.
    pub of: usize,
    /// The same, in per cent.
    pub percent: f64,
}

/// An admin state that was set at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// Of which instance.
    pub instance: String,
    /// What holds.
    pub admin_state: crate::model::AdminState,
}

/// What would be other than it is, in the order of the file.
pub fn changes(running: &Model, new: &Model) -> Vec<Change> {
    let mut changes = Changes::default();
    changes.key("service", "name", &running.service.name, &new.service.name);
    changes.key("service", "suffix", &running.service.suffix, &new.service.suffix);
    mode(&mut changes, running, new);
    let networks = [
        ("subnet", &running.network.subnet, &new.network.subnet),
        ("vnet", &running.network.vnet, &new.network.vnet),
        ("peered", &running.network.peered, &new.network.peered),
    ];
    for (key, old, new) in networks {
        changes.list("network", key, old, new, Addresses::No);
    }
    changes.list("vip", "private", &running.vip.private, &new.vip.private, Addresses::Yes);
    changes.list("vip", "public", &running.vip.public, &new.vip.public, Addresses::Yes);
    balancer(&mut changes, running, new);
    instances(&mut changes, &running.instances, &new.instances);
    probe(&mut changes, &running.probe, &new.probe);
    endpoints(&mut changes, &running.endpoints, &new.endpoints);
    passthrough(&mut changes, &running.passthrough, &new.passthrough);
    changes.key("proxy", "no_sni", words(&running.proxy.no_sni), words(&new.proxy.no_sni));
    changes.key("proxy", "http", running.proxy.http.as_str(), new.proxy.http.as_str());
    let proxies = [&running.proxy.proxy_protocol_from, &new.proxy.proxy_protocol_from];
    let secret = |model: &Model| path(model.proxy.ticket_secret.as_deref());
    changes.key("proxy", "ticket_secret", secret(running), secret(new));
    changes.list("proxy", "proxy_protocol_from", proxies[0], proxies[1], Addresses::No);
    snat(&mut changes, running.snat.as_ref(), new.snat.as_ref());
    dns(&mut changes, &running.dns, &new.dns);
    if changes.0.is_empty() && running != new {
        // A key that is not told apart here must not look like nothing.
        changes.push("file", Action::Changed, Some("other keys"), None, None);
    }
    changes.0
}

/// Buckets that would get another owner.
pub fn moved(running: &Plan, new: &Plan) -> Moved {
    let names = |plan: &Plan| -> std::collections::BTreeMap<u16, crate::model::InstanceName> {
        plan.numbers.iter().map(|(name, &number)| (number, name.clone())).collect()
    };
    let (before, after) = (names(running), names(new));
    let pairs = running.ring.iter().zip(&new.ring);
    let moved = pairs.filter(|(old, new)| before.get(&old.current()) != after.get(&new.current())).count();
    let of = new.ring.len();
    let percent = if of == 0 { 0.0 } else { (moved as f64 * 10_000.0 / of as f64).round() / 100.0 };
    Moved { moved, of, percent }
}

/// R8: who can reach what is another matter than which; a switch of the mode opens or closes a VIP's ports to everyone.
fn mode(changes: &mut Changes, running: &Model, new: &Model) {
    if running.service.mode == new.service.mode {
        return;
    }
    changes.key("service", "mode", running.service.mode, new.service.mode);
    changes.mark_address();
    for vip in new.vip.public.iter().filter(|vip| running.vip.public.contains(vip)) {
        let ports = |model: &Model| model.ports(*vip).map(|port| format!("TCP {port}")).collect::<Vec<_>>();
        changes.list(&format!("vip {vip}"), "open to everyone", &ports(running), &ports(new), Addresses::Yes);
    }
}

fn dns(changes: &mut Changes, running: &Dns, new: &Dns) {
    let ttl = |dns: &Dns| humantime::format_duration(dns.ttl).to_string();
    let serial =
        |dns: &Dns| dns.serial.map_or_else(|| "the file's time".to_owned(), |serial| serial.to_string());
    changes.key("dns", "serve", running.serve, new.serve);
    changes.list("dns", "forward", &running.forward, &new.forward, Addresses::No);
    changes.key("dns", "ttl", ttl(running), ttl(new));
    changes.list("dns", "name_servers", &running.name_servers, &new.name_servers, Addresses::No);
    changes.key("dns", "serial", serial(running), serial(new));
    changes.key("dns", "rate", running.rate, new.rate);
}

fn balancer(changes: &mut Changes, running: &Model, new: &Model) {
    let (old, new) = (&running.balancer, &new.balancer);
    changes.key("balancer", "interface", &old.interfaces, &new.interfaces);
    changes.key("balancer", "forwarding", old.forwarding, new.forwarding);
    changes.list("balancer", "address", &old.address, &new.address, Addresses::Yes);
    changes.key("balancer", "affinity", words(&old.affinity), words(&new.affinity));
    let sources = (&old.management_sources, &new.management_sources);
    changes.list("balancer", "management_sources", sources.0, sources.1, Addresses::No);
    let [drain, new_drain] = [old.drain, new.drain].map(humantime::format_duration);
    changes.key("balancer", "drain", drain, new_drain);
    changes.key("balancer", "admin", old.admin, new.admin);
    changes.key("balancer", "tokens", path(old.tokens.as_deref()), path(new.tokens.as_deref()));
    changes.key("balancer", "seed", &old.seed, &new.seed);
}

fn instances(changes: &mut Changes, running: &[Instance], new: &[Instance]) {
    for instance in new {
        let subject = format!("instance {}", instance.name);
        let Some(old) = running.iter().find(|old| old.name == instance.name) else {
            let about = format!("{}, weight {}{}", joined(&instance.dip), instance.weight, state(instance));
            changes.push(&subject, Action::Added, None, None, Some(about));
            continue;
        };
        let dips: BTreeSet<_> = old.dip.iter().collect();
        if dips != instance.dip.iter().collect() {
            changes.push(
                &subject,
                Action::Changed,
                Some("dip"),
                Some(joined(&old.dip)),
                Some(joined(&instance.dip)),
            );
            changes.mark_address();
        }
        changes.key(&subject, "weight", old.weight, instance.weight);
        changes.key(&subject, "admin_state", words(&old.admin_state), words(&instance.admin_state));
    }
    for gone in running.iter().filter(|old| new.iter().all(|one| one.name != old.name)) {
        let about = format!("{}, weight {}{}", joined(&gone.dip), gone.weight, state(gone));
        changes.push(&format!("instance {}", gone.name), Action::Removed, None, Some(about), None);
    }
}

fn state(instance: &Instance) -> String {
    match instance.admin_state {
        crate::model::AdminState::Auto => String::new(),
        other => format!(", {}", words(&other)),
    }
}

fn probe(changes: &mut Changes, old: &Probe, new: &Probe) {
    changes.key("probe", "kind", words(&old.kind), words(&new.kind));
    changes.key("probe", "port", old.port, new.port);
    changes.key("probe", "path", &old.path, &new.path);
    let time = humantime::format_duration;
    changes.key("probe", "interval", time(old.interval), time(new.interval));
    changes.key("probe", "timeout", time(old.timeout), time(new.timeout));
    changes.key("probe", "rise", old.rise, new.rise);
    changes.key("probe", "fall", old.fall, new.fall);
}

fn endpoints(changes: &mut Changes, running: &[Endpoint], new: &[Endpoint]) {
    for endpoint in new {
        let subject = format!("endpoint {}", endpoint.role);
        let Some(old) = running.iter().find(|old| old.role == endpoint.role) else {
            changes.push(&subject, Action::Added, None, None, Some(joined(&endpoint.hosts)));
            continue;
        };
        changes.list(&subject, "hosts", &old.hosts, &endpoint.hosts, Addresses::No);
        let files = |endpoint: &Endpoint| {
            let pair = |one: &CertificateFiles| format!("{}, {}", one.chain.display(), one.key.display());
            endpoint.certificates.iter().map(pair).collect::<Vec<_>>().join(", ")
        };
        let clients = |endpoint: &Endpoint| {
            let clients = endpoint.clients.as_ref();
            clients.map_or_else(
                || "none".to_owned(),
                |clients| format!("{}, {}", clients.authorities.display(), words(&clients.demand)),
            )
        };
        changes.key(&subject, "client_ca", clients(old), clients(endpoint));
        changes.key(&subject, "certificate", files(old), files(endpoint));
        changes.key(&subject, "routes", routes(old), routes(endpoint));
    }
    for gone in running.iter().filter(|old| new.iter().all(|one| one.role != old.role)) {
        let subject = format!("endpoint {}", gone.role);
        changes.push(&subject, Action::Removed, None, Some(joined(&gone.hosts)), None);
    }
}

fn passthrough(changes: &mut Changes, running: &[Passthrough], new: &[Passthrough]) {
    let subject = |one: &Passthrough| format!("passthrough {}", joined(&one.hosts));
    for one in new {
        match running.iter().find(|old| old.hosts == one.hosts && old.role == one.role) {
            None => changes.push(&subject(one), Action::Added, None, None, Some(joined(&one.upstream))),
            Some(old) => {
                changes.key(&subject(one), "upstream", joined(&old.upstream), joined(&one.upstream));
                changes.key(&subject(one), "backup", joined(&old.backup), joined(&one.backup));
                changes.key(&subject(one), "health", probes(old), probes(one));
                changes.key(
                    &subject(one),
                    "proxy_protocol",
                    words(&old.proxy_protocol),
                    words(&one.proxy_protocol),
                );
            }
        }
    }
    for gone in
        running.iter().filter(|old| !new.iter().any(|one| one.hosts == old.hosts && one.role == old.role))
    {
        changes.push(&subject(gone), Action::Removed, None, Some(joined(&gone.upstream)), None);
    }
}

fn snat(changes: &mut Changes, running: Option<&Snat>, new: Option<&Snat>) {
    changes.key("snat", "enabled", running.is_some(), new.is_some());
    if let (Some(old), Some(new)) = (running, new) {
        changes.key("snat", "ports_per_instance", old.ports_per_instance, new.ports_per_instance);
        let [old, new] = [old.return_after, new.return_after].map(humantime::format_duration);
        changes.key("snat", "return_after", old, new);
    }
}

fn probes(one: &Passthrough) -> String {
    one.health.as_ref().map_or_else(
        || "none".to_owned(),
        |check| {
            let [interval, timeout] = [check.interval, check.timeout].map(humantime::format_duration);
            format!("every {interval} within {timeout}, rise {}, fall {}", check.rise, check.fall)
        },
    )
}

fn routes(endpoint: &Endpoint) -> String {
    endpoint.routes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn path(path: Option<&std::path::Path>) -> String {
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

/// A word of the file from the name of a variant: `FiveTuple` is `five-tuple`.
fn words(value: &impl Debug) -> String {
    let mut text = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn joined<T: Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Whether the entries of a list are addresses that somebody is reached by.
#[derive(Clone, Copy)]
enum Addresses {
    Yes,
    No,
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn push(
        &mut self,
        subject: &str,
        action: Action,
        key: Option<&str>,
        from: Option<String>,
        to: Option<String>,
    ) {
        let key = key.map(str::to_owned);
        self.0.push(Change { subject: subject.to_owned(), action, key, from, to, address: false });
    }

    fn mark_address(&mut self) {
        if let Some(last) = self.0.last_mut() {
            last.address = true;
        }
    }

    fn key(&mut self, subject: &str, key: &str, from: impl Display, to: impl Display) {
        let (from, to) = (from.to_string(), to.to_string());
        if from != to {
            self.push(subject, Action::Changed, Some(key), Some(from), Some(to));
        }
    }

    /// Entry by entry; another order alone is one change.
    fn list<T: Display + PartialEq>(
        &mut self,
        subject: &str,
        key: &str,
        from: &[T],
        to: &[T],
        addresses: Addresses,
    ) {
        let before = self.0.len();
        for gone in from.iter().filter(|entry| !to.contains(entry)) {
            self.push(subject, Action::Removed, Some(key), Some(gone.to_string()), None);
        }
        for new in to.iter().filter(|entry| !from.contains(entry)) {
            self.push(subject, Action::Added, Some(key), None, Some(new.to_string()));
        }
        for change in &mut self.0[before..] {
            change.address = matches!(addresses, Addresses::Yes);
        }
        if self.0.len() == before {
            self.key(subject, key, joined(from), joined(to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{AdminState, Mode},
        testing::{instance, model},
    };

    fn lines(changes: &[Change]) -> Vec<String> {
        let line = |change: &Change| {
            let words = [
                Some(words(&change.action)),
                Some(change.subject.clone()),
                change.key.clone(),
                change.from.clone(),
                change.to.clone().map(|to| format!("-> {to}")),
                change.address.then(|| "!".to_owned()),
            ];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        changes.iter().map(line).collect()
    }

    #[test]
    fn r8_the_same_file_changes_nothing() {
        assert!(changes(&model(&["gw-1"]), &model(&["gw-1"])).is_empty());
    }

    #[test]
    fn r8_instances_that_come_go_and_change_are_told_one_by_one() {
        let mut new = model(&["gw-1", "gw-3"]);
        new.instances[0].weight = 50;
        new.instances[0].admin_state = AdminState::Down;
        assert_eq!(
            lines(&changes(&model(&["gw-1", "gw-2"]), &new)),
            [
                "changed instance gw-1 weight 100 -> 50",
                "changed instance gw-1 admin_state auto -> down",
                "added instance gw-3 -> 10.0.0.13, weight 100",
                "removed instance gw-2 10.0.0.12, weight 100",
            ]
        );
    }

    #[test]
    fn r8_addresses_that_change_stand_out() {
        let mut new = model(&["gw-1"]);
        new.vip.private = vec!["10.0.0.6".parse().unwrap()];
        new.instances[0].dip = instance("gw-9").dip;
        new.network.peered.push("10.8.0.0/16".parse().unwrap());
        assert_eq!(
            lines(&changes(&model(&["gw-1"]), &new)),
            [
                "added network peered -> 10.8.0.0/16",
                "removed vip private 10.0.0.5 !",
                "added vip private -> 10.0.0.6 !",
                "changed instance gw-1 dip 10.0.0.11 -> 10.0.0.19 !",
            ]
        );
    }

    #[test]
    fn r4_r8_another_mode_stands_out_with_what_it_opens_and_closes() {
        let (internal, mut external) = (model(&["gw-1"]), model(&["gw-1"]));
        external.service.mode = Mode::External;
        let opens = [
            "changed service mode internal -> external !",
            "added vip 203.0.113.5 open to everyone -> TCP 443 !",
            "added vip 203.0.113.5 open to everyone -> TCP 80 !",
        ];
        assert_eq!(lines(&changes(&internal, &external)), opens);
        let closes = [
            "changed service mode external -> internal !",
            "removed vip 203.0.113.5 open to everyone TCP 443 !",
            "removed vip 203.0.113.5 open to everyone TCP 80 !",
        ];
        assert_eq!(lines(&changes(&external, &internal)), closes);
    }

    #[test]
    fn words_are_those_of_the_file() {
        assert_eq!(words(&crate::model::Affinity::FiveTuple), "five-tuple");
        assert_eq!(words(&AdminState::Auto), "auto");
    }
}
