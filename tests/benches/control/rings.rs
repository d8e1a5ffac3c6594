//! Building a Maglev ring of 65,537 buckets.

use std::{hint::black_box, time::Instant};

use gateway_userspace::maglev::{Member, ring};
use lab::bench::Table;

use crate::{Effort, spread};

/// Far heavier than the others: nearly every round has one turn.
const HEAVY: u16 = u16::MAX;

pub(crate) fn measure(effort: Effort) -> Table {
    let columns = [("median", "median ms", 2), ("least", "least", 2), ("most", "most", 2)];
    let mut table = Table::new("rings", "a ring of 65,537 buckets", &columns);
    for count in [10, 100, 1000, 4000] {
        table.add(&format!("{count} instances"), build(count, effort, |_| 100));
    }
    table.add("1000 instances, one far heavier", build(1000, effort, |n| if n == 0 { HEAVY } else { 1 }));
    table
}

fn build(count: u16, effort: Effort, weight: impl Fn(u16) -> u16) -> [(&'static str, f64); 3] {
    let names: Vec<_> = (0..count).map(|n| format!("gw-{n}")).collect();
    let members: Vec<_> =
        (0..count).zip(&names).map(|(n, name)| Member { name, number: n + 1, weight: weight(n) }).collect();
    let once = |_| {
        let begin = Instant::now();
        black_box(ring(black_box(&members), "contoso"));
        begin.elapsed().as_secs_f64()
    };
    spread((0..effort.rounds).map(once).collect())
}
