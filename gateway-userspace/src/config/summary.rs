//! What a file says, in short, for the person who checks it.

use std::fmt::{self, Display};

use crate::model::{Forwarding, Instance, MANAGEMENT_PORT, Mode, Model, ProbeKind};

/// Instances that are listed one by one; of more, the number is told.
const LISTED: usize = 20;

/// Prints a [`Model`] as a few lines of text.
pub(super) struct Summary<'m>(pub &'m Model);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Model { service, network, vip, balancer, instances, probe, endpoints, passthrough, .. } = self.0;
        writeln!(f, "service      {} ({})", service.name, service.mode)?;
        if service.mode == Mode::None {
            writeln!(f, "listens      on the instances' own addresses; no VIPs, no balancer")?;
            writeln!(f, "status       http on port {}, {}", probe.port, probe.path)?;
        } else {
            writeln!(f, "subnet       {}", joined(&network.subnet))?;
            writeln!(f, "inside too   {}", joined(network.vnet.iter().chain(&network.peered)))?;
            writeln!(f, "private VIP  {}", joined(&vip.private))?;
            writeln!(f, "public VIP   {}{}", joined(&vip.public), self.doors())?;
            writeln!(f, "interface    {}", balancer.interfaces)?;
            if balancer.forwarding != Forwarding::L2 {
                writeln!(f, "forwarding   {} from {}", balancer.forwarding, joined(&balancer.address))?;
            }
            let asked =
                if probe.kind == ProbeKind::Tcp { String::new() } else { format!(", {}", probe.path) };
            writeln!(f, "probes       {} on port {}{asked}", probe.kind, probe.port)?;
        }
        for instance in instances.iter().take(LISTED) {
            writeln!(f, "instance     {}", described(instance, service.mode))?;
        }
        if instances.len() > LISTED {
            writeln!(f, "             and {} more", instances.len() - LISTED)?;
        }
        for endpoint in endpoints {
            writeln!(f, "{:<12} {}", endpoint.role.as_str(), joined(&endpoint.hosts))?;
            for route in &endpoint.routes {
                writeln!(f, "             {route}")?;
            }
        }
        for one in passthrough {
            writeln!(f, "{:<12} {}", one.role.as_str(), joined(&one.hosts))?;
            writeln!(f, "             TLS -> {}", joined(&one.upstream))?;
            if !one.backup.is_empty() {
                writeln!(f, "             else -> {}", joined(&one.backup))?;
            }
        }
        Ok(())
    }
}

impl Summary<'_> {
    /// What is open on the public VIPs, and to whom.
    fn doors(&self) -> String {
        let Model { vip, balancer, .. } = self.0;
        let Some(first) = vip.public.first() else { return String::new() };
        let clients = self.0.ports(*first).filter(|port| *port != MANAGEMENT_PORT);
        let clients: Vec<_> = clients.map(|port| format!("TCP {port} from everywhere")).collect();
        let management = match &balancer.management_sources[..] {
            [] => "everywhere".to_owned(),
            sources => joined(sources),
        };
        let all = clients.into_iter().chain([format!("TCP {MANAGEMENT_PORT} from {management}")]);
        all.fold(String::new(), |text, door| text + ", " + &door)
    }
}

fn described(instance: &Instance, mode: Mode) -> String {
    let state = match instance.admin_state {
        crate::model::AdminState::Auto => "",
        crate::model::AdminState::Up => ", up whatever its probe says",
        crate::model::AdminState::Down => ", down",
    };
    let weight = if mode == Mode::None { String::new() } else { format!("  weight {}", instance.weight) };
    format!("{}  {}{weight}{state}", instance.name, joined(&instance.dip))
}

/// Words in a row, `none` for no word.
fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let words: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}
