//! HTTP/2 with a client: the same requests and answers as over HTTP/1.1, many at once, each a task of its own.
//!
//! On h2 itself, for hyper's server sends no interim answers (RFC 9110, section 15.2) and takes a body that was reset for one that
//! ended.

mod bytes;
mod gathering;
mod stream;
mod used;

use std::{future::poll_fn, sync::Arc, time::Duration};

use ::bytes::Bytes;
use h2::server::{Builder, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    time::Instant,
};

use self::{
    gathering::{Gathering, Turn},
    used::{Open, Use},
};
use super::{
    connection::{Told, over_and_known},
    course,
    gate::Http2Gate,
    limits::Limits,
    linger::linger,
    request::Asker,
    routes::Door,
};

/// What ALPN calls it (RFC 9113, section 3.1).
pub(super) const ALPN: &[u8] = b"h2";

/// Serves until one side ends the connection.
pub(super) async fn converse<S>(asker: Arc<Asker>, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = Arc::clone(&asker.worker.limits);
    let turn = Arc::default();
    let mut gate = Http2Gate::new(Gathering::new(stream, Arc::clone(&turn)), Arc::clone(&limits));
    if let Err(error) = serve(asker, &mut gate, &turn, told).await {
        log::debug!("connection: {error}");
    }
    if let Some(stream) = gate.into_unended() {
        linger(stream, limits.linger).await;
    }
}

async fn serve<S>(
    asker: Arc<Asker>,
    gate: &mut Http2Gate<S>,
    turn: &Turn,
    told: Told,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (limits, used) = (&asker.worker.limits, Arc::new(Use::default()));
    let mut leaves = Box::pin(leaves(told, asker.door, limits, &used));
    let mut connection = select! {
        biased;
        begun = builder(limits).handshake(gate) => begun?,
        _ = &mut leaves => return Ok(()),
    };
    let patience = select! {
        biased;
        end = accept(&mut connection, turn, &asker, &used) => return end,
        patience = &mut leaves => patience,
    };
    connection.graceful_shutdown();
    // A client that does not say that it knows would keep it for ever.
    select! {
        biased;
        end = accept(&mut connection, turn, &asker, &used) => end,
        () = used.ends(patience) => Ok(()),
    }
}

/// Until the connection has ended.
async fn accept<S>(
    connection: &mut Connection<S, Bytes>,
    turn: &Turn,
    asker: &Arc<Asker>,
    used: &Arc<Use>,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(accepted) = poll_fn(|cx| turn.poll(cx, |cx| connection.poll_accept(cx))).await {
        let (request, respond) = accepted?;
        let (asker, open) = (Arc::clone(asker), Open::new(Arc::clone(used)));
        tokio::spawn(async move {
            let _open = open;
            stream::serve(&asker, request, respond).await;
        });
    }
    Ok(())
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

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(limits.buffer_bytes)
        .max_pending_accept_reset_streams(limits.reset_streams)
        .max_local_error_reset_streams(Some(limits.reset_streams));
    builder
}
