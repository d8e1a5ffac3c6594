//! Who is told of their ports, and asked what they use of them: a task for each instance.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    balance::evidence::{Failure, Place},
    model::InstanceName,
    snat::{Order, Report},
};

/// From an answer to the next question, while nothing changes.
const EVERY: Duration = Duration::from_secs(1);
/// With so many instances; with more of them each is asked that much less often.
const FULL_PACE: usize = 50;
/// Instances that are asked at once.
const AT_ONCE: usize = 32;

/// Where an instance is asked, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::balance) struct Wish {
    /// Its address and probe port.
    pub(in crate::balance) to: SocketAddr,
    /// This host's address by which the instance knows it.
    pub(in crate::balance) from: Option<IpAddr>,
    /// What the table has for it.
    pub(in crate::balance) order: Order,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::balance) struct Answer {
    pub(in crate::balance) name: InstanceName,
    /// What it answers to.
    pub(in crate::balance) sent: Order,
    pub(in crate::balance) report: Result<Report, Failure>,
}

/// The tasks. They end with this.
#[derive(Debug)]
pub(in crate::balance) struct Askers {
    tasks: BTreeMap<InstanceName, Asker>,
    limit: Arc<Semaphore>,
}

#[derive(Debug)]
struct Asker {
    wish: watch::Sender<(Wish, Duration)>,
    task: AbortOnDropHandle<()>,
}

impl Default for Askers {
    fn default() -> Self {
        Self { tasks: BTreeMap::new(), limit: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Askers {
    /// From now on these are asked, and nobody else; answers go through `tell`. Who is to be told something new is asked at once.
    pub(in crate::balance) fn direct<M: Send + 'static>(
        &mut self,
        wishes: BTreeMap<InstanceName, Wish>,
        outbox: &mpsc::Sender<M>,
        tell: fn(Answer) -> M,
    ) {
        self.tasks.retain(|name, asker| wishes.contains_key(name) && !asker.task.is_finished());
        let pace = EVERY * u32::try_from(wishes.len().div_ceil(FULL_PACE)).unwrap_or(u32::MAX);
        for (name, wish) in wishes {
            let wish = (wish, pace);
            match self.tasks.get(&name) {
                Some(asker) => {
                    asker.wish.send_if_modified(|running| {
                        let is_other = *running != wish;
                        *running = wish;
                        is_other
                    });
                }
                None => {
                    let (sender, receiver) = watch::channel(wish);
                    let task = ask(name.clone(), receiver, Arc::clone(&self.limit), outbox.clone(), tell);
                    self.tasks.insert(
                        name,
                        Asker { wish: sender, task: AbortOnDropHandle::new(tokio::spawn(task)) },
                    );
                }
            }
        }
    }
}

async fn ask<M: Send + 'static>(
    name: InstanceName,
    mut wishes: watch::Receiver<(Wish, Duration)>,
    limit: Arc<Semaphore>,
    outbox: mpsc::Sender<M>,
    tell: fn(Answer) -> M,
) {
    loop {
        let (wish, pace) = wishes.borrow_and_update().clone();
        let Ok(turn) = limit.acquire().await else { return };
        let report = Place { to: wish.to, from: wish.from }.snat(&name.0, &wish.order).await;
        drop(turn);
        let answer = Answer { name: name.clone(), sent: wish.order, report };
        if outbox.send(tell(answer)).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(pace) => {}
            changed = wishes.changed() => if changed.is_err() {
                return;
            },
        }
    }
}
