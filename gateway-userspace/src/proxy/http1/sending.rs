//! An answer on its way to the client.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    iter,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    answer::{self, Begun, Delimited, To},
    connection::{Shared, lock},
};
use crate::proxy::{
    body::BodyError,
    message::{Response, write_chunk_size, write_field},
    observe::{ObservedBody, Tunnelled},
    tunnel::Tunnel,
};

/// What is behind an answer.
pub(super) enum Sent {
    /// Another request, perhaps.
    Whole,
    /// The end of the connection.
    Last,
    /// What the connection becomes.
    Tunnel(Box<Tunnel>, Tunnelled),
}

/// What there is of a body: mostly, it is in one piece or two.
type Pieces = SmallVec<[Bytes; 2]>;

/// What is behind the pieces that there are.
enum Behind {
    More,
    /// The end, and fields behind it.
    End(Option<HeaderMap>),
    Broken(BodyError),
}

/// Sends all of an answer. An error is the end of the connection, by which a client sees that it has a part only.
pub(super) async fn send<S>(
    connection: &Shared<S>,
    Response { head, body }: &mut Response<ObservedBody>,
    to: To,
) -> io::Result<Sent>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let tunnel = body.take_tunnel();
    let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    let Begun { text, body: delimited, keeps } = answer::begin(head, length, to);
    if let (None, Delimited::Chunks | Delimited::End | Delimited::Length(1..)) = (&tunnel, delimited) {
        pin!(send_body(connection, text, body, delimited, to.takes_trailers)).await?;
    } else {
        write(connection, &mut [IoSlice::new(&text)]).await?;
    }
    Ok(match tunnel {
        Some((tunnel, seen)) => Sent::Tunnel(tunnel, seen),
        None if keeps => Sent::Whole,
        None => Sent::Last,
    })
}

/// What there is already goes with the head, and as much at once as there is.
async fn send_body<S>(
    connection: &Shared<S>,
    head: Vec<u8>,
    body: &mut ObservedBody,
    delimited: Delimited,
    takes_trailers: bool,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let most = lock(connection).most();
    let (mut before, mut data, mut behind) = (head, Pieces::new(), Vec::new());
    let mut left = if let Delimited::Length(length) = delimited { length } else { u64::MAX };
    loop {
        let next = poll_fn(|cx| gather(body, cx, &mut data, !before.is_empty(), most)).await;
        let count = data.iter().map(Bytes::len).sum::<usize>();
        left = left.checked_sub(count as u64).ok_or(io::ErrorKind::InvalidData)?;
        if delimited == Delimited::Chunks {
            if count > 0 {
                write_chunk_size(&mut before, count);
                behind.extend_from_slice(b"\r\n");
            }
            if let Behind::End(trailers) = &next {
                end(trailers.as_ref().filter(|_| takes_trailers), &mut behind);
            }
        }
        write_all(connection, &before, &data, &behind).await?;
        match next {
            Behind::More => {}
            Behind::End(_) if matches!(delimited, Delimited::Length(_)) && left > 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Behind::End(_) => return Ok(()),
            Behind::Broken(error) => return Err(io::Error::other(error)),
        }
        before.clear();
        data.clear();
        behind.clear();
    }
}

/// Takes what there is of a body, up to `most` bytes or a piece more; `at_once`: something else is to be sent, so nothing is waited for.
fn gather(
    body: &mut ObservedBody,
    cx: &mut Context<'_>,
    data: &mut Pieces,
    at_once: bool,
    most: usize,
) -> Poll<Behind> {
    let mut count = 0;
    Poll::Ready(loop {
        if body.is_end_stream() {
            break Behind::End(None);
        }
        if count >= most {
            break Behind::More;
        }
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending if at_once || !data.is_empty() => break Behind::More,
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => break Behind::End(None),
            Poll::Ready(Some(Err(error))) => break Behind::Broken(error),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => {
                    count += piece.len();
                    data.push(piece);
                }
                Err(frame) => break Behind::End(frame.into_trailers().ok()),
            },
        }
    })
}

fn end(trailers: Option<&HeaderMap>, behind: &mut Vec<u8>) {
    behind.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        write_field(behind, name, value.as_bytes());
    }
    behind.extend_from_slice(b"\r\n");
}

async fn write_all<S>(connection: &Shared<S>, before: &[u8], data: &[Bytes], behind: &[u8]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let data = data.iter().map(|piece| &piece[..]);
    let all = iter::once(before).chain(data).chain(iter::once(behind));
    let mut slices: SmallVec<[IoSlice<'_>; 4]> = all.map(IoSlice::new).collect();
    write(connection, &mut slices).await
}

async fn write<S>(connection: &Shared<S>, slices: &mut [IoSlice<'_>]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut left = slices;
    IoSlice::advance_slices(&mut left, 0);
    poll_fn(|cx| lock(connection).poll_answer(cx, &mut left)).await
}
