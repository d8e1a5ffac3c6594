//! What is shown of the samples: order and filter, as the keys have them.

use std::{cmp::Ordering, ops::ControlFlow};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::samples::{Course, Rate, Samples};
use crate::{
    control::screen::Tone,
    status::{HealthWord, Instance},
};

/// By what lines are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sort {
    /// By name
    Name,
    /// Packets a second
    Packets,
    /// Bits a second
    Bits,
    /// TCP connections begun in a second
    Syns,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Name => Self::Packets,
            Self::Packets => Self::Bits,
            Self::Bits => Self::Syns,
            Self::Syns => Self::Name,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Packets => "packets",
            Self::Bits => "bits",
            Self::Syns => "SYNs",
        }
    }

    fn compare(self, one: &Entry, other: &Entry) -> Ordering {
        let by = |value: fn(&Rate) -> f64| value(&other.rate).total_cmp(&value(&one.rate));
        let order = match self {
            Self::Name => Ordering::Equal,
            Self::Packets => by(|rate| rate.packets),
            Self::Bits => by(|rate| rate.bits),
            Self::Syns => by(|rate| rate.syns),
        };
        order.then_with(|| one.name.cmp(&other.name))
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// In a word; of drops the reason.
    pub(super) state: String,
    pub(super) tone: Tone,
    pub(super) rate: Rate,
    /// Living flows of an instance, all packets of a drop.
    pub(super) number: Option<u64>,
    pub(super) plot: String,
}

/// What the person at the keyboard has chosen.
#[derive(Debug)]
pub(super) struct View {
    pub(super) sort: Sort,
    filter: String,
    is_typing: bool,
    /// Why there was no new look.
    pub(super) trouble: Option<String>,
}

impl View {
    pub(super) fn new(sort: Sort, filter: String) -> Self {
        Self { sort, filter, is_typing: false, trouble: None }
    }

    /// A key. Breaks where it is the one to leave by.
    pub(super) fn takes(&mut self, key: KeyEvent) -> ControlFlow<()> {
        if key.kind == KeyEventKind::Release {
            return ControlFlow::Continue(());
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return ControlFlow::Break(()),
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Backspace if self.is_typing => {
                self.filter.pop();
            }
            KeyCode::Char(letter) if self.is_typing => self.filter.push(letter),
            KeyCode::Char('q') => return ControlFlow::Break(()),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('/') => self.is_typing = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    pub(super) fn services(&self, samples: &Samples) -> Vec<Entry> {
        let ready = |name: &str| {
            let vips = samples.status().into_iter().flat_map(|status| &status.vips);
            let of = |address: &str| name.trim_start_matches('[').starts_with(address);
            vips.filter(|vip| of(&vip.address.to_string()))
                .max_by_key(|vip| vip.address.to_string().len())
                .is_none_or(|vip| vip.ready)
        };
        let entry = |(name, course): (&str, &Course)| {
            let (state, tone) = if ready(name) { ("ready", Tone::Good) } else { ("not ready", Tone::Bad) };
            Entry::of(name, state, tone, Some(course), None)
        };
        self.chosen(samples.services().map(entry).collect())
    }

    pub(super) fn instances(&self, samples: &Samples) -> Vec<Entry> {
        let entry = |one: &Instance| {
            let (state, tone) = match one.health.as_ref().map(|health| health.state) {
                _ if one.drain.is_some() => ("drains", Tone::Odd),
                None => ("-", Tone::Plain),
                Some(state @ HealthWord::Up) => (state.as_str(), Tone::Good),
                Some(state @ HealthWord::Unknown) => (state.as_str(), Tone::Odd),
                Some(state @ (HealthWord::Down | HealthWord::Gone)) => (state.as_str(), Tone::Bad),
            };
            let flows = one.flows.as_ref().map(|flows| flows.living);
            Entry::of(&one.name, state, tone, samples.instance(&one.name), flows)
        };
        let all = samples.status().into_iter().flat_map(|status| &status.instances);
        self.chosen(all.map(entry).collect())
    }

    pub(super) fn drops(&self, samples: &Samples) -> Vec<Entry> {
        let entry = |(name, reason, course): (&str, &str, &Course)| {
            Entry::of(name, reason, Tone::Odd, Some(course), Some(course.packets()))
        };
        self.chosen(samples.drops().map(entry).collect())
    }

    fn chosen(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.retain(|entry| entry.name.contains(&self.filter) || entry.state.contains(&self.filter));
        entries.sort_by(|one, other| self.sort.compare(one, other));
        entries
    }

    /// The last line: keys and what was chosen by them, or what is wrong.
    pub(super) fn footer(&self) -> String {
        let filter = match &*self.filter {
            "" => String::new(),
            text => format!(" \"{text}\"   Esc none"),
        };
        match (&self.trouble, self.is_typing) {
            (Some(trouble), _) => format!("no answer: {trouble}"),
            (None, true) => format!("filter: {}_", self.filter),
            (None, false) => format!("q quit   s by {}   / filter{filter}", self.sort.word()),
        }
    }
}

impl Entry {
    fn of(name: &str, state: &str, tone: Tone, course: Option<&Course>, number: Option<u64>) -> Self {
        Self {
            name: name.to_owned(),
            state: state.to_owned(),
            tone,
            rate: course.map(|course| course.rate).unwrap_or_default(),
            number,
            plot: course.map_or_else(String::new, plot),
        }
    }
}

/// Eight heights, against the highest; the last look last.
fn plot(course: &Course) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = course.past.iter().copied().fold(0.0, f64::max);
    let height = |value: &f64| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        // At most the last of them: a share is at most 1.
        HEIGHTS[((share * 7.0).round() as usize).min(7)]
    };
    // What does not fit is cut at the end: the newest have to come first in time but last on the screen.
    course.past.iter().rev().take(12).rev().map(height).collect()
}

/// `950`, `1.2k`, `33M`
pub(super) fn short(number: f64) -> String {
    let (value, unit) = match number {
        n if n < 999.5 => return format!("{n:.0}"),
        n if n < 999_500.0 => (n / 1e3, "k"),
        n if n < 999_500_000.0 => (n / 1e6, "M"),
        n => (n / 1e9, "G"),
    };
    if value < 9.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::samples, *};

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    fn press(view: &mut View, keys: &str) {
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            assert!(view.takes(code.into()).is_continue());
        }
    }

    #[test]
    fn keys_sort_and_filter_and_leave() {
        let mut view = View::new(Sort::Name, String::new());
        assert_eq!(names(&view.instances(&samples())), ["gw-1", "gw-2", "gw-3", "gw-4"]);
        press(&mut view, "s");
        assert_eq!(view.sort, Sort::Packets);
        assert_eq!(names(&view.instances(&samples())), ["gw-2", "gw-1", "gw-3", "gw-4"]);
        press(&mut view, "/gw-1");
        assert!(view.footer().starts_with("filter: gw-1"));
        assert_eq!(names(&view.instances(&samples())), ["gw-1"]);
        assert!(view.services(&samples()).is_empty());
        press(&mut view, "\n");
        assert_eq!(view.footer(), "q quit   s by packets   / filter \"gw-1\"   Esc none");
        assert!(view.takes(KeyCode::Esc.into()).is_continue());
        assert_eq!(view.instances(&samples()).len(), 4);
        assert!(view.takes(KeyCode::Char('q').into()).is_break());
        assert!(view.takes(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)).is_break());
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 999.4, 1_000.0, 9_949.0, 12_345.0, 999_500.0, 4.2e9].map(short);
        assert_eq!(all, ["0", "999", "1.0k", "9.9k", "12k", "1.0M", "4.2G"]);
    }
}
