//! A request's head, or its trailers, out of its fields (RFC 9113, section 8): what is malformed resets the stream. What may be served
//! is for the [gate](crate::proxy::gate) to judge.

use http::{
    HeaderMap, HeaderName, Method, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};

use super::hpack::{Field, Name, Value};
use crate::proxy::message::{Headers, Protocol, Request, RequestHead};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// No request, or no end of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Fields as they come.
#[derive(Debug, Default)]
pub(super) struct Fields {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    protocol: Option<Protocol>,
    headers: Headers,
    size: usize,
    malformed: bool,
    too_large: bool,
}

/// What a client asks.
#[derive(Debug)]
pub struct Asked {
    /// Without its body.
    pub request: Request<()>,
    /// There was more than may be, and is not here.
    pub too_large: bool,
}

impl Fields {
    /// Before the first one.
    pub(super) fn new() -> Self {
        Self { headers: Headers::with_capacity(Headers::ROOM), ..Self::default() }
    }

    /// One more; of what would be more than `most` nothing is kept.
    pub(super) fn take(&mut self, field: Field, most: usize) {
        self.size = self.size.saturating_add(field.size);
        self.too_large |= self.size > most;
        if !self.too_large {
            let fits = self.put(field);
            self.malformed |= fits.is_none();
        }
    }

    /// None: it does not fit.
    fn put(&mut self, Field { name, value, .. }: Field) -> Option<()> {
        let is_pseudo = !matches!(value, Value::Plain(_));
        if is_pseudo && !self.headers.is_empty() {
            return None;
        }
        match (name, value) {
            (Name::Plain(name), Value::Plain(value)) => {
                let is_right = match name {
                    CONNECTION | TRANSFER_ENCODING | UPGRADE => false,
                    TE => value.as_bytes() == b"trailers",
                    _ => name != KEEP_ALIVE && name != PROXY_CONNECTION,
                };
                self.headers.append(name, value);
                is_right.then_some(())
            }
            (_, Value::Method(value)) => once(&mut self.method, value),
            (_, Value::Scheme(value)) => once(&mut self.scheme, value),
            (_, Value::Authority(value)) => once(&mut self.authority, value),
            (_, Value::Path(value)) => once(&mut self.path, value),
            (_, Value::Protocol(value)) => once(&mut self.protocol, value),
            (_, Value::Plain(_) | Value::Wrong) => None,
        }
    }

    pub(super) fn request(self) -> Result<Asked, Malformed> {
        let Self { method, scheme, authority, path, protocol, headers, too_large, malformed, .. } = self;
        if malformed {
            return Err(Malformed);
        }
        if !too_large {
            check(method.as_ref(), scheme.is_some(), path.is_some(), protocol.is_some()).ok_or(Malformed)?;
        }
        let mut parts = http::uri::Parts::default();
        // With an authority alone there is no scheme either.
        parts.scheme = scheme.filter(|_| authority.is_some() && path.is_some());
        parts.authority = authority;
        parts.path_and_query = path;
        let uri = Uri::from_parts(parts).map_err(|_| Malformed)?;
        let head = RequestHead {
            method: method.unwrap_or_default(),
            uri,
            version: Version::HTTP_2,
            headers,
            protocol,
        };
        Ok(Asked { request: Request { head, body: () }, too_large })
    }

    /// Behind a body.
    pub(super) fn trailers(self) -> Result<HeaderMap, Malformed> {
        let has_pseudo = self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some();
        if self.malformed || self.too_large || has_pseudo { Err(Malformed) } else { Ok(self.headers.into()) }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Section 8.3.1: all three, but for CONNECT, which has them if it says for which protocol (RFC 8441, section 4).
fn check(method: Option<&Method>, scheme: bool, path: bool, protocol: bool) -> Option<()> {
    let is_connect = *method? == Method::CONNECT;
    let is_right = match is_connect && !protocol {
        true => !scheme && !path,
        false => scheme && path && (is_connect || !protocol),
    };
    is_right.then_some(())
}

/// What a body is announced to be; none if it is not, or not so that it can be told.
pub(super) fn length(headers: &Headers) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;

    fn fields(list: &[(&str, &str)], most: usize) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.take(Field::new(Name::of(name.as_bytes()), value.as_bytes()), most);
        }
        fields
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "api.contoso.com"), (":path", "/a?b")];

    #[test]
    fn a_request() {
        let list = [&GET[..], &[("accept", "a"), ("accept", "b"), ("te", "trailers")]].concat();
        let Asked { request, too_large } = fields(&list, 1 << 20).request().unwrap();
        let head = request.head;
        assert_eq!((&head.method, head.version), (&Method::GET, Version::HTTP_2));
        assert_eq!(head.uri, "https://api.contoso.com/a?b");
        assert_eq!(head.headers.get_all(&ACCEPT).collect::<Vec<_>>(), ["a", "b"]);
        assert!(!too_large);
        let without_name = [&GET[..2], &GET[3..], &[("host", "api.contoso.com")]].concat();
        assert_eq!(fields(&without_name, 1 << 20).request().unwrap().request.head.uri, "/a?b");
        let connect = [(":method", "CONNECT"), (":authority", "api.contoso.com:443")];
        assert_eq!(fields(&connect, 1 << 20).request().unwrap().request.head.uri, "api.contoso.com:443");
    }

    #[test]
    fn what_is_more_than_may_be_is_not_kept_and_what_is_malformed_before_it_stays_so() {
        let large = "a".repeat(1000);
        let list = [&GET[..], &[("x", &*large), ("y", "1")]].concat();
        let Asked { request, too_large } = fields(&list, 500).request().unwrap();
        assert!(too_large && request.head.headers.is_empty());
        assert!(fields(&[("x", &*large)], 500).request().unwrap().too_large);
        assert!(fields(&[("x", &*large)], 500).trailers().is_err());
        assert!(fields(&[&[("upgrade", "x")][..], &list].concat(), 500).request().is_err());
    }

    #[test]
    fn trailers_are_fields() {
        assert_eq!(fields(&[("x", "1"), ("x", "2")], 500).trailers().unwrap().len(), 2);
        for wrong in [(":method", "GET"), (":path", "/"), (":status", "200"), ("connection", "x"), ("A", "1")]
        {
            assert_eq!(fields(&[("x", "1"), wrong], 500).trailers(), Err(Malformed), "{wrong:?}");
            assert_eq!(fields(&[wrong], 500).trailers(), Err(Malformed), "{wrong:?}");
        }
    }
}
