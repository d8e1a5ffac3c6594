//! A connection's own task: reads what the client says, and writes what is said to it once nobody has more to say.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::Reason;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    core::Core,
    credit::Credit,
    frame::Said,
    handle::{Incoming, Outgoing, Shared},
    head::{Asked, Fields},
    hpack::Decoder,
    reader::{Phase, Reader},
    used::Use,
};
use crate::proxy::{gate::Timer, limits::Limits};

thread_local! {
    /// What is read is looked at at once, so that no connection needs a buffer of its own to read into. A record of TLS fits.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    input: Input,
    shared: Ends,
    writing: Timer,
    /// All that was written is on its way.
    flushed: bool,
    limits: Arc<Limits>,
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Begun {
    /// Its head.
    pub asked: Asked,
    /// Its body.
    pub incoming: Incoming,
    /// Its answer.
    pub outgoing: Outgoing,
}

/// What the client says, and how.
#[derive(Debug)]
struct Input {
    reader: Reader,
    decoder: Decoder,
    credit: Credit,
    timer: Timer,
    /// The client has ended its side.
    ended: bool,
}

/// Streams are told when their connection is gone.
#[derive(Debug)]
struct Ends(Shared);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.lock().end(None);
    }
}

impl<S> Connection<S> {
    /// In front of the client's first byte.
    pub fn new(stream: S, limits: Arc<Limits>) -> Self {
        let input = Input {
            // Compressed or not.
            reader: Reader::new(2 * limits.head_bytes),
            decoder: Decoder::default(),
            credit: Credit::new(Instant::now().into_std()),
            timer: Timer::default(),
            ended: false,
        };
        let shared = Ends(Shared::new(Core::new(Arc::clone(&limits))));
        Self { stream, input, shared, writing: Timer::default(), flushed: true, limits }
    }

    /// How it is used, while it is.
    pub(super) fn used(&self) -> Use {
        Use(self.shared.0.clone())
    }

    /// Tells the client that it shall ask nothing more.
    pub fn leave(&self) {
        self.shared.0.lock().leave();
    }

    /// The connection itself, unless the client has ended its side: it may still be sending.
    pub fn into_unended(self) -> Option<S> {
        (!self.input.ended).then_some(self.stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Until the connection has ended; requests are handed to `begin`.
    ///
    /// # Errors
    /// The stream fails, or the client takes nothing for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>, mut begin: impl FnMut(Begun)) -> Poll<io::Result<()>> {
        let Self { stream, input, shared: Ends(shared), limits, .. } = self;
        let mut core = shared.lock();
        core.works();
        while core.reads() && !input.ended {
            let begin = |asked, id| {
                let (incoming, outgoing) = shared.halves(id);
                begin(Begun { asked, incoming, outgoing });
            };
            match input.poll(stream, cx, &mut core, limits, begin) {
                Poll::Ready(read) => read?,
                Poll::Pending => break,
            }
        }
        let outcome = Self::poll_write(stream, &mut core, &mut self.flushed, cx);
        let outcome = self.writing.bound(cx, limits.write_stall, outcome);
        core.waits(cx);
        match outcome {
            Poll::Ready(Ok(())) if core.is_over() => {
                drop(core);
                let outcome = Pin::new(stream).poll_shutdown(cx);
                self.writing.bound(cx, limits.write_stall, outcome)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    }

    /// Ready: nothing is left to be written.
    fn poll_write(
        stream: &mut S,
        core: &mut Core,
        flushed: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if core.output.len() > 0 {
            *flushed = false;
            let written = core.output.poll_write(Pin::new(stream), cx);
            core.next_in_turn();
            ready!(written)?;
        }
        if !*flushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            *flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Input {
    /// One read.
    fn poll<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        core: &mut Core,
        limits: &Limits,
        begin: impl FnMut(Asked, u32),
    ) -> Poll<io::Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            if Pin::new(stream).poll_read(cx, &mut buffer)?.is_pending() {
                return self.wait(cx, core, limits);
            }
            self.ended = buffer.filled().is_empty();
            if self.ended {
                core.end(None);
            } else {
                let completed = self.reader.completed();
                if let Err(reason) = self.take(buffer.filled(), core, limits, begin) {
                    core.end(Some(reason));
                }
                // What trickles is timed from its beginning, but a body may.
                if self.reader.completed() != completed || self.reader.phase() == Phase::Body {
                    self.timer.disarm();
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        core: &mut Core,
        limits: &Limits,
        mut begin: impl FnMut(Asked, u32),
    ) -> Result<(), Reason> {
        while let Some(said) = self.reader.next(&mut bytes)? {
            if self.credit.count(&said, || Instant::now().into_std()).is_err() {
                log::debug!("a client's frames carry nothing: its connection is ended");
                return Err(Reason::ENHANCE_YOUR_CALM);
            }
            let Said::Fields { stream, block, ends, wrong } = said else {
                core.hear(&said)?;
                continue;
            };
            let mut fields = Fields::new();
            self.decoder
                .decode(block, |field| fields.take(field, limits.head_bytes))
                .map_err(|_| Reason::COMPRESSION_ERROR)?;
            if let Some(asked) = core.hear_fields(stream, fields, ends, wrong)? {
                begin(asked, stream);
            }
        }
        Ok(())
    }

    /// Pending until the limit of the phase in which the client lets us wait, then the end. Between frames there is none: whether a
    /// connection is used is known where its requests are.
    fn wait(&mut self, cx: &mut Context<'_>, core: &mut Core, limits: &Limits) -> Poll<io::Result<()>> {
        let patience: Duration = match self.reader.phase() {
            Phase::Fresh => limits.first_byte,
            Phase::Within => limits.head,
            Phase::Body => limits.body_stall,
            Phase::Between => {
                self.timer.disarm();
                return Poll::Pending;
            }
        };
        if !self.timer.expired(cx, patience) {
            return Poll::Pending;
        }
        core.end(Some(Reason::NO_ERROR));
        Poll::Ready(Ok(()))
    }
}
