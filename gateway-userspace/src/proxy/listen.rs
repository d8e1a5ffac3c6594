//! Accepting connections at a door.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{interval, sleep},
};

use super::{
    connection::{self, Stop},
    routes::Door,
    worker::Worker,
};

/// How long to wait when the process is out of descriptors or memory: accepting again at once would only spin.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Is held by every connection: when all are gone, the proxy may end.
pub type Alive = mpsc::Sender<()>;

/// Accepts until `stop`. Connections go on after that.
pub async fn listen(worker: Arc<Worker>, door: Door, listener: TcpListener, stop: Stop, alive: Alive) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    let mut stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connection::stopped(&mut stopped) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serve = connection::serve(Arc::clone(&worker), door, port, stream, peer, stop.clone());
                let alive = alive.clone();
                tokio::spawn(async move {
                    serve.await;
                    drop(alive);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                log::warn!("cannot accept connections on port {port}: {error}; trying again");
                sleep(EXHAUSTED).await;
            }
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
