//! Upstreams by name: their addresses are followed through the DNS, by one for all workers and for the life of the process.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{known::Known, members::Followed, peer::Upstreams, resolver::Resolver};

/// How long a request waits for the first answer about its upstream's name.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// A name that is followed.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) host: String,
    known: ArcSwap<Known>,
    /// The DNS was asked once, whatever it said.
    asked: watch::Sender<bool>,
    /// Somebody follows it.
    taken: AtomicBool,
}

/// What metrics tell of an upstream's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSeen {
    /// `orders.internal`
    pub name: String,
    /// How many addresses it has.
    pub addresses: usize,
    /// The last question about it had no answer.
    pub is_failing: bool,
}

/// All names that are followed, and whose upstreams have them.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Mutex<HashMap<String, Weak<Name>>>,
    clusters: Mutex<Vec<Weak<Followed>>>,
    /// A name that nobody follows yet.
    new: Notify,
    /// Who is asked; empty: whom the system asks.
    servers: watch::Sender<Vec<SocketAddr>>,
}

impl Name {
    fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            known: ArcSwap::default(),
            asked: watch::Sender::new(false),
            taken: AtomicBool::new(false),
        }
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.known.load().addresses()
    }

    /// Until the DNS was asked once, or has taken too long.
    pub(super) async fn asked(&self) {
        let mut asked = self.asked.subscribe();
        // Either way the answer is what is known then.
        let _: Result<_, _> = timeout(FIRST_ANSWER, asked.wait_for(|asked| *asked)).await;
    }
}

impl Names {
    /// That name, the same one for all who ask while somebody has it.
    pub(super) fn name(&self, host: &str) -> Arc<Name> {
        let mut names = lock(&self.names);
        if let Some(name) = names.get(host).and_then(Weak::upgrade) {
            return name;
        }
        let name = Arc::new(Name::new(host));
        names.retain(|_, name| name.strong_count() > 0);
        names.insert(host.to_owned(), Arc::downgrade(&name));
        self.new.notify_one();
        name
    }

    /// These hear of changes from now on.
    pub(super) fn tell(&self, cluster: &Arc<Followed>) {
        let mut clusters = lock(&self.clusters);
        clusters.retain(|cluster| cluster.strong_count() > 0);
        clusters.push(Arc::downgrade(cluster));
    }

    /// Asks these from now on, and all names anew. Whoever the system asks is read anew too.
    pub(super) fn ask(&self, servers: &[SocketAddr]) {
        self.servers.send_replace(servers.to_vec());
    }

    /// Those that are in use, sorted.
    pub(super) fn seen(&self) -> Vec<NameSeen> {
        let seen = |name: Arc<Name>| {
            let known = name.known.load();
            NameSeen {
                name: name.host.clone(),
                addresses: known.addresses().len(),
                is_failing: known.failure.is_some(),
            }
        };
        let mut all: Vec<_> = lock(&self.names).values().filter_map(Weak::upgrade).map(seen).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn take_new(&self) -> Vec<Weak<Name>> {
        let is_new =
            |name: &&Weak<Name>| name.upgrade().is_some_and(|name| !name.taken.swap(true, Ordering::Relaxed));
        lock(&self.names).values().filter(is_new).cloned().collect()
    }

    fn clusters_of(&self, name: &Arc<Name>) -> Vec<Arc<Followed>> {
        lock(&self.clusters).iter().filter_map(Weak::upgrade).filter(|cluster| cluster.has(name)).collect()
    }
}

/// Follows all names.
pub(super) async fn follow(upstreams: Arc<Upstreams>) {
    let mut servers = upstreams.names.servers.subscribe();
    let resolver = Arc::new(Resolver::new(&servers.borrow_and_update()));
    let (resolver, resolvers) = watch::channel(resolver);
    loop {
        for name in upstreams.names.take_new() {
            tokio::spawn(follow_one(name, Arc::clone(&upstreams), resolvers.clone()));
        }
        tokio::select! {
            () = upstreams.names.new.notified() => {}
            changed = servers.changed() => match changed {
                Ok(()) => drop(resolver.send_replace(Arc::new(Resolver::new(&servers.borrow_and_update())))),
                Err(_) => return,
            },
        }
    }
}

/// Until no configuration has it any more.
async fn follow_one(
    name: Weak<Name>,
    upstreams: Arc<Upstreams>,
    mut resolvers: watch::Receiver<Arc<Resolver>>,
) {
    let Some(host) = name.upgrade().map(|name| name.host.clone()) else { return };
    loop {
        let resolver = Arc::clone(&resolvers.borrow_and_update());
        let (v4, v6) = resolver.ask(&host).await;
        let Some(name) = name.upgrade() else { return };
        let lifetime = v4.lifetime().into_iter().chain(v6.lifetime()).min();
        let before = name.known.load_full();
        let after = Arc::new(before.after(v4, v6));
        log(&host, &before, &after);
        name.known.store(Arc::clone(&after));
        if before.addresses() != after.addresses() {
            for cluster in upstreams.names.clusters_of(&name) {
                cluster.follow(&upstreams);
            }
        }
        name.asked.send_replace(true);
        drop(name);
        tokio::select! {
            () = sleep(after.again_in(lifetime)) => {}
            changed = resolvers.changed() => if changed.is_err() { return },
        }
    }
}

/// A failure is told when it begins, and then ever more seldom.
fn log(host: &str, before: &Known, after: &Known) {
    let addresses = after.addresses();
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match &after.failure {
        Some(why) if after.is_worth_telling() && list.is_empty() => {
            log::warn!("upstream name {host} has no address yet: {why}; requests to it get 503");
        }
        Some(why) if after.is_worth_telling() => {
            log::warn!("upstream name {host} cannot be resolved: {why}; it stays at {list}");
        }
        Some(_) => {}
        None if before.addresses() != addresses => log::info!("upstream name {host} is at {list}"),
        None if before.failure.is_some() => log::info!("upstream name {host} is resolved again"),
        None => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
