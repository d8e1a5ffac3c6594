//! HTTP/1.1 with a client, one request after the other.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{
    body::Incoming,
    ext::ReasonPhrase,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    select,
    time::Instant,
};

use super::{
    answers,
    connection::{Told, over_and_known},
    gate::Gate,
    linger::linger,
    message::{Request, RequestHead, Response},
    observe::ObservedBody,
    received::Received,
    request::Asker,
    routes::Door,
    tunnel::Switch,
    websocket,
};

/// Serves until one side ends the connection. hyper has it only while there is something to do: a client that asks for nothing
/// costs no buffers.
pub(super) async fn converse<S>(asker: Arc<Asker>, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = Arc::clone(&asker.worker.limits);
    let switch = Arc::new(Switch::default());
    let mut gate = Gate::new(stream, Arc::clone(&limits), Arc::clone(&switch));
    let mut over = pin!(over_and_known(told.clone(), asker.door, Instant::now() + limits.moment));
    loop {
        select! {
            biased;
            asked = gate.asked() => if !asked { break },
            () = &mut over => break,
        }
        let service = service(&asker, &told, &switch);
        let mut connection = Box::new(asker.worker.http.serve_connection(TokioIo::new(&mut gate), service));
        let served = select! {
            biased;
            served = served(&mut connection, &switch) => served,
            () = &mut over => {
                Pin::new(&mut *connection).graceful_shutdown();
                Some((&mut *connection).await)
            }
        };
        drop(connection);
        match served {
            None => {}
            Some(Err(error)) => {
                log::debug!("connection: {error}");
                return;
            }
            Some(Ok(())) => {
                return match switch.take() {
                    Some((tunnel, seen)) => {
                        let (stream, early) = gate.into_upgraded();
                        tunnel.run(seen, stream, early, &limits).await;
                    }
                    None => end(gate, limits.linger).await,
                };
            }
        }
    }
    // A client that is gone already is told nothing.
    if gate.shutdown().await.is_ok() {
        end(gate, limits.linger).await;
    }
}

/// None if the connection rests.
async fn served<C: Future<Output = hyper::Result<()>> + Unpin>(
    connection: &mut C,
    switch: &Switch,
) -> Option<hyper::Result<()>> {
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if switch.rests() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

async fn end<S: AsyncRead + Unpin>(gate: Gate<S>, patience: Duration) {
    if let Some(stream) = gate.into_unended() {
        linger(stream, patience).await;
    }
}

/// What answers the requests of a connection.
fn service(
    asker: &Arc<Asker>,
    told: &Told,
    switch: &Arc<Switch>,
) -> impl Service<
    http::Request<Incoming>,
    Response = http::Response<ObservedBody>,
    Error = Infallible,
    Future: Send,
> + Send
+ use<> {
    let (asker, orders, switch) = (Arc::clone(asker), told.orders.clone(), Arc::clone(switch));
    service_fn(move |request: http::Request<Incoming>| {
        let (asker, orders, switch) = (Arc::clone(&asker), orders.clone(), Arc::clone(&switch));
        async move {
            let mut request = from_hyper(request);
            let upgrades = websocket::is_asked(&request.head);
            let mut answer = asker.answer(&mut request).await;
            if let Some(tunnel) = answer.body.take_tunnel() {
                switch.set(tunnel);
                return Ok(to_hyper(answer));
            }
            let course = *orders.borrow();
            let is_last = if asker.door == Door::Probe { !course.accepts } else { course.closes };
            // What may have come behind the request is none.
            let is_last = is_last || upgrades;
            Ok::<_, Infallible>(to_hyper(if is_last { answers::closing(answer) } else { answer }))
        }
    })
}

fn from_hyper(request: http::Request<Incoming>) -> Request<Received> {
    let (parts, body) = request.into_parts();
    let head = RequestHead {
        method: parts.method,
        uri: parts.uri,
        version: parts.version,
        headers: parts.headers.into(),
        protocol: None,
    };
    Request { head, body: Received::Http1(body) }
}

fn to_hyper(Response { head, body }: Response<ObservedBody>) -> http::Response<ObservedBody> {
    let mut response = http::Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers.into();
    if let Some(reason) = head.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    response
}
