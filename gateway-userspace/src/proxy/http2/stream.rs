//! One stream: a request, whether its client waits to be told to go on, and the answer.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, EXPECT},
};
use http_body::{Body, Frame};
use tokio::{select, sync::Notify};

use super::{
    bytes::Both,
    connection::Begun,
    handle::{Incoming, Outgoing},
};
use crate::proxy::{
    answers,
    gate::{Refusal, Timer, fields},
    message::{Headers, Message, RequestHead, Response},
    observe::ObservedBody,
    received::{Received, Stream},
    request::Asker,
};

/// Why an answer does not come to its end; its stream is reset then, with CANCEL if nothing else was said.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the client has reset it or is gone")]
    Reset,
    #[error("the client takes nothing of it")]
    Stalled,
    #[error(transparent)]
    Answer(#[from] crate::proxy::body::BodyError),
}

/// Answers.
pub(super) async fn serve(asker: &Asker, begun: Begun) {
    let limits = &asker.worker.limits;
    let Begun { asked, incoming, mut outgoing } = begun;
    let Message { head, body: () } = asked.request;
    let judged = if asked.too_large { Err(Refusal::HeadTooLarge) } else { fields::check(&head, limits) };
    let mut tunnelled = None;
    let answer = match judged {
        Err(refusal) => asker.refuse(&head, refusal.status()),
        Ok(()) => {
            let expectation = expectation(&head, &incoming);
            let body = if head.method == Method::CONNECT {
                tunnelled = Some(incoming);
                Received::Nothing
            } else {
                Received::Stream(Stream::new(incoming, expectation.clone()))
            };
            // In a box: it is large, and would be moved with each future around it.
            let mut request = Message { head, body };
            let answer = Box::pin(asker.answer(&mut request));
            match made(&mut outgoing, expectation, answer).await {
                Some(answer) => answer,
                None => return,
            }
        }
    };
    if let Err(error) = answered(answer, outgoing, tunnelled, asker).await {
        log::debug!("an answer is not whole: {error}");
    }
}

/// What is told of a client that sends its body once it is told to, and not before (RFC 9110, section 10.1.1): that the body is
/// wanted, and none of it is there.
fn expectation(head: &RequestHead, incoming: &Incoming) -> Option<Arc<Notify>> {
    let waits = head.headers.contains(EXPECT) && !incoming.is_end();
    waits.then(Arc::default)
}

/// `answer`, unless the client resets the stream before.
async fn made<T>(
    outgoing: &mut Outgoing,
    mut expectation: Option<Arc<Notify>>,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        let wanted = async {
            match &expectation {
                Some(expectation) => expectation.notified().await,
                None => std::future::pending().await,
            }
        };
        select! {
            biased;
            // First: what is given up at once reaches no upstream.
            () = poll_fn(|cx| outgoing.poll_reset(cx)) => return None,
            answer = &mut answer => return Some(answer),
            () = wanted => expectation = None,
        }
        outgoing.head(StatusCode::CONTINUE, &Headers::new(), false);
    }
}

async fn answered(
    answer: Response<ObservedBody>,
    mut outgoing: Outgoing,
    tunnelled: Option<Incoming>,
    asker: &Asker,
) -> Result<(), Failed> {
    let limits = &asker.worker.limits;
    let Message { mut head, mut body } = answers::without_connection(answer);
    let tunnel = body.take_tunnel().zip(tunnelled);
    let is_all = tunnel.is_none() && body.is_end_stream();
    if !is_all
        && tunnel.is_none()
        && let Some(length) = body.size_hint().exact()
    {
        head.headers.insert_if_absent(CONTENT_LENGTH, || HeaderValue::from(length));
    }
    outgoing.head(head.status, &head.headers, is_all);
    match tunnel {
        Some(((tunnel, seen), incoming)) => {
            tunnel.run(seen, Both::new(outgoing, incoming), Vec::new(), limits).await;
            Ok(())
        }
        None if is_all => Ok(()),
        None => send(outgoing, body, limits.write_stall).await,
    }
}

/// Sends a body as the client takes it.
async fn send(mut outgoing: Outgoing, body: ObservedBody, stall: Duration) -> Result<(), Failed> {
    let mut body = pin!(body);
    let mut stalled = Timer::default();
    loop {
        match frame(&mut outgoing, body.as_mut()).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    piece(&mut outgoing, data, is_last, &mut stalled, stall).await?;
                    if is_last {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    outgoing.trailers(&frame.into_trailers().unwrap_or_else(|_| HeaderMap::new()));
                    return Ok(());
                }
            },
            None => {
                outgoing.data(Bytes::new(), true);
                return Ok(());
            }
            Some(Err(Failed::Answer(error))) => {
                outgoing.reset(reason(&error));
                return Err(error.into());
            }
            Some(Err(error)) => return Err(error),
        }
    }
}

/// The next piece of an answer, for as long as the client wants it.
async fn frame(
    outgoing: &mut Outgoing,
    mut body: Pin<&mut ObservedBody>,
) -> Option<Result<Frame<Bytes>, Failed>> {
    poll_fn(|cx| {
        if outgoing.poll_reset(cx).is_ready() {
            return Poll::Ready(Some(Err(Failed::Reset)));
        }
        body.as_mut().poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Failed::from)))
    })
    .await
}

/// Sends a piece as there is room for it.
async fn piece(
    outgoing: &mut Outgoing,
    mut data: Bytes,
    is_last: bool,
    stalled: &mut Timer,
    stall: Duration,
) -> Result<(), Failed> {
    if data.is_empty() && is_last {
        outgoing.data(data, true);
        return Ok(());
    }
    while !data.is_empty() {
        let room = room(outgoing, stalled, stall).await?;
        let part = data.split_to(room.min(data.len()));
        outgoing.data(part, is_last && data.is_empty());
    }
    Ok(())
}

async fn room(outgoing: &mut Outgoing, stalled: &mut Timer, stall: Duration) -> Result<usize, Failed> {
    poll_fn(|cx| {
        let room = match outgoing.poll_room(cx) {
            Poll::Ready(room) => room.map_err(|_| Failed::Reset),
            Poll::Pending if stalled.expired(cx, stall) => Err(Failed::Stalled),
            Poll::Pending => return Poll::Pending,
        };
        stalled.disarm();
        Poll::Ready(room)
    })
    .await
}

/// What an upstream of HTTP/2 says of a stream is passed on.
fn reason(error: &(dyn Error + 'static)) -> Reason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            return reason;
        }
        next = error.source();
    }
    Reason::INTERNAL_ERROR
}
