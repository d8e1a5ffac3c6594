//! Who is asked, and when: a task for each instance, so that it is asked one thing at a time and a slow one delays nobody.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ask::{Failure, Place},
    drain::{Drain, News},
    report::Report,
};
use crate::{maglev, model::InstanceName};

/// From an answer to the next question, where something waits for it.
const SOON: Duration = Duration::from_secs(3);
/// Where nothing does but people who look.
const SELDOM: Duration = Duration::from_secs(30);
/// A question takes its instance no more than this part of the time, however many sockets it has to list.
const SHARE: u32 = 20;
/// Instances that are asked at once, of a thousand.
const AT_ONCE: usize = 32;
/// Over which time they are spread when something concerns all of them.
const SPREAD: Duration = Duration::from_secs(2);

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::balance) enum Pace {
    /// A window or a drain waits for it.
    Soon,
    /// For those who look.
    Seldom,
}

/// What an instance is asked, and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::balance) struct Order {
    /// Its address and probe port.
    pub(in crate::balance) to: SocketAddr,
    /// This host's address by which the instance knows it.
    pub(in crate::balance) from: Option<IpAddr>,
    /// The mask of the ring.
    pub(in crate::balance) affinity: u64,
    pub(in crate::balance) pace: Pace,
    /// The end of its drain, if it is drained and the clock can tell.
    pub(in crate::balance) drained: Option<Instant>,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::balance) struct Answer {
    pub(in crate::balance) name: InstanceName,
    pub(in crate::balance) flows: Result<Report, Failure>,
    /// What the instance said to the news that it is drained, or no more; none: there was no news.
    pub(in crate::balance) told: Option<Result<(), Failure>>,
}

/// The tasks. They end with this.
#[derive(Debug)]
pub(in crate::balance) struct Askers {
    tasks: BTreeMap<InstanceName, Asker>,
    limit: Arc<Semaphore>,
}

#[derive(Debug)]
struct Asker {
    order: watch::Sender<Option<Order>>,
    task: AbortOnDropHandle<()>,
}

impl Default for Askers {
    fn default() -> Self {
        Self { tasks: BTreeMap::new(), limit: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Askers {
    /// From now on these are asked; answers go through `tell`. Who is not among them is asked nothing, but is still told
    /// that its drain is over.
    pub(in crate::balance) fn order<M: Send + 'static>(
        &mut self,
        orders: BTreeMap<InstanceName, Order>,
        outbox: &mpsc::Sender<M>,
        tell: fn(Answer) -> M,
    ) {
        self.tasks.retain(|name, asker| {
            if !orders.contains_key(name) {
                asker.order.send_if_modified(|order| order.take().is_some());
            }
            !asker.task.is_finished()
        });
        for (name, order) in orders {
            match self.tasks.get(&name) {
                Some(asker) => {
                    asker.order.send_if_modified(|running| running.replace(order) != Some(order));
                }
                None => {
                    let (sender, receiver) = watch::channel(Some(order));
                    let limit = Arc::clone(&self.limit);
                    let task = ask(name.clone(), receiver, limit, outbox.clone(), tell);
                    self.tasks.insert(
                        name,
                        Asker { order: sender, task: AbortOnDropHandle::new(tokio::spawn(task)) },
                    );
                }
            }
        }
    }
}

async fn ask<M: Send + 'static>(
    name: InstanceName,
    mut orders: watch::Receiver<Option<Order>>,
    limit: Arc<Semaphore>,
    outbox: mpsc::Sender<M>,
    tell: fn(Answer) -> M,
) {
    let mut drain = Drain::default();
    let mut place = None;
    // Apart from each other, and each always at its own time.
    sleep(phase(&name)).await;
    loop {
        let order = *orders.borrow_and_update();
        let Some(at) = order.map(|order| Place { to: order.to, from: order.from }).or(place) else { return };
        place = Some(at);
        let Ok(turn) = limit.acquire().await else { return };
        let began = Instant::now();
        let told = match drain.news(order.and_then(|order| order.drained), began) {
            Some(News::Drained(left)) => Some(at.drain(Some(left)).await),
            Some(News::Over) => match at.drain(None).await {
                Ok(()) => {
                    drain.is_known_over();
                    Some(Ok(()))
                }
                // Who does not take drains was not told of one.
                Err(error) if error.is_not_found() => {
                    drain.is_known_over();
                    None
                }
                Err(error) => Some(Err(error)),
            },
            None => None,
        };
        let Some(order) = order else {
            // Removed: once it knows that its drain is over, there is nothing more to say.
            drop(turn);
            if drain.is_settled(Instant::now()) {
                return;
            }
            sleep(SOON).await;
            continue;
        };
        let flows = at.flows(&name.0, order.affinity).await;
        drop(turn);
        let pause = if order.pace == Pace::Soon { SOON } else { SELDOM };
        let pause = pause.max(began.elapsed() * SHARE);
        if outbox.send(tell(Answer { name: name.clone(), flows, told })).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = changed(&mut orders, order) => {
                let drained = orders.borrow().and_then(|order| order.drained);
                // The news of a drain is for one; all else may be for all.
                if drained == order.drained {
                    sleep(phase(&name)).await;
                }
            }
        }
    }
}

/// Until there is an order that cannot wait.
async fn changed(orders: &mut watch::Receiver<Option<Order>>, running: Order) {
    while orders.changed().await.is_ok() {
        let order = *orders.borrow_and_update();
        if order.is_none_or(|order| order != Order { pace: Pace::Seldom, ..running }) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

fn phase(name: &InstanceName) -> Duration {
    let hash = maglev::hash(&[b"phase", name.0.as_bytes()]);
    Duration::from_millis(hash % SPREAD.as_millis() as u64)
}
