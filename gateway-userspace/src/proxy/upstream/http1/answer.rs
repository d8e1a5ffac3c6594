//! The head of an answer, and how its body is delimited (RFC 9112, section 6.3). Pure.

use bytes::BytesMut;
use http::{
    HeaderName, Method, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use memchr::memchr;

use crate::proxy::{
    headers::has_member,
    message::{Headers, ResponseHead},
    name::name,
    value::{is_value, value},
};

/// The most fields of an answer: as of a request.
pub(super) const FIELDS: usize = 100;

/// An answer without its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    pub(super) body: Delimited,
    /// The connection may be used again behind it.
    pub(super) keeps: bool,
}

/// How its body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimited {
    /// That many bytes, 0 too.
    ByLength(u64),
    InChunks,
    /// By the connection's end.
    ByEnd,
    /// None: the connection is another protocol's from here on.
    Switched,
}

/// Not an answer of HTTP/1.1 that can be understood in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came is no answer of HTTP/1.1: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

const BROKEN: Malformed = Malformed("its head is broken");

/// Takes a head off the front of `bytes`, if one is whole: the answer to a request with that method.
///
/// # Errors
/// [`Malformed`]
pub(super) fn parse(bytes: &mut BytesMut, to: &Method) -> Result<Option<Answer>, Malformed> {
    let Some(lines) = Lines::of(bytes)? else { return Ok(None) };
    let text = bytes.split_to(lines.length).freeze();
    let start = text.as_ptr() as usize;
    // Parts share the memory of the head.
    let shared = |part: &[u8]| {
        let begin = part.as_ptr() as usize - start;
        text.slice(begin..begin + part.len())
    };
    let mut lines = lines.all(&text);
    let (version, status, reason) = status_line(lines.next().unwrap_or_default())?;
    let mut head = ResponseHead::new(status);
    head.reason = says_more(reason, status).then(|| shared(reason));
    head.headers = Headers::with_capacity(Headers::ROOM);
    let mut said = Said::default();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(BROKEN)?;
        let name = name(&line[..colon]).ok_or(Malformed("a field's name is none"))?;
        let value = value(shared(trimmed(&line[colon + 1..]))).ok_or(Malformed("a field's value is none"))?;
        said.note(&name, value.as_bytes());
        head.headers.append(name, value);
    }
    let (body, is_clear) = delimited(to, version, &said, &mut head)?;
    let keeps = is_clear && body != Delimited::ByEnd && said.keeps(version);
    Ok(Some(Answer { head, body, keeps }))
}

/// Where the lines of a head end.
struct Lines {
    /// Where the first one begins …
    begin: usize,
    /// … and each of them has its LF.
    ends: [u32; FIELDS + 1],
    count: usize,
    /// Of the head, its empty line included.
    length: usize,
}

impl Lines {
    /// None: the empty line has not come. Empty lines in front are forgiven, and so is a bare LF: where an answer ends does not depend
    /// on it. What does not begin like an answer is none, however much of it has come.
    fn of(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut lines = Self { begin: 0, ends: [0; FIELDS + 1], count: 0, length: 0 };
        while let Some(length) = memchr(b'\n', &bytes[lines.length..]) {
            let end = lines.length + length;
            let line = &bytes[lines.length..end];
            lines.length = end + 1;
            match (matches!(line, b"" | b"\r"), lines.count) {
                (true, 0) => {
                    lines.begin = lines.length;
                    continue;
                }
                (true, _) => return Ok(Some(lines)),
                (false, 0) => _ = status_line(without_cr(line))?,
                (false, _) => {}
            }
            *lines.ends.get_mut(lines.count).ok_or(Malformed("too many fields"))? = end as u32;
            lines.count += 1;
        }
        Ok(None)
    }

    /// Each without its end.
    fn all<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut begin = self.begin;
        self.ends[..self.count].iter().map(move |end| {
            let line = &text[begin..*end as usize];
            begin = *end as usize + 1;
            without_cr(line)
        })
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Version, status and reason (RFC 9112, section 4).
fn status_line(line: &[u8]) -> Result<(Version, StatusCode, &[u8]), Malformed> {
    let (version, rest) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', b' ', rest @ ..] => (Version::HTTP_10, rest),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', rest @ ..] => (Version::HTTP_11, rest),
        _ => return Err(BROKEN),
    };
    let (status, rest) = rest.split_at_checked(3).ok_or(BROKEN)?;
    let status = StatusCode::from_bytes(status).map_err(|_| Malformed("its status is none"))?;
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] if is_value(reason) => reason,
        _ => return Err(BROKEN),
    };
    Ok((version, status, reason))
}

/// Without space and tab around it (RFC 9110, section 5.5).
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether a reason is not what everybody says.
fn says_more(reason: &[u8], status: StatusCode) -> bool {
    !reason.is_empty() && Some(reason) != status.canonical_reason().map(str::as_bytes)
}

/// What fields say of how an answer is read.
#[derive(Debug, Default)]
struct Said {
    /// How often a length is told …
    lengths: usize,
    /// … and which, if it is the same each time.
    length: Option<u64>,
    /// Whether chunks are the last of its codings.
    chunked: Option<bool>,
    closes: bool,
    keeps_alive: bool,
}

impl Said {
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        match *name {
            CONTENT_LENGTH => value.split(|b| *b == b',').for_each(|length| self.note_length(length)),
            TRANSFER_ENCODING => self.chunked = Some(last(value).eq_ignore_ascii_case(b"chunked")),
            CONNECTION => {
                self.closes |= has_member(value, b"close");
                self.keeps_alive |= has_member(value, b"keep-alive");
            }
            _ => {}
        }
    }

    fn note_length(&mut self, text: &[u8]) {
        let length = number(text.trim_ascii());
        self.length =
            if self.lengths == 0 { length } else { self.length.filter(|first| length == Some(*first)) };
        self.lengths += 1;
    }

    /// What several fields, or a list in one, say as one: the same number again and again is forgiven.
    fn length(&self) -> Result<Option<u64>, Malformed> {
        match (self.lengths, self.length) {
            (1.., None) => Err(Malformed("its Content-Length is unclear")),
            (_, length) => Ok(length),
        }
    }

    fn keeps(&self, version: Version) -> bool {
        if version == Version::HTTP_10 { self.keeps_alive } else { !self.closes }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

fn last(list: &[u8]) -> &[u8] {
    list.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii()
}

/// And whether the next answer's beginning is beyond doubt.
fn delimited(
    to: &Method,
    version: Version,
    said: &Said,
    head: &mut ResponseHead,
) -> Result<(Delimited, bool), Malformed> {
    let status = head.status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok((Delimited::Switched, false));
    }
    let length = said.length()?;
    if let (2.., Some(length)) = (said.lengths, length) {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    let has_none = *to == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if has_none {
        return Ok((Delimited::ByLength(0), true));
    }
    if let Some(is_chunked) = said.chunked {
        if version == Version::HTTP_10 {
            return Err(Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        // RFC 9112, section 6.3: it overrides a length, which is taken away.
        let is_clear = length.is_none();
        head.headers.remove(CONTENT_LENGTH);
        return Ok(if is_chunked { (Delimited::InChunks, is_clear) } else { (Delimited::ByEnd, false) });
    }
    Ok(length.map_or((Delimited::ByEnd, false), |length| (Delimited::ByLength(length), true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, to: &Method) -> Result<Option<(Delimited, bool)>, Malformed> {
        let mut bytes = BytesMut::from(text);
        Ok(parse(&mut bytes, to)?.map(|answer| (answer.body, answer.keeps)))
    }

    fn get(fields: &str) -> Result<Option<(Delimited, bool)>, Malformed> {
        parsed(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET)
    }

    #[test]
    fn a_body_ends_where_the_head_says() {
        use Delimited::{ByEnd, ByLength, InChunks};
        for (fields, expected) in [
            ("Content-Length: 5\r\n", (ByLength(5), true)),
            ("Content-Length: 0\r\n", (ByLength(0), true)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", (ByLength(5), true)),
            ("Content-Length: 5, 5\r\n", (ByLength(5), true)),
            ("Transfer-Encoding: chunked\r\n", (InChunks, true)),
            ("Transfer-Encoding: gzip, Chunked\r\n", (InChunks, true)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", (InChunks, false)),
            ("Transfer-Encoding: gzip\r\n", (ByEnd, false)),
            ("", (ByEnd, false)),
            ("Content-Length: 5\r\nConnection: x, Close\r\n", (ByLength(5), false)),
            ("Content-Length:\t5 \t\nA:\n", (ByLength(5), true)),
        ] {
            assert_eq!(get(fields), Ok(Some(expected)), "{fields:?}");
        }
        let old = |fields: &str| parsed(&format!("HTTP/1.0 200 OK\r\n{fields}\r\n"), &Method::GET);
        assert_eq!(old("Content-Length: 5\r\n"), Ok(Some((ByLength(5), false))));
        assert_eq!(old("Content-Length: 5\r\nConnection: keep-alive\r\n"), Ok(Some((ByLength(5), true))));
    }

    #[test]
    fn some_answers_have_no_body_whatever_their_head_says() {
        for (status, to) in [
            ("204 No Content", Method::GET),
            ("304 Not Modified", Method::GET),
            ("103 Early Hints", Method::GET),
            ("200 OK", Method::HEAD),
        ] {
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(parsed(&text, &to), Ok(Some((Delimited::ByLength(0), true))), "{status}");
        }
        let switched = parsed("HTTP/1.1 101 Switching Protocols\r\n\r\n", &Method::GET);
        assert_eq!(switched, Ok(Some((Delimited::Switched, false))));
    }

    #[test]
    fn what_can_be_understood_in_two_ways_is_no_answer() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 2 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200\tOK\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \x0cb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nb\r\n\r\n",
        ] {
            assert!(parsed(text, &Method::GET).is_err(), "{text:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(FIELDS + 1));
        assert_eq!(parsed(&many, &Method::GET), Err(Malformed("too many fields")));
    }

    #[test]
    fn a_head_in_pieces_is_taken_once_it_is_whole_and_what_follows_is_left() {
        let text = "HTTP/1.1 404 Nope\r\nA: 1\r\nb: 2\r\nA: 3\r\n\r\nrest";
        let whole = text.len() - 4;
        for cut in 0..whole {
            assert_eq!(parsed(&text[..cut], &Method::GET), Ok(None), "{cut}");
        }
        let mut bytes = BytesMut::from(text);
        let answer = parse(&mut bytes, &Method::GET).unwrap().unwrap();
        assert_eq!(bytes, "rest");
        assert_eq!(answer.head.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.head.reason.as_deref(), Some(&b"Nope"[..]));
        let fields: Vec<_> = answer.head.headers.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        assert_eq!(fields, ["a=\"1\"", "b=\"2\"", "a=\"3\""]);
    }
}
