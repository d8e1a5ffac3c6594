//! Connections that an instance begins, client and server on one core: a figure is what both cost together.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use gateway_userspace::dataplane::snat::Snat;
use lab::bench::{Table, median};

use crate::{
    Effort,
    pair::{OUTSIDE, Pair},
    traffic,
    way::Way,
};

/// Of one measurement, and between two: the kernel takes a twentieth of each second from real-time threads that ask for more.
const TIME: Duration = Duration::from_millis(500);
const ROUND_TRIPS: usize = 5_000;
const FIRST_PORT: u16 = 7000;

struct Stand {
    way: Way,
    pair: Pair,
    _snat: Option<Snat>,
    connections: Vec<f64>,
    trips: Vec<f64>,
}

impl Stand {
    fn raise(way: Way) -> anyhow::Result<Self> {
        let pair = Pair::raise()?;
        let snat = way.begin(&pair)?;
        Ok(Self { way, pair, _snat: snat, connections: Vec::new(), trips: Vec::new() })
    }

    /// Each round has a server of its own, so that none has ports to wait for.
    fn round(&mut self, round: u16) -> anyhow::Result<()> {
        let port = FIRST_PORT + round;
        traffic::serve(&self.pair.outside, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
        let to = SocketAddr::new(OUTSIDE.into(), port);
        self.connections.push(traffic::connections(&self.pair.instance, to, TIME)?);
        thread::sleep(TIME);
        self.trips.push(median(&traffic::round_trips(&self.pair.instance, to, ROUND_TRIPS)?));
        thread::sleep(TIME);
        Ok(())
    }
}

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let mut stands = Way::ALL.into_iter().map(Stand::raise).collect::<anyhow::Result<Vec<_>>>()?;
    for round in 0..effort.rounds {
        for stand in &mut stands {
            stand.round(round as u16).map_err(|error| error.context(stand.way.name()))?;
        }
        eprint!("\rconnections: round {} of {}", round + 1, effort.rounds);
    }
    eprintln!();
    let columns = [
        ("connections", "connections/s", 0),
        ("above_us", "µs of one above no translation", 1),
        ("of_nftables", "× nftables", 2),
        ("rtt_us", "round trip, µs", 1),
    ];
    let title = "TCP connections of an instance to the outside, client and server on one core";
    let mut table = Table::new("connections", title, &columns);
    let cost = |way| {
        let stand = stands.iter().find(|stand| stand.way == way).unwrap();
        1e6 / median(&stand.connections)
    };
    let above = |way| cost(way) - cost(Way::Untranslated);
    for stand in &stands {
        let mut values = vec![("connections", median(&stand.connections)), ("rtt_us", median(&stand.trips))];
        if stand.way != Way::Untranslated {
            values.push(("above_us", above(stand.way)));
            values.push(("of_nftables", above(stand.way) / above(Way::Nftables)));
        }
        table.add(stand.way.name(), values);
    }
    Ok(table)
}
