//! HTTP/2 with a client: the same requests and answers as over HTTP/1.1, many at once, each a task of its own.
//!
//! Ours from its bytes on. `reader` makes frames of a client's bytes, of which `core` makes requests and pieces of bodies; what requests
//! say is put into one `output`, which the connection's task, `connection`, writes. A connection that rests has no buffers.

mod bytes;
mod connection;
mod core;
mod credit;
mod frame;
mod handle;
mod head;
mod hpack;
mod output;
mod reader;
mod stream;
mod used;

use std::{future::poll_fn, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    time::Instant,
};

use self::used::Use;
use super::{
    connection::{Told, over_and_known},
    course,
    limits::Limits,
    linger::linger,
    request::Asker,
    routes::Door,
};

pub use self::{
    connection::{Begun, Connection},
    handle::{Incoming, Outgoing},
    head::Asked,
};

/// What ALPN calls it (RFC 9113, section 3.1).
pub(super) const ALPN: &[u8] = b"h2";

/// Serves until one side ends the connection.
pub(super) async fn converse<S>(asker: Arc<Asker>, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = Arc::clone(&asker.worker.limits);
    let mut connection = Connection::new(stream, Arc::clone(&limits));
    if let Err(error) = serve(asker, &mut connection, told).await {
        log::debug!("connection: {error}");
    }
    if let Some(stream) = connection.into_unended() {
        linger(stream, limits.linger).await;
    }
}

async fn serve<S>(asker: Arc<Asker>, connection: &mut Connection<S>, told: Told) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let used = connection.used();
    let mut leaves = Box::pin(leaves(told, asker.door, &asker.worker.limits, &used));
    let patience = select! {
        biased;
        end = accept(connection, &asker) => return end,
        patience = &mut leaves => patience,
    };
    connection.leave();
    // A client that does not say that it knows would keep it for ever.
    select! {
        biased;
        end = accept(connection, &asker) => end,
        () = used.ends(patience) => Ok(()),
    }
}

/// Until the connection has ended.
async fn accept<S>(connection: &mut Connection<S>, asker: &Arc<Asker>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begin = |begun: Begun| {
        let asker = Arc::clone(asker);
        tokio::spawn(async move { stream::serve(&asker, begun).await });
    };
    poll_fn(|cx| connection.poll(cx, begin)).await
}

/// Waits until the connection shall end; then it may be unused for so long before it is ended for the client.
async fn leaves(told: Told, door: Door, limits: &Limits, used: &Use) -> Duration {
    select! {
        () = over_and_known(told.clone(), door, Instant::now() + limits.moment) => limits.idle,
        () = last_answers(told, door, used) => limits.idle,
        () = used.ends(limits.idle) => limits.moment,
    }
}

/// Waits until a drain or the end of the proxy makes every answer the last one, and one has been asked for.
async fn last_answers(mut told: Told, door: Door, used: &Use) {
    match door {
        Door::Probe => course::closed(&mut told.orders).await,
        _ => course::closes(&mut told.orders).await,
    }
    used.begins().await;
}
