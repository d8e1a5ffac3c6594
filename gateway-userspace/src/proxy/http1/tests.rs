//! What is asked on a connection, however it comes.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures_util::FutureExt as _;
use http_body::Frame;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Busy, Connection, Incoming, Next};
use crate::proxy::{gate::Refusal, limits::Limits};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

/// A client that says all it has to say, so much at once, and then nothing more.
#[derive(Debug)]
struct Client {
    says: Vec<u8>,
    piece: usize,
    ends: bool,
    hears: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.says.is_empty() && !self.ends {
            return Poll::Pending;
        }
        let count = self.piece.min(self.says.len()).min(buf.remaining());
        buf.put_slice(&self.says.drain(..count).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.hears.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn connection(says: &str, piece: usize, ends: bool) -> Connection<Client> {
    let client = Client { says: says.into(), piece, ends, hears: Arc::default() };
    Connection::new(client, Arc::new(Limits::default()))
}

/// A request's head and body, or why there is none.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Asked(String, Vec<u8>, Result<(), io::ErrorKind>),
    Refused(Refusal),
}

/// All that is asked until the client ends.
async fn heard(says: &str, piece: usize) -> Vec<Heard> {
    let mut connection = connection(says, piece, true);
    let mut all = Vec::new();
    loop {
        let asked = match poll_fn(|cx| connection.poll_next(cx, Busy::No)).await {
            Next::Asked(asked) => asked,
            Next::Refused(refusal) => {
                all.push(Heard::Refused(refusal));
                return all;
            }
            Next::Rests | Next::End => return all,
        };
        let (mut body, mut end) = (Vec::new(), Ok(()));
        while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(trailers)) => body.extend(format!("{trailers:?}").bytes()),
                Err(error) => {
                    end = Err(error.kind());
                    break;
                }
            }
        }
        all.push(Heard::Asked(format!("{:?}", asked.head()), body, end));
        if end.is_err() {
            return all;
        }
    }
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        Just("\r\nGET / HTTP/1.0\r\n\r\n".to_owned()),
        Just("GET / HTTP/1.1\nHost: a\n\n".to_owned()),
        Just("GET / HTTP/1.1\r\nUpgrade: a\r\n\r\n".to_owned()),
        Just(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n")),
        Just("3\r\nabc\r\n0\r\nx: y\r\n\r\n".to_owned()),
        (0_usize..30).prop_map(|n| format!("{HEAD}Content-Length: {n}\r\n\r\n{}", "x".repeat(n))),
        "[ -~\r\n]{0,12}",
    ]
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nobody is waited for")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    /// However a stream is cut, the same is asked and the same is refused.
    #[test]
    fn cuts_do_not_matter(parts in prop::collection::vec(part(), 0..6), cut in 1_usize..9) {
        let says = parts.concat();
        prop_assert_eq!(now(heard(&says, cut)), now(heard(&says, usize::MAX)));
    }
}

#[test]
fn requests_follow_each_other_and_nothing_follows_a_refusal() {
    let get = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n");
    let all = now(heard(&format!("{chunked}{get}{HEAD}Host: b\r\n\r\n{get}"), 7));
    let [
        Heard::Asked(_, body, Ok(())),
        Heard::Asked(head, none, Ok(())),
        Heard::Refused(Refusal::BadRequest),
    ] = &all[..]
    else {
        panic!("{all:?}")
    };
    let body = String::from_utf8_lossy(body);
    assert!(body.starts_with("abc") && body.contains("{\"x\": \"y\"}"), "{body}");
    assert!(head.contains("/1") && none.is_empty());
    for (says, kind) in [("3\r\nab", io::ErrorKind::UnexpectedEof), ("3;\n", io::ErrorKind::InvalidData)] {
        let all = now(heard(&format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{says}"), 7));
        assert!(matches!(&all[..], [Heard::Asked(_, _, Err(end))] if *end == kind), "{all:?}");
    }
}

#[test]
fn a_client_is_told_to_go_on_once_its_body_is_wanted_and_not_there() {
    let head = format!("{HEAD}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    let mut cx = Context::from_waker(Waker::noop());
    run(async {
        for (behind, told) in [("", true), ("a", true), ("abc", false)] {
            let hears = Arc::default();
            let says = format!("{head}{behind}").into();
            let client = Client { says, piece: usize::MAX, ends: false, hears: Arc::clone(&hears) };
            let mut connection = Connection::new(client, Arc::new(Limits::default()));
            assert!(matches!(connection.poll_next(&mut cx, Busy::No), Poll::Ready(Next::Asked(_))));
            assert!(connection.waits() && hears.lock().unwrap().is_empty());
            while let Poll::Ready(Some(frame)) = connection.poll_frame(&mut cx) {
                assert!(frame.unwrap().is_data());
            }
            let expected: &[u8] = if told { b"HTTP/1.1 100 Continue\r\n\r\n" } else { b"" };
            assert_eq!(*hears.lock().unwrap(), expected, "{behind}");
            assert_eq!(connection.is_over(), !told);
        }
    });
}

#[test]
fn what_nobody_wants_of_a_body_is_skipped_if_it_is_there() {
    let mut cx = Context::from_waker(Waker::noop());
    run(async {
        for (length, says, skipped) in
            [(3, 3, true), (3, 2, false), (60_000, 60_000, true), (200_000, 200_000, false)]
        {
            let says = format!("{HEAD}Content-Length: {length}\r\n\r\n{}", "x".repeat(says));
            let mut connection = connection(&says, usize::MAX, false);
            assert!(matches!(connection.poll_next(&mut cx, Busy::No), Poll::Ready(Next::Asked(_))));
            assert_eq!(connection.skip(&mut cx), skipped, "{length}");
        }
    });
}

#[test]
fn a_body_that_outlives_its_request_takes_nothing_of_the_next_one() {
    let says = format!("{HEAD}Content-Length: 3\r\n\r\nabc{HEAD}Content-Length: 3\r\n\r\ndef");
    let shared = Arc::new(Mutex::new(connection(&says, usize::MAX, true)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut next = || {
        assert!(matches!(shared.lock().unwrap().poll_next(&mut cx, Busy::No), Poll::Ready(Next::Asked(_))));
        Incoming::new(&shared)
    };
    let first = next();
    assert!(shared.lock().unwrap().skip(&mut Context::from_waker(Waker::noop())));
    let second = next();
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Err(error))) = first.poll_frame(&mut cx) else {
        panic!("it is none of its business")
    };
    assert_eq!(
        (error.kind(), first.left(), second.left()),
        (io::ErrorKind::ConnectionAborted, None, Some(3))
    );
    let Poll::Ready(Some(Ok(frame))) = second.poll_frame(&mut cx) else { panic!("it is there") };
    assert_eq!(frame.into_data().unwrap(), "def");
}
