//! One look as text.

use super::{
    samples::Samples,
    view::{Entry, View, short},
};
use crate::control::screen::{Cell, Colour, cell, table, toned};

/// Tables as `gateway status` has them.
pub(super) fn text(samples: &Samples, view: &View, colour: Colour) -> String {
    let mut text = String::new();
    let rates =
        |entry: &Entry| [entry.rate.packets, entry.rate.bits, entry.rate.syns].map(|rate| cell(short(rate)));
    let number = |entry: &Entry| cell(entry.number.map_or_else(String::new, |number| short(number as f64)));
    let row = |entry: &Entry| -> Vec<Cell> {
        let [packets, bits, syns] = rates(entry);
        vec![cell(&entry.name), toned(entry.tone, &entry.state), packets, bits, syns, number(entry)]
    };
    let mut add = |head: [&str; 3], entries: &[Entry]| {
        let [name, state, number] = head;
        let rows: Vec<_> = entries.iter().map(row).collect();
        text += &table(&[name, state, "PACKETS/s", "BITS/s", "SYNs/s", number], &rows, colour);
        text.push('\n');
    };
    add(["SERVICE", "STATE", ""], &view.services(samples));
    add(["INSTANCE", "HEALTH", "FLOWS"], &view.instances(samples));
    let drops = view.drops(samples);
    if drops.is_empty() {
        return text + "nothing was dropped\n";
    }
    add(["DROPPED FOR", "REASON", "PACKETS"], &drops);
    text.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{control::top::view::Sort, status::testing::full};

    #[test]
    fn r90_it_fits_80_columns_and_has_all() {
        let (mut samples, began) = (Samples::default(), Instant::now());
        samples.take(began, full());
        samples.take(began + Duration::from_secs(1), full());
        let text = text(&samples, &View::new(Sort::Name, String::new()), Colour::Off);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for part in ["SERVICE", "10.0.0.5:443", "INSTANCE", "gw-1", "DROPPED FOR", "vlan-depth"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }
}
