//! One stream: a request, whether its client waits to be told to go on, and the answer.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, EXPECT},
};
use http_body::{Body, Frame};
use tokio::{select, sync::Notify};

use super::bytes::Both;
use crate::proxy::{
    answers,
    gate::{Timer, fields},
    observe::{ObservedBody, trace::X_REQUEST_ID},
    received::{Received, Stream},
    request::Asker,
};

/// Why an answer does not come to its end; h2 resets its stream then, with CANCEL if nothing else was said.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Stream(#[from] h2::Error),
    #[error("the client has reset it or is gone")]
    Reset,
    #[error("the client takes nothing of it")]
    Stalled,
    #[error(transparent)]
    Answer(#[from] crate::proxy::body::BodyError),
}

/// Answers.
pub(super) async fn serve(asker: &Asker, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let limits = &asker.worker.limits;
    let mut tunnelled = None;
    let answer = match fields::check(&request, limits) {
        Err(refusal) => asker.refuse(&request, refusal.status()),
        Ok(()) => {
            let expectation = expectation(&request);
            let (head, stream) = request.into_parts();
            let body = match head.method == Method::CONNECT {
                true => {
                    tunnelled = Some(stream);
                    Received::Nothing
                }
                false => Received::Stream(Stream::new(stream, &head.headers, expectation.clone())),
            };
            // In a box: it is large, and would be moved with each future around it.
            let answer = Box::pin(asker.answer(Request::from_parts(head, body)));
            match made(&mut respond, expectation, answer).await {
                Some(answer) => answer,
                None => return,
            }
        }
    };
    if let Err(error) = answered(answer, respond, tunnelled, asker).await {
        log::debug!("an answer is not whole: {error}");
    }
}

/// What is told of a client that sends its body once it is told to, and not before (RFC 9110, section 10.1.1): that the body is
/// wanted, and none of it is there.
fn expectation(request: &Request<RecvStream>) -> Option<Arc<Notify>> {
    let waits = request.headers().contains_key(EXPECT) && !request.body().is_end_stream();
    waits.then(Arc::default)
}

/// `answer`, unless the client resets the stream before.
async fn made<T>(
    respond: &mut SendResponse<Bytes>,
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
            answer = &mut answer => return Some(answer),
            () = wanted => expectation = None,
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return None,
        }
        let mut goes_on = Response::new(());
        *goes_on.status_mut() = StatusCode::CONTINUE;
        respond.send_informational(goes_on).ok()?;
    }
}

async fn answered(
    answer: Response<ObservedBody>,
    mut respond: SendResponse<Bytes>,
    tunnelled: Option<RecvStream>,
    asker: &Asker,
) -> Result<(), Failed> {
    let limits = &asker.worker.limits;
    let (mut head, mut body) = answers::without_connection(answer).into_parts();
    let tunnel = body.take_tunnel().zip(tunnelled);
    detach(&mut head.headers);
    let is_all = tunnel.is_none() && body.is_end_stream();
    if !is_all
        && tunnel.is_none()
        && let Some(length) = body.size_hint().exact()
    {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let stream = respond
        .send_response(Response::from_parts(head, ()), is_all)
        .inspect_err(|_| respond.send_reset(Reason::INTERNAL_ERROR))?;
    match tunnel {
        Some(((tunnel, seen), received)) => {
            tunnel.run(seen, Both::new(stream, received), Vec::new(), limits).await;
            Ok(())
        }
        None if is_all => Ok(()),
        None => send(stream, body, limits.write_stall).await,
    }
}

/// h2 remembers values for as long as the connection lives, by RFC 7541, up to 4 KiB of them: copied, they do not keep the buffer that
/// they came in from their upstream. Of what is another one each time nothing is remembered.
fn detach(headers: &mut HeaderMap) {
    let mut all = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    headers.values().for_each(|value| all.extend_from_slice(value.as_bytes()));
    let mut all = all.freeze();
    for value in headers.values_mut() {
        if let Ok(copy) = HeaderValue::from_maybe_shared(all.split_to(value.len())) {
            *value = copy;
        }
    }
    if let Some(id) = headers.get_mut(X_REQUEST_ID) {
        id.set_sensitive(true);
    }
}

/// Sends a body as the client takes it.
async fn send(mut stream: SendStream<Bytes>, body: ObservedBody, stall: Duration) -> Result<(), Failed> {
    let mut body = pin!(body);
    let mut stalled = Timer::default();
    loop {
        match frame(&mut stream, body.as_mut()).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    if !data.is_empty() {
                        room(&mut stream, &mut stalled, stall).await?;
                    }
                    stream.send_data(data, is_last)?;
                    if is_last {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    stream.send_trailers(frame.into_trailers().unwrap_or_else(|_| HeaderMap::new()))?;
                    return Ok(());
                }
            },
            None => return Ok(stream.send_data(Bytes::new(), true)?),
            Some(Err(Failed::Answer(error))) => {
                stream.send_reset(reason(&error));
                return Err(error.into());
            }
            Some(Err(error)) => return Err(error),
        }
    }
}

/// The next piece of an answer, for as long as the client wants it.
async fn frame(
    stream: &mut SendStream<Bytes>,
    mut body: Pin<&mut ObservedBody>,
) -> Option<Result<Frame<Bytes>, Failed>> {
    poll_fn(|cx| {
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Some(Err(Failed::Reset)));
        }
        body.as_mut().poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Failed::from)))
    })
    .await
}

/// Waits until a piece may be sent: what was sent before is taken then, but for what the buffer holds. One byte of the windows is
/// asked for and not before there is a piece, so that no stream has room that another one needs; h2 asks for the rest.
async fn room(stream: &mut SendStream<Bytes>, stalled: &mut Timer, stall: Duration) -> Result<(), Failed> {
    stream.reserve_capacity(1);
    poll_fn(|cx| {
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Failed::Reset));
        }
        while stream.capacity() == 0 {
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(None) => return Poll::Ready(Err(Failed::Reset)),
                Poll::Pending if stalled.expired(cx, stall) => return Poll::Ready(Err(Failed::Stalled)),
                Poll::Pending => return Poll::Pending,
            }
        }
        stalled.disarm();
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_no_part_of_an_answers_buffer() {
        let buffer = Bytes::from(b"nginx, text/html, 4bf92f35".to_vec());
        let mut headers = HeaderMap::new();
        for (name, place) in
            [("server", 0..5), ("content-type", 7..16), ("x-request-id", 18..26), ("empty", 0..0)]
        {
            headers.append(name, HeaderValue::from_maybe_shared(buffer.slice(place)).unwrap());
        }
        headers.append("server", HeaderValue::from_maybe_shared(buffer.slice(7..11)).unwrap());
        let before = headers.clone();
        detach(&mut headers);
        assert_eq!(headers, before);
        drop(before);
        assert!(buffer.is_unique());
        assert!(headers["x-request-id"].is_sensitive() && !headers["server"].is_sensitive());
    }
}
