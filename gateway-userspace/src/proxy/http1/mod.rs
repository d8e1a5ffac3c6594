//! HTTP/1.1 with a client, one request after the other.
//!
//! Ours from its bytes on. What the [gate](super::gate) lets in is a request, read by `connection`; its body is read by whoever passes it
//! on, through `incoming`, while the answer is made. A client that asks for nothing costs no buffers and no request's future.

mod answer;
mod connection;
mod incoming;
mod sending;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use http::{Method, Uri};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    time::Instant,
};

use self::{
    answer::To,
    connection::{Left, Shared, lock},
    sending::Sent,
};
use super::{
    connection::{Told, over_and_known},
    gate::Body,
    linger::linger,
    message::RequestHead,
    observe::Tunnelled,
    received::Received,
    request::Asker,
    tunnel::Tunnel,
};

pub use self::{
    connection::{Asked, Busy, Connection, Next},
    incoming::Incoming,
};

/// What stands in the access log for what was none.
const NO_METHOD: &[u8] = b"-";

/// How a turn of requests ended.
enum End {
    /// The client asks for nothing now.
    Rests,
    /// There will be no other request.
    Last,
    /// The connection becomes something else.
    Tunnel(Box<Tunnel>, Tunnelled),
}

/// Serves until one side ends the connection.
pub(super) async fn converse<S>(asker: Arc<Asker>, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = Arc::clone(&asker.worker.limits);
    let connection = Arc::new(Mutex::new(Connection::new(stream, Arc::clone(&limits))));
    let mut over = pin!(over_and_known(told.clone(), asker.door, Instant::now() + limits.moment));
    let end = loop {
        let next = select! {
            biased;
            next = next(&connection, Busy::No) => next,
            () = &mut over => Next::End,
        };
        if let Next::End = next {
            break End::Last;
        }
        // In a box: a request's future is much larger than all that waits for one.
        match Box::pin(serve(&asker, &connection, next, &told, over.as_mut())).await {
            Ok(End::Rests) => {}
            Ok(end) => break end,
            Err(error) => return log::debug!("connection: {error}"),
        }
    };
    if let End::Tunnel(tunnel, seen) = end {
        // A request that asks for one has no body, so nobody else has the connection.
        let Some(connection) = Arc::into_inner(connection) else { return };
        let (stream, early) = connection.into_inner().unwrap_or_else(PoisonError::into_inner).into_other();
        return tunnel.run(seen, stream, early, &limits).await;
    }
    // A client that is gone already is told nothing.
    let is_told = poll_fn(|cx| lock(&connection).poll_shutdown(cx)).await.is_ok();
    if is_told && !lock(&connection).has_ended() {
        linger(Left(&connection), limits.linger).await;
    }
}

/// Serves one request after the other while they come.
async fn serve<S>(
    asker: &Asker,
    connection: &Shared<S>,
    mut next: Next,
    told: &Told,
    mut over: Pin<&mut impl Future<Output = ()>>,
) -> io::Result<End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    loop {
        let mut to = To::default();
        let mut has_body = false;
        let mut answer = match next {
            Next::Asked(mut asked) => {
                let Asked { request, complete } = &mut *asked;
                to = To {
                    is_head: request.head.method == Method::HEAD,
                    is_old: complete.is_old(),
                    keeps: complete.keeps(),
                    takes_trailers: complete.takes_trailers,
                };
                has_body = complete.body != Body::Length(0);
                if has_body {
                    request.body = Received::Http1(Incoming::new(connection));
                }
                // In its place: a future that is awaited is moved first.
                pin!(asker.answer(request)).await
                // What is left of its body is given up before the answer is sent.
            }
            Next::Refused(refusal) => {
                let head = RequestHead::new(
                    Method::from_bytes(NO_METHOD).unwrap_or_default(),
                    Uri::from_static("*"),
                );
                asker.refuse(&head, refusal.status())
            }
            Next::Rests => return Ok(End::Rests),
            Next::End => return Ok(End::Last),
        };
        // A client that was not told to send its body may send it nevertheless, or something else.
        to.keeps = to.keeps && !told.is_last(asker.door) && !(has_body && lock(connection).waits());
        let sent = pin!(sending::send(connection, &mut answer, to)).await?;
        drop(answer);
        match sent {
            Sent::Whole => {}
            Sent::Last => return Ok(End::Last),
            Sent::Tunnel(tunnel, seen) => return Ok(End::Tunnel(tunnel, seen)),
        }
        if has_body && !poll_fn(|cx| Poll::Ready(lock(connection).skip(cx))).await {
            return Ok(End::Last);
        }
        next = select! {
            biased;
            next = self::next(connection, Busy::Yes) => next,
            () = &mut over => Next::End,
        };
    }
}

async fn next<S: AsyncRead + Unpin>(connection: &Shared<S>, busy: Busy) -> Next {
    poll_fn(|cx| lock(connection).poll_next(cx, busy)).await
}
