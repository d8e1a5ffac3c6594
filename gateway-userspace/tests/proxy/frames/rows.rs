//! The rows, by section of RFC 9113.

use super::{
    Expected::{Connection, GoesOn, Status, Stream},
    *,
};

/// What frames may be, and in which order.
pub(super) fn frames_of_their_own() -> Vec<Row> {
    let long = vec![0; (1 << 14) + 1];
    let reset = [open(1), frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())].concat();
    let no_priority = [0, 0, 0, 0, 16];
    vec![
        ("4.1 an unknown type", frame(UNKNOWN, 0xff, 0, b"what"), GoesOn),
        ("4.1 unknown flags", frame(PING, 0xf0, 0, &[7; 8]), GoesOn),
        ("4.1 the reserved bit", frame(PING, 0, 1 << 31, &[7; 8]), GoesOn),
        (
            "4.2 DATA of the longest",
            [open(1), frame(DATA, END_STREAM, 1, &long[1..])].concat(),
            Status(1, 200),
        ),
        ("4.2 DATA too long", [open(1), frame(DATA, 0, 1, &long)].concat(), Stream(1, &[FRAME_SIZE_ERROR])),
        ("4.2 HEADERS too long", frame(HEADERS, WHOLE, 1, &long), Connection(&[FRAME_SIZE_ERROR])),
        ("4.3 fields that are none", frame(HEADERS, WHOLE, 1, &[0x80]), Connection(&[COMPRESSION_ERROR])),
        (
            "4.3 an index beyond the table",
            frame(HEADERS, WHOLE, 1, &[0xff, 0x7f]),
            Connection(&[COMPRESSION_ERROR]),
        ),
        (
            "4.3 a table of more than is allowed",
            frame(HEADERS, WHOLE, 1, &[0x3f, 0xff, 0xff, 0x7f]),
            Connection(&[COMPRESSION_ERROR]),
        ),
        (
            "4.3 PRIORITY within fields",
            [frame(HEADERS, END_STREAM, 1, &get(&[])), frame(PRIORITY, 0, 1, &no_priority)].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "4.3 another stream within fields",
            [frame(HEADERS, END_STREAM, 1, &get(&[])), request(3)].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("5.1 DATA before HEADERS", frame(DATA, END_STREAM, 1, b"x"), Connection(&[PROTOCOL_ERROR])),
        ("5.1 RST_STREAM before HEADERS", frame(RST_STREAM, 0, 1, &[0; 4]), Connection(&[PROTOCOL_ERROR])),
        ("5.1 WINDOW_UPDATE before HEADERS", window(1, 1), Connection(&[PROTOCOL_ERROR])),
        (
            "5.1 CONTINUATION before HEADERS",
            frame(CONTINUATION, END_HEADERS, 1, b""),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("5.1 PRIORITY before HEADERS", frame(PRIORITY, 0, 1, &no_priority), GoesOn),
        (
            "5.1 DATA behind the end",
            [request(1), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Stream(1, &[STREAM_CLOSED]),
        ),
        (
            "5.1 HEADERS behind the end",
            [request(1), request(1)].concat(),
            Stream(1, &[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "5.1 CONTINUATION behind the end",
            [request(1), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(),
            Connection(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "5.1 DATA behind a reset",
            [reset.clone(), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Stream(1, &[STREAM_CLOSED]),
        ),
        (
            "5.1 HEADERS behind a reset",
            [reset.clone(), request(1)].concat(),
            Stream(1, &[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "5.1 PRIORITY behind a reset",
            [reset.clone(), frame(PRIORITY, 0, 1, &no_priority)].concat(),
            GoesOn,
        ),
        ("5.1.1 a stream of ours", request(2), Connection(&[PROTOCOL_ERROR])),
        (
            "5.1.1 a lower stream",
            [request(5), request(3)].concat(),
            Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        (
            "5.1.2 one stream too many",
            (0..=100).flat_map(|number| open(2 * number + 1)).collect(),
            Stream(201, &[REFUSED_STREAM, PROTOCOL_ERROR]),
        ),
        ("5.4.1 GOAWAY with an unknown code", frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]), GoesOn),
        (
            "5.4.2 RST_STREAM with an unknown code",
            [open(1), frame(RST_STREAM, 0, 1, &[0xff; 4])].concat(),
            GoesOn,
        ),
        (
            "5.5 an unknown type within fields",
            [frame(HEADERS, END_STREAM, 1, &get(&[])), frame(UNKNOWN, 0, 1, b"")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("6.1 DATA of no stream", frame(DATA, END_STREAM, 0, b"x"), Connection(&[PROTOCOL_ERROR])),
        (
            "6.1 DATA of more padding than there is",
            [open(1), frame(DATA, END_STREAM | PADDED, 1, &[9, 1, 2])].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.1 padded DATA",
            [open(1), frame(DATA, END_STREAM | PADDED, 1, &[2, b'x', 0, 0])].concat(),
            Status(1, 200),
        ),
        ("6.2 HEADERS of no stream", request(0), Connection(&[PROTOCOL_ERROR])),
        (
            "6.2 HEADERS of more padding than there is",
            frame(HEADERS, WHOLE | PADDED, 1, &[&[250][..], &get(&[])].concat()),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2 HEADERS with padding and priority",
            frame(
                HEADERS,
                WHOLE | PADDED | WITH_PRIORITY,
                1,
                &[&[2][..], &no_priority, &get(&[]), &[0, 0]].concat(),
            ),
            Status(1, 200),
        ),
        ("6.3 PRIORITY of no stream", frame(PRIORITY, 0, 0, &no_priority), Connection(&[PROTOCOL_ERROR])),
        (
            "6.3 PRIORITY too short",
            [open(1), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
            Stream(1, &[FRAME_SIZE_ERROR]),
        ),
        ("6.4 RST_STREAM of no stream", frame(RST_STREAM, 0, 0, &[0; 4]), Connection(&[PROTOCOL_ERROR])),
        (
            "6.4 RST_STREAM too short",
            [open(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        ("6.5 SETTINGS of a stream", frame(SETTINGS, 0, 1, &[]), Connection(&[PROTOCOL_ERROR])),
        (
            "6.5 SETTINGS acknowledged with something",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        ("6.5 SETTINGS cut off", frame(SETTINGS, 0, 0, &[0; 5]), Connection(&[FRAME_SIZE_ERROR])),
        ("6.5.2 ENABLE_PUSH of 2", setting(2, 2), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2 a window too large", setting(4, 1 << 31), Connection(&[FLOW_CONTROL_ERROR])),
        ("6.5.2 MAX_FRAME_SIZE too small", setting(5, (1 << 14) - 1), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2 MAX_FRAME_SIZE too large", setting(5, 1 << 24), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2 an unknown setting", setting(0xfff0, 1), GoesOn),
        (
            "6.6 PUSH_PROMISE",
            [open(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("6.7 PING of a stream", frame(PING, 0, 1, &[0; 8]), Connection(&[PROTOCOL_ERROR])),
        ("6.7 PING too short", frame(PING, 0, 0, &[0; 6]), Connection(&[FRAME_SIZE_ERROR])),
        ("6.7 PING acknowledged unasked", frame(PING, ACK, 0, &[1; 8]), GoesOn),
        ("6.8 GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(&[PROTOCOL_ERROR])),
        ("6.8 GOAWAY too short", frame(GOAWAY, 0, 0, &[0; 7]), Connection(&[FRAME_SIZE_ERROR])),
        ("6.9 WINDOW_UPDATE of nothing", window(0, 0), Connection(&[PROTOCOL_ERROR])),
        (
            "6.9 WINDOW_UPDATE of nothing for a stream",
            [open(1), window(1, 0)].concat(),
            Stream(1, &[PROTOCOL_ERROR]),
        ),
        ("6.9 WINDOW_UPDATE too short", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Connection(&[FRAME_SIZE_ERROR])),
        (
            "6.9.1 a window beyond the largest",
            [window(0, 0x7fff_ffff), window(0, 1)].concat(),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.9.1 a stream's window beyond the largest",
            [open(1), window(1, 0x7fff_ffff), window(1, 1)].concat(),
            Stream(1, &[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.10 CONTINUATION behind all fields",
            [open(1), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 CONTINUATION of no stream",
            [frame(HEADERS, END_STREAM, 1, &get(&[])), frame(CONTINUATION, END_HEADERS, 0, b"")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 fields in many frames",
            [
                frame(HEADERS, END_STREAM, 1, &get(&[])),
                frame(CONTINUATION, 0, 1, &fields(&[("a", "b")])),
                frame(CONTINUATION, END_HEADERS, 1, &fields(&[("c", "d")])),
            ]
            .concat(),
            Status(1, 200),
        ),
        (
            "10.5.1 fields without end",
            [
                frame(HEADERS, END_STREAM, 1, &get(&[])),
                frame(CONTINUATION, 0, 1, &fields(&[("a", "b")])).repeat(1_000),
            ]
            .concat(),
            Connection(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR]),
        ),
    ]
}

/// What requests may be.
pub(super) fn requests() -> Vec<Row> {
    const MALFORMED: Expected = Stream(1, &[PROTOCOL_ERROR]);
    let trailers = |flags, list: &[(&str, &str)]| {
        [open(1), frame(DATA, 0, 1, b"x"), frame(HEADERS, flags, 1, &fields(list))].concat()
    };
    vec![
        ("8.1 a request", request(1), Status(1, 200)),
        ("8.1 trailers", trailers(WHOLE, &[("x-checksum", "1")]), Status(1, 200)),
        ("8.1 HEADERS that are no trailers", trailers(END_HEADERS, &[("x-checksum", "1")]), MALFORMED),
        ("8.1 pseudo-fields in trailers", trailers(WHOLE, &[METHOD]), MALFORMED),
        ("8.2.1 upper case", with(&[("X-Upper", "1")]), MALFORMED),
        ("8.2.1 a space in a name", with(&[("a b", "1")]), MALFORMED),
        ("8.2.1 a colon in a name", with(&[("a:b", "1")]), MALFORMED),
        ("8.2.1 no name", with(&[("", "1")]), MALFORMED),
        ("8.2.1 a line feed in a value", with(&[("a", "1\nb: 2")]), MALFORMED),
        ("8.2.1 a NUL in a value", with(&[("a", "1\0")]), MALFORMED),
        ("8.2.1 blanks around a value", with(&[("a", " 1")]), Status(1, 400)),
        ("8.2.2 Connection", with(&[("connection", "keep-alive")]), MALFORMED),
        ("8.2.2 Keep-Alive", with(&[("keep-alive", "5")]), MALFORMED),
        ("8.2.2 Proxy-Connection", with(&[("proxy-connection", "close")]), MALFORMED),
        ("8.2.2 Transfer-Encoding", with(&[("transfer-encoding", "chunked")]), MALFORMED),
        ("8.2.2 Upgrade", with(&[("upgrade", "websocket")]), MALFORMED),
        ("8.2.2 TE of more than trailers", with(&[("te", "trailers, deflate")]), MALFORMED),
        ("8.2.2 TE of trailers", with(&[("te", "trailers")]), Status(1, 200)),
        (
            "8.3 an unknown pseudo-field",
            with_fields(&[METHOD, SCHEME, AUTHORITY, PATH, (":test", "1")]),
            MALFORMED,
        ),
        (
            "8.3 a pseudo-field of answers",
            with_fields(&[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]),
            MALFORMED,
        ),
        (
            "8.3 a pseudo-field behind others",
            with_fields(&[METHOD, SCHEME, AUTHORITY, ("a", "b"), PATH]),
            MALFORMED,
        ),
        ("8.3.1 an empty path", with_fields(&[METHOD, SCHEME, AUTHORITY, (":path", "")]), MALFORMED),
        ("8.3.1 no method", with_fields(&[SCHEME, AUTHORITY, PATH]), MALFORMED),
        ("8.3.1 no scheme", with_fields(&[METHOD, AUTHORITY, PATH]), MALFORMED),
        ("8.3.1 no path", with_fields(&[METHOD, SCHEME, AUTHORITY]), MALFORMED),
        ("8.3.1 two methods", with_fields(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH]), MALFORMED),
        ("8.3.1 two schemes", with_fields(&[METHOD, SCHEME, SCHEME, AUTHORITY, PATH]), MALFORMED),
        ("8.3.1 two authorities", with_fields(&[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]), MALFORMED),
        ("8.3.1 two paths", with_fields(&[METHOD, SCHEME, AUTHORITY, PATH, PATH]), MALFORMED),
        (
            "8.3.1 a method that is none",
            with_fields(&[(":method", "G ET"), SCHEME, AUTHORITY, PATH]),
            MALFORMED,
        ),
        (
            "8.3.1 Host in the authority's place",
            with_fields(&[METHOD, SCHEME, PATH, ("host", API)]),
            Status(1, 200),
        ),
        ("8.3.1 neither", with_fields(&[METHOD, SCHEME, PATH]), Status(1, 421)),
        ("8.3.1 Host that is another", with(&[("host", "other.contoso.com")]), Status(1, 400)),
        (
            "8.3.1 user info",
            with_fields(&[METHOD, SCHEME, (":authority", "a@api.contoso.com"), PATH]),
            Status(1, 400),
        ),
        ("8.3.1 another scheme", with_fields(&[METHOD, (":scheme", "ftp"), AUTHORITY, PATH]), Status(1, 400)),
        (
            "8.3.1 the server itself",
            with_fields(&[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")]),
            Status(1, 200),
        ),
        ("8.1.1 a length without a body", with(&[("content-length", "3")]), MALFORMED),
        ("8.1.1 less than announced", announced("3", &[b"x", b""]), MALFORMED),
        ("8.1.1 more than announced", announced("1", &[b"xx", b"x"]), MALFORMED),
        ("8.1.1 as announced", announced("3", &[b"xx", b"x"]), Status(1, 200)),
        ("8.1.1 two lengths", with(&[("content-length", "0"), ("content-length", "0")]), Status(1, 400)),
        ("8.5 CONNECT", with_fields(&[(":method", "CONNECT"), AUTHORITY]), Status(1, 405)),
        (
            "8.5 CONNECT with a path",
            with_fields(&[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH]),
            Stream(1, &[PROTOCOL_ERROR]),
        ),
    ]
}
