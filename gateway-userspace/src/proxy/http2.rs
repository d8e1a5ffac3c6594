//! HTTP/2 with a client: the same requests and answers as over HTTP/1.1, many at once.

use std::{convert::Infallible, sync::Arc};

use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    time::Instant,
};

use super::{
    answers,
    connection::{Told, over_and_known},
    course,
    gate::{Http2Gate, fields},
    limits::Limits,
    linger::linger,
    request::Asker,
    routes::Door,
    streams::{self, Streams, Use},
};

/// What ALPN calls it (RFC 9113, section 3.1).
pub(super) const ALPN: &[u8] = b"h2";

/// Serves until one side ends the connection.
pub(super) async fn converse<S>(asker: Arc<Asker>, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = Arc::clone(&asker.worker.limits);
    let door = asker.door;
    let used = Arc::new(Use::default());
    let service = service_fn(move |request: Request<Incoming>| {
        let asker = Arc::clone(&asker);
        streams::noted(async move {
            let answer = match fields::check(&request, &asker.worker.limits) {
                Ok(()) => asker.answer(request).await,
                Err(refusal) => asker.refuse(&request, refusal.status()),
            };
            Ok::<_, Infallible>(answers::without_connection(answer))
        })
    });
    let mut gate = Http2Gate::new(stream, Arc::clone(&limits));
    let served = async {
        let streams = Streams::new(Arc::clone(&used), limits.write_stall);
        let mut connection =
            Box::pin(builder(streams, &limits).serve_connection(TokioIo::new(&mut gate), service));
        let leaves = async {
            select! {
                () = over_and_known(told.clone(), door, Instant::now() + limits.moment) => limits.idle,
                () = last_answers(told.clone(), door, &used) => limits.idle,
                () = used.ends(limits.idle) => limits.moment,
            }
        };
        let patience = select! {
            biased;
            outcome = &mut connection => return outcome,
            patience = leaves => patience,
        };
        connection.as_mut().graceful_shutdown();
        // A client that does not say that it knows would keep it for ever.
        select! {
            biased;
            outcome = &mut connection => outcome,
            () = used.ends(patience) => Ok(()),
        }
    };
    if let Err(error) = served.await {
        log::debug!("connection: {error}");
    }
    if let Some(stream) = gate.into_unended() {
        linger(stream, limits.linger).await;
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

fn builder(streams: Streams, limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .auto_date_header(false)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(limits.buffer_bytes)
        .max_pending_accept_reset_streams(limits.reset_streams)
        .max_local_error_reset_streams(limits.reset_streams);
    builder
}
