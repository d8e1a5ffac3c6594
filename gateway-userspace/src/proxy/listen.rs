//! Accepting connections at a door.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{interval, sleep, sleep_until, timeout},
};

use super::{
    connection,
    course::{Course, Life, Orders},
    routes::Door,
    worker::Worker,
};

/// How long to wait when the process is out of descriptors or memory: accepting again at once would only spin.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Nothing has come for so long to a listener that is given up: a handshake that had begun is through.
const QUIET: Duration = Duration::from_millis(500);

/// How long a line of the access log may wait for others.
const FLUSH: Duration = Duration::from_millis(250);

/// A queue is not longer; who still comes would keep it full for ever.
const MOST_WAITING: usize = 4096;

/// Is held by every connection: when all are gone, the proxy may end.
pub type Alive = mpsc::Sender<()>;

/// Accepts until it is ordered not to, and connections go on after that; or until `shut`: then they have the time of a
/// proxy that leaves.
pub async fn listen(
    worker: Arc<Worker>,
    door: Door,
    listener: TcpListener,
    mut orders: Orders,
    shut: impl Future,
    alive: Alive,
) {
    let mut life = Life::new(worker.limits.moment, worker.limits.shutdown);
    let (tell, told) = watch::channel(*orders.borrow());
    let accept = Accept { worker, door, orders: told, alive };
    tokio::select! {
        () = accept.all(&listener) => {}
        () = follow(&mut orders, &tell) => {}
        _ = shut => life.leave(Instant::now()),
    }
    accept.waiting(&listener);
    drop((accept, listener));
    loop {
        let now = Instant::now();
        tell.send_replace(life.at(now).and(*orders.borrow_and_update()));
        let next = life.next(now);
        tokio::select! {
            () = tell.closed() => return,
            () = sleep_until(next.unwrap_or(now).into()), if next.is_some() => {}
            changed = orders.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Hands on what is ordered, until nothing is to be accepted any more.
async fn follow(orders: &mut Orders, tell: &watch::Sender<Course>) {
    while orders.changed().await.is_ok() {
        let course = *orders.borrow_and_update();
        tell.send_replace(course);
        if !course.accepts {
            return;
        }
    }
}

/// Serves what still comes to a listener that nobody asks for any more, until nothing has come for a moment: to close it at once
/// would reset what waits.
pub async fn finish(worker: Arc<Worker>, door: Door, listener: TcpListener, orders: Orders, alive: Alive) {
    let accept = Accept { worker, door, orders, alive };
    while let Ok(accepted) = timeout(QUIET, listener.accept()).await {
        accept.serve(accepted);
    }
    accept.waiting(&listener);
}

/// What every connection of a listener gets.
struct Accept {
    worker: Arc<Worker>,
    door: Door,
    orders: Orders,
    alive: Alive,
}

impl Accept {
    async fn all(&self, listener: &TcpListener) {
        loop {
            if let Some(error) = self.serve(listener.accept().await) {
                log::warn!("cannot accept connections: {error}; trying again");
                sleep(EXHAUSTED).await;
            }
        }
    }

    /// What waits now.
    fn waiting(&self, listener: &TcpListener) {
        for _ in 0..MOST_WAITING {
            let Some(accepted) = listener.accept().now_or_never() else { return };
            self.serve(accepted);
        }
    }

    /// Serves a connection. An error that is of no connection comes back.
    fn serve(&self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<io::Error> {
        match accepted {
            Ok((stream, peer)) => {
                let (worker, orders) = (Arc::clone(&self.worker), self.orders.clone());
                let serve = connection::serve(worker, self.door, stream, peer, orders);
                let alive = self.alive.clone();
                // An async block would have it twice: as what it was given, and as what it awaits.
                tokio::spawn(serve.map(move |()| drop(alive)));
                None
            }
            Err(error) if is_of_one_connection(&error) => None,
            Err(error) => Some(error),
        }
    }
}

/// Hands lines of the access log over, for the life of the worker.
pub async fn flush(worker: Arc<Worker>) {
    let mut ticks = interval(FLUSH);
    loop {
        ticks.tick().await;
        if let Some(log) = &worker.current.load().access_log {
            log.flush(worker.pool.worker());
        }
    }
}

/// Ends upstream connections that nobody needs any more, for the life of the worker.
pub async fn sweep(worker: Arc<Worker>) {
    let mut ticks = interval(worker.limits.upstream_idle);
    loop {
        ticks.tick().await;
        worker.pool.sweep();
    }
}

/// The client was gone before it was accepted (accept(2) on Linux passes pending network errors on).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}
