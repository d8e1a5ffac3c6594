//! A chunked body, checked byte by byte as it passes. Pure.
//!
//! Stricter than RFC 9112, section 7.1 in one point: no whitespace between size and extension, which nobody sends in good faith.
//! But some servers fill up their sizes with spaces, so of answers that is taken.

use super::{
    super::limits::Limits,
    head::{is_field_value, is_token},
};

/// A size of 16 hexadecimal digits fills 64 bits.
const SIZE_DIGITS: u8 = 16;

/// Not the grammar; where the body ends is unknown from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size { digits: u8, size: u64 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// The state of one chunked body.
#[derive(Debug)]
pub(in crate::proxy) struct Chunked {
    at: At,
    extension_bytes: usize,
    trailer_bytes: usize,
    /// The trailer section so far, of an answer.
    trailers: Option<Vec<u8>>,
}

/// What comes next in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) struct Piece {
    /// What is around the data comes first …
    pub(in crate::proxy) skipped: usize,
    /// … and then so much of it. 0: there is no more of it yet, or ever.
    pub(in crate::proxy) data: usize,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { at: At::Size { digits: 0, size: 0 }, extension_bytes: 0, trailer_bytes: 0, trailers: None }
    }

    /// Of an answer, whose trailers are kept.
    pub(in crate::proxy) fn of_an_answer() -> Self {
        Self { trailers: Some(Vec::new()), ..Self::new() }
    }

    pub(in crate::proxy) fn is_end(&self) -> bool {
        self.at == At::End
    }

    /// The lines of the trailer section, each with its end.
    pub(in crate::proxy) fn take_trailers(&mut self) -> Vec<u8> {
        self.trailers.take().unwrap_or_default()
    }

    /// What is next in `bytes`, which begin where the last piece ended. None: it is broken.
    pub(in crate::proxy) fn next_piece(&mut self, bytes: &[u8], limits: &Limits) -> Option<Piece> {
        let mut skipped = 0;
        while skipped < bytes.len() && self.at != At::End {
            if let At::Data { left } = self.at {
                let available = bytes.len() - skipped;
                let data = usize::try_from(left).map_or(available, |left| left.min(available));
                self.take(left, data);
                return Some(Piece { skipped, data });
            }
            let byte = bytes[skipped];
            let at = self.step(byte, limits).ok()?;
            // Of a line's bytes, its end is the one that leads on from its CR.
            let is_trailer =
                matches!(at, At::TrailerName | At::TrailerValue | At::TrailerLf) || self.at == At::TrailerLf;
            if let (true, Some(trailers)) = (is_trailer, &mut self.trailers) {
                trailers.push(byte);
            }
            self.at = at;
            skipped += 1;
        }
        Some(Piece { skipped, data: 0 })
    }

    /// So much of a chunk's data has gone by.
    fn take(&mut self, left: u64, taken: usize) {
        let left = left - taken as u64;
        self.at = if left == 0 { At::DataCr } else { At::Data { left } };
    }

    /// How many of `bytes` belong to the body: all, or those up to its end or to a fault.
    pub(super) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> (usize, Result<(), Broken>) {
        let mut position = 0;
        while position < bytes.len() && self.at != At::End {
            if let At::Data { left } = self.at {
                let available = bytes.len() - position;
                let taken = usize::try_from(left).map_or(available, |left| left.min(available));
                position += taken;
                self.take(left, taken);
                continue;
            }
            match self.step(bytes[position], limits) {
                Ok(at) => self.at = at,
                Err(broken) => return (position, Err(broken)),
            }
            position += 1;
        }
        (position, Ok(()))
    }

    fn step(&mut self, byte: u8, limits: &Limits) -> Result<At, Broken> {
        match (self.at, byte) {
            (At::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS {
                    return Err(Broken);
                }
                Ok(At::Size { digits: digits + 1, size: (size << 4) | hex(byte) })
            }
            (At::Size { digits: 0, .. }, _) => Err(Broken),
            (At::Size { size, .. } | At::Extension { size }, b'\r') => Ok(At::SizeLf { size }),
            (At::Size { size, .. }, b';') => Ok(At::Extension { size }),
            (At::Size { size, .. }, b' ' | b'\t') if self.trailers.is_some() => Ok(At::Extension { size }),
            (At::Extension { size }, _) if is_field_value(byte) => {
                self.extension_bytes += 1;
                within(self.extension_bytes, limits.chunk_extension_bytes)?;
                Ok(At::Extension { size })
            }
            (At::SizeLf { size: 0 }, b'\n') => Ok(At::TrailerStart),
            (At::SizeLf { size }, b'\n') => Ok(At::Data { left: size }),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { digits: 0, size: 0 }),
            (At::TrailerStart, b'\r') => Ok(At::EndLf),
            (At::EndLf, b'\n') => Ok(At::End),
            (At::TrailerStart | At::TrailerName, _) if is_token(byte) => {
                self.trailer(At::TrailerName, limits)
            }
            (At::TrailerName, b':') => self.trailer(At::TrailerValue, limits),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, _) if is_field_value(byte) => self.trailer(At::TrailerValue, limits),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            _ => Err(Broken),
        }
    }

    fn trailer(&mut self, next: At, limits: &Limits) -> Result<At, Broken> {
        self.trailer_bytes += 1;
        within(self.trailer_bytes, limits.trailer_bytes)?;
        Ok(next)
    }
}

fn within(bytes: usize, limit: usize) -> Result<(), Broken> {
    if bytes > limit { Err(Broken) } else { Ok(()) }
}

fn hex(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Result<(usize, bool), Broken> {
        let mut body = Chunked::new();
        let (taken, outcome) = body.advance(bytes, &Limits::default());
        outcome.map(|()| (taken, body.is_end()))
    }

    /// The data of an answer's body that comes in such pieces, and its trailers; None: it is broken.
    fn data(body: &[u8], cut: usize) -> Option<(Vec<u8>, String, bool)> {
        let (mut chunked, mut data) = (Chunked::of_an_answer(), Vec::new());
        for mut piece in body.chunks(cut) {
            while !piece.is_empty() && !chunked.is_end() {
                let next = chunked.next_piece(piece, &Limits::default())?;
                data.extend_from_slice(&piece[next.skipped..next.skipped + next.data]);
                piece = &piece[next.skipped + next.data..];
            }
        }
        let trailers = String::from_utf8(chunked.take_trailers()).unwrap();
        Some((data, trailers, chunked.is_end()))
    }

    #[test]
    fn an_answers_data_and_trailers_are_the_same_however_it_is_cut() {
        let body = b"3\r\nabc\r\n10 ;x=y\r\n0123456789abcdef\r\n2  \r\n\r\n\r\n0\r\nA: 1\r\nb:2\r\n\r\n";
        for cut in 1..=body.len() {
            let expected = (b"abc0123456789abcdef\r\n".to_vec(), "A: 1\r\nb:2\r\n".to_owned(), true);
            assert_eq!(data(body, cut), Some(expected), "{cut}");
        }
        assert_eq!(data(b"0\r\n\r\n", 9), Some((Vec::new(), String::new(), true)));
        assert_eq!(data(b"3\r\nab", 9), Some((b"ab".to_vec(), String::new(), false)));
        assert_eq!(data(b"3\r\nabcd", 9), None);
        assert_eq!(data(b" 3\r\nabc", 9), None);
    }

    #[test]
    fn right_bodies_end_where_they_end() {
        for (body, rest) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n"),
            ("A;name=\"v\";x\r\n0123456789\r\n000\r\n\r\n", "x"),
            ("1\r\na\r\n0\r\nTrailer: v\r\nOther:\r\n\r\n", "\r\n"),
        ] {
            assert_eq!(whole(format!("{body}{rest}").as_bytes()), Ok((body.len(), true)), "{body:?}");
        }
    }

    #[test]
    fn wrong_bodies_are_broken() {
        for body in [
            "0x3\r\nabc\r\n",
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            " 3\r\nabc",
            "3 \r\nabc\r\n",
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n",
            "11111111111111111\r\n",
            "3;a\nb\r\nabc\r\n",
            "3;a\rb\r\n",
            "0\r\n\n",
            "0\r\n folded: x\r\n\r\n",
            "0\r\nna me: x\r\n\r\n",
            "0\r\nname\r\n\r\n",
            "0\r\nname: a\0b\r\n\r\n",
            "3;\0\r\nabc\r\n",
        ] {
            assert_eq!(whole(body.as_bytes()), Err(Broken), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let limits = Limits { chunk_extension_bytes: 8, trailer_bytes: 8, ..Limits::default() };
        let run = |body: &str| Chunked::new().advance(body.as_bytes(), &limits).1;
        assert_eq!(run("1;abcd\r\na\r\n1;abcd\r\n"), Ok(()));
        assert_eq!(run("1;abcd\r\na\r\n1;abcde\r\n"), Err(Broken));
        assert_eq!(run("0\r\nab: defg\r\n\r\n"), Ok(()));
        assert_eq!(run("0\r\nab: defgh\r\n\r\n"), Err(Broken));
    }

    proptest! {
        /// However the bytes are cut, the end is the same.
        #[test]
        fn cuts_do_not_matter(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), cut in 1_usize..7) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let mut body = Chunked::new();
            for piece in wire.chunks(cut) {
                prop_assert!(!body.is_end());
                prop_assert_eq!(body.advance(piece, &Limits::default()), (piece.len(), Ok(())));
            }
            prop_assert!(body.is_end());
        }

        /// Whatever comes, nothing panics.
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = whole(&bytes);
        }
    }
}
