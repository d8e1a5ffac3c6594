//! Which sockets a configuration asks for, and opening them: all or none, one of each for every worker.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::routes::Door;
use crate::{
    dns,
    model::{DNS_PORT, Forwarding, HTTPS_PORT, Instance, MANAGEMENT_PORT, Mode, Model, PORTS, PlainHttp},
    net::reply::{MARK, Replies},
};

/// Connections that may wait to be accepted; the kernel cuts it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// A socket to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// What is served there.
    pub door: Door,
    /// Where.
    pub socket: SocketAddr,
}

/// A socket that listens there.
#[derive(Debug)]
pub struct Listener {
    /// What for and where.
    pub address: Address,
    /// Itself.
    pub socket: TcpListener,
}

/// A socket that datagrams come to.
#[derive(Debug)]
pub struct Datagrams {
    /// What for and where.
    pub address: Address,
    /// Itself.
    pub socket: UdpSocket,
}

/// Sockets that listen, to be served.
#[derive(Debug)]
pub struct Bound {
    /// For each worker; one at least for each address, more where a predecessor had more workers: a socket that is closed resets
    /// what waits in its queue.
    pub workers: Vec<Vec<Listener>>,
    /// A predecessor's, at addresses that are not wanted any more.
    pub unwanted: Vec<Listener>,
    /// For each worker, where questions come as datagrams.
    pub datagrams: Vec<Vec<Datagrams>>,
}

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {advice}")]
pub struct BindError {
    address: Address,
    advice: String,
    #[source]
    source: io::Error,
}

/// R4, R13, R20: 443, 80 and 3443 on private VIPs; on public ones only 3443 in internal mode; in mode `none` all three on the
/// instance's own addresses; and there the probe's port. With `nat` the DIPs have the ports that stand for those of the VIPs too.
pub fn addresses(model: &Model, instance: &Instance) -> Vec<Address> {
    let nat = model.balancer.forwarding == Forwarding::Nat;
    let mut addresses = Vec::new();
    let mut add = |door, ip: IpAddr, port| {
        addresses.push(Address { door, socket: SocketAddr::new(ip, port) });
        if let Some(port) = model.vip.backend_port(ip, port).filter(|_| nat) {
            let same_family = instance.dip.iter().filter(|dip| dip.is_ipv4() == ip.is_ipv4());
            addresses.extend(same_family.map(|dip| Address { door, socket: SocketAddr::new(*dip, port) }));
        }
    };
    let entrances = match model.service.mode {
        Mode::Internal | Mode::External => model.vip.all().collect(),
        Mode::None => instance.dip.clone(),
    };
    for entrance in entrances {
        for port in model.ports(entrance) {
            let door = match (port, model.proxy.http) {
                (MANAGEMENT_PORT, _) => Door::Management,
                (HTTPS_PORT, _) => Door::Https,
                (_, PlainHttp::Serve) => Door::Http,
                (_, PlainHttp::Redirect | PlainHttp::Off) => Door::Redirect,
            };
            add(door, entrance, port);
        }
        // R3: those who may ask are inside, whatever the mode.
        if model.answers_dns(entrance) {
            add(Door::Dns, entrance, DNS_PORT);
        }
    }
    for dip in &instance.dip {
        add(Door::Probe, *dip, model.probe.port);
    }
    addresses
}

/// What has to be answered through the balancer: with `nat` the ports on the instance's own addresses that stand for a VIP's, those
/// that are closed in this mode too, so that another one needs no other rules.
pub fn replies(model: &Model, instance: &Instance) -> Vec<Replies> {
    if model.balancer.forwarding != Forwarding::Nat {
        return Vec::new();
    }
    let ports = |dip: IpAddr| {
        let vips = model.vip.all().filter(move |vip| vip.is_ipv4() == dip.is_ipv4());
        let all = vips.flat_map(|vip| {
            let dns = model.answers_dns(vip).then_some(DNS_PORT);
            PORTS.into_iter().chain(dns).map(move |port| model.vip.backend_port(vip, port))
        });
        all.flatten().collect::<BTreeSet<_>>()
    };
    let replies = instance.dip.iter().filter_map(|dip| {
        let through = model.balancer.address.iter().find(|ip| ip.is_ipv4() == dip.is_ipv4())?;
        Some(Replies { from: *dip, ports: ports(*dip), through: *through })
    });
    replies.filter(|replies| !replies.ports.is_empty()).collect()
}

/// What the balancers put around a client's packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    bytes: u32,
}

/// The largest packet that comes out of the balancers' tunnels, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inside(u32);

/// The balancers' tunnel to an instance, where the mode has one. With addresses of both families either may be used, so the
/// larger header counts; with `gue` the list of hops, which only packets of moved buckets have.
pub fn tunnel(model: &Model, instance: &Instance) -> Option<Tunnel> {
    const UDP_AND_GUE: u32 = 8 + 4;
    const HOPS: u32 = 36;
    let outer = if instance.dip.iter().any(IpAddr::is_ipv6) { 40 } else { 20 };
    match model.balancer.forwarding {
        Forwarding::L2 | Forwarding::Nat => None,
        Forwarding::Ipip => Some(Tunnel { bytes: outer }),
        Forwarding::Gue => Some(Tunnel { bytes: outer + UDP_AND_GUE + HOPS }),
    }
}

impl Tunnel {
    /// What is put around a packet at most.
    pub fn bytes(self) -> u32 {
        self.bytes
    }

    /// What fits where packets of `mtu` bytes do.
    pub fn inside(self, mtu: u32) -> Inside {
        Inside(mtu.saturating_sub(self.bytes))
    }
}

impl Inside {
    /// The TCP segment that fits, without options (RFC 6691).
    fn segment(self, address: IpAddr) -> u32 {
        const TCP: u32 = 20;
        self.0.saturating_sub(if address.is_ipv4() { 20 } else { 40 } + TCP)
    }
}

/// Opens every address `workers` times, but for those sockets that are `inherited`, open and maybe served already. What is answered through the balancer has the mark of `replies`' rule. With `inside`,
/// clients are told to send segments that fit there (TCP_MAXSEG): a packet that gets too big by its outer header would else be
/// lost or take a round more.
///
/// # Errors
/// The first that cannot be opened; nothing stays open then.
pub fn bind(
    addresses: &[Address],
    replies: &[Replies],
    workers: usize,
    inside: Option<Inside>,
    mut inherited: Vec<Listener>,
) -> Result<Bound, BindError> {
    let is_first = inherited.is_empty();
    let is_inherited = |address: &Address| inherited.iter().any(|one| one.address.socket == address.socket);
    for address in addresses.iter().filter(|address| !is_inherited(address)) {
        alone(address.socket).map_err(|source| BindError::new(*address, source))?;
    }
    let mark = |at: SocketAddr| {
        let holds = |replies: &Replies| replies.from == at.ip() && replies.ports.contains(&at.port());
        replies.iter().any(holds).then_some(MARK)
    };
    let mut all: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for address in addresses {
        let failed = |source| BindError::new(*address, source);
        let (mark, at) =
            (mark(address.socket), |listener: &mut Listener| listener.address.socket == address.socket);
        let mut sockets = Vec::new();
        for Listener { socket, .. } in inherited.extract_if(.., at) {
            let socket = Socket::from(socket);
            adjust(&socket, address.socket, mark, inside).map_err(failed)?;
            sockets.push(socket.into());
        }
        for _ in sockets.len()..workers {
            sockets.push(listener(address.socket, mark, inside).map_err(failed)?);
        }
        for (place, socket) in sockets.into_iter().enumerate() {
            all[place % workers].push(Listener { address: *address, socket });
        }
    }
    let datagrams = datagrams(addresses, mark, workers, is_first)?;
    Ok(Bound { workers: all, unwanted: inherited, datagrams })
}

/// Those of the DNS. A predecessor has some too, and answers what comes to these until it ends.
fn datagrams(
    addresses: &[Address],
    mark: impl Fn(SocketAddr) -> Option<u32>,
    workers: usize,
    is_first: bool,
) -> Result<Vec<Vec<Datagrams>>, BindError> {
    let mut all: Vec<Vec<Datagrams>> = (0..workers).map(|_| Vec::new()).collect();
    for address in addresses.iter().filter(|address| address.door == Door::Dns) {
        let failed = |source| BindError::new(*address, source);
        if is_first {
            dns::serve::bind::alone(address.socket).map_err(failed)?;
        }
        for sockets in &mut all {
            let socket = dns::serve::bind::shared(address.socket, mark(address.socket)).map_err(failed)?;
            sockets.push(Datagrams { address: *address, socket });
        }
    }
    Ok(all)
}

/// Without SO_REUSEPORT, so that it fails where another process already listens: with it, a second proxy would silently get
/// half of the connections.
fn alone(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address)?;
    socket.bind(&address.into())
}

fn listener(address: SocketAddr, mark: Option<u32>, inside: Option<Inside>) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    adjust(&socket, address, mark, inside)?;
    socket.set_reuse_port(true)?;
    // Linux hands it on to accepted connections.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What may differ from a predecessor's.
fn adjust(socket: &Socket, address: SocketAddr, mark: Option<u32>, inside: Option<Inside>) -> io::Result<()> {
    if let Some(inside) = inside {
        // Linux takes no more (MAX_TCP_WINDOW), and the interface of a host that talks to itself may have 64 KiB.
        socket.set_tcp_mss(inside.segment(address.ip()).min(32_767))?;
    }
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    Ok(())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        // A VIP may still be tentative: duplicate-address detection takes a second.
        socket.set_freebind_v6(true)?;
    }
    Ok(socket)
}

impl BindError {
    fn new(address: Address, source: io::Error) -> Self {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "the port is in use by another process; `ss -lntup 'sport = :{}'` names it",
                address.socket.port()
            ),
            io::ErrorKind::PermissionDenied => {
                "no permission; start as root or with the capability CAP_NET_BIND_SERVICE".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => {
                "this host does not have that address; is --instance the right one?".to_owned()
            }
            _ => source.to_string(),
        };
        Self { address, advice, source }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purpose = match self.door {
            Door::Https => "https",
            Door::Management => "management",
            Door::Redirect => "redirect to https",
            Door::Http => "http",
            Door::Dns => "DNS",
            Door::Probe => "probes",
        };
        write!(f, "{} ({purpose})", self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Service, Vips},
        testing::model,
    };

    /// What is served on each address, as text.
    fn served(model: &Model) -> Vec<String> {
        addresses(model, &model.instances[0]).iter().map(ToString::to_string).collect()
    }

    fn nat() -> Model {
        let mut model = model(&["gw-1"]);
        model.balancer.forwarding = Forwarding::Nat;
        model.balancer.address = vec!["fd00:0:0:1::2".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        model
    }

    #[test]
    fn r13_r20_vips_have_their_ports_and_the_dip_the_probes() {
        let expected = [
            "10.0.0.5:443 (https)",
            "10.0.0.5:80 (redirect to https)",
            "10.0.0.5:3443 (management)",
            "203.0.113.5:3443 (management)",
            "10.0.0.11:8080 (probes)",
        ];
        assert_eq!(served(&model(&["gw-1"])), expected);
        assert_eq!(replies(&model(&["gw-1"]), &model(&["gw-1"]).instances[0]), []);
    }

    #[test]
    fn r4_clients_enter_on_the_public_vip_in_external_mode_and_on_the_host_itself_in_none() {
        let mut model = model(&["gw-1"]);
        model.service.mode = Mode::External;
        model.proxy.http = PlainHttp::Serve;
        let expected = ["203.0.113.5:443 (https)", "203.0.113.5:80 (http)", "203.0.113.5:3443 (management)"];
        assert_eq!(served(&model)[3..6], expected);
        model.service.mode = Mode::None;
        model.vip = Vips { private: vec![], public: vec![] };
        model.proxy.http = PlainHttp::Off;
        let expected = ["10.0.0.11:443 (https)", "10.0.0.11:3443 (management)", "10.0.0.11:8080 (probes)"];
        assert_eq!(served(&model), expected);
    }

    #[test]
    fn r52_dns_is_on_port_53_of_the_private_vip_and_with_nat_on_what_stands_for_it() {
        let dns = |mut model: Model| {
            model.dns.serve = true;
            served(&model).into_iter().filter(|line| line.ends_with("(DNS)")).collect::<Vec<_>>()
        };
        assert_eq!(dns(model(&["gw-1"])), ["10.0.0.5:53 (DNS)"]);
        assert_eq!(dns(nat()), ["10.0.0.5:53 (DNS)", "10.0.0.11:10053 (DNS)"]);
        let external = Model {
            service: Service { mode: Mode::External, ..model(&["gw-1"]).service },
            ..model(&["gw-1"])
        };
        assert_eq!(dns(external), ["10.0.0.5:53 (DNS)"], "whoever asks is inside (R3)");
    }

    #[test]
    fn r70_clients_are_told_of_segments_that_fit_into_the_tunnel() {
        let mut model = model(&["gw-1"]);
        let segments = |model: &Model| {
            let inside = tunnel(model, &model.instances[0])?.inside(1500);
            Some(["10.0.0.5", "fd00::5"].map(|vip| inside.segment(vip.parse().unwrap())))
        };
        assert_eq!(segments(&model), None);
        model.balancer.forwarding = Forwarding::Ipip;
        assert_eq!(segments(&model), Some([1500 - 20 - 40, 1500 - 20 - 60]));
        model.balancer.forwarding = Forwarding::Gue;
        assert_eq!(segments(&model), Some([1500 - 68 - 40, 1500 - 68 - 60]));
        model.instances[0].dip.push("fd00::11".parse().unwrap());
        assert_eq!(segments(&model), Some([1500 - 88 - 40, 1500 - 88 - 60]));
    }

    #[test]
    fn with_nat_each_port_of_a_vip_has_one_on_the_dip_that_serves_the_same() {
        let expected = [
            "10.0.0.5:443 (https)",
            "10.0.0.11:10443 (https)",
            "10.0.0.5:80 (redirect to https)",
            "10.0.0.11:10080 (redirect to https)",
            "10.0.0.5:3443 (management)",
            "10.0.0.11:13443 (management)",
            "203.0.113.5:3443 (management)",
            "10.0.0.11:23443 (management)",
            "10.0.0.11:8080 (probes)",
        ];
        assert_eq!(served(&nat()), expected);
    }

    #[test]
    fn with_nat_what_stands_for_a_vips_port_is_answered_through_the_balancer_of_its_family() {
        let model = nat();
        let replies = replies(&model, &model.instances[0]);
        let ports = BTreeSet::from([10_080, 10_443, 13_443, 20_080, 20_443, 23_443]);
        let expected = Replies { from: model.instances[0].dip[0], ports, through: model.balancer.address[1] };
        assert_eq!(replies, [expected]);
    }
}
