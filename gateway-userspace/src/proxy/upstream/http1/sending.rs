//! A request's body on its way to the upstream, in a task of its own: answers may begin before it has ended.

use std::io::{self, IoSlice};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio_util::task::AbortOnDropHandle;

use super::{request::Delimited, wire::Wire};
use crate::proxy::{body::RequestBody, message::write_chunk_size};

/// Dropped, it ends where it is.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct Sending(AbortOnDropHandle<()>);

impl Sending {
    /// The head, and with it what there is of the body; then the rest.
    pub(super) fn begin(wire: Wire, head: Vec<u8>, body: RequestBody, delimited: Delimited) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(async move {
            match send(&wire, head, body, delimited).await {
                // An upstream that takes no more may have answered, and its answer tells more.
                Err(Broken::Wire(error)) if error.kind() != io::ErrorKind::TimedOut => {
                    log::debug!("a request's body is not taken: {error}");
                }
                Err(Broken::Wire(error)) => wire.break_off(error.kind()),
                Err(Broken::Body) => wire.break_off(io::ErrorKind::ConnectionAborted),
                Ok(()) => {}
            }
        })))
    }

    /// All of it was written.
    pub(in crate::proxy::upstream) fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

/// Why the body is not whole.
enum Broken {
    Wire(io::Error),
    /// The client's fault, which the body knows.
    Body,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Wire(error)
    }
}

async fn send(
    wire: &Wire,
    mut head: Vec<u8>,
    mut body: RequestBody,
    delimited: Delimited,
) -> Result<(), Broken> {
    // What is there already goes with the head.
    let mut frame = body.frame().now_or_never();
    if frame.is_none() {
        wire.write(&mut [IoSlice::new(&std::mem::take(&mut head))]).await?;
    }
    loop {
        let next = match frame.take() {
            Some(next) => next,
            None => body.frame().await,
        };
        let Some(next) = next else { break };
        // Trailers do not go on to upstreams of HTTP/1.1.
        let data = next.map_err(|_| Broken::Body)?.into_data().unwrap_or_default();
        if !data.is_empty() {
            write(wire, std::mem::take(&mut head), &data, delimited).await?;
        }
    }
    let end: &[u8] = if delimited == Delimited::InChunks { b"0\r\n\r\n" } else { b"" };
    Ok(wire.write(&mut [IoSlice::new(&head), IoSlice::new(end)]).await?)
}

async fn write(wire: &Wire, mut before: Vec<u8>, data: &Bytes, delimited: Delimited) -> io::Result<()> {
    let mut behind: &[u8] = b"";
    if delimited == Delimited::InChunks {
        write_chunk_size(&mut before, data.len());
        behind = b"\r\n";
    }
    wire.write(&mut [&before, &data[..], behind].map(IoSlice::new)).await
}
