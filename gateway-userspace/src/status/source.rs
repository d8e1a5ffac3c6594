//! Who sees which source address: the question asked most about balancers, answered from the file. Pure.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Mode, Model};

/// A kind of connection, and the address by which its receiver knows the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Who connects to whom.
    pub connection: String,
    /// Who looks.
    pub observer: String,
    /// What it sees, in words or as addresses.
    pub source: String,
}

/// For all kinds of connections, R30 and R31 among them.
pub fn address_table(model: &Model) -> Vec<Seen> {
    let row = |connection: String, observer: &str, source: String| Seen {
        connection,
        observer: observer.into(),
        source,
    };
    let (private, public) = (list(&model.vip.private), list(&model.vip.public));
    let dips = match &model.instances[..] {
        few if few.len() <= 4 => list(few.iter().flat_map(|one| &one.dip)),
        many => format!("the DIP of the instance, one of {}", many.len()),
    };
    let mut rows = Vec::new();
    if !model.vip.private.is_empty() {
        let connection = format!("a client inside → private VIP {private}");
        rows.push(row(connection, "the instance", "the client's own address".into()));
    }
    if !model.vip.public.is_empty() {
        let who = match (model.service.mode, &model.balancer.management_sources[..]) {
            (Mode::Internal, [_, ..]) => "a client of balancer.management_sources",
            _ => "a client anywhere",
        };
        let ports = if model.service.mode == Mode::Internal { ", TCP 3443" } else { "" };
        let connection = format!("{who} → public VIP {public}{ports}");
        rows.push(row(connection, "the instance", "the client's own address".into()));
    }
    rows.push(row("an answer to either".into(), "the client", "the VIP that it asked".into()));
    let upstream = "an instance → an upstream inside (network.subnet, vnet, peered)".to_owned();
    rows.push(row(upstream, "the upstream", format!("{dips}; the client is in X-Forwarded-For")));
    let (outside, seen) = match (&model.snat, model.vip.public.is_empty()) {
        (Some(_), false) => ("an instance → anywhere else, with SNAT", public),
        _ => (
            "an instance → anywhere else, without SNAT",
            format!("{dips}, or what a router on the way makes of it"),
        ),
    };
    rows.push(row(outside.into(), "the host outside", seen));
    let own = match &model.balancer.address[..] {
        [] => "the balancer's own address".into(),
        addresses => list(addresses),
    };
    rows.push(row("the balancer → an instance: probes".into(), "the instance", own));
    rows
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{model::Snat, testing::model};

    fn source(model: &Model, begins: &str) -> String {
        let row = address_table(model).into_iter().find(|row| row.connection.starts_with(begins));
        row.unwrap_or_else(|| panic!("{begins}")).source
    }

    #[test]
    fn r30_r31_inside_the_dips_are_seen_and_outside_the_public_vip_where_there_is_snat() {
        let mut model = model(&["gw-1", "gw-2"]);
        assert_eq!(source(&model, "a client inside"), "the client's own address");
        assert!(source(&model, "an instance → an upstream").starts_with("10.0.0.11, 10.0.0.12;"));
        assert!(source(&model, "an instance → anywhere else, without SNAT").starts_with("10.0.0.11, "));
        model.snat = Some(Snat { ports_per_instance: 1024, return_after: Duration::from_secs(60) });
        assert_eq!(source(&model, "an instance → anywhere else, with SNAT"), "203.0.113.5");
        assert_eq!(source(&model, "the balancer"), "the balancer's own address");
    }

    #[test]
    fn who_may_come_to_the_public_vip_is_said() {
        let mut model = model(&["gw-1"]);
        let text = |model: &Model| address_table(model).remove(1).connection;
        assert_eq!(text(&model), "a client anywhere → public VIP 203.0.113.5, TCP 3443");
        model.balancer.management_sources = vec!["198.51.100.0/24".parse().unwrap()];
        assert!(text(&model).starts_with("a client of balancer.management_sources"));
        model.service.mode = Mode::External;
        assert_eq!(text(&model), "a client anywhere → public VIP 203.0.113.5");
    }
}
