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
    tunnel::Switch,
    websocket,
};

/// Serves until one side ends the connection.
pub(super) async fn converse<S>(asker: Arc<Asker>, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let worker = Arc::clone(&asker.worker);
    let limits = Arc::clone(&worker.limits);
    let (door, orders) = (asker.door, told.orders.clone());
    let switch = Arc::new(Switch::default());
    let switches = Arc::clone(&switch);
    let service = service_fn(move |request| {
        let (asker, orders, switch) = (Arc::clone(&asker), orders.clone(), Arc::clone(&switches));
        async move {
            let upgrades = websocket::is_asked(&request);
            let mut answer = asker.answer(request).await;
            if let Some(tunnel) = answer.body_mut().take_tunnel() {
                switch.set(*tunnel);
                return Ok(answer);
            }
            let course = *orders.borrow();
            let is_last = if door == Door::Probe { !course.accepts } else { course.closes };
            // What may have come behind the request is none.
            let is_last = is_last || upgrades;
            Ok::<_, Infallible>(if is_last { answers::closing(answer) } else { answer })
        }
    });
    let gate = Gate::new(stream, Arc::clone(&limits), Arc::clone(&switch));
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
            let gate = connection.into_parts().io.into_inner();
            if let Some(tunnel) = switch.take() {
                let (stream, early) = gate.into_upgraded();
                tunnel.run(stream, early, &limits).await;
            } else if let Some(stream) = gate.into_unended() {
                linger(stream, limits.linger).await;
            }
        }
        Err(error) => log::debug!("connection: {error}"),
    }
}
