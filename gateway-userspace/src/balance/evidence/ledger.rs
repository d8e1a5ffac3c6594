//! What instances said, against what the tables say. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use gateway_ebpf::{
    layout::{Bucket, OWNERS, Window},
    note,
};

use super::Report;
use crate::plan;

/// How long after a change a question has to be asked: packets on their way have arrived then, and clients have answered to
/// SYN cookies.
pub(in crate::balance) const MARGIN: Duration = Duration::from_secs(10);
/// How long an answer counts: less than the epoch (68.7 s) for which a note has to be idle.
pub(in crate::balance) const FRESH: Duration = Duration::from_secs(60);
/// From one answer to the next that counts beside it.
const APART: Duration = Duration::from_secs(1);
/// No claim is left after that.
const CLAIMS: Duration = Duration::from_nanos(note::CLAIM_LIFE);

/// What the tables are now, and what else is known.
#[derive(Debug, Clone, Copy)]
pub(in crate::balance) struct Known<'a> {
    pub(in crate::balance) words: &'a [Bucket],
    pub(in crate::balance) windows: &'a [Window],
    pub(in crate::balance) affinity: u64,
    /// An affinity is being switched.
    pub(in crate::balance) switched: bool,
    /// The numbers of all instances.
    pub(in crate::balance) instances: &'a BTreeSet<u16>,
    /// Those at whose addresses nobody answers: they have no flows.
    pub(in crate::balance) gone: &'a BTreeSet<u16>,
    /// Whom trusted notes name, by the low 16 bits of the bucket.
    pub(in crate::balance) noted: &'a BTreeSet<(u16, u16)>,
}

/// Why a window stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::balance) enum Obstacle {
    /// Another owner has living flows.
    Flows,
    /// Another owner has not answered.
    Silent,
    /// It changed too short a time ago.
    Recent,
    /// A flow of another owner is noted.
    Noted,
    /// An affinity is being switched.
    Affinity,
}

impl Obstacle {
    /// In output.
    pub(in crate::balance) const fn name(self) -> &'static str {
        match self {
            Self::Flows => "living-flows",
            Self::Silent => "no-answer",
            Self::Recent => "recent",
            Self::Noted => "noted",
            Self::Affinity => "affinity-switch",
        }
    }
}

/// What follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::balance) struct Verdict {
    /// What may close.
    pub(in crate::balance) over: plan::Evidence,
    /// How many windows stay open, by the first reason that was found.
    pub(in crate::balance) open: BTreeMap<Obstacle, usize>,
    /// Notes that name somebody who has no flow in their bucket: they may go as soon as they are idle.
    pub(in crate::balance) useless: BTreeSet<(u16, u16)>,
}

/// When a bucket's owners changed.
#[derive(Debug, Clone, Copy)]
struct Since {
    /// The last time.
    changed: Instant,
    /// The last time at which a claim may have been made for one that was not the current owner any more afterwards.
    claimed: Option<Instant>,
}

/// All that was said, and since when it would count.
#[derive(Debug, Clone)]
pub(in crate::balance) struct Ledger {
    since: Vec<Since>,
    /// The kernel's counter of SYNs that went to a previous owner, and when it was last seen to grow.
    refused: (u64, Instant),
    reports: BTreeMap<u16, Said>,
}

/// What an instance said. One answer alone proves nothing: the kernel lists sockets while they come, go and change their place.
#[derive(Debug, Clone)]
struct Said {
    last: Report,
    before: Option<Report>,
}

impl Ledger {
    /// Of tables that have just been made: there are no notes.
    pub(in crate::balance) fn new(buckets: usize, now: Instant) -> Self {
        Self::since(Since { changed: now, claimed: None }, buckets, now)
    }

    /// Of tables that an earlier process left: any bucket may have claims for any owner.
    pub(in crate::balance) fn go_on(buckets: usize, now: Instant) -> Self {
        Self::since(Since { changed: now, claimed: Some(now) }, buckets, now)
    }

    fn since(since: Since, buckets: usize, now: Instant) -> Self {
        Self { since: vec![since; buckets], refused: (0, now), reports: BTreeMap::new() }
    }

    /// The ring was changed at `now` at the latest. `instances` are all that have a number.
    pub(in crate::balance) fn follow(
        &mut self,
        before: &[Bucket],
        after: &[Bucket],
        instances: &BTreeSet<u16>,
        now: Instant,
    ) {
        for ((since, before), after) in self.since.iter_mut().zip(before).zip(after) {
            if before == after {
                continue;
            }
            // Claims were made for the current owner as long as the bucket was moved. That is over now, or they name an owner
            // that is not the current one any more.
            if before.is_moved() {
                since.claimed = Some(now);
            }
            since.changed = now;
        }
        self.reports.retain(|number, _| instances.contains(number));
    }

    /// What the kernel's counter says now.
    pub(in crate::balance) fn refused(&mut self, count: u64, now: Instant) {
        if count != self.refused.0 {
            self.refused = (count, now);
        }
    }

    /// An instance's answer.
    pub(in crate::balance) fn heard(&mut self, number: u16, report: Report) {
        let before = match self.reports.remove(&number) {
            Some(said) if report.begun.saturating_duration_since(said.last.begun) < APART => said.before,
            said => said.map(|said| said.last),
        };
        self.reports.insert(number, Said { last: report, before });
    }

    /// The last answer.
    pub(in crate::balance) fn report(&self, number: u16) -> Option<&Report> {
        self.reports.get(&number).map(|said| &said.last)
    }

    /// What may close, and what not.
    pub(in crate::balance) fn judge(&self, known: &Known<'_>, now: Instant) -> Verdict {
        let everyone = self.everyone(known, now);
        if known.switched {
            return self.judge_switch(known, &everyone);
        }
        let mut verdict = Verdict { useless: self.useless(known, now), ..Verdict::default() };
        for (bucket, word) in (0..).zip(known.words).filter(|(_, word)| word.is_moved()) {
            let obstacle = match known.others(bucket) {
                Some(mut others) => others.find_map(|other| self.obstacle(known, bucket, other, now)),
                None => self.obstacle_of_everyone(&everyone, bucket),
            };
            match obstacle.or_else(|| known.is_noted_elsewhere(bucket).then_some(Obstacle::Noted)) {
                Some(obstacle) => *verdict.open.entry(obstacle).or_default() += 1,
                None => {
                    verdict.over.buckets.insert(bucket, word.current());
                }
            }
        }
        pair(known, &mut verdict);
        verdict
    }

    fn judge_switch(&self, known: &Known<'_>, everyone: &Everyone) -> Verdict {
        let mut verdict = Verdict::default();
        let is_over = |bucket| self.obstacle_of_everyone(everyone, bucket).is_none();
        if (0..).zip(known.words).all(|(bucket, _)| is_over(bucket)) {
            let owners = (0..).zip(known.words).map(|(bucket, word)| (bucket, word.current()));
            verdict.over = plan::Evidence { buckets: owners.collect(), affinity: true };
        } else {
            let moved = known.words.iter().filter(|word| word.is_moved()).count();
            verdict.open.insert(Obstacle::Affinity, moved);
        }
        verdict
    }

    /// Notes that name somebody who has no flow in their bucket.
    fn useless(&self, known: &Known<'_>, now: Instant) -> BTreeSet<(u16, u16)> {
        let is_useless = |&(low, number): &(u16, u16)| {
            let mut buckets = with_low(low, known.words);
            buckets.all(|(bucket, word)| {
                word.current() != number && self.obstacle(known, bucket, number, now).is_none()
            })
        };
        known.noted.iter().copied().filter(is_useless).collect()
    }

    /// Why `other` may have a living flow in the bucket.
    fn obstacle(&self, known: &Known<'_>, bucket: u32, other: u16, now: Instant) -> Option<Obstacle> {
        let Some(twice) = self.counting(known, other, now) else { return Some(Obstacle::Silent) };
        if twice.iter().any(|report| report.has(bucket)) {
            return Some(Obstacle::Flows);
        }
        (begun(twice) < self.counts_from(bucket)).then_some(Obstacle::Recent)
    }

    /// Why anybody may have one.
    fn obstacle_of_everyone(&self, everyone: &Everyone, bucket: u32) -> Option<Obstacle> {
        if everyone.elsewhere.contains(&bucket) {
            return Some(Obstacle::Flows);
        }
        let Some(asked) = everyone.asked else { return Some(Obstacle::Silent) };
        (asked < self.counts_from(bucket)).then_some(Obstacle::Recent)
    }

    fn everyone(&self, known: &Known<'_>, now: Instant) -> Everyone {
        let mut everyone = Everyone { asked: Some(now), elsewhere: BTreeSet::new() };
        for &number in known.instances.difference(known.gone) {
            let Some(twice) = self.counting(known, number, now) else {
                everyone.asked = None;
                continue;
            };
            everyone.asked = everyone.asked.map(|asked| asked.min(begun(twice)));
            let is_elsewhere = |bucket: &u32| known.current(*bucket) != number;
            let buckets = twice.iter().flat_map(|report| report.buckets.iter().copied());
            everyone.elsewhere.extend(buckets.filter(is_elsewhere));
        }
        everyone
    }

    /// Its last two answers, where they count: what neither says is not so.
    fn counting(&self, known: &Known<'_>, number: u16, now: Instant) -> Option<[&Report; 2]> {
        let Said { last, before } = self.reports.get(&number)?;
        let twice = [before.as_ref()?, last];
        let is_fresh = now.saturating_duration_since(last.begun) <= FRESH;
        (is_fresh && twice.iter().all(|report| report.affinity == known.affinity)).then_some(twice)
    }

    /// When a question about a bucket has to have been asked at the earliest.
    fn counts_from(&self, bucket: u32) -> Instant {
        let (_, refused) = self.refused;
        let Some(since) = self.since.get(bucket as usize) else { return refused + MARGIN };
        let changed = since.changed.max(refused) + MARGIN;
        since.claimed.map_or(changed, |claimed| changed.max(claimed + CLAIMS))
    }

    /// Whether an instance has nothing left, so that its number may be given away: it owns no bucket, has no flow, and no
    /// note leads to it.
    pub(in crate::balance) fn is_empty(&self, known: &Known<'_>, number: u16, now: Instant) -> bool {
        let Some(twice) = self.counting(known, number, now) else { return false };
        let has_flows = twice.iter().any(|report| report.flows > 0);
        if known.switched || has_flows || known.noted.iter().any(|(_, named)| *named == number) {
            return false;
        }
        (0..).zip(known.words).all(|(bucket, word)| {
            if word.current() == number {
                return false;
            }
            let is_listed = word.is_moved()
                && known.others(bucket).is_none_or(|mut others| others.any(|other| other == number));
            !is_listed || begun(twice) >= self.counts_from(bucket)
        })
    }
}

/// What all instances that may have flows say.
struct Everyone {
    /// When the first of them was asked; none where one has not answered.
    asked: Option<Instant>,
    /// Buckets of which another than the current owner has flows.
    elsewhere: BTreeSet<u32>,
}

/// When the first of two answers was asked for.
const fn begun([first, _]: [&Report; 2]) -> Instant {
    first.begun
}

/// Two buckets that notes do not tell apart close together.
fn pair(known: &Known<'_>, verdict: &mut Verdict) {
    let moved: Vec<u32> =
        with_low(0, known.words).filter(|(_, word)| word.is_moved()).map(|(bucket, _)| bucket).collect();
    if !moved.iter().all(|bucket| verdict.over.buckets.contains_key(bucket)) {
        for bucket in moved {
            if verdict.over.buckets.remove(&bucket).is_some() {
                *verdict.open.entry(Obstacle::Noted).or_default() += 1;
            }
        }
    }
}

impl Known<'_> {
    fn current(&self, bucket: u32) -> u16 {
        self.words.get(bucket as usize).map_or(0, |word| word.current())
    }

    /// Who may have flows in a bucket's window beside the current owner; none: anybody, since the window has no room to tell.
    pub(in crate::balance) fn others(&self, bucket: u32) -> Option<impl Iterator<Item = u16>> {
        let window = self.windows.get(bucket as usize).copied().unwrap_or_default();
        if window.owner(OWNERS - 1) != 0 {
            return None;
        }
        let (current, gone) = (self.current(bucket), self.gone);
        let listed = (0..OWNERS).map(move |place| window.owner(place));
        Some(listed.filter(move |number| *number != 0 && *number != current && !gone.contains(number)))
    }

    fn is_noted_elsewhere(&self, bucket: u32) -> bool {
        let of_bucket = (low(bucket), 0)..=(low(bucket), u16::MAX);
        let current = self.current(bucket);
        self.noted.range(of_bucket).any(|(_, number)| *number != current && !self.gone.contains(number))
    }
}

/// The buckets that a trusted note with these bits may be about.
fn with_low(low: u16, words: &[Bucket]) -> impl Iterator<Item = (u32, &Bucket)> {
    [u32::from(low), u32::from(low) + (1 << 16)]
        .into_iter()
        .filter_map(|bucket| words.get(bucket as usize).map(|word| (bucket, word)))
}

/// What a trusted note has of its bucket's number.
const fn low(bucket: u32) -> u16 {
    bucket as u16
}
