//! The head of a request, checked line by line as it arrives, more strictly than hyper does. Pure.
//!
//! hyper forgives a bare LF, equal Content-Lengths, Content-Length beside Transfer-Encoding and codings before `chunked`; an
//! upstream that forgives otherwise would see another request than we do.

use memchr::memchr;

use super::{
    super::{charset, headers::has_member, host, limits::Limits},
    refusal::Refusal,
};

/// What hyper gets for the name of an Upgrade field: as long, and nobody's. After a request with Upgrade it would leave the end of
/// the connection to whoever upgrades it: no FIN, no close_notify, and what was not written yet is lost.
pub(in crate::proxy) const NO_UPGRADE: &str = "upgrad_";

/// How the body behind a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// That many bytes, 0 too.
    Length(u64),
    /// In chunks.
    Chunked,
    /// None, and what follows is WebSocket's if the upstream agrees, and nobody's if it does not.
    Upgrade,
}

/// A head that is complete and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complete {
    /// Bytes of the head with its last line.
    pub(super) length: usize,
    pub(super) body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Version {
    Http10,
    Http11,
}

/// A head that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Bytes that hold no further line end.
    searched: usize,
    /// Where the line begins that is not complete yet.
    line: usize,
    /// Empty lines in front: one is forgiven, as RFC 9112, section 2.2 asks.
    empty: usize,
    version: Option<Version>,
    fields: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    expectation: bool,
    get: bool,
    upgrades: usize,
    websocket: bool,
    upgrade: bool,
}

impl Head {
    /// Looks at the lines that came since the last call. `bytes` is all of the head so far, and perhaps more. The name of an
    /// Upgrade field becomes [`NO_UPGRADE`].
    pub(super) fn advance(&mut self, bytes: &mut [u8], limits: &Limits) -> Result<Option<Complete>, Refusal> {
        while let Some(offset) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + offset;
            let line = split_cr(&mut bytes[self.line..end]).ok_or(Refusal::BadRequest)?;
            self.searched = end + 1;
            self.line = end + 1;
            if self.searched > limits.head_bytes {
                return Err(Refusal::HeadTooLarge);
            }
            match (line.is_empty(), self.version) {
                (true, None) => {
                    self.empty += 1;
                    if self.empty > 1 {
                        return Err(Refusal::BadRequest);
                    }
                }
                (false, None) => {
                    self.version = Some(request_line(line, limits)?);
                    self.get = line.starts_with(b"GET ");
                }
                (false, Some(_)) => self.field(line, limits)?,
                (true, Some(version)) => {
                    return self.finish(version).map(|body| Some(Complete { length: end + 1, body }));
                }
            }
        }
        self.searched = bytes.len();
        if self.version.is_none() && bytes.len() - self.line > limits.target_bytes + 64 {
            return Err(Refusal::TargetTooLong);
        }
        if bytes.len() > limits.head_bytes {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(None)
    }

    fn field(&mut self, line: &mut [u8], limits: &Limits) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(Refusal::HeadTooLarge);
        }
        let (name, value) = split_field(line).ok_or(Refusal::BadRequest)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if self.hosts > 1 || host::parse(value).is_err() {
                    return Err(Refusal::BadRequest);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expectation |= !value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrades += 1;
                self.websocket = value.eq_ignore_ascii_case(b"websocket");
                line[..7].copy_from_slice(NO_UPGRADE.as_bytes());
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.upgrade |= has_member(value, b"upgrade");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refusal::BadRequest);
                }
                self.length = Some(content_length(value).ok_or(Refusal::BadRequest)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(Refusal::BadRequest);
                }
                transfer_encoding(value)?;
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, version: Version) -> Result<Body, Refusal> {
        if self.chunked && (self.length.is_some() || version == Version::Http10) {
            return Err(Refusal::BadRequest);
        }
        if self.expectation && version == Version::Http11 {
            return Err(Refusal::Expectation);
        }
        let is_bare =
            self.get && !self.chunked && self.length.unwrap_or(0) == 0 && version == Version::Http11;
        if is_bare && self.upgrade && self.websocket && self.upgrades == 1 {
            return Ok(Body::Upgrade);
        }
        Ok(if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) })
    }
}

/// A line without the CR at its end.
fn split_cr(line: &mut [u8]) -> Option<&mut [u8]> {
    match line {
        [line @ .., b'\r'] => Some(line),
        _ => None,
    }
}

/// `method SP request-target SP HTTP-version`, RFC 9112, section 3, with single spaces.
fn request_line(line: &[u8], limits: &Limits) -> Result<Version, Refusal> {
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), version, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::BadRequest);
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Refusal::BadRequest);
    }
    let version = match version {
        Some(b"HTTP/1.1") => Version::Http11,
        Some(b"HTTP/1.0") => Version::Http10,
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::BadRequest),
    };
    if method == b"CONNECT" || method == b"TRACE" || Refusal::is_reserved(method) {
        return Err(Refusal::Method);
    }
    if target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    check_target(method, target).ok_or(Refusal::BadRequest)?;
    Ok(version)
}

/// Origin form, absolute form, or `OPTIONS *`; no more than the http crate parses, for hyper would answer the rest in its own way.
fn check_target(method: &[u8], target: &[u8]) -> Option<()> {
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
        b"*" => (method == b"OPTIONS").then_some(()),
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
pub(super) fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // All of a value is looked at without a branch, so many bytes at once.
    let right = !name.is_empty()
        && name.iter().copied().all(is_token)
        && value.iter().fold(true, |right, byte| right & is_field_value(*byte));
    right.then(|| (name, value.trim_ascii()))
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

/// `field-vchar`, space and tab of RFC 9110, section 5.5.
pub(super) fn is_field_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
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
            assert_eq!(check_target(b"GET", target.as_bytes()), None, "{target}");
        }
        for target in ["/{a}|b^\\[]?{c}|`^", "/\"", "/%20?%20", "http://a:80/{b}", "http://[::1]:80?c"] {
            assert_eq!(check_target(b"GET", target.as_bytes()), Some(()), "{target}");
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
            if check_target(b"GET", target.as_bytes()).is_some() {
                prop_assert!(target.parse::<http::Uri>().is_ok(), "{}", target);
            }
        }
    }
}
