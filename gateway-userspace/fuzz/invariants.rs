//! What holds for every byte that a client may send, whatever it is. The fuzzer looks for some for which it does not; a test of the
//! workspace replays the corpus.
//!
//! | first byte, modulo 6 | what reads the rest |
//! |---|---|
//! | 0 | a TLS handshake up to the name |
//! | 1 | Host, or the authority of a target |
//! | 2 | the routes, as a request's target |
//! | 3 | the PROXY protocol |
//! | 4 | HTTP/1.1 |
//! | 5 | HTTP/2, behind its preface |

use std::{
    future::poll_fn,
    net::IpAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use gateway_userspace::{
    config,
    proxy::{
        guard::Roles,
        host::{self, Asked},
        http1::{self, Busy, Next},
        http2::{Begun, Connection},
        limits::Limits,
        observe::Traffic,
        proxy_protocol::{self, Header},
        routes::{Decision, Door, Routes},
        tls::{self, Accepted, Shown},
        upstream::Upstreams,
    },
};
use http::{HeaderName, Method, Uri};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

/// The name that the routes have, in lower case.
const NAME: &str = "contoso.azure-api.net";

/// Panics if an invariant does not hold.
pub(crate) fn check(input: &[u8]) {
    let Some((&reader, bytes)) = input.split_first() else { return };
    match reader % 6 {
        0 => hello(bytes),
        1 => authority(bytes),
        2 => target(bytes),
        3 => proxy_header(bytes),
        4 => requests(bytes),
        _ => frames(bytes),
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime without I/O");
}

/// A client: what it sends, in pieces of so many bytes, and then no more; and what it gets.
#[derive(Debug)]
struct Client<'b> {
    bytes: &'b [u8],
    piece: usize,
    got: Vec<u8>,
}

impl<'b> Client<'b> {
    fn new(bytes: &'b [u8], piece: usize) -> Self {
        Self { bytes, piece, got: Vec::new() }
    }
}

impl AsyncRead for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let (now, later) = self.bytes.split_at(self.piece.min(buf.remaining()).min(self.bytes.len()));
        buf.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.got.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Whom a ClientHello asks for does not depend on the pieces in which it comes; what goes elsewhere is all that came, and nothing was
/// said to the client before; who is refused gets one alert, of seven bytes; and no other client gets more than an alert.
fn hello(bytes: &[u8]) {
    let whole = shaken(bytes, usize::MAX);
    for piece in [1, 7] {
        assert_eq!(shaken(bytes, piece), whole, "in pieces of {piece}");
    }
    refused(bytes, whole.is_some());
}

/// Whom it asks for, where that can be read.
fn shaken(bytes: &[u8], piece: usize) -> Option<String> {
    let mut asked = None;
    let choose = |hello: &Asked<'_>| {
        asked = Some(format!("{hello:?}"));
        Some(Shown::Elsewhere(()))
    };
    let client = Client::new(bytes, piece);
    match RUNTIME.with(|runtime| runtime.block_on(tls::accept(client, &Limits::default(), choose))) {
        Accepted::Elsewhere { stream, hello, to: () } => {
            assert_eq!([&hello, stream.bytes].concat(), bytes, "not all of it, or more");
            assert_eq!(stream.got, b"", "said before it goes elsewhere");
        }
        Accepted::Failed(_) => {}
        other => panic!("{other:?}, though nobody chose it"),
    }
    asked
}

fn refused(bytes: &[u8], is_read: bool) {
    let mut got = Vec::new();
    let mut client = Told { client: Client::new(bytes, usize::MAX), got: &mut got };
    let limits = Limits::default();
    let accept = tls::accept(&mut client, &limits, |_: &Asked<'_>| None::<Shown<()>>);
    let outcome = RUNTIME.with(|runtime| runtime.block_on(accept));
    assert_eq!(matches!(outcome, Accepted::NameRefused), is_read, "{outcome:?}");
    drop(outcome);
    match is_read {
        true => assert_eq!(got, [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70]),
        // An alert or nothing.
        false => assert!(got.is_empty() || got.len() == 7 && got[0] == 0x15, "{got:02x?}"),
    }
}

/// What is written is kept when the connection is gone.
#[derive(Debug)]
struct Told<'g, 'b> {
    client: Client<'b>,
    got: &'g mut Vec<u8>,
}

impl AsyncRead for Told<'_, '_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.client).poll_read(context, buf)
    }
}

impl AsyncWrite for Told<'_, '_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.got.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// R40, R43: a name has no upper case, no port and none of the bytes that end a field or a URL's host; what any reader takes for an
/// address is none; and case, a dot at its end and a port change nothing.
fn authority(bytes: &[u8]) {
    let Ok(Asked::Name(name)) = host::parse(bytes) else { return };
    assert!(
        !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase() || b"/?#@:[]\\ \r\n\0".contains(&b)),
        "{name:?}"
    );
    assert!(name.trim_end_matches('.').parse::<IpAddr>().is_err(), "{name:?} is an address");
    let again = |text: String| match host::parse(text.as_bytes()) {
        Ok(Asked::Name(again)) => again.into_owned(),
        other => panic!("{text:?}, made from {name:?}, is {other:?}"),
    };
    // Of several dots one is left off, each time.
    if !name.ends_with('.') {
        for text in [
            name.to_string(),
            name.to_ascii_uppercase(),
            format!("{name}."),
            format!("{name}:443"),
            format!("{name}.:"),
        ] {
            assert_eq!(again(text.clone()), name, "{text:?}");
        }
    }
}

static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"));
    // From the fuzzer's own folder, or from the workspace's test.
    let file =
        if file.ends_with("fuzz") { file.join("gateway.toml") } else { file.join("fuzz/gateway.toml") };
    let model = config::load(&file).expect("the fuzzer's own file is right");
    Routes::new(&model, &Upstreams::new(1, &Limits::default()), &Traffic::new(1))
});

/// A request goes where its path leads once it is read as an upstream reads it, to no other route; what an upstream sees in place of
/// the path is a path, without a way up; and a redirect leads to the same host.
fn target(bytes: &[u8]) {
    let Some(uri) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Uri>().ok()) else { return };
    let site = ROUTES.site(Door::Https, Roles::All, NAME).expect("the file has this name");
    let path = resolved(uri.path());
    match site.decide(Door::Https, NAME, &Method::GET, &uri) {
        Decision::Forward(rule, seen) => {
            assert_eq!(rule.path, longest(&path), "{uri} is {path}");
            if let Some(seen) = seen {
                assert!(seen.path().starts_with('/') && !seen.path().starts_with("//"), "{seen}");
                assert!(!climbs(seen.path()), "{seen} of {uri}");
                assert_eq!(seen.query(), uri.query());
            }
        }
        Decision::Move(_, rest) => {
            assert_eq!(longest(&path), "/old", "{uri} is {path}");
            assert!(
                rest.starts_with('/')
                    && !rest.starts_with("//")
                    && !climbs(rest.split('?').next().unwrap_or_default())
            );
        }
        Decision::Ambiguous => assert!(["/orders/it", "/old"].contains(&longest(&path)), "{uri} is {path}"),
        Decision::Status => assert_eq!(uri.path(), gateway_userspace::proxy::routes::STATUS_PATH),
        Decision::Redirect(_) | Decision::NotFound => panic!("{uri}: there is a route for everything"),
    }
    match site.decide(Door::Redirect, NAME, &Method::GET, &uri) {
        Decision::Redirect(to) => {
            let rest = to.strip_prefix("https://").and_then(|rest| rest.strip_prefix(NAME));
            assert!(rest.is_some_and(|rest| rest.starts_with('/')), "{to}");
            assert!(to.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{to:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// RFC 3986, 6.2.2, byte by byte: unreserved characters decoded, then `.` and `..` removed.
fn resolved(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = |place: usize| bytes.get(place).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                let value = (high * 16 + low) as u8;
                if value.is_ascii_alphanumeric() || b"-._~".contains(&value) {
                    decoded.push(value);
                } else {
                    decoded.extend_from_slice(&bytes[at..at + 3]);
                }
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    if !decoded.starts_with('/') {
        return decoded;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded[1..].split('/') {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

fn longest(path: &str) -> &'static str {
    let is_below =
        |route: &str| path == route || path.strip_prefix(route).is_some_and(|rest| rest.starts_with('/'));
    ["/orders/it", "/orders", "/old"].into_iter().find(|route| is_below(route)).unwrap_or("/")
}

/// Whether somebody who decodes everything, and takes whatever is taken for the end of a segment, finds a way up.
fn climbs(path: &str) -> bool {
    let mut text = path.to_ascii_lowercase();
    for (encoded, plain) in [("%2f", "/"), ("%5c", "/"), ("%3b", "/"), ("%2e", "."), ("\\", "/"), (";", "/")]
    {
        text = text.replace(encoded, plain);
    }
    text.split('/').any(|segment| segment == "..")
}

/// A header is found once it is whole, and not before; what comes behind it is not looked at; and what is none stays none.
fn proxy_header(bytes: &[u8]) {
    let parsed = proxy_protocol::parse(bytes);
    if let Ok(Some((header, length))) = &parsed {
        assert!((1..=bytes.len()).contains(length));
        let again = proxy_protocol::parse(&bytes[..*length]);
        assert_eq!(
            again.ok().flatten().map(|(_, length)| length),
            Some(*length),
            "it depends on what is behind"
        );
        if let Header::Of(ends) = header {
            assert_eq!(ends.source.is_ipv4(), ends.destination.is_ipv4());
        }
    }
    let end = match &parsed {
        Ok(Some((_, length))) => *length,
        Ok(None) | Err(_) => bytes.len(),
    };
    let mut refused = false;
    for shorter in 0..end {
        match proxy_protocol::parse(&bytes[..shorter]) {
            Ok(None) => assert!(!refused, "refused, and then not at {shorter}"),
            Ok(Some(found)) => panic!("{found:?} at {shorter} of {end}"),
            Err(_) => refused = true,
        }
    }
    assert!(!refused || parsed.is_err(), "refused early, and then taken");
}

/// What is asked does not depend on the pieces in which it came, and a head can be read in one way only: names are tokens, no value
/// has a control character, there is one Host at most, and one length.
fn requests(bytes: &[u8]) {
    let whole = asked(bytes, usize::MAX);
    for piece in [1, 5] {
        assert_eq!(asked(bytes, piece), whole, "in pieces of {piece}");
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Each request's head, and its body as far as it came.
fn asked(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut connection = http1::Connection::new(Client::new(bytes, piece), Arc::new(Limits::default()));
    let mut all = Vec::new();
    let conversation = async {
        loop {
            let next = poll_fn(|context| connection.poll_next(context, Busy::No)).await;
            let Next::Asked(asked) = next else { return all.push(format!("{next:?}")) };
            let named: Vec<&str> = asked.head().headers.names().map(HeaderName::as_str).collect();
            let times = |name: &str| named.iter().filter(|found| **found == name).count();
            assert!(
                times("host") <= 1 && times("content-length") + times("transfer-encoding") <= 1,
                "{named:?}"
            );
            assert!(named.iter().all(|name| !name.is_empty() && name.bytes().all(is_token)), "{named:?}");
            let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
            assert!(!asked.head().headers.values().any(|value| value.as_bytes().iter().any(is_control)));
            all.push(format!("{:?}", asked.head()));
            let mut body = Vec::new();
            loop {
                match poll_fn(|context| connection.poll_frame(context)).await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => body.extend_from_slice(&data),
                        Err(frame) => all.push(format!("{frame:?}")),
                    },
                    None => break,
                    Some(Err(error)) => {
                        all.push(format!("{body:?} {:?}", error.kind()));
                        return;
                    }
                }
            }
            all.push(format!("{body:?}"));
        }
    };
    RUNTIME.with(|runtime| runtime.block_on(conversation));
    all
}

/// What a client of HTTP/2 asks, and what it is told, do not depend on the pieces in which it comes; a request's head is one that can
/// be read in one way; and the first thing that is said are the settings.
fn frames(bytes: &[u8]) {
    let bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes].concat();
    let whole = conversation(&bytes, usize::MAX);
    for piece in [1, 7] {
        assert_eq!(conversation(&bytes, piece), whole, "in pieces of {piece}");
    }
    assert_eq!(whole.1[3..9], [4, 0, 0, 0, 0, 0], "SETTINGS");
}

/// The requests, and what was said while nobody answered.
fn conversation(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let (mut asked, mut kept, mut got) = (Vec::new(), Vec::new(), Vec::new());
    let client = Told { client: Client::new(bytes, piece), got: &mut got };
    let mut connection = Connection::new(client, Arc::new(Limits::default()));
    let mut begin = |begun: Begun| {
        let request = &begun.asked.request;
        let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        assert!(!request.head.uri.to_string().bytes().any(|byte| is_control(&byte)), "{request:?}");
        assert!(
            !request.head.headers.values().any(|value| value.as_bytes().iter().any(is_control)),
            "{request:?}"
        );
        asked.push(format!("{request:?}"));
        kept.push(begun);
    };
    let end =
        RUNTIME.with(|runtime| runtime.block_on(poll_fn(|context| connection.poll(context, &mut begin))));
    assert!(end.is_ok(), "{end:?}");
    drop(kept);
    drop(connection);
    (asked, got)
}
