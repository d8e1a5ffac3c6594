//! Rows of what may come when: the states of streams, their windows, and what is asked by them.

use super::{
    Expected::{Acknowledged, Connection, Data, GoesOn, Status, Stream},
    *,
};

/// Depends on no stream, with the weight that is the default.
const NO_PRIORITY: [u8; 5] = [0, 0, 0, 0, 15];

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

fn priority(stream: u32, payload: [u8; 5]) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &payload)
}

fn asked(method: &'static str) -> Vec<u8> {
    with_fields(&[(":method", method), SCHEME, AUTHORITY, PATH])
}

/// By section of RFC 9113.
pub(super) fn of_streams() -> Vec<Row> {
    let windows = |first: u32, then: u32| {
        [setting(4, first), request(1), setting(4, then), frame(PING, 0, 0, &[1; 8])].concat()
    };
    let ping = |header: [u8; 9]| header.to_vec();
    vec![
        ("3.4 nothing behind the preface", vec![], Acknowledged(1)),
        ("4.2 SETTINGS too long", frame(SETTINGS, 0, 0, &[0; 6 * 2731]), Connection(&[FRAME_SIZE_ERROR])),
        (
            "4.2 the longest length there can be",
            ping([0xff, 0xff, 0xff, PING, 0, 0, 0, 0, 0]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.2 CONTINUATION too long",
            [
                frame(HEADERS, END_STREAM, 1, &get(&[])),
                frame(CONTINUATION, END_HEADERS, 1, &[0; (1 << 14) + 1]),
            ]
            .concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "5.1 PRIORITY in front of a request",
            [priority(1, NO_PRIORITY), request(1)].concat(),
            Status(1, 200),
        ),
        ("5.1 WINDOW_UPDATE behind the end", [request(1), window(1, 1)].concat(), Status(1, 200)),
        ("5.1 PRIORITY behind the end", [request(1), priority(1, NO_PRIORITY)].concat(), Status(1, 200)),
        ("5.1 RST_STREAM behind the end", [request(1), reset(1)].concat(), GoesOn),
        ("5.1 RST_STREAM behind a reset", [open(1), reset(1), reset(1)].concat(), GoesOn),
        ("5.1 WINDOW_UPDATE behind a reset", [open(1), reset(1), window(1, 1)].concat(), GoesOn),
        (
            "5.1 CONTINUATION behind a reset",
            [open(1), reset(1), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(),
            Connection(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        ("5.1 another stream behind a reset", [open(1), reset(1), request(3)].concat(), Status(3, 200)),
        ("5.1.1 streams that are left out", request(7), Status(7, 200)),
        ("5.3.2 PRIORITY of the least weight", [priority(1, [0; 5]), request(1)].concat(), Status(1, 200)),
        (
            "5.3.2 PRIORITY of the most weight",
            [priority(1, [0, 0, 0, 0, 255]), request(1)].concat(),
            Status(1, 200),
        ),
        (
            "5.3.2 PRIORITY, exclusively",
            [priority(3, [0x80, 0, 0, 1, 15]), request(1)].concat(),
            Status(1, 200),
        ),
        (
            "5.3.2 HEADERS with priority",
            frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&NO_PRIORITY[..], &get(&[])].concat()),
            Status(1, 200),
        ),
        (
            // RFC 7540 called it an error of the stream; RFC 9113 has no dependencies any more.
            "5.3.2 HEADERS that depend on themselves",
            frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 15][..], &get(&[])].concat()),
            Stream(1, &[PROTOCOL_ERROR]),
        ),
        (
            "5.3.2 PRIORITY that depends on itself",
            [open(1), priority(1, [0, 0, 0, 1, 15])].concat(),
            Stream(1, &[PROTOCOL_ERROR]),
        ),
        ("5.4.1 GOAWAY without an error", [frame(GOAWAY, 0, 0, &[0; 8]), request(1)].concat(), GoesOn),
        (
            "6.1 DATA in pieces",
            [open(1), frame(DATA, 0, 1, b"a"), frame(DATA, 0, 1, b""), frame(DATA, END_STREAM, 1, b"b")]
                .concat(),
            Status(1, 200),
        ),
        (
            "6.1 DATA of nothing but padding",
            [open(1), frame(DATA, END_STREAM | PADDED, 1, &[3, 0, 0, 0])].concat(),
            Status(1, 200),
        ),
        (
            "6.1 DATA without the length of its padding",
            [open(1), frame(DATA, END_STREAM | PADDED, 1, b"")].concat(),
            Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "6.2 HEADERS with padding",
            frame(HEADERS, WHOLE | PADDED, 1, &[&[3][..], &get(&[]), &[0; 3]].concat()),
            Status(1, 200),
        ),
        (
            "6.2 HEADERS of nothing but priority, cut off",
            frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[0; 4]),
            Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "6.3 PRIORITY too long",
            [open(1), frame(PRIORITY, 0, 1, &[0; 6])].concat(),
            Stream(1, &[FRAME_SIZE_ERROR]),
        ),
        (
            "6.4 RST_STREAM too long",
            [open(1), frame(RST_STREAM, 0, 1, &[0; 5])].concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "6.5 SETTINGS of all kinds",
            [
                setting(1, 0),
                setting(2, 0),
                setting(3, 100),
                setting(4, 65_535),
                setting(5, 16_384),
                setting(6, 4_096),
            ]
            .concat(),
            Acknowledged(7),
        ),
        ("6.5 SETTINGS acknowledged", frame(SETTINGS, ACK, 0, b""), GoesOn),
        (
            "6.5 SETTINGS acknowledged twice",
            frame(SETTINGS, ACK, 0, b"").repeat(2),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("6.5.2 ENABLE_CONNECT_PROTOCOL of a client", setting(8, 1), Acknowledged(2)),
        (
            "6.5.3 of one setting twice the last one counts",
            [frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 100, 0, 4, 0, 0, 0, 1]), request(1)].concat(),
            Data(1, 1),
        ),
        ("6.7 PING too long", frame(PING, 0, 0, &[0; 9]), Connection(&[FRAME_SIZE_ERROR])),
        ("6.9 WINDOW_UPDATE too long", frame(WINDOW_UPDATE, 0, 0, &[0; 5]), Connection(&[FRAME_SIZE_ERROR])),
        (
            "6.9 windows that are opened further",
            [open(1), window(0, 1), window(1, 1), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Status(1, 200),
        ),
        ("6.9.1 a window of one byte", [setting(4, 1), request(1)].concat(), Data(1, 1)),
        ("6.9.2 a window that is opened by SETTINGS", windows(0, 1), Data(1, 1)),
        (
            "6.9.2 a window below nothing",
            [setting(4, 3), request(1), setting(4, 0), setting(4, 2)].concat(),
            Status(1, 200),
        ),
        (
            "6.10 CONTINUATION behind the end of fields",
            [
                frame(HEADERS, END_STREAM, 1, &get(&[])),
                frame(CONTINUATION, END_HEADERS, 1, b""),
                frame(CONTINUATION, END_HEADERS, 1, b""),
            ]
            .concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 CONTINUATION behind DATA",
            [open(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 DATA within fields",
            [frame(HEADERS, 0, 1, &post(&[])), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 PING within fields",
            [frame(HEADERS, END_STREAM, 1, &get(&[])), frame(PING, 0, 0, &[0; 8])].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 CONTINUATION with fields that are none",
            [frame(HEADERS, END_STREAM, 1, &get(&[])), frame(CONTINUATION, END_HEADERS, 1, &[0x80])].concat(),
            Connection(&[COMPRESSION_ERROR]),
        ),
        (
            "8.5 a protocol of no tunnel (RFC 8441, section 4)",
            with_fields(&[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")]),
            Stream(1, &[PROTOCOL_ERROR]),
        ),
        (
            "8.5 a tunnel of a protocol that leads nowhere (RFC 8441, section 4)",
            with_fields(&[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, AUTHORITY]),
            Stream(1, &[PROTOCOL_ERROR]),
        ),
        ("8.1 HEAD", asked("HEAD"), Status(1, 200)),
        ("8.1 OPTIONS", asked("OPTIONS"), Status(1, 200)),
        ("8.1 POST", [open(1), frame(DATA, END_STREAM, 1, b"x")].concat(), Status(1, 200)),
        ("8.1 POST without a body", asked("POST"), Status(1, 200)),
        ("8.1 two at once", [request(1), request(3)].concat(), Status(3, 200)),
        (
            "8.4 PUSH_PROMISE behind the end",
            [request(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}

/// What comes once both sides of the first stream have ended.
pub(super) fn answered_before() -> Vec<(Row, Vec<u8>)> {
    let row = |name, then, expected| ((name, request(1), expected), then);
    vec![
        row("5.1 DATA for a closed stream", frame(DATA, END_STREAM, 1, b"x"), Stream(1, &[STREAM_CLOSED])),
        row("5.1 HEADERS for a closed stream", request(1), Stream(1, &[STREAM_CLOSED, PROTOCOL_ERROR])),
        row(
            "5.1 CONTINUATION for a closed stream",
            frame(CONTINUATION, END_HEADERS, 1, b""),
            Connection(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        row("5.1 PRIORITY for a closed stream", priority(1, NO_PRIORITY), GoesOn),
        row("5.1 WINDOW_UPDATE for a closed stream", window(1, 1), GoesOn),
        row("5.1 RST_STREAM for a closed stream", reset(1), GoesOn),
        row("5.1 the next stream", request(3), Status(3, 200)),
    ]
}
