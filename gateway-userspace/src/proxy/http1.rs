//! HTTP/1.1 with a client, one request after the other.

use std::{convert::Infallible, sync::Arc};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    answers,
    connection::{Told, over_and_known},
    gate::Gate,
    linger::linger,
    request::Asker,
    routes::Door,
};

/// Serves until one side ends the connection.
pub(super) async fn converse<S>(asker: Arc<Asker>, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let worker = Arc::clone(&asker.worker);
    let limits = Arc::clone(&worker.limits);
    let (door, orders) = (asker.door, told.orders.clone());
    let service = service_fn(move |request| {
        let (asker, orders) = (Arc::clone(&asker), orders.clone());
        async move {
            let answer = asker.answer(request).await;
            let course = *orders.borrow();
            let is_last = if door == Door::Probe { !course.accepts } else { course.closes };
            Ok::<_, Infallible>(if is_last { answers::closing(answer) } else { answer })
        }
    });
    let gate = Gate::new(stream, Arc::clone(&limits));
    let mut connection = worker.http.serve_connection(TokioIo::new(gate), service);
    let outcome = tokio::select! {
        biased;
        outcome = &mut connection => outcome,
        () = over_and_known(told, door, Instant::now() + limits.moment) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    match outcome {
        Ok(()) => {
            if let Some(stream) = connection.into_parts().io.into_inner().into_unended() {
                linger(stream, limits.linger).await;
            }
        }
        Err(error) => log::debug!("connection: {error}"),
    }
}
