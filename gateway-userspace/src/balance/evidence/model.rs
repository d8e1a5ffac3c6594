//! Random histories of flows, moves, questions and answers: the kernel's notes, the plan's buckets and the ledger together. No
//! packet of a living flow goes astray, and every window closes once its flows have ended.
//!
//! `GATEWAY_MODEL_HISTORIES` says how many (default 300).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::{Duration, Instant},
};

use gateway_ebpf::{
    address::{self, FIVE_TUPLE},
    layout::{Bucket, Window},
    note::{self, Note, Owners, Seen, Settled},
    tables::NoteLine,
};

use super::{Known, Ledger, Report};
use crate::plan::buckets::{self, Change, Held};

const BUCKETS: usize = 12;
const TUPLES: usize = 48;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const MINUTE: u64 = 60 * SECOND;
const TIME_WAIT: u64 = MINUTE;
/// Of a history, before everything comes to rest.
const LENGTH: u64 = 40 * MINUTE;

/// A rule that does not hold, to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Answers count as if they had been asked for later.
    Margin(u64),
    /// SYNs without a note are not counted.
    Refused,
    /// Notes are not looked at.
    Notes,
    /// One answer is enough.
    Once,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Open,
    Change,
    Ask { instance: u16 },
    Listed { instance: u16, begun: u64 },
    Answer { instance: u16, report: usize },
    Syn { tuple: usize, life: u32, again: u32 },
    Socket { tuple: usize, life: u32, at: u16, cookie: u8 },
    Segment { tuple: usize, life: u32, left: u32 },
    Gone { tuple: usize, life: u32, at: u16 },
}

/// A client's view of a tuple.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    life: u32,
    sequence: u32,
    /// Who has answered its SYN.
    at: Option<u16>,
    open: bool,
}

struct History {
    random: u64,
    broken: Broken,
    instances: u16,
    start: Instant,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    count: u64,
    held: Vec<Held>,
    /// Of eight notes: fewer than tuples, so that it is full at times.
    line: NoteLine,
    refused: u64,
    ledger: Ledger,
    /// Whose last answer lacked a socket: the next one does not.
    lacking: BTreeSet<u16>,
    flows: Vec<Flow>,
    /// By instance and tuple: the life that it belongs to.
    sockets: BTreeMap<(u16, usize), u32>,
    reports: Vec<Report>,
    astray: u64,
    packets: u64,
    closed: u64,
}

impl History {
    fn new(seed: u64, broken: Broken) -> Self {
        let start = Instant::now();
        let mut history = Self {
            random: seed | 1,
            broken,
            instances: if seed.is_multiple_of(4) { 10 } else { 3 },
            start,
            // Not at an epoch's begin.
            now: 20 * SECOND,
            events: BinaryHeap::new(),
            count: 0,
            held: vec![(Bucket::settled(1), Window::default()); BUCKETS],
            line: NoteLine::default(),
            refused: 0,
            ledger: Ledger::new(BUCKETS, start + Duration::from_secs(20)),
            lacking: BTreeSet::new(),
            flows: vec![Flow::default(); TUPLES],
            sockets: BTreeMap::new(),
            reports: Vec::new(),
            astray: 0,
            packets: 0,
            closed: 0,
        };
        history.after(0, Event::Open);
        history.after(MINUTE, Event::Change);
        for instance in 1..=history.instances {
            history.after(0, Event::Ask { instance });
        }
        history
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((self.now + delay, self.count, event)));
    }

    fn instant(&self, time: u64) -> Instant {
        self.start + Duration::from_nanos(time)
    }

    fn hash(tuple: usize) -> u64 {
        note::in_bucket(address::mix(tuple as u64 + 1), Self::bucket(tuple) as u32)
    }

    const fn bucket(tuple: usize) -> usize {
        tuple % BUCKETS
    }

    /// As the kernel does it.
    fn steer(&mut self, tuple: usize, syn: Option<u32>) -> u16 {
        let (word, _) = self.held[Self::bucket(tuple)];
        if !word.is_moved() {
            return word.current();
        }
        let owners = Owners { previous: word.previous(), current: word.current() };
        let now = self.now;
        let seen = Seen { line: &self.line, hash: Self::hash(tuple), now: || now, is_gone: |_| false };
        let answer = match syn {
            Some(sequence) => note::syn(&seen, sequence, owners),
            None => note::segment(&seen, self.flows[tuple].sequence, true, owners.previous),
        };
        self.refused += u64::from(answer.1 == Settled::Refused);
        answer.0
    }

    fn run(&mut self) {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            self.now = time;
            self.handle(event);
        }
    }

    fn is_resting(&self) -> bool {
        self.now > LENGTH
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Open => self.open(),
            Event::Change => self.change(),
            Event::Ask { instance } => {
                if self.now < LENGTH + 20 * MINUTE {
                    let (delay, begun) = (self.below(500) * MS, self.now);
                    self.after(delay, Event::Listed { instance, begun });
                    let pause = if self.percent(10) { 40 } else { 3 };
                    self.after(pause * SECOND, Event::Ask { instance });
                }
            }
            Event::Listed { instance, begun } => {
                let here = self.sockets.range((instance, 0)..=(instance, TUPLES));
                let mut tuples: Vec<usize> = here.map(|((_, tuple), _)| *tuple).collect();
                // Some answers are lost.
                let arrives = self.percent(80);
                let lacks = self.percent(5) && !tuples.is_empty() && !self.lacking.contains(&instance);
                if lacks {
                    tuples.remove(self.below(tuples.len() as u64) as usize);
                }
                if arrives && lacks {
                    self.lacking.insert(instance);
                } else if arrives {
                    self.lacking.remove(&instance);
                }
                let buckets: BTreeSet<u32> = tuples.iter().map(|&tuple| Self::bucket(tuple) as u32).collect();
                let begun = match self.broken {
                    Broken::Margin(early) => begun + early,
                    _ => begun,
                };
                self.reports.push(Report {
                    begun: self.instant(begun),
                    affinity: FIVE_TUPLE,
                    flows: tuples.len() as u64,
                    buckets: buckets.into_iter().collect(),
                    certificates: BTreeMap::new(),
                });
                if arrives {
                    let delay = self.below(2000) * MS;
                    self.after(delay, Event::Answer { instance, report: self.reports.len() - 1 });
                }
            }
            Event::Answer { instance, report } => {
                let report = self.reports[report].clone();
                if self.broken == Broken::Once {
                    let begun = report.begun - Duration::from_secs(1);
                    self.ledger.heard(instance, Report { begun, ..report.clone() });
                }
                self.ledger.heard(instance, report);
                self.judge();
            }
            Event::Syn { tuple, life, again } => self.syn(tuple, life, again),
            Event::Socket { tuple, life, at, cookie } => self.socket(tuple, life, at, cookie),
            Event::Segment { tuple, life, left } => self.segment(tuple, life, left),
            Event::Gone { tuple, life, at } => {
                if self.sockets.get(&(at, tuple)) == Some(&life) {
                    self.sockets.remove(&(at, tuple));
                }
            }
        }
    }

    fn open(&mut self) {
        if self.is_resting() {
            return;
        }
        let tuple = self.below(TUPLES as u64) as usize;
        if !self.flows[tuple].open {
            let life = self.flows[tuple].life + 1;
            let sequence = self.next() as u32;
            self.flows[tuple] = Flow { life, sequence, at: None, open: true };
            self.after(0, Event::Syn { tuple, life, again: 0 });
        }
        let pause = [20 * MS, SECOND, 10 * SECOND][self.below(3) as usize];
        // In a quiet time windows close.
        let pause = if self.percent(2) { 100 * SECOND } else { pause };
        self.after(pause, Event::Open);
    }

    fn change(&mut self) {
        if self.is_resting() {
            return;
        }
        let before: Vec<Bucket> = self.held.iter().map(|(word, _)| *word).collect();
        let nobody = BTreeSet::new();
        for place in 0..BUCKETS {
            if self.percent(40) {
                let owner = 1 + self.below(self.instances.into()) as u16;
                let change = Change { ended: &nobody, gone: &nobody, switched: false };
                self.held[place] = buckets::next(self.held[place], owner, change);
            }
        }
        self.follow(&before);
        let pause = [SECOND, 10 * SECOND, 6 * MINUTE, 7 * MINUTE][self.below(4) as usize];
        self.after(pause, Event::Change);
    }

    fn follow(&mut self, before: &[Bucket]) {
        let after: Vec<Bucket> = self.held.iter().map(|(word, _)| *word).collect();
        let instances = (1..=self.instances).collect();
        self.ledger.follow(before, &after, &instances, self.instant(self.now));
    }

    fn syn(&mut self, tuple: usize, life: u32, again: u32) {
        let flow = self.flows[tuple];
        if flow.life != life || flow.at.is_some() || !flow.open {
            return;
        }
        if again > 4 {
            // The client gives up.
            self.flows[tuple].open = false;
            return;
        }
        let at = self.steer(tuple, Some(flow.sequence));
        if self.percent(85) {
            let delay = self.below(50) * MS;
            // The whole SYN queue of an instance is full at times, so that no socket is made before the handshake's end.
            let cookie = u8::from(self.percent(30));
            self.after(delay, Event::Socket { tuple, life, at, cookie });
        }
        self.after(SECOND << again, Event::Syn { tuple, life, again: again + 1 });
    }

    fn socket(&mut self, tuple: usize, life: u32, at: u16, cookie: u8) {
        let flow = &mut self.flows[tuple];
        if flow.life != life || flow.at.is_some() || !flow.open {
            return;
        }
        flow.at = Some(at);
        if cookie == 0 {
            self.sockets.insert((at, tuple), life);
        }
        // The first acknowledgment may be lost, and the request come a while later.
        let round_trip = if self.percent(20) { 6 * SECOND } else { self.below(400) * MS };
        let left = self.below(8) as u32;
        self.after(round_trip, Event::Segment { tuple, life, left });
    }

    fn segment(&mut self, tuple: usize, life: u32, left: u32) {
        let Flow { life: now, at: Some(at), open: true, .. } = self.flows[tuple] else { return };
        if now != life {
            return;
        }
        self.packets += 1;
        if self.steer(tuple, None) != at {
            // Reset.
            self.astray += 1;
            self.flows[tuple].open = false;
            self.sockets.remove(&(at, tuple));
            return;
        }
        self.sockets.insert((at, tuple), life);
        if left == 0 || self.is_resting() {
            self.flows[tuple].open = false;
            // The side whose end is first waits.
            let wait = if self.percent(30) { TIME_WAIT } else { 0 };
            self.after(wait, Event::Gone { tuple, life, at });
            return;
        }
        let pause = [20 * MS, SECOND, 5 * SECOND][self.below(3) as usize];
        let pause = if self.percent(1) { 8 * MINUTE } else { pause };
        self.after(pause, Event::Segment { tuple, life, left: left - 1 });
    }

    /// As the kernel's tables are read: notes with their buckets, idle ones without a flow are taken out.
    fn noted(&self, useless: &BTreeSet<(u16, u16)>) -> BTreeSet<(u16, u16)> {
        let mut noted = BTreeSet::new();
        if self.broken == Broken::Notes {
            return noted;
        }
        for word in &self.line {
            let seen = Note(word.load());
            let Some(bucket) = seen.bucket() else { continue };
            noted.insert((bucket, seen.instance()));
            if seen.is_idle(note::epoch(self.now)) && useless.contains(&(bucket, seen.instance())) {
                word.replace(seen.0, 0);
            }
        }
        noted
    }

    fn judge(&mut self) {
        let now = self.instant(self.now);
        let noted = self.noted(&BTreeSet::new());
        if self.broken != Broken::Refused {
            self.ledger.refused(self.refused, now);
        }
        let (words, windows): (Vec<_>, Vec<_>) = self.held.iter().copied().unzip();
        let known = Known {
            words: &words,
            windows: &windows,
            affinity: FIVE_TUPLE,
            switched: false,
            instances: &(1..=self.instances).collect(),
            gone: &BTreeSet::new(),
            noted: &noted,
        };
        let verdict = self.ledger.judge(&known, now);
        for number in 1..=self.instances {
            if self.ledger.is_empty(&known, number, now) {
                let lives = |flow: &Flow| flow.open && flow.at == Some(number);
                let left = self.flows.iter().filter(|flow| lives(flow)).count();
                assert!(left == 0 || self.broken != Broken::Nothing, "{number} has {left} flows");
            }
        }
        self.noted(&verdict.useless);
        for &bucket in verdict.over.buckets.keys() {
            self.held[bucket as usize] = buckets::close(self.held[bucket as usize]);
            self.closed += 1;
        }
        let is_closed =
            |note: Note| note.bucket().is_some_and(|b| verdict.over.buckets.contains_key(&u32::from(b)));
        for word in &self.line {
            if is_closed(Note(word.load())) {
                word.store(0);
            }
        }
        self.follow(&words);
    }
}

fn history(number: u64, broken: Broken) -> History {
    let mut history = History::new(number * 0x9e37_79b9, broken);
    history.run();
    history
}

#[test]
fn r12_no_packet_of_a_living_flow_goes_astray_by_a_closed_window_and_every_window_closes() {
    let count = std::env::var("GATEWAY_MODEL_HISTORIES").ok().and_then(|text| text.parse().ok());
    let (mut packets, mut closed, mut refused) = (0, 0, 0);
    for number in 1..=count.unwrap_or(60) {
        let history = history(number, Broken::Nothing);
        assert_eq!(history.astray, 0, "history {number}");
        let open = history.held.iter().filter(|(word, _)| word.is_moved()).count();
        assert_eq!(open, 0, "windows stay open in history {number}");
        packets += history.packets;
        closed += history.closed;
        refused += history.refused;
    }
    eprintln!("{packets} packets, {closed} windows closed, {refused} SYNs refused");
    assert!(packets > 10_000 && closed > 500 && refused > 100);
}

#[test]
fn each_rule_of_the_evidence_is_needed() {
    // Beyond the margin, and beyond a claim's life as well.
    let margins = [Broken::Margin(10 * SECOND), Broken::Margin(5 * MINUTE)];
    for broken in margins.into_iter().chain([Broken::Refused, Broken::Notes, Broken::Once]) {
        let astray = (1..400).find(|&number| history(number, broken).astray > 0);
        eprintln!("{broken:?}: astray in history {astray:?}");
        assert!(astray.is_some(), "{broken:?}: no packet went astray");
    }
}
