//! One direction of a connection that is passed through.
//!
//! Few bytes at once are copied, through a buffer that the worker's connections share: two system calls either way, and a copy is
//! cheaper than turning pages. Many at once are moved by splice(2), and never seen.

use std::{
    cell::RefCell,
    io,
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use super::pipe::Pipe;

/// The shared buffer.
const BUFFER: usize = 64 * 1024;
/// A read that brings so much is followed by splice …
const MANY: usize = 16 * 1024;
/// … until one brings less than this.
const FEW: usize = 4 * 1024;
/// Bytes after which it is another connection's turn.
const TURN: usize = 1 << 20;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// A direction, and what is on its way in it.
#[derive(Debug, Default)]
pub(super) struct Way {
    held: Held,
    many: bool,
    /// The source has ended.
    ended: bool,
    moved: u64,
}

/// Memory is held only while bytes are on their way.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    /// What the destination did not take at once.
    Bytes(Vec<u8>, usize),
    Pipe(Pipe),
}

/// Which side has failed.
#[derive(Debug)]
pub(super) enum Failed {
    Source(io::Error),
    Destination(io::Error),
}

impl Way {
    /// Bytes so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves what can be moved; ready once the source has ended and the destination knows. Not to be asked after that.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<(), Failed>> {
        let mut left = TURN;
        loop {
            ready!(self.flush(cx, to)).map_err(Failed::Destination)?;
            if self.ended {
                // The destination may have gone already, which the other direction will tell.
                let _told = SockRef::from(AsRef::<TcpStream>::as_ref(to)).shutdown(Shutdown::Write).is_ok();
                return Poll::Ready(Ok(()));
            }
            if left == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Poll::Ready(count) = self.take(cx, from, to) else {
                self.rest();
                return Poll::Pending;
            };
            let count = count?;
            self.ended = count == 0;
            self.moved += count as u64;
            left = left.saturating_sub(count);
        }
    }

    /// Takes some from the source. Nothing is held before.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<Result<usize, Failed>> {
        if self.many
            && let Some(pipe) = self.pipe()
        {
            let count = ready!(filled(cx, pipe, from.as_ref())).map_err(Failed::Source)?;
            self.many = count >= FEW;
            return Poll::Ready(Ok(count));
        }
        SHARED.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(from).poll_read(cx, &mut read)).map_err(Failed::Source)?;
            let bytes = read.filled();
            self.many = bytes.len() >= MANY;
            let taken = match Pin::new(to).poll_write(cx, bytes) {
                Poll::Ready(taken) => taken.map_err(Failed::Destination)?,
                Poll::Pending => 0,
            };
            if taken < bytes.len() {
                self.held = Held::Bytes(bytes[taken..].to_vec(), 0);
            }
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// Out of descriptors, there is none; then bytes are copied.
    fn pipe(&mut self) -> Option<&mut Pipe> {
        if let Held::Nothing = self.held {
            self.held = Held::Pipe(Pipe::take().ok()?);
        }
        match &mut self.held {
            Held::Pipe(pipe) => Some(pipe),
            Held::Nothing | Held::Bytes(..) => None,
        }
    }

    /// Passes on what is held.
    fn flush(&mut self, cx: &mut Context<'_>, to: &mut WriteHalf<'_>) -> Poll<io::Result<()>> {
        match &mut self.held {
            Held::Nothing => return Poll::Ready(Ok(())),
            Held::Bytes(bytes, passed) => {
                while *passed < bytes.len() {
                    *passed += ready!(Pin::new(&mut *to).poll_write(cx, &bytes[*passed..]))?;
                }
                self.held = Held::Nothing;
            }
            Held::Pipe(pipe) => {
                while pipe.held() > 0 {
                    ready!(drained(cx, pipe, to.as_ref()))?;
                }
                if !self.many || self.ended {
                    self.rest();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing is on its way: what would hold it is for others.
    fn rest(&mut self) {
        if let Held::Pipe(pipe) = std::mem::take(&mut self.held) {
            pipe.give_back();
        }
    }
}

fn filled(cx: &mut Context<'_>, pipe: &mut Pipe, from: &TcpStream) -> Poll<io::Result<usize>> {
    loop {
        ready!(from.poll_read_ready(cx))?;
        match pipe.fill(from) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

fn drained(cx: &mut Context<'_>, pipe: &mut Pipe, to: &TcpStream) -> Poll<io::Result<usize>> {
    loop {
        ready!(to.poll_write_ready(cx))?;
        match pipe.drain(to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}
