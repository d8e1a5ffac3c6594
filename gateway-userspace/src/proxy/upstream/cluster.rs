//! A route's upstreams, and which of them gets a request.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use http::header::COOKIE;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    budget::Budget,
    choose::{By, Set, candidates, choose, mixed},
    eject::left_out,
    kept::Pool,
    limit::Busy,
    members::{Followed, Member, Members},
    peer::{Flight, Part, Peer, Upstreams},
};
use crate::{
    maglev::hash,
    model::{Backend, Balance},
    proxy::message::Headers,
};

/// All upstreams of a route.
#[derive(Debug)]
pub struct Cluster {
    current: Current,
    balance: Balance,
    /// One a worker.
    shares: Box<[Share]>,
}

#[derive(Debug)]
enum Current {
    Fixed(Members),
    Followed(Arc<Followed>),
}

/// A cluster as a request finds it, and keeps it until it has its answer.
#[derive(Debug)]
pub(super) struct View<'c> {
    members: Held<'c>,
    cluster: &'c Cluster,
}

#[derive(Debug)]
enum Held<'c> {
    Fixed(&'c Members),
    Followed(Arc<Members>),
}

/// What a worker knows of a cluster.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share {
    turn: AtomicU32,
    random: AtomicU64,
    budget: AtomicU32,
}

/// One of a cluster's upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice(usize);

impl Cluster {
    /// Of a route of the configuration.
    pub fn new(backend: &Backend, upstreams: &Upstreams) -> Self {
        let current = match Followed::new(&backend.locations, upstreams) {
            Some(followed) => Current::Followed(followed),
            None => Current::Fixed(Members::new(&backend.locations, &[], upstreams)),
        };
        let shares = (0..upstreams.workers()).map(Share::new).collect();
        Self { current, balance: backend.balance.clone(), shares }
    }

    /// As it is now. Where nothing is known of its names yet, the first answer is waited for.
    pub(super) async fn now(&self) -> View<'_> {
        let view = self.view();
        if let (Current::Followed(followed), true) = (&self.current, view.members.all.is_empty()) {
            // Seldom, and large: what a request waits for is moved, and this is not to be moved with it.
            Box::pin(followed.asked()).await;
            return self.view();
        }
        view
    }

    fn view(&self) -> View<'_> {
        let members = match &self.current {
            Current::Fixed(members) => Held::Fixed(members),
            Current::Followed(followed) => Held::Followed(followed.members()),
        };
        View { members, cluster: self }
    }
}

impl Deref for Held<'_> {
    type Target = Members;

    fn deref(&self) -> &Members {
        match self {
            Held::Fixed(members) => members,
            Held::Followed(members) => members,
        }
    }
}

impl View<'_> {
    /// What this request is to be chosen by.
    pub(super) fn by(&self, headers: &Headers, pool: &Pool) -> By {
        let share = &self.cluster.shares[pool.worker];
        let key = match &self.cluster.balance {
            Balance::RoundRobin => return By::Turn(share.turn.fetch_add(1, Ordering::Relaxed)),
            Balance::LeastLoaded => None,
            Balance::HashHeader(name) => headers.get(name).map(|value| hash(&[value.as_bytes()])),
            Balance::HashCookie(name) => cookie(headers, name).map(|value| hash(&[value])),
        };
        key.map_or_else(|| By::Load(share.bits()), By::Key)
    }

    /// One that was not `tried` yet.
    pub(super) fn choose(&self, by: By, tried: Set, pool: &Pool) -> Option<Choice> {
        let part = |number: usize| self.part(Choice(number), pool);
        let all = Set::first(self.members.all.len());
        let in_service = match self.members.all.len() {
            1 => all,
            count if (0..count).all(|number| part(number).record().is_clean()) => self.up(),
            count => self.up().without(left_out(count, |number| part(number).record(), pool.now())),
        };
        let mut candidates = candidates(&self.members.tiers, in_service, tried);
        // A key stays with its upstream, and waits there.
        if candidates.len() > 1 && !matches!(by, By::Key(_)) {
            let free = candidates.without(self.full());
            candidates = if free.is_empty() { candidates } else { free };
        }
        let seed = |number: usize| self.members.all[number].seed;
        choose(candidates, by, |number| part(number).load(), seed).map(Choice)
    }

    /// Those that their probes do not say are down.
    fn up(&self) -> Set {
        let up = |member: &Member| member.standing.as_ref().is_none_or(|standing| standing.is_up());
        (0..self.members.all.len()).filter(|number| up(&self.members.all[*number])).collect()
    }

    /// Those that have all the requests they get at once.
    fn full(&self) -> Set {
        let full = |member: &Member| member.bound.as_ref().is_some_and(|bound| bound.is_full());
        (0..self.members.all.len()).filter(|number| full(&self.members.all[*number])).collect()
    }

    /// A request begins at it.
    pub(super) async fn enter(&self, choice: Choice, pool: &Pool) -> Result<Flight, Busy> {
        let place = match &self.members.all[choice.0].bound {
            Some(bound) => Some(bound.enter().await?),
            None => None,
        };
        Ok(Flight::new(self.part(choice, pool), place))
    }

    /// Leave for one more connection to it, if it takes that.
    pub(super) fn line(&self, choice: Choice) -> Result<Option<OwnedSemaphorePermit>, Busy> {
        self.members.all[choice.0].bound.as_ref().map_or(Ok(None), |bound| bound.line())
    }

    pub(super) fn peer(&self, choice: Choice) -> &Peer {
        &self.members.all[choice.0].peer
    }

    pub(super) fn part(&self, choice: Choice, pool: &Pool) -> &Arc<Part> {
        self.members.all[choice.0].peer.part(pool.worker)
    }

    /// A request begins.
    pub(super) fn earn(&self, pool: &Pool) {
        let budget = &self.cluster.shares[pool.worker].budget;
        let before = budget.load(Ordering::Relaxed);
        let after = Budget::from_bits(before).earn().to_bits();
        if before != after {
            budget.store(after, Ordering::Relaxed);
        }
    }

    /// Whether a request may be sent once more.
    pub(super) fn spend(&self, pool: &Pool) -> bool {
        let budget = &self.cluster.shares[pool.worker].budget;
        let left = Budget::from_bits(budget.load(Ordering::Relaxed)).spend();
        if let Some(left) = left {
            budget.store(left.to_bits(), Ordering::Relaxed);
        }
        left.is_some()
    }

    /// A request to it came to nothing, or to an answer of a broken server.
    pub(super) fn note_failure(&self, choice: Choice, pool: &Pool) {
        let part = self.part(choice, pool);
        let (before, now) = (part.record(), pool.now());
        let after = before.failed(now);
        if after.is_out(now) && !before.is_out(now) && self.members.all.len() > 1 {
            log::warn!(
                "upstream {}: left out for {:?} after failures in a row",
                self.peer(choice).server,
                after.time_out(now)
            );
        }
        part.set_record(after);
    }

    /// It answered.
    pub(super) fn note_success(&self, choice: Choice, pool: &Pool) {
        let part = self.part(choice, pool);
        let before = part.record();
        if !before.is_clean() {
            part.set_record(before.succeeded(pool.now()));
        }
    }
}

impl Choice {
    pub(super) fn added_to(self, tried: Set) -> Set {
        tried.with(self.0)
    }
}

impl Share {
    /// Workers take turns at different places.
    fn new(worker: usize) -> Self {
        Self {
            turn: AtomicU32::new(worker as u32),
            random: AtomicU64::new(mixed(worker as u64 + 1)),
            budget: AtomicU32::new(Budget::default().to_bits()),
        }
    }

    /// Random enough to spread requests.
    fn bits(&self) -> u64 {
        mixed(self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }
}

/// The value of a cookie (RFC 6265, section 4.2.1).
fn cookie<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    let pairs = headers.get_all(&COOKIE).flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()
}

#[cfg(test)]
mod tests {
    use super::{super::eject::Record, *};
    use crate::{
        model::{Location, Upstream, UpstreamScheme},
        proxy::limits::Limits,
    };

    fn location(priority: u16, hosts: &[u8]) -> Location {
        let upstream = |host: &u8| Upstream::at(UpstreamScheme::Http, ([10, 0, 1, *host], 8080).into());
        Location {
            priority,
            name: None,
            upstream: hosts.iter().map(upstream).collect(),
            health: None,
            limits: None,
        }
    }

    fn cluster(balance: Balance, locations: Vec<Location>) -> (Cluster, Pool) {
        let upstreams = Upstreams::new(1, &Limits::default());
        let backend = Backend { balance, locations, ..Backend::default() };
        (Cluster::new(&backend, &upstreams), Pool::new(upstreams))
    }

    fn chosen(cluster: &Cluster, pool: &Pool, headers: &Headers) -> usize {
        let view = cluster.view();
        view.choose(view.by(headers, pool), Set::EMPTY, pool).unwrap().0
    }

    #[tokio::test]
    async fn r72_who_fails_in_a_row_is_left_out_and_comes_back() {
        let (cluster, pool) = cluster(Balance::RoundRobin, vec![location(1, &[1]), location(2, &[2])]);
        let none = Headers::new();
        assert_eq!(chosen(&cluster, &pool, &none), 0);
        for _ in 0..5 {
            cluster.view().note_failure(Choice(0), &pool);
        }
        assert_eq!(chosen(&cluster, &pool, &none), 1);
        for _ in 0..5 {
            cluster.view().note_failure(Choice(1), &pool);
        }
        assert_eq!(chosen(&cluster, &pool, &none), 0, "half serve, and it is the first to come back");
        cluster.view().part(Choice(0), &pool).set_record(Record::default());
        assert_eq!(chosen(&cluster, &pool, &none), 0);
    }

    #[tokio::test]
    async fn a_cookie_or_a_field_leads_to_the_same_upstream() {
        let hosts: Vec<u8> = (1..=20).collect();
        for (balance, field) in [
            (Balance::HashHeader("x-user".parse().unwrap()), "x-user"),
            (Balance::HashCookie("user".into()), "cookie"),
        ] {
            let (cluster, pool) = cluster(balance, vec![location(1, &hosts)]);
            let headers = |value: &str| {
                let value =
                    if field == "cookie" { format!("a=b; user={value}; c=d") } else { value.to_owned() };
                Headers::from_iter([(field.parse().unwrap(), value.parse().unwrap())])
            };
            let of = |value: &str| chosen(&cluster, &pool, &headers(value));
            assert!((0..50).all(|_| of("alice") == of("alice")));
            let all: std::collections::HashSet<_> = (0..500).map(|n| of(&n.to_string())).collect();
            assert_eq!(all.len(), 20, "every upstream has users");
            let without: std::collections::HashSet<_> =
                (0..500).map(|_| chosen(&cluster, &pool, &Headers::new())).collect();
            assert_eq!(without.len(), 20, "without it requests are spread");
        }
    }

    #[tokio::test]
    async fn the_less_loaded_of_two_is_chosen() {
        let (cluster, pool) = cluster(Balance::LeastLoaded, vec![location(1, &[1, 2])]);
        let flight = Flight::new(cluster.view().part(Choice(0), &pool), None);
        assert!((0..50).all(|_| chosen(&cluster, &pool, &Headers::new()) == 1));
        drop(flight);
        assert!((0..50).any(|_| chosen(&cluster, &pool, &Headers::new()) == 0));
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let headers = |values: &[&'static str]| {
            values.iter().map(|value| (COOKIE, http::HeaderValue::from_static(value))).collect::<Headers>()
        };
        for (fields, found) in [
            (&["id=1"][..], Some("1")),
            (&["xid=2; id=1"], Some("1")),
            (&["idx=2;id=1 ; b"], Some("1")),
            (&["a=b", "id="], Some("")),
            (&["id", "b=id=3"], None),
        ] {
            assert_eq!(cookie(&headers(fields), "id"), found.map(str::as_bytes), "{fields:?}");
        }
    }
}
