//! An answer's fields as they are sent.

use http::{HeaderName, HeaderValue, StatusCode};

use super::table;

/// A field as it is sent.
type Line<'f> = (&'f HeaderName, &'f HeaderValue);

/// Appends the head of an answer.
pub(in super::super) fn answer<'f>(
    status: StatusCode,
    fields: impl Iterator<Item = Line<'f>>,
    block: &mut Vec<u8>,
) {
    match status.as_u16() {
        200 => block.push(0x88),
        204 => block.push(0x89),
        206 => block.push(0x8a),
        304 => block.push(0x8b),
        400 => block.push(0x8c),
        404 => block.push(0x8d),
        500 => block.push(0x8e),
        // Not to be remembered, with the name of number 8.
        _ => {
            block.push(0x08);
            string(status.as_str().as_bytes(), block);
        }
    }
    self::fields(fields, block);
}

/// Appends fields.
pub(in super::super) fn fields<'f>(fields: impl Iterator<Item = Line<'f>>, block: &mut Vec<u8>) {
    for (name, value) in fields {
        let name = name.as_str();
        // Section 6.2.2; of a sensitive one nobody behind us may remember it either (6.2.3).
        let kind = if value.is_sensitive() { 0x10 } else { 0 };
        match table::number(name) {
            0 => {
                block.push(kind);
                string(name.as_bytes(), block);
            }
            known => number(known.into(), 4, kind, block),
        }
        string(value.as_bytes(), block);
    }
}

/// In front of the first fields: nothing is remembered (section 4.2).
pub(in super::super) const NOTHING_IS_REMEMBERED: u8 = 0x20;

/// As it is: to shorten it costs more than it saves.
fn string(bytes: &[u8], block: &mut Vec<u8>) {
    number(bytes.len(), 7, 0, block);
    block.extend_from_slice(bytes);
}

/// Section 5.1.
fn number(number: usize, prefix: u32, kind: u8, block: &mut Vec<u8>) {
    let mask = (1 << prefix) - 1;
    let Some(mut rest) = number.checked_sub(mask) else {
        return block.push(kind | number as u8);
    };
    block.push(kind | mask as u8);
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use http::{
        HeaderMap,
        header::{CONTENT_TYPE, SET_COOKIE},
    };
    use proptest::prelude::*;

    use super::{
        super::{Decoder, Name, Value},
        *,
    };
    use crate::proxy::message::Headers;

    fn block(status: u16, fields: &Headers) -> Vec<u8> {
        let mut block = Vec::new();
        answer(StatusCode::from_u16(status).unwrap(), fields.iter(), &mut block);
        block
    }

    #[test]
    fn an_answer() {
        let mut fields = Headers::new();
        fields.append(HeaderName::from_static("x-request-id"), HeaderValue::from_static("4bf9"));
        fields.append(SET_COOKIE, HeaderValue::from_static("a=b"));
        fields.append(SET_COOKIE, HeaderValue::from_static("c=d"));
        let mut secret = HeaderValue::from_static("s");
        secret.set_sensitive(true);
        fields.append(CONTENT_TYPE, secret);
        let expected = [
            &[0x88, 0x00, 12][..],
            b"x-request-id\x044bf9",
            b"\x0f\x28\x03a=b",
            b"\x0f\x28\x03c=d",
            b"\x1f\x10\x01s",
        ];
        assert_eq!(block(200, &fields), expected.concat());
        assert_eq!(block(421, &Headers::new()), b"\x08\x03421");
        assert_eq!(block(404, &Headers::new()), [0x8d]);
    }

    proptest! {
        /// What is sent is what the other side reads, lengths of more than a byte among it.
        #[test]
        fn fields_come_back(values in prop::collection::vec("[ -~]{0,20}|[a-z]{120,400}|b{17000}", 0..12)) {
            let mut map = HeaderMap::new();
            for (number, value) in values.iter().enumerate() {
                let name = ["x-a", "date", "content-length", "vary"][number % 4];
                map.append(name, HeaderValue::from_str(value).unwrap());
            }
            let mut block = vec![NOTHING_IS_REMEMBERED];
            fields(map.iter(), &mut block);
            let mut read = HeaderMap::new();
            let decoded = Decoder::default().decode(&block, |field| match (field.name, field.value) {
                (Name::Plain(name), Value::Plain(value)) => {
                    read.append(name, value);
                }
                other => panic!("{other:?}"),
            });
            prop_assert_eq!(decoded, Ok(()));
            prop_assert_eq!(read, map);
        }
    }
}
