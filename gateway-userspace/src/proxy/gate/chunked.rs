//! A chunked body, checked byte by byte as it passes. Pure.
//!
//! Stricter than RFC 9112, section 7.1 in one point: no whitespace between size and extension, which nobody sends in good faith.
//! But some servers fill up their sizes with spaces, so of answers that is taken.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    super::{
        limits::Limits,
        value::{is_value_byte, value},
    },
    head::{is_token, lines, split_field},
};

/// A size of 16 hexadecimal digits fills 64 bits.
const SIZE_DIGITS: u8 = 16;

/// Not the grammar; where the body ends is unknown from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken;

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
    /// The trailer section so far.
    trailers: Vec<u8>,
    forgives_spaces: bool,
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
    fn new(forgives_spaces: bool) -> Self {
        let at = At::Size { digits: 0, size: 0 };
        Self { at, extension_bytes: 0, trailer_bytes: 0, trailers: Vec::new(), forgives_spaces }
    }

    pub(in crate::proxy) fn of_a_request() -> Self {
        Self::new(false)
    }

    pub(in crate::proxy) fn of_an_answer() -> Self {
        Self::new(true)
    }

    pub(in crate::proxy) fn is_end(&self) -> bool {
        self.at == At::End
    }

    /// The fields of the trailer section, if it has any.
    pub(in crate::proxy) fn take_trailers(&mut self) -> Option<HeaderMap> {
        let text = std::mem::take(&mut self.trailers);
        let mut trailers = HeaderMap::new();
        for line in lines(&text) {
            // Each byte was looked at as it came.
            let (name, value) = split_field(line)?;
            trailers.append(name, self::value(Bytes::copy_from_slice(value))?);
        }
        (!trailers.is_empty()).then_some(trailers)
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
            if is_trailer {
                self.trailers.push(byte);
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
            (At::Size { size, .. }, b' ' | b'\t') if self.forgives_spaces => Ok(At::Extension { size }),
            (At::Extension { size }, _) if is_value_byte(byte) => {
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
            (At::TrailerValue, _) if is_value_byte(byte) => self.trailer(At::TrailerValue, limits),
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
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    /// The data of a body that comes in such pieces, and how many bytes belong to it; None: it is broken.
    fn data(
        mut chunked: Chunked,
        limits: &Limits,
        body: &[u8],
        cut: usize,
    ) -> Option<(Vec<u8>, usize, Chunked)> {
        let (mut data, mut taken) = (Vec::new(), 0);
        for mut piece in body.chunks(cut) {
            while !piece.is_empty() && !chunked.is_end() {
                let next = chunked.next_piece(piece, limits)?;
                data.extend_from_slice(&piece[next.skipped..next.skipped + next.data]);
                piece = &piece[next.skipped + next.data..];
                taken += next.skipped + next.data;
            }
        }
        Some((data, taken, chunked))
    }

    /// Of a request that comes at once: how much of it, and whether that is all.
    fn whole(bytes: &[u8]) -> Option<(usize, bool)> {
        let (_, taken, body) = data(Chunked::of_a_request(), &Limits::default(), bytes, usize::MAX)?;
        Some((taken, body.is_end()))
    }

    fn of_an_answer(body: &[u8], cut: usize) -> Option<(Vec<u8>, Option<HeaderMap>, bool)> {
        let (data, _, mut chunked) = data(Chunked::of_an_answer(), &Limits::default(), body, cut)?;
        Some((data, chunked.take_trailers(), chunked.is_end()))
    }

    #[test]
    fn an_answers_data_and_trailers_are_the_same_however_it_is_cut() {
        let body = b"3\r\nabc\r\n10 ;x=y\r\n0123456789abcdef\r\n2  \r\n\r\n\r\n0\r\nA: 1\r\nb:2\r\n\r\n";
        let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        for cut in 1..=body.len() {
            let trailers = [field("a", "1"), field("b", "2")].into_iter().collect();
            let expected = (b"abc0123456789abcdef\r\n".to_vec(), Some(trailers), true);
            assert_eq!(of_an_answer(body, cut), Some(expected), "{cut}");
        }
        assert_eq!(of_an_answer(b"0\r\n\r\n", 9), Some((Vec::new(), None, true)));
        assert_eq!(of_an_answer(b"3\r\nab", 9), Some((b"ab".to_vec(), None, false)));
        assert_eq!(of_an_answer(b"3\r\nabcd", 9), None);
        assert_eq!(of_an_answer(b" 3\r\nabc", 9), None);
    }

    #[test]
    fn right_bodies_end_where_they_end() {
        for (body, rest) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n"),
            ("A;name=\"v\";x\r\n0123456789\r\n000\r\n\r\n", "x"),
            ("1\r\na\r\n0\r\nTrailer: v\r\nOther:\r\n\r\n", "\r\n"),
        ] {
            assert_eq!(whole(format!("{body}{rest}").as_bytes()), Some((body.len(), true)), "{body:?}");
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
            assert_eq!(whole(body.as_bytes()), None, "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let limits = Limits { chunk_extension_bytes: 8, trailer_bytes: 8, ..Limits::default() };
        let fits = |body: &str| data(Chunked::of_a_request(), &limits, body.as_bytes(), usize::MAX).is_some();
        assert!(fits("1;abcd\r\na\r\n1;abcd\r\n"));
        assert!(!fits("1;abcd\r\na\r\n1;abcde\r\n"));
        assert!(fits("0\r\nab: defg\r\n\r\n"));
        assert!(!fits("0\r\nab: defgh\r\n\r\n"));
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
            let (data, taken, body) = data(Chunked::of_a_request(), &Limits::default(), &wire, cut).unwrap();
            prop_assert_eq!((data, taken, body.is_end()), (chunks.concat(), wire.len(), true));
        }

        /// Whatever comes, nothing panics.
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = whole(&bytes);
        }
    }
}
