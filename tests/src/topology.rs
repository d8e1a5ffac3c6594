//! Raising the hosts and links of the picture in the crate's documentation.

use std::path::Path;

use crate::{
    address::{BALANCER, BRANCH, CLIENT, Mac, Net, OUTSIDE, PUBLIC, PUBLIC6, ROUTED, Station, mac_text},
    host::Host,
    pass::Pass,
};

/// All hosts of a lab. Dropping them takes their namespaces, links and addresses with them.
#[derive(Debug)]
pub struct Hosts {
    /// The LAN's bridge, in a namespace without addresses.
    pub switch: Host,
    /// Joins the four networks.
    pub router: Host,
    /// Where `gateway balance` runs.
    pub balancer: Host,
    /// `gw-1` and so on.
    pub instances: Vec<Host>,
    /// Where the upstream services listen.
    pub services: Host,
    /// A client on the LAN.
    pub client: Host,
    /// A client in a peered network.
    pub routed: Host,
    /// A host of the internet.
    pub outside: Host,
    /// On the switch's ports to balancer and instances, whose frames come by XDP_TX.
    passes: Vec<Pass>,
}

impl Hosts {
    /// Makes hosts, links, addresses and routes.
    ///
    /// # Errors
    /// Not root; `ip` or `ethtool` is missing or refuses something.
    pub fn raise(instances: u8) -> anyhow::Result<Self> {
        let mut hosts = Self {
            switch: Host::new("switch")?,
            router: Host::new("router")?,
            balancer: Host::new("balancer")?,
            instances: (1..=instances).map(|n| Host::new(&format!("gw-{n}"))).collect::<Result<_, _>>()?,
            services: Host::new("services")?,
            client: Host::new("client")?,
            routed: Host::new("routed")?,
            outside: Host::new("outside")?,
            passes: Vec::new(),
        };
        hosts.lan()?;
        hosts.behind_the_router()?;
        Ok(hosts)
    }

    /// Every host.
    pub fn all(&self) -> impl Iterator<Item = &Host> {
        let named = [
            &self.switch,
            &self.router,
            &self.balancer,
            &self.services,
            &self.client,
            &self.routed,
            &self.outside,
        ];
        named.into_iter().chain(&self.instances)
    }

    /// One host more, behind a tunnel: the link between it and the router takes packets of `mtu` bytes, and no host is told so
    /// by the size of the client's segments. Who sends larger ones has to hear of it from the router (RFC 1191, RFC 8201).
    ///
    /// # Errors
    /// `ip` refuses something; there is one already.
    pub fn branch(&self, mtu: u16) -> anyhow::Result<Host> {
        let host = Host::new("branch")?;
        self.behind(&host, BRANCH)?;
        self.router.ip([format!("link set {} mtu {mtu}", BRANCH.net.interface())])?;
        let router = Station::new(BRANCH.net, 1);
        host.ip([
            format!("link set eth0 mtu {mtu}"),
            format!("route replace default via {} advmss 1460", router.v4()),
            format!("route replace default via {} advmss 1440", router.v6()),
        ])?;
        Ok(host)
    }

    /// Takes the program off the other end of the balancer's cable: frames that it sends by XDP_TX get lost from now on.
    pub fn deafen_switch(&mut self) {
        // The first one, as in `lan`.
        self.passes.remove(0);
    }

    /// Takes the balancer's interface away, as when a machine's card is pulled out.
    ///
    /// # Errors
    /// There is none.
    pub fn unplug_balancer(&mut self) -> anyhow::Result<()> {
        self.balancer.ip(["link delete eth0"])?;
        // The first one: it was on the other end.
        self.passes.remove(0);
        Ok(())
    }

    /// And puts another one in its place, of the same name and address.
    ///
    /// # Errors
    /// It is still there.
    pub fn plug_balancer(&mut self) -> anyhow::Result<()> {
        self.plug(&self.balancer, "eth0", BALANCER)?;
        default_route(&self.balancer, Net::Lan)?;
        self.balancer.ip(["address add fe80::2/64 dev eth0 nodad"])?;
        self.passes.insert(0, Pass::attach(&self.switch, self.balancer.name())?);
        Ok(())
    }

    /// The bridge and everyone on it.
    fn lan(&mut self) -> anyhow::Result<()> {
        self.switch.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        self.switch.ip(["link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up"])?;
        // Where the kernel has br_netfilter, a bridge throws malformed IP away, which here has to reach the balancer.
        for family in ["iptables", "ip6tables", "arptables"] {
            let key = format!("net/bridge/bridge-nf-call-{family}");
            if Path::new("/proc/sys").join(&key).exists() {
                self.switch.sysctl(&key, "0")?;
            }
        }
        let mut stations = vec![(&self.balancer, BALANCER), (&self.client, CLIENT)];
        stations
            .extend((1..).map(Station::instance).zip(&self.instances).map(|(station, host)| (host, station)));
        self.plug(&self.router, "lan", Station::new(Net::Lan, 1))?;
        for (host, station) in stations {
            self.plug(host, "eth0", station)?;
            default_route(host, Net::Lan)?;
        }
        // In place of the one that the kernel would make with detection, and have tentative at first.
        self.balancer.ip(["address add fe80::2/64 dev eth0 nodad"])?;
        let senders = std::iter::once(&self.balancer).chain(&self.instances);
        self.passes =
            senders.map(|host| Pass::attach(&self.switch, host.name())).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// A cable from `host` into the bridge.
    fn plug(&self, host: &Host, interface: &str, station: Station) -> anyhow::Result<()> {
        cable(&self.switch, host.name(), None, host, interface, Some(station.mac()))?;
        self.switch.ip([format!("link set {} master br0 up", host.name())])?;
        number(host, interface, station)?;
        // veth leaves checksums to a card that is not there; XDP_TX forgets that they are missing, so whoever's frames may pass
        // through the balancer has to fill them in.
        host.must(&format!("ethtool -K {interface} tx off")).map(drop)
    }

    /// The router's other three networks, with one host in each.
    fn behind_the_router(&self) -> anyhow::Result<()> {
        self.router.sysctl("net/ipv4/ip_forward", "1")?;
        self.router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let services = Station::new(Net::Services, 10);
        for (host, station) in [(&self.services, services), (&self.routed, ROUTED), (&self.outside, OUTSIDE)]
        {
            self.behind(host, station)?;
        }
        // The provider's side of the public VIP: it is routed onto the LAN, where the balancer answers for it.
        self.router.ip([format!("route add {PUBLIC}/32 dev lan"), format!("route add {PUBLIC6}/128 dev lan")])
    }

    /// A cable from the router to a host, which has everything else by it.
    fn behind(&self, host: &Host, station: Station) -> anyhow::Result<()> {
        let router = Station::new(station.net, 1);
        let interface = station.net.interface();
        cable(&self.router, interface, Some(router.mac()), host, "eth0", Some(station.mac()))?;
        number(&self.router, interface, router)?;
        number(host, "eth0", station)?;
        default_route(host, station.net)
    }
}

fn cable(
    near: &Host,
    near_name: &str,
    near_mac: Option<Mac>,
    far: &Host,
    far_name: &str,
    far_mac: Option<Mac>,
) -> anyhow::Result<()> {
    // Duplicate detection costs each address a second; the balancer's own addresses are added without, its VIPs are not.
    let (key, value) = if far.name() == "balancer" { ("addr_gen_mode", "1") } else { ("accept_dad", "0") };
    far.sysctl(&format!("net/ipv6/conf/default/{key}"), value)?;
    let address = |mac: Option<Mac>| mac.map(|mac| format!("address {}", mac_text(mac))).unwrap_or_default();
    near.ip([format!(
        "link add {near_name} {} type veth peer name {far_name} {} netns {}",
        address(near_mac),
        address(far_mac),
        far.path()
    )])
}

/// Addresses for an interface, and up with it.
fn number(host: &Host, interface: &str, station: Station) -> anyhow::Result<()> {
    host.ip([
        format!("address add {}/24 dev {interface}", station.v4()),
        format!("address add {}/64 dev {interface} nodad", station.v6()),
        format!("link set {interface} up"),
    ])
}

fn default_route(host: &Host, net: Net) -> anyhow::Result<()> {
    let router = Station::new(net, 1);
    host.ip([
        format!("route add default via {}", router.v4()),
        format!("route add default via {}", router.v6()),
    ])
}
