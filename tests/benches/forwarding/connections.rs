//! Real connections: client, balancer and server on one core, so that a figure is what all of them cost together.

use std::{net::SocketAddr, path::Path, thread, time::Duration};

use gateway_userspace::model::Forwarding;
use lab::{
    bench::{Table, median, percentile},
    pass::Pass,
    process::Process,
};

use crate::{
    Effort,
    lan::{BALANCER, Lan, SERVER, VIP, at},
    ours, peers,
    targets::Kernel,
    traffic,
};

/// Of one measurement, and between two: the kernel takes a twentieth of each second from real-time threads that ask for more.
const TIME: Duration = Duration::from_millis(500);
const BYTES: u64 = 128 << 20;
const ROUND_TRIPS: usize = 5_000;

/// A way from the client to the server.
struct Way {
    name: &'static str,
    lan: Lan,
    to: SocketAddr,
    /// What has to live for it.
    _kernel: Option<Kernel>,
    _pass: Option<Pass>,
    _process: Option<Process>,
    figures: Figures,
}

/// One value a round.
#[derive(Default)]
struct Figures {
    connections: Vec<f64>,
    upload: Vec<f64>,
    download: Vec<f64>,
    median: Vec<f64>,
    p99: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, lan: Lan, to: SocketAddr) -> Self {
        Self { name, lan, to, _kernel: None, _pass: None, _process: None, figures: Figures::default() }
    }

    fn direct() -> anyhow::Result<Self> {
        Ok(Self::new("direct: no balancer", Lan::raise()?, at(SERVER)))
    }

    /// The server has the VIP too, and answers the client itself.
    fn l2() -> anyhow::Result<Self> {
        let lan = Lan::raise()?;
        lan.server.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
        lan.server.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
        lan.server.ip([format!("address add {VIP}/32 dev lo")])?;
        let pass = Pass::attach(&lan.switch, "balancer")?;
        let kernel = ours::attach_to_lan(Forwarding::L2, &lan.balancer)?;
        Ok(Self { _kernel: Some(kernel), _pass: Some(pass), ..Self::new("gateway, l2", lan, at(VIP)) })
    }

    fn nftables(folder: &Path) -> anyhow::Result<Self> {
        let lan = Lan::raise()?;
        peers::nftables_nat(&lan.balancer, VIP, SERVER, folder)?;
        Ok(Self::new("nftables DNAT", lan, at(VIP)))
    }

    fn haproxy(folder: &Path) -> anyhow::Result<Self> {
        let lan = Lan::raise()?;
        let process = peers::haproxy(&lan.balancer, at(BALANCER), at(SERVER), folder)?;
        Ok(Self { _process: Some(process), ..Self::new("HAProxy, TCP mode", lan, at(BALANCER)) })
    }

    fn round(&mut self) -> anyhow::Result<()> {
        let (client, to) = (&self.lan.client, self.to);
        let rest = || thread::sleep(TIME);
        self.figures.connections.push(traffic::connections(client, to, TIME)?);
        rest();
        self.figures.upload.push(traffic::upload(client, to, BYTES)?);
        rest();
        self.figures.download.push(traffic::download(client, to, BYTES)?);
        rest();
        let trips = traffic::round_trips(client, to, ROUND_TRIPS)?;
        self.figures.median.push(median(&trips));
        self.figures.p99.push(percentile(&trips, 99));
        rest();
        Ok(())
    }
}

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let folder = tempfile::tempdir()?;
    let mut ways =
        vec![Way::direct()?, Way::l2()?, Way::nftables(folder.path())?, Way::haproxy(folder.path())?];
    for way in &ways {
        traffic::serve(&way.lan.server, "0.0.0.0:443".parse()?)?;
    }
    for round in 0..effort.rounds {
        for way in &mut ways {
            way.round().map_err(|error| error.context(way.name))?;
        }
        eprint!("\rconnections: round {} of {}", round + 1, effort.rounds);
    }
    eprintln!();
    let columns = [
        ("connections", "connections/s", 0),
        ("upload_gbps", "up, Gb/s", 2),
        ("download_gbps", "down, Gb/s", 2),
        ("rtt_us", "round trip, µs, median", 1),
        ("rtt_p99_us", "p99", 1),
    ];
    let title = "TCP connections, client, balancer and server on one core";
    let mut table = Table::new("connections", title, &columns);
    for way in &ways {
        let Figures { connections, upload, download, median: middle, p99 } = &way.figures;
        table.add(
            way.name,
            [
                ("connections", median(connections)),
                ("upload_gbps", median(upload)),
                ("download_gbps", median(download)),
                ("rtt_us", median(middle)),
                ("rtt_p99_us", median(p99)),
            ],
        );
    }
    Ok(table)
}
