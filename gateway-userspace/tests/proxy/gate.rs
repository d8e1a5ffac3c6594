//! The strict gate: raw requests, what is answered, and what of them reached the upstream.

use crate::support::{Recorder, Setup};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request, the status lines of the answers, and parts of what the upstream must have got; none: nothing at all.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const B: &[&str] = &["HTTP/1.1 400 Bad Request"];
const MISDIRECTED: &[&str] = &["HTTP/1.1 421 Misdirected Request"];
const GOOD: &[&str] = &["HTTP/1.1 200 OK"];
const NOTHING: &[&str] = &[];

const ROWS: &[Row] = &[
    // What is right passes.
    (
        "GET /a?b HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        GOOD,
        &["GET /a?b HTTP/1.1\r\n", "host: api.contoso.com\r\n"],
    ),
    (
        "\r\nGET /a HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        GOOD,
        &["GET /a HTTP/1.1\r\n"],
    ),
    (
        "GET /a HTTP/1.1\r\nHost: API.Contoso.com.:443\r\nConnection: close\r\n\r\n",
        GOOD,
        &["host: API.Contoso.com.:443\r\n"],
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        GOOD,
        &["content-length: 3\r\n", "\r\n\r\nabc"],
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        GOOD,
        &["content-length: 0\r\n"],
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 3\r\nConnection: close, Content-Length\r\n\r\nabc",
        GOOD,
        &["content-length: 3\r\n", "\r\n\r\nabc"],
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: CHUNKED\r\nConnection: close\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Forwarded-For: evil\r\n\r\n",
        GOOD,
        &["transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"],
    ),
    (
        "GET / HTTP/1.1\r\nHost: api.contoso.com\r\nUpgrade: tls\r\nConnection: upgrade\r\n\r\nGET /2 HTTP/1.1\r\nHost: api.contoso.com\r\nUPGRADE: h2c\r\nupgrade: x\r\nConnection: close\r\n\r\n",
        &["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"],
        &["GET / ", "GET /2 "],
    ),
    // GET, too, has the body that it announces.
    (
        "GET / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        GOOD,
        &["transfer-encoding: chunked\r\n", "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    ),
    (
        "GET / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        GOOD,
        &["content-length: 5\r\n", "\r\n\r\nhello"],
    ),
    (
        "GET /1 HTTP/1.1\r\nHost: api.contoso.com\r\n\r\nGET /2 HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        &["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"],
        &["GET /1 ", "GET /2 "],
    ),
    (
        "POST /1 HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        &["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"],
        &["POST /1 ", "GET /2 "],
    ),
    (
        "OPTIONS * HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        GOOD,
        &["OPTIONS * HTTP/1.1\r\n"],
    ),
    (
        "PATCHY /a HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        GOOD,
        &["PATCHY /a HTTP/1.1\r\n"],
    ),
    (
        "GET /a HTTP/1.0\r\nHost: api.contoso.com\r\n\r\n",
        &["HTTP/1.0 200 OK"],
        &["GET /a HTTP/1.1\r\n", "via: 1.0 gw-1\r\n"],
    ),
    // Content-Length and Transfer-Encoding.
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        B,
        NOTHING,
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        B,
        NOTHING,
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        B,
        NOTHING,
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        B,
        NOTHING,
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        B,
        NOTHING,
    ),
    ("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", B, NOTHING),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &["HTTP/1.1 501 Not Implemented"],
        NOTHING,
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        B,
        NOTHING,
    ),
    ("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", B, NOTHING),
    ("POST / HTTP/1.0\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", B, NOTHING),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        B,
        NOTHING,
    ),
    (
        "POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        B,
        NOTHING,
    ),
    ("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 3, 3\r\n\r\nabc", B, NOTHING),
    ("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: +3\r\n\r\nabc", B, NOTHING),
    ("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 0x3\r\n\r\nabc", B, NOTHING),
    ("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length:\r\n\r\n", B, NOTHING),
    ("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 18446744073709551616\r\n\r\n", B, NOTHING),
    // Host.
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\nhOST: other.contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: user@api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com:99999\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com, other.contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\n\r\n", MISDIRECTED, NOTHING),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", MISDIRECTED, NOTHING),
    ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", MISDIRECTED, NOTHING),
    // The request line.
    (
        "GET http://other.contoso.com/x HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        GOOD,
        &["GET /x HTTP/1.1\r\n", "\r\nhost: other.contoso.com\r\n"],
    ),
    (
        "GET HTTPS://API.contoso.com?q HTTP/1.1\r\nHost: 1.2.3.4\r\nConnection: close\r\n\r\n",
        GOOD,
        &["GET /?q HTTP/1.1\r\n", "\r\nhost: API.contoso.com\r\n"],
    ),
    ("GET http://unknown.example/x HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", MISDIRECTED, NOTHING),
    ("GET http://user@api.contoso.com/x HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET ftp://api.contoso.com/x HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET http:///x HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET * HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET x HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET /#x HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET /` HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET /<x> HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET /?\" HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET http://a%20b/ HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    (
        "GET /{a}|?{b}| HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        GOOD,
        &["GET /{a}|?{b}| HTTP/1.1\r\n"],
    ),
    ("GET /a b HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET  / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET\t/ HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    (" GET / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET /\0 HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET /\u{e4} HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("G@T / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET /\r\n", B, NOTHING),
    (
        "GET / HTTP/1.2\r\nHost: api.contoso.com\r\n\r\n",
        &["HTTP/1.1 505 HTTP Version Not Supported"],
        NOTHING,
    ),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &["HTTP/1.1 505 HTTP Version Not Supported"], NOTHING),
    ("GET / http/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.10\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    (
        "CONNECT api.contoso.com:443 HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n",
        &["HTTP/1.1 405 Method Not Allowed"],
        NOTHING,
    ),
    ("TRACE / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", &["HTTP/1.1 405 Method Not Allowed"], NOTHING),
    // A method that nobody knows is the upstream's business.
    (
        "PURGE /1 HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n",
        &["HTTP/1.1 200 OK"],
        &["PURGE /1 "],
    ),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    // Fields.
    ("GET / HTTP/1.1\nHost: api.contoso.com\n\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\nX: y\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\n\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\nX: a\r\n b\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\n X: folded\r\nHost: api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost : api.contoso.com\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\nX: a\0b\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\nX: a\rb\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\nX: a\x7fb\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\nno colon\r\n\r\n", B, NOTHING),
    ("GET / HTTP/1.1\r\nHost: api.contoso.com\r\n: empty\r\n\r\n", B, NOTHING),
    (
        "GET / HTTP/1.1\r\nHost: api.contoso.com\r\nExpect: wonders\r\n\r\n",
        &["HTTP/1.1 417 Expectation Failed"],
        NOTHING,
    ),
    // A good request first: its answer keeps its place, and the bad one behind it goes nowhere.
    (
        "GET /1 HTTP/1.1\r\nHost: api.contoso.com\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /3 HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n",
        &["HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request"],
        &["GET /1 "],
    ),
];

#[tokio::test]
async fn every_row_of_the_gate() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    for (request, statuses, reached) in ROWS {
        let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
        let lines: Vec<_> = answer
            .split("\r\n")
            .flat_map(|line| line.split("ok"))
            .filter(|l| l.starts_with("HTTP/"))
            .collect();
        assert_eq!(&lines, statuses, "{request:?} was answered {answer:?}");
        let got = upstream.take();
        for part in *reached {
            assert!(got.contains(part), "{request:?} reached the upstream as {got:?}, without {part:?}");
        }
        assert_eq!(got.is_empty(), reached.is_empty(), "{request:?} reached the upstream as {got:?}");
        assert!(!got.contains("/3") && !got.contains("evil") && !got.contains("upgrad"), "{got:?}");
    }
}

#[tokio::test]
async fn every_row_of_the_gate_byte_by_byte() {
    use tokio::io::AsyncWriteExt;
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    for (request, statuses, reached) in ROWS {
        let stream = proxy.tls(proxy.https, crate::support::API).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let send = async {
            for byte in request.as_bytes() {
                // The gate may have answered and closed before the last byte.
                if writer.write_all(&[*byte]).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
            }
        };
        let (answer, ()) = tokio::join!(crate::support::rest(&mut reader), send);
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.matches("HTTP/1.").count(), statuses.len(), "{request:?} was answered {answer:?}");
        assert!(answer.starts_with(statuses[0]), "{request:?} was answered {answer:?}");
        assert_eq!(upstream.take().is_empty(), reached.is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn broken_chunks_are_refused_and_the_upstream_connection_is_not_used_again() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    for body in [
        "0x3\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "junk\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "POST /x HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\n\r\n"
        );
        let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{body:?} was answered {answer:?}");
        assert_eq!(proxy.worker.pool().kept(), 0, "{body:?}");
        let got = upstream.take();
        assert!(
            !got.contains("0\r\n\r\n") && !got.contains("smuggled"),
            "{body:?} reached the upstream whole: {got:?}"
        );
    }
}

#[tokio::test]
async fn sizes_are_limited() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let target = |length| {
        format!("GET /{} HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n", "x".repeat(length))
    };
    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: api.contoso.com\r\n{}Connection: close\r\n\r\n",
            "x: y\r\n".repeat(count)
        )
    };
    let field = |length| {
        format!(
            "GET / HTTP/1.1\r\nHost: api.contoso.com\r\nx: {}\r\nConnection: close\r\n\r\n",
            "y".repeat(length)
        )
    };
    for (request, status) in [
        (target(8191), "200"),
        (target(8192), "414"),
        (target(40_000), "414"),
        (fields(98), "200"),
        (fields(99), "431"),
        (field(32_000), "200"),
        (field(32_768), "431"),
        (field(100_000), "431"),
    ] {
        let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{} bytes: {answer:?}", request.len());
    }
}
