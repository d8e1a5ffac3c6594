//! The head of a request of HTTP/1.1, checked line by line as it arrives, more strictly than RFC 9112 asks. Pure.
//!
//! Others forgive a bare LF, equal Content-Lengths, Content-Length beside Transfer-Encoding and codings before `chunked`; an
//! upstream that forgives otherwise would see another request than we do.

use std::ops::Range;

use bytes::Bytes;
use http::{
    HeaderName, Method, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};
use memchr::memchr;
use smallvec::SmallVec;

use super::{
    super::{
        charset,
        headers::has_member,
        host,
        limits::Limits,
        message::{Headers, Protocol, RequestHead},
        name::name,
        value::{is_value, value},
    },
    refusal::Refusal,
};

/// How the body behind a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Body {
    /// That many bytes, 0 too.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A head that is complete and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) struct Complete {
    /// Bytes of the head with its last line.
    pub(in crate::proxy) length: usize,
    pub(in crate::proxy) body: Body,
    /// The client goes on with the body once it is told to.
    pub(in crate::proxy) waits: bool,
    /// It reads what comes behind an answer's body (RFC 9110, section 10.1.4).
    pub(in crate::proxy) takes_trailers: bool,
    /// [`Version::HTTP_10`] or [`Version::HTTP_11`].
    version: Version,
    /// What follows is WebSocket's if the upstream agrees, and nobody's if it does not.
    upgrades: bool,
    /// What the client says of the connection: it is the last request; or, of HTTP/1.0, it is not.
    close: bool,
    keep_alive: bool,
}

/// A head that is not complete yet. Where its parts are is noted, so that no byte is searched twice.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Head {
    /// Bytes that hold no further line end.
    searched: usize,
    /// Where the line begins that is not complete yet.
    line: usize,
    /// Empty lines in front: one is forgiven, as RFC 9112, section 2.2 asks.
    empty: usize,
    first: Option<First>,
    fields: SmallVec<[(HeaderName, Range<u32>); FIELDS]>,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    expects_else: bool,
    upgrades: usize,
    websocket: bool,
    upgrade: bool,
    close: bool,
    keep_alive: bool,
    takes_trailers: bool,
}

/// So many fields are noted before memory is asked for: few requests have more.
const FIELDS: usize = 16;

/// What the first line says.
#[derive(Debug)]
struct First {
    method: Method,
    target: Range<u32>,
    version: Version,
}

impl Head {
    /// Looks at the lines that came since the last call. `bytes` is all of the head so far, and perhaps more.
    pub(in crate::proxy) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<Complete>, Refusal> {
        while let Some(offset) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + offset;
            let start = self.line;
            let line = bytes[start..end].strip_suffix(b"\r").ok_or(Refusal::BadRequest)?;
            self.searched = end + 1;
            self.line = end + 1;
            if self.searched > limits.head_bytes {
                return Err(Refusal::HeadTooLarge);
            }
            match (line.is_empty(), &self.first) {
                (true, None) => {
                    self.empty += 1;
                    if self.empty > 1 {
                        return Err(Refusal::BadRequest);
                    }
                }
                (false, None) => self.first = Some(First::of(line, start, limits)?),
                (false, Some(_)) => self.field(line, start, limits)?,
                (true, Some(first)) => {
                    return self.finish(first, end + 1).map(Some);
                }
            }
        }
        self.searched = bytes.len();
        if self.first.is_none() && bytes.len() - self.line > limits.target_bytes + 64 {
            return Err(Refusal::TargetTooLong);
        }
        if bytes.len() > limits.head_bytes {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(None)
    }

    /// A line that begins at `start`.
    fn field(&mut self, line: &[u8], start: usize, limits: &Limits) -> Result<(), Refusal> {
        if self.fields.len() == limits.fields {
            return Err(Refusal::HeadTooLarge);
        }
        let (name, value) = split_field(line).ok_or(Refusal::BadRequest)?;
        match name {
            TE => self.takes_trailers |= has_member(value, b"trailers"),
            HOST => {
                self.hosts += 1;
                if self.hosts > 1 || host::parse(value).is_err() {
                    return Err(Refusal::BadRequest);
                }
            }
            EXPECT => match value.eq_ignore_ascii_case(b"100-continue") {
                true => self.expects = true,
                false => self.expects_else = true,
            },
            UPGRADE => {
                self.upgrades += 1;
                self.websocket = value.eq_ignore_ascii_case(b"websocket");
            }
            CONNECTION => {
                self.upgrade |= has_member(value, b"upgrade");
                self.close |= has_member(value, b"close");
                self.keep_alive |= has_member(value, b"keep-alive");
            }
            CONTENT_LENGTH => {
                if self.length.is_some() {
                    return Err(Refusal::BadRequest);
                }
                self.length = Some(content_length(value).ok_or(Refusal::BadRequest)?);
            }
            TRANSFER_ENCODING => {
                if self.chunked {
                    return Err(Refusal::BadRequest);
                }
                transfer_encoding(value)?;
                self.chunked = true;
            }
            _ => {}
        }
        self.fields.push((name, part(line, start, value)));
        Ok(())
    }

    fn finish(&self, first: &First, length: usize) -> Result<Complete, Refusal> {
        let version = first.version;
        let is_old = version == Version::HTTP_10;
        if self.chunked && (self.length.is_some() || is_old) {
            return Err(Refusal::BadRequest);
        }
        if self.expects_else && !is_old {
            return Err(Refusal::Expectation);
        }
        let body = if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) };
        let has_none = body == Body::Length(0);
        let is_get = first.method == Method::GET;
        let upgrades = is_get && has_none && !is_old && self.upgrade && self.websocket && self.upgrades == 1;
        Ok(Complete {
            length,
            body,
            waits: self.expects && !is_old && !has_none,
            takes_trailers: self.takes_trailers,
            version,
            upgrades,
            close: self.close,
            keep_alive: self.keep_alive,
        })
    }

    /// The request, once its head is complete in `bytes`, with which it shares memory; None: it is none for the http crate.
    pub(in crate::proxy) fn request(&mut self, complete: &Complete, bytes: &Bytes) -> Option<RequestHead> {
        let shared = |Range { start, end }| bytes.slice(start as usize..end as usize);
        let First { method, target, version } = self.first.take()?;
        let uri = Uri::from_maybe_shared(shared(target)).ok()?;
        // There is room for what a request gets on its way.
        let mut headers = Headers::with_capacity(Headers::ROOM.max(self.fields.len() + 8));
        for (name, place) in self.fields.drain(..) {
            headers.append(name, value(shared(place))?);
        }
        let protocol = complete.upgrades.then_some(Protocol::WebSocket);
        Some(RequestHead { method, uri, version, headers, protocol })
    }
}

/// Where a part of a line is that begins at `start`.
fn part(line: &[u8], start: usize, part: &[u8]) -> Range<u32> {
    let begin = start + (part.as_ptr() as usize - line.as_ptr() as usize);
    begin as u32..(begin + part.len()) as u32
}

impl Complete {
    /// The client may ask for more behind this.
    pub(in crate::proxy) fn keeps(&self) -> bool {
        match self.is_old() {
            true => self.keep_alive && !self.close,
            // What may come behind a request for another protocol is no request.
            false => !self.close && !self.upgrades,
        }
    }

    /// HTTP/1.0
    pub(in crate::proxy) fn is_old(&self) -> bool {
        self.version == Version::HTTP_10
    }
}

/// Without their ends.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

impl First {
    /// `method SP request-target SP HTTP-version`, RFC 9112, section 3, with single spaces.
    fn of(line: &[u8], start: usize, limits: &Limits) -> Result<Self, Refusal> {
        let mut parts = line.split(|b| *b == b' ');
        let (Some(method), Some(target), version, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::BadRequest);
        };
        let method = Method::from_bytes(method).map_err(|_| Refusal::BadRequest)?;
        let version = match version {
            Some(b"HTTP/1.1") => Version::HTTP_11,
            Some(b"HTTP/1.0") => Version::HTTP_10,
            Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Refusal::Version);
            }
            _ => return Err(Refusal::BadRequest),
        };
        if method == Method::CONNECT || method == Method::TRACE {
            return Err(Refusal::Method);
        }
        if target.len() > limits.target_bytes {
            return Err(Refusal::TargetTooLong);
        }
        check_target(&method, target).ok_or(Refusal::BadRequest)?;
        Ok(Self { method, target: part(line, start, target), version })
    }
}

/// Origin form, absolute form, or `OPTIONS *`; no more than the http crate parses.
fn check_target(method: &Method, target: &[u8]) -> Option<()> {
    let query = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(query);
    let all = |part: &[u8], but: u8| {
        part.iter().fold(true, |right, b| {
            right & b.is_ascii_graphic() & (*b != b'#') & (*b != b'<') & (*b != b'>') & (*b != but)
        })
    };
    if !all(path, b'`') || !all(query, b'"') {
        return None;
    }
    match target {
        [b'/', ..] => Some(()),
        b"*" => (*method == Method::OPTIONS).then_some(()),
        absolute => {
            let rest = strip_scheme(absolute, b"http://").or_else(|| strip_scheme(absolute, b"https://"))?;
            let authority = rest.split(|b| matches!(b, b'/' | b'?')).next()?;
            host::parse(authority).ok().filter(|asked| *asked != host::Asked::Nothing)?;
            http::uri::Authority::try_from(authority).ok().map(|_| ())
        }
    }
}

fn strip_scheme<'a>(target: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Name and trimmed value of a field line. None for anything RFC 9112, section 5 and RFC 9110, section 5.5 do not allow: space
/// before the colon, a folded line, control characters, a bare CR.
pub(super) fn split_field(line: &[u8]) -> Option<(HeaderName, &[u8])> {
    let (name, value) = line.split_at(memchr(b':', line)?);
    let value = &value[1..];
    is_value(value).then_some((self::name(name)?, value.trim_ascii()))
}

/// Digits only: no sign, no list, nothing that overflows.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Only `chunked` is understood. A list that ends in it is a coding we lack (RFC 9112, section 6.1: 501), any other is no framing.
fn transfer_encoding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.rsplit(|b| *b == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let last = codings.next().is_some_and(is_chunked);
    if last
        && codings
            .all(|coding| !coding.is_empty() && coding.iter().copied().all(is_token) && !is_chunked(coding))
    {
        return Err(Refusal::Coding);
    }
    Err(Refusal::BadRequest)
}

/// `tchar` of RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = charset::alphanumeric_or(b"!#$%&'*+-.^_`|~");
    TABLE[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_that_http_does_not_parse_do_not_pass() {
        for target in
            ["/`", "/<x>", "/?\"", "/?<", "/#", "http://a%20b/", "http://[::1%25eth0]x/", "http://::1/"]
        {
            assert_eq!(check_target(&Method::GET, target.as_bytes()), None, "{target}");
        }
        for target in ["/{a}|b^\\[]?{c}|`^", "/\"", "/%20?%20", "http://a:80/{b}", "http://[::1]:80?c"] {
            assert_eq!(check_target(&Method::GET, target.as_bytes()), Some(()), "{target}");
        }
    }

    #[test]
    fn whether_another_request_may_follow() {
        for (version, fields, keeps) in [
            ("1.1", "", true),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", false),
            ("1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", true),
            ("1.1", "Upgrade: websocket\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            let complete = Head::default().advance(text.as_bytes(), &Limits::default()).unwrap().unwrap();
            assert_eq!((complete.keeps(), complete.length), (keeps, text.len()), "{text:?}");
        }
    }

    proptest! {
        /// What passes is parsed by the http crate, too.
        #[test]
        fn what_passes_is_a_uri(
            start in prop::sample::select(vec!["/", "/?", "http://", "http://a/", "https://a:1?", "http://["]),
            rest in "[ -~]{0,6}",
        ) {
            let target = format!("{start}{rest}");
            if check_target(&Method::GET, target.as_bytes()).is_some() {
                prop_assert!(target.parse::<Uri>().is_ok(), "{}", target);
            }
        }
    }
}
