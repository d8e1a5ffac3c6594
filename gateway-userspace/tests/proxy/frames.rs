//! RFC 9113 frame by frame: what a client sends, and how the proxy has to take it.
//!
//! A stream error may be treated as one of the connection (section 5.4.2), and of a connection that ends the last frame may be lost, so
//! these count as well; what never counts is an answer to what is none to be answered. A connection that is not ended goes on, one that
//! is has no more to say, and what the upstream gets is what was whole and right.

mod compressed;
mod rows;
mod states;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::timeout,
};

use self::{
    compressed::compressed,
    rows::{frames_of_their_own, requests},
    states::{answered_before, of_streams},
};
use crate::support::{API, LONG, Recorder, Running, Setup};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xee;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;
const WHOLE: u8 = END_STREAM | END_HEADERS;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// How the proxy has to take it.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// An answer on this stream.
    Status(u32, u16),
    /// The stream is reset, or the connection ended, with one of these codes.
    Stream(u32, &'static [u32]),
    /// The connection is ended with one of these codes.
    Connection(&'static [u32]),
    /// A PING behind it is answered: the connection goes on.
    GoesOn,
    /// So many SETTINGS are acknowledged, those of the beginning too.
    Acknowledged(usize),
    /// The first piece of the answer's body on this stream has so many bytes.
    Data(u32, usize),
}

use Expected::{Acknowledged, Connection, Data, GoesOn, Status, Stream};

/// What a client sends, and how it has to be taken.
type Row = (&'static str, Vec<u8>, Expected);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Fields as literals without indexing (RFC 7541, section 6.2.2).
fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", API);
const PATH: (&str, &str) = (":path", "/");

/// A request's fields with some more.
fn get(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&[METHOD, SCHEME, AUTHORITY, PATH], more].concat())
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&[(":method", "POST"), SCHEME, AUTHORITY, PATH], more].concat())
}

/// A whole request.
fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &get(&[]))
}

/// One whose body is to come.
fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &post(&[]))
}

fn setting(number: u16, value: u32) -> Vec<u8> {
    let payload = [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn with_fields(list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &fields(list))
}

fn with(more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &get(more))
}

/// A body that says how long it is.
fn announced(length: &str, data: &[&[u8]]) -> Vec<u8> {
    let mut all = frame(HEADERS, END_HEADERS, 1, &post(&[("content-length", length)]));
    for (number, data) in data.iter().enumerate() {
        let mut last = data.is_empty();
        last |= number == 1;
        all.extend(frame(DATA, if last { END_STREAM } else { 0 }, 1, data));
    }
    all
}

/// What came of a client's frames.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Status(u32, u16),
    Data(u32, usize),
    Settled,
    Reset(u32, u32),
    GoAway(u32),
    Pong,
    End,
    /// For too long.
    Nothing,
}

const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends `bytes`, and `then` once the first stream is answered; returns what comes until `over` says that it is enough, or the connection
/// ends.
async fn reaction(proxy: &Running, bytes: &[u8], then: &[u8], over: impl Fn(&[Got]) -> bool) -> Vec<Got> {
    let (mut read, mut write) = tokio::io::split(proxy.http2(proxy.https, API).await);
    let (bytes, then) = (bytes.to_vec(), then.to_vec());
    let (answered, waits) = oneshot::channel();
    let mut answered = Some(answered);
    // The proxy may end the connection before all is sent.
    let sends = tokio::spawn(async move {
        let _sent = write.write_all(&bytes).await;
        let _flushed = write.flush().await;
        if !then.is_empty() && waits.await.is_ok() {
            let _sent = write.write_all(&then).await;
            let _flushed = write.flush().await;
        }
        write
    });
    let mut all = Vec::new();
    let mut first = true;
    loop {
        let mut header = [0; 9];
        match timeout(LONG, read.read_exact(&mut header)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                all.push(Got::End);
                break;
            }
            Err(_) => {
                all.push(Got::Nothing);
                break;
            }
        }
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        let mut payload = vec![0; length as usize];
        if read.read_exact(&mut payload).await.is_err() {
            all.push(Got::End);
            break;
        }
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        // RFC 9113, section 3.4.
        assert!(!std::mem::take(&mut first) || (header[3] == SETTINGS && header[4] & ACK == 0), "{header:?}");
        if header[3] == DATA && header[4] & END_STREAM != 0 && stream == 1 {
            answered.take().map(|answered| answered.send(()));
        }
        let got = match header[3] {
            HEADERS => Got::Status(stream, status(&payload)),
            DATA => Got::Data(stream, payload.len()),
            SETTINGS if header[4] & ACK != 0 => Got::Settled,
            RST_STREAM => Got::Reset(stream, word(0)),
            GOAWAY => Got::GoAway(word(4)),
            PING if payload == *b"sentinel" => Got::Pong,
            _ => continue,
        };
        all.push(got);
        if over(&all) {
            break;
        }
    }
    drop(sends);
    all
}

/// The status of an answer, which is its first field: indexed, or a literal with an indexed name (RFC 7541, appendix A).
fn status(block: &[u8]) -> u16 {
    match block {
        // An update of the table's size may come first.
        [0x20..=0x3f, rest @ ..] => status(rest),
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [_, 3, a, b, c, ..] => [a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(*digit - b'0')),
        // In Huffman's code digits take five or six bits.
        [_, packed, rest @ ..] if packed & 0x80 != 0 => huffman(rest),
        _ => panic!("{block:x?}"),
    }
}

/// Three digits in Huffman's code (RFC 7541, appendix B): `0`, `1` and `2` are 00000, 00001 and 00010; 3 to 9 are 011001 to 011111.
fn huffman(bytes: &[u8]) -> u16 {
    let place = |at: usize| u32::from(bytes.get(at).copied().unwrap_or_default()) << (24 - 8 * at);
    let mut bits = place(0) | place(1) | place(2);
    let mut code = 0;
    for _ in 0..3 {
        let short = bits >> 27;
        let (digit, taken) = if short <= 2 { (short, 5) } else { ((bits >> 26) - 0b011001 + 3, 6) };
        code = code * 10 + digit as u16;
        bits <<= taken;
    }
    code
}

/// Requests of [`get`] that are whole in these frames.
fn whole_requests(mut frames: &[u8]) -> usize {
    let mut count = 0;
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, behind)) = rest.split_at_checked(length) else { break };
        count += usize::from(*kind == HEADERS && flags & WHOLE == WHOLE && payload == get(&[]));
        frames = behind;
    }
    count
}

/// Sends a row's frames, `then` some more once the first stream is answered.
async fn check(proxy: &Running, upstream: &Recorder, row: &Row, then: &[u8]) -> Result<(), String> {
    let (name, frames, expected) = row;
    // Whatever is refused by itself leaves a connection that goes on.
    let sentinel = frame(PING, 0, 0, b"sentinel");
    let (bytes, then) = match then {
        [] => ([BEGIN, frames, &sentinel].concat(), Vec::new()),
        then => ([BEGIN, frames].concat(), [then, &sentinel].concat()),
    };
    let is_wanted = |got: &Got| match (expected, got) {
        (Status(stream, status), got) => *got == Got::Status(*stream, *status),
        (Stream(stream, codes), Got::Reset(of, code)) => stream == of && codes.contains(code),
        (GoesOn, got) => *got == Got::Pong,
        (Acknowledged(_), got) => *got == Got::Settled,
        (Data(stream, size), got) => *got == Got::Data(*stream, *size),
        _ => false,
    };
    let is_end = |got: &Got| match (expected, got) {
        // A generic code may always stand for a more specific one (section 5.4).
        (Stream(_, codes) | Connection(codes), Got::GoAway(code)) => {
            codes.contains(code) || *code == PROTOCOL_ERROR
        }
        _ => false,
    };
    let count = if let Acknowledged(count) = expected { *count } else { 1 };
    let is_served =
        |all: &[Got]| all.iter().filter(|got| is_wanted(got)).count() >= count && all.contains(&Got::Pong);
    let got = reaction(proxy, &bytes, &then, |all| is_served(all)).await;
    let ends = matches!(expected, Stream(..) | Connection(_)) && got.last() == Some(&Got::End);
    let goaway = got.iter().find(|got| matches!(got, Got::GoAway(_)));
    let is_right = match ends {
        // The last frame may be lost, but it says nothing else.
        true => goaway.is_none_or(is_end),
        false => is_served(&got) && goaway.is_none(),
    };
    // What is refused is never answered; what came in front of it may be, and what is asked for otherwise is once.
    let first = |stream: u32| got.iter().find(|got| matches!(got, Got::Status(of, _) if *of == stream));
    let is_right = is_right
        && match expected {
            Status(stream, status) => first(*stream) == Some(&Got::Status(*stream, *status)),
            Data(stream, size) => {
                let mut pieces = got.iter().filter(|got| matches!(got, Got::Data(of, _) if of == stream));
                pieces.next() == Some(&Got::Data(*stream, *size))
            }
            _ => true,
        };
    let reached = upstream.take();
    let most = whole_requests(frames) + whole_requests(&then);
    let is_clean = match expected {
        // Only bodies that turn out wrong were let in before, and the upstream never gets their end.
        Connection(_) | Stream(..) => {
            reached.matches("GET / ").count() <= most && !reached.ends_with("0\r\n\r\n")
        }
        Status(_, 200) | GoesOn | Acknowledged(_) | Data(..) => true,
        Status(..) => reached.is_empty(),
    };
    match (is_right, is_clean) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{name}: {expected:?}, not {got:?}")),
        (true, false) => Err(format!("{name}: the upstream got {reached}")),
    }
}

async fn all(rows: Vec<Row>) {
    let rows: Vec<_> = rows.into_iter().map(|row| (row, Vec::new())).collect();
    all_then(rows).await;
}

async fn all_then(rows: Vec<(Row, Vec<u8>)>) {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut wrong = Vec::new();
    for (row, then) in &rows {
        wrong.extend(check(&proxy, &upstream, row, then).await.err());
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[tokio::test]
async fn rfc9113_frames() {
    all(frames_of_their_own()).await;
}

#[tokio::test]
async fn rfc9113_streams() {
    all(of_streams()).await;
}

#[tokio::test]
async fn rfc9113_streams_that_are_closed() {
    all_then(answered_before()).await;
}

#[tokio::test]
async fn rfc9113_requests() {
    all(requests()).await;
}

#[tokio::test]
async fn rfc7541_fields() {
    all(compressed()).await;
}

#[tokio::test]
async fn rfc9113_a_connection_begins_with_the_preface() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    for begin in
        [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], b"GET / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n"]
    {
        let mut stream = proxy.http2(proxy.https, API).await;
        stream.write_all(begin).await.unwrap();
        let mut got = Vec::new();
        let _end = timeout(LONG, stream.read_to_end(&mut got)).await.unwrap();
        assert!(!got.windows(4).any(|bytes| bytes == b"HTTP"), "{got:?}");
    }
    assert_eq!(upstream.requests(), 0);
}
