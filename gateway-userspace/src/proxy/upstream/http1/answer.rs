//! The head of an answer, and how its body is delimited (RFC 9112, section 6.3). Pure.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    response::Parts,
};
use hyper::ext::ReasonPhrase;

use crate::proxy::headers::lists;

/// The most fields of an answer: as of a request.
pub(super) const FIELDS: usize = 100;

/// An answer without its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Parts,
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

/// Takes a head off the front of `bytes`, if one is whole: the answer to a request with that method.
///
/// # Errors
/// [`Malformed`]
pub(super) fn parse(bytes: &mut BytesMut, to: &Method) -> Result<Option<Answer>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let outcome =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields);
    let length = match outcome {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("too many fields")),
        Err(_) => return Err(Malformed("its head is broken")),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed("its status is none"))?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let reason =
        parsed.reason.filter(|reason| !reason.is_empty() && Some(*reason) != status.canonical_reason());
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    // Where they lie, for they are to share the memory of the head.
    let start = bytes.as_ptr() as usize;
    let place = |part: &[u8]| {
        let begin = part.as_ptr() as usize - start;
        begin..begin + part.len()
    };
    let places: Vec<_> =
        parsed.headers.iter().map(|field| (place(field.name.as_bytes()), place(field.value))).collect();
    let head = bytes.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(places.len() + 4);
    for (name, value) in places {
        let name = HeaderName::from_bytes(&head[name]).map_err(|_| Malformed("a field's name is none"))?;
        let value = HeaderValue::from_maybe_shared(head.slice(value));
        headers.append(name, value.map_err(|_| Malformed("a field's value is none"))?);
    }
    let (mut head, ()) = Response::new(()).into_parts();
    (head.status, head.version) = (status, version);
    if let Some(reason) = reason {
        head.extensions.insert(reason);
    }
    let (body, is_clear) = delimited(to, status, version, &mut headers)?;
    let keeps = is_clear && body != Delimited::ByEnd && keeps(version, &headers);
    head.headers = headers;
    Ok(Some(Answer { head, body, keeps }))
}

/// And whether the next answer's beginning is beyond doubt.
fn delimited(
    to: &Method,
    status: StatusCode,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<(Delimited, bool), Malformed> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok((Delimited::Switched, false));
    }
    let length = content_length(headers)?;
    let has_none = *to == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if has_none {
        return Ok((Delimited::ByLength(0), true));
    }
    if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        if version == Version::HTTP_10 {
            return Err(Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        let is_chunked = last(coding.as_bytes()).eq_ignore_ascii_case(b"chunked");
        // RFC 9112, section 6.3: it overrides a length, which is taken away.
        let is_clear = length.is_none();
        headers.remove(CONTENT_LENGTH);
        return Ok(if is_chunked { (Delimited::InChunks, is_clear) } else { (Delimited::ByEnd, false) });
    }
    Ok(length.map_or((Delimited::ByEnd, false), |length| (Delimited::ByLength(length), true)))
}

/// What several fields, or a list in one, say as one: the same number again and again is forgiven, and written once.
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, Malformed> {
    let Some(first) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let number = |text: &[u8]| -> Option<u64> {
        let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
    };
    const UNCLEAR: Malformed = Malformed("its Content-Length is unclear");
    let is_one = headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none();
    if let (true, Some(length)) = (is_one, number(first.as_bytes())) {
        return Ok(Some(length));
    }
    let all = headers.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let all: Option<Vec<u64>> = all.map(|text| number(text.trim_ascii())).collect();
    let all = all.ok_or(UNCLEAR)?;
    let first = *all.first().ok_or(UNCLEAR)?;
    if all.iter().any(|other| *other != first) {
        return Err(UNCLEAR);
    }
    headers.insert(CONTENT_LENGTH, first.into());
    Ok(Some(first))
}

fn last(list: &[u8]) -> &[u8] {
    list.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii()
}

fn keeps(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &[u8]| lists(headers, &CONNECTION, option);
    if version == Version::HTTP_10 { says(b"keep-alive") } else { !says(b"close") }
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
        let reason = answer.head.extensions.get::<ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), b"Nope");
        let fields: Vec<_> = answer.head.headers.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        assert_eq!(fields, ["a=\"1\"", "a=\"3\"", "b=\"2\""]);
    }
}
