//! Rows of compressed fields, by section of RFC 7541.

use super::{
    Expected::{Connection, Status},
    *,
};

/// `:method: GET`, `:scheme: https`, `:path: /` (appendix A).
const INDEXED: [u8; 3] = [0x82, 0x87, 0x84];
/// `x-test`, as Huffman's code has it.
const X_TEST: [u8; 6] = [0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff];

/// A string as it is.
fn plain(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

/// `:authority`, without being remembered.
fn authority() -> Vec<u8> {
    [&[0x01][..], &plain(API)].concat()
}

/// A request with something more in its fields.
fn with_more(stream: u32, more: &[&[u8]]) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &[&INDEXED[..], &authority(), &more.concat()].concat())
}

fn with_front(front: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[front, &INDEXED, &authority()].concat())
}

fn huffman_value(value: &[u8]) -> Vec<u8> {
    with_more(1, &[&[0x00], &X_TEST, value])
}

/// What fields may be.
pub(super) fn compressed() -> Vec<Row> {
    const BROKEN: Expected = Connection(&[COMPRESSION_ERROR]);
    let (name, value) = (plain("x-test"), plain("test"));
    vec![
        ("2.3.3 an index of the static table", with_more(1, &[]), Status(1, 200)),
        (
            "2.3.3 an index of what was remembered",
            [with_more(1, &[&[0x40], &name, &value]), with_more(3, &[&[0xbe]])].concat(),
            Status(3, 200),
        ),
        ("2.3.3 an index of what was not", with_more(1, &[&[0xbe]]), BROKEN),
        (
            "2.3.3 an index of what was forgotten",
            [
                with_more(1, &[&[0x40], &name, &value]),
                frame(HEADERS, WHOLE, 3, &[&[0x20][..], &INDEXED, &authority(), &[0xbe]].concat()),
            ]
            .concat(),
            BROKEN,
        ),
        ("4.2 a smaller table, at the beginning", with_front(&[0x20]), Status(1, 200)),
        ("4.2 a smaller table, and the largest again", with_front(&[0x20, 0x3f, 0xe1, 0x1f]), Status(1, 200)),
        ("4.2 another table behind fields", with_more(1, &[&[0x20]]), BROKEN),
        ("5.1 a number without end", with_more(1, &[&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]]), BROKEN),
        ("5.2 Huffman's code", huffman_value(&[0x83, 0x49, 0x50, 0x9f]), Status(1, 200)),
        ("5.2 padding of more than seven bits", huffman_value(&[0x84, 0x49, 0x50, 0x9f, 0xff]), BROKEN),
        ("5.2 padding of zeros", huffman_value(&[0x83, 0x49, 0x50, 0x90]), BROKEN),
        (
            "5.2 the end of strings within one",
            huffman_value(&[0x87, 0x49, 0x51, 0xff, 0xff, 0xff, 0xfa, 0x7f]),
            BROKEN,
        ),
        ("5.2 a string longer than the fields", with_more(1, &[&[0x00, 0x06], b"x-t"]), BROKEN),
        ("6.1 no index", with_more(1, &[&[0x80]]), BROKEN),
        ("6.2.1 remembered, its name too", with_more(1, &[&[0x40], &name, &value]), Status(1, 200)),
        ("6.2.1 remembered, with a known name", with_more(1, &[&[0x7a], &value]), Status(1, 200)),
        ("6.2.1 remembered, with a name that is not known", with_more(1, &[&[0x7f, 0x7f], &value]), BROKEN),
        ("6.2.2 not remembered", with_more(1, &[&[0x00], &name, &value]), Status(1, 200)),
        ("6.2.2 not remembered, with a known name", with_more(1, &[&[0x0f, 0x2b], &value]), Status(1, 200)),
        (
            "6.2.2 not remembered, with a name that is not known",
            with_more(1, &[&[0x0f, 0x7f], &value]),
            BROKEN,
        ),
        ("6.2.3 never remembered", with_more(1, &[&[0x10], &name, &value]), Status(1, 200)),
        ("6.2.3 never remembered, with a known name", with_more(1, &[&[0x1f, 0x2b], &value]), Status(1, 200)),
        (
            "6.2.3 never remembered, with a name that is not known",
            with_more(1, &[&[0x1f, 0x7f], &value]),
            BROKEN,
        ),
        ("6.3 a table of the most there is", with_front(&[0x3f, 0xe1, 0x1f]), Status(1, 200)),
        ("6.3 a table of one more", with_front(&[0x3f, 0xe2, 0x1f]), BROKEN),
    ]
}
