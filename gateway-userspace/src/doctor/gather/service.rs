//! The running balancer, the doors of the service, its names, and who else listens.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use super::{Ask, Here};
use crate::{
    api::{self, client::Client},
    dataplane::live,
    dns,
    doctor::facts::{Door, Facts, Listener, Place, Seen, Tried},
    explain::{self, End, Flags, Known, Protocol, Question},
    model::{MANAGEMENT_PORT, Model},
    net::sockets,
    proxy::{bind, routes},
    status::Status,
};

const PATIENCE: Duration = Duration::from_secs(2);
/// Of a question that is only explained.
const PORT: u16 = 40_000;
/// What this program is called, by the kernel.
const OURSELVES: &str = "gateway";

pub(super) fn status(model: &Model) -> Seen<Option<Status>> {
    let socket = match api::socket_path(&model.service.name) {
        Ok(socket) if socket.exists() => socket,
        Ok(_) => return Seen::Seen(None),
        Err(error) => return Seen::Unseen(error.to_string()),
    };
    // A socket that its owner has left behind is nobody's.
    match Client::new(socket).map(|client| client.get::<Status>("/v1/status")) {
        Ok(Ok(status)) => Seen::Seen(Some(status)),
        Ok(Err(error @ api::client::Error::Permission { .. })) => Seen::Unseen(error.to_string()),
        Ok(Err(_)) => Seen::Seen(None),
        Err(error) => Seen::Unseen(error.to_string()),
    }
}

/// Port 3443: of the private VIPs from inside, of the public ones from outside. On the balancer by its tables, since its own packets
/// do not come by the link, and from those outside that were named; elsewhere by a connection.
pub(super) fn management(ask: &Ask, here: &Here, model: &Model, facts: &Facts) -> Vec<Door> {
    let is_balancer = facts.place.contains(&Place::Balancer);
    // An instance has the VIPs itself: a connection would not leave it.
    if !is_balancer && facts.place.contains(&Place::Instance) {
        return Vec::new();
    }
    let is_within = |ip: &IpAddr| model.network.inside().any(|network| network.contains(ip));
    let is_inside = matches!(&facts.addresses, Seen::Seen(own) if own.keys().any(is_within));
    let served = model.vip.all().filter(|vip| model.ports(*vip).any(|port| port == MANAGEMENT_PORT));
    let mut known = None;
    let mut doors = Vec::new();
    for vip in served {
        let is_private = model.vip.private.contains(&vip);
        let inside = model.network.inside().map(|network| network.network());
        let inside = inside.filter(|_| is_private).find(|ip| ip.is_ipv4() == vip.is_ipv4()).map(next);
        let outside = ask.from.iter().copied().filter(|ip| !is_private && ip.is_ipv4() == vip.is_ipv4());
        let at = SocketAddr::new(vip, MANAGEMENT_PORT);
        if is_balancer {
            let known = known.get_or_insert_with(|| tables(&model.service.name, here));
            doors.extend(inside.into_iter().chain(outside).map(|from| explained(known, at, from)));
        } else if is_private == is_inside {
            doors.push(connected(at));
        }
    }
    doors
}

fn connected(at: SocketAddr) -> Door {
    let tried = match TcpStream::connect_timeout(&at, PATIENCE) {
        Ok(_) => Tried::Connected,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Tried::Silent,
        Err(error) => Tried::Failed(error.to_string()),
    };
    Door { at, from: "here".to_owned(), tried: Seen::Seen(tried) }
}

/// Those that packets go by; or why there are none to be had.
fn tables(service: &str, here: &Here) -> Result<Known, String> {
    let live = live(service).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    let live = live.ok_or("no program is at work")?;
    let names = here.links.iter().map(|link| (link.index, link.name.clone()));
    Ok(Known::of_program(live, names.collect()))
}

fn explained(known: &mut Result<Known, String>, at: SocketAddr, from: IpAddr) -> Door {
    let question = Question {
        from: End { ip: from, port: Some(PORT) },
        to: End { ip: at.ip(), port: Some(at.port()) },
        protocol: Protocol::Tcp,
        flags: Flags::default(),
        size: None,
        interface: None,
        host: None,
        sni: None,
        path: "/".to_owned(),
    };
    let tried = match known {
        Ok(known) => {
            explain::explain(&question, known, None).map(|told| Tried::Explained(Box::new(told))).into()
        }
        Err(why) => Seen::Unseen(why.clone()),
    };
    Door { at, from: from.to_string(), tried }
}

/// The first host of a network.
fn next(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V4(ip) => IpAddr::V4(u32::from(ip).wrapping_add(1).into()),
        IpAddr::V6(ip) => IpAddr::V6(u128::from(ip).wrapping_add(1).into()),
    }
}

pub(super) fn names(ask: &Ask, model: &Model) -> Seen<dns::check::Report> {
    let records = match dns::records(model, &ask.file) {
        Ok(records) => records,
        Err(error) => return Seen::Unseen(format!("{error:#}")),
    };
    match dns::examine::examine(model, &records, &ask.servers, None) {
        Ok(report) => Seen::Seen(report),
        Err(error) => Seen::Unseen(format!("{error:#}")),
    }
}

/// Where the proxy of the instance here is to listen, and another program does.
pub(super) fn listeners(model: &Model) -> Seen<Vec<Listener>> {
    let open = match sockets::listeners() {
        Ok(open) => open,
        Err(error) => return Seen::Unseen(error.to_string()),
    };
    let wanted: Vec<_> = model
        .instances
        .iter()
        .flat_map(|instance| bind::addresses(model, instance))
        .filter(|address| address.door != routes::Door::Dns)
        .map(|address| address.socket)
        .collect();
    let is_in_the_way = |at: &SocketAddr| {
        wanted.iter().any(|want| {
            let same = at.ip() == want.ip() || at.ip().is_unspecified() && (at.is_ipv6() || want.is_ipv4());
            same && at.port() == want.port()
        })
    };
    let processes = processes();
    let others = open.into_iter().filter(|one| is_in_the_way(&one.at)).filter_map(|one| {
        let process = processes.get(&one.inode);
        let is_ours = process.is_some_and(|(_, name)| name == OURSELVES);
        let told =
            process.map_or_else(|| "a process".to_owned(), |(pid, name)| format!("{name} (process {pid})"));
        (!is_ours).then_some(Listener { at: one.at, process: told })
    });
    let mut others: Vec<_> = others.collect();
    others.sort_by_key(|one| one.at);
    others.dedup_by_key(|one| one.at);
    Seen::Seen(others)
}

/// Whose a socket is, by its inode, as far as we may look.
fn processes() -> BTreeMap<u64, (u32, String)> {
    let mut owners = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
        for file in fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let inode = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.insert(inode, (pid, name.trim().to_owned()));
            }
        }
    }
    owners
}
