//! Fields out of what a client sends.

use super::{
    field::{Field, Name},
    huffman,
    table::Table,
};

/// A client's compression; what it has had remembered is part of it.
#[derive(Debug, Default)]
pub(in super::super) struct Decoder {
    table: Table,
}

/// It cannot be told any more what the client means, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Broken;

impl Decoder {
    /// Reads a whole block, field by field.
    pub(in super::super) fn decode(
        &mut self,
        block: &[u8],
        mut take: impl FnMut(Field),
    ) -> Result<(), Broken> {
        self.read(block, &mut take).ok_or(Broken)
    }

    fn read(&mut self, mut block: &[u8], take: &mut impl FnMut(Field)) -> Option<()> {
        let mut scratch = Vec::new();
        // Only in front of all fields may the table change (section 4.2).
        while let Some(0x20..=0x3f) = block.first() {
            self.table.resize(number(&mut block, 5)?)?;
        }
        while let Some(first) = block.first() {
            match first {
                // 6.1: known.
                0x80.. => take(self.table.get(number(&mut block, 7)?)?.clone()),
                // 6.2.1: remembered from now on.
                0x40..=0x7f => {
                    let field = self.literal(&mut block, 6, &mut scratch)?;
                    self.table.remember(field.clone());
                    take(field);
                }
                0x20..=0x3f => return None,
                // 6.2.2 and 6.2.3: not remembered.
                _ => take(self.literal(&mut block, 4, &mut scratch)?),
            }
        }
        Some(())
    }

    fn literal(&self, block: &mut &[u8], prefix: u32, scratch: &mut Vec<u8>) -> Option<Field> {
        let name = match number(block, prefix)? {
            0 => Name::of(string(block, scratch)?),
            number => self.table.get(number)?.name.clone(),
        };
        Some(Field::new(name, string(block, scratch)?))
    }
}

/// A number in the lower bits of a byte, and in those behind it if it does not fit (section 5.1).
fn number(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let mask = (1 << prefix) - 1;
    let mut number = usize::from(take(block, 1)?[0] & mask);
    if number < usize::from(mask) {
        return Some(number);
    }
    // Nothing that is of use here needs more.
    for shift in [0, 7, 14, 21] {
        let byte = take(block, 1)?[0];
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Section 5.2.
fn string<'a, 'b: 'a>(block: &mut &'b [u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let is_packed = block.first()? & 0x80 != 0;
    let length = number(block, 7)?;
    let bytes = take(block, length)?;
    if !is_packed {
        return Some(bytes);
    }
    scratch.clear();
    huffman::decode(bytes, scratch)?;
    Some(scratch)
}

fn take<'a>(block: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = block.split_at_checked(count)?;
    *block = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::field::Value, *};

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        hex.chunks(2)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 16).unwrap())
            .collect()
    }

    fn text(field: &Field) -> String {
        match (&field.name, &field.value) {
            (Name::Method, Value::Method(value)) => format!(":method: {value}"),
            (Name::Scheme, Value::Scheme(value)) => format!(":scheme: {value}"),
            (Name::Authority, Value::Authority(value)) => format!(":authority: {value}"),
            (Name::Path, Value::Path(value)) => format!(":path: {value}"),
            (Name::Plain(name), Value::Plain(value)) => format!("{name}: {}", value.to_str().unwrap()),
            other => format!("{other:?}"),
        }
    }

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Broken> {
        let mut fields = Vec::new();
        decoder.decode(block, |field| fields.push(text(&field)))?;
        Ok(fields)
    }

    /// C.3 and C.4: the same requests, without and with Huffman's code.
    #[test]
    fn rfc7541_appendix_c_requests() {
        let front = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
        let second = [&front[..], &["cache-control: no-cache"]].concat();
        let third = [
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ];
        for blocks in [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::default();
            for (block, expected) in blocks.iter().zip([&front[..], &second, &third]) {
                assert_eq!(decoded(&mut decoder, &bytes(block)).unwrap(), expected);
            }
        }
    }

    #[test]
    fn rfc7541_appendix_c_numbers() {
        for (code, prefix, value) in [
            ("0a", 5, Some(10)),
            ("1f9a0a", 5, Some(1337)),
            ("2a", 8, Some(42)),
            ("1f9a", 5, None),
            ("", 5, None),
        ] {
            let code = bytes(code);
            // A prefix of eight bits is none of a byte's.
            let prefix = if prefix == 8 { 7 } else { prefix };
            assert_eq!(number(&mut &*code, prefix), value, "{code:x?}");
        }
        assert_eq!(number(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], 7), None);
    }

    #[test]
    fn a_field_that_is_wrong_is_remembered_as_one() {
        let mut decoder = Decoder::default();
        let wrong = [&[0x40, 2][..], b"A:", &[1], b"1"].concat();
        let mut fields = Vec::new();
        decoder.decode(&[&wrong[..], &[0xbe, 0x7e, 1, b'2']].concat(), |field| fields.push(field)).unwrap();
        assert!(fields.iter().all(|field| field.name == Name::Wrong(2) && field.size == 35), "{fields:?}");
        // A name is none the worse for a value that it cannot have.
        let mut fields = Vec::new();
        let value = [&[0x40, 1][..], b"a", &[1], b"\n", &[0x7e, 1], b"2"].concat();
        decoder.decode(&value, |field| fields.push(field)).unwrap();
        assert_eq!((&fields[0].value, text(&fields[1])), (&Value::Wrong, "a: 2".to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_does_harm(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
            let mut decoder = Decoder::default();
            for block in blocks {
                let _any = decoder.decode(&block, drop);
            }
        }
    }
}
