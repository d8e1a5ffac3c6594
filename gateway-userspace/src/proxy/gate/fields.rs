//! The strict gate of HTTP/2: what is to be judged in a head that is well formed. Pure.
//!
//! Streams whose fields are malformed are [reset](crate::proxy::http2) before: upper case, control characters, pseudo-fields that are
//! missing, unknown, repeated or late, fields of a connection, TE but for `trailers`, a Content-Length that the data is not.

use h2::ext::Protocol;
use http::{
    HeaderMap, Method, Request, Uri,
    header::{CONTENT_LENGTH, EXPECT, HOST},
};

use super::{super::host, super::limits::Limits, refusal::Refusal};

/// Whether a request may be served.
pub(in crate::proxy) fn check<B>(request: &Request<B>, limits: &Limits) -> Result<(), Refusal> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if *method == Method::TRACE || Refusal::is_reserved(method.as_str().as_bytes()) {
        return Err(Refusal::Method);
    }
    if *method == Method::CONNECT {
        check_connect(request)?;
    }
    check_target(method, uri, limits)?;
    check_host(uri, headers).ok_or(Refusal::BadRequest)?;
    if headers.len() > limits.fields {
        return Err(Refusal::HeadTooLarge);
    }
    if !headers.values().all(|value| is_trimmed(value.as_bytes())) {
        return Err(Refusal::BadRequest);
    }
    check_length(headers).ok_or(Refusal::BadRequest)?;
    match headers.get_all(EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(()),
        false => Err(Refusal::Expectation),
    }
}

/// RFC 8441: a tunnel, if it is WebSocket's. It has no body but what passes in it.
fn check_connect<B>(request: &Request<B>) -> Result<(), Refusal> {
    match request.extensions().get::<Protocol>() {
        None => Err(Refusal::Method),
        Some(protocol) if protocol.as_str() != "websocket" => Err(Refusal::Protocol),
        Some(_) if request.headers().contains_key(CONTENT_LENGTH) => Err(Refusal::BadRequest),
        Some(_) => Ok(()),
    }
}

/// A path, or `*` of OPTIONS, below a scheme that is ours.
fn check_target(method: &Method, uri: &Uri, limits: &Limits) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    let scheme = uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let graphic = path.bytes().all(|b| b.is_ascii_graphic() && !b"#<>`".contains(&b))
        && query.bytes().all(|b| b.is_ascii_graphic() && !b"#<>\"".contains(&b));
    let form = path.starts_with('/') || (target == "*" && *method == Method::OPTIONS);
    (scheme && graphic && form).then_some(()).ok_or(Refusal::BadRequest)
}

/// RFC 9113, section 8.3.1: `:authority` is what Host is; both may be there only if they say the same.
fn check_host(uri: &Uri, headers: &HeaderMap) -> Option<()> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    if let Some(host) = host {
        host::parse(host.as_bytes()).ok()?;
    }
    let Some(authority) = uri.authority() else { return Some(()) };
    host::parse(authority.as_str().as_bytes()).ok()?;
    host.is_none_or(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())).then_some(())
}

/// One at most, in digits: what the data is compared with is the first only.
fn check_length(headers: &HeaderMap) -> Option<()> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Some(()) };
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    (digits && lengths.next().is_none()).then_some(())
}

/// RFC 9113, section 8.2.1.
fn is_trimmed(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !blank(value.first()) && !blank(value.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_for_websocket() {
        for (protocol, length, expected) in [
            (None, None, Err(Refusal::Method)),
            (Some("websocket"), None, Ok(())),
            (Some("websocket"), Some("0"), Err(Refusal::BadRequest)),
            (Some("connect-udp"), None, Err(Refusal::Protocol)),
            (Some("WebSocket"), None, Err(Refusal::Protocol)),
        ] {
            let mut request = Request::connect("https://api.contoso.com/chat");
            if let Some(length) = length {
                request = request.header(CONTENT_LENGTH, length);
            }
            let mut request = request.body(()).unwrap();
            if let Some(protocol) = protocol {
                request.extensions_mut().insert(Protocol::from(protocol));
            }
            assert_eq!(check(&request, &Limits::default()), expected, "{protocol:?} {length:?}");
        }
    }

    #[test]
    fn what_is_let_in() {
        let long = |length: usize| format!("https://api.contoso.com/{}", "a".repeat(length));
        let (fits, too_long) = (long(8_000), long(9_000));
        const URI: &str = "https://api.contoso.com/";
        let ok = Ok(());
        let bad = Err(Refusal::BadRequest);
        let one = |name, value| vec![(name, value)];
        for (method, uri, fields, expected) in [
            ("GET", URI, vec![], ok),
            ("GET", "http://api.contoso.com/a?b", vec![], ok),
            ("PURGE", URI, vec![], ok),
            ("GET", "/", vec![], ok),
            ("OPTIONS", "*", vec![], ok),
            ("GET", "*", vec![], bad),
            ("GET", "ftp://api.contoso.com/", vec![], bad),
            ("GET", "https://a@api.contoso.com/", vec![], bad),
            ("GET", "https://api.contoso.com:99999/", vec![], bad),
            ("GET", "/\u{e9}", vec![], bad),
            ("GET", "/?\u{e9}", vec![], bad),
            ("CONNECT", "api.contoso.com:443", vec![], Err(Refusal::Method)),
            ("TRACE", URI, vec![], Err(Refusal::Method)),
            ("REFUSED", URI, vec![], Err(Refusal::Method)),
            ("GET", &fits, vec![], ok),
            ("GET", &too_long, vec![], Err(Refusal::TargetTooLong)),
            ("GET", URI, one("host", "api.contoso.com"), ok),
            ("GET", URI, one("host", "API.contoso.com"), ok),
            ("GET", URI, one("host", "other.contoso.com"), bad),
            ("GET", URI, one("host", "api.contoso.com:443"), bad),
            ("GET", URI, one("host", ""), bad),
            ("GET", "/", one("host", "api.contoso.com"), ok),
            ("GET", "/", one("host", "a b"), bad),
            ("GET", URI, vec![("host", "api.contoso.com"), ("host", "api.contoso.com")], bad),
            ("GET", URI, one("x", "a b"), ok),
            ("GET", URI, one("x", ""), ok),
            ("GET", URI, one("x", " a"), bad),
            ("GET", URI, one("x", "a\t"), bad),
            ("POST", URI, one("content-length", "0"), ok),
            ("POST", URI, one("content-length", "+1"), bad),
            ("POST", URI, one("content-length", ""), bad),
            ("POST", URI, one("content-length", "1, 1"), bad),
            ("POST", URI, vec![("content-length", "1"), ("content-length", "1")], bad),
            ("POST", URI, one("expect", "100-Continue"), ok),
            ("POST", URI, one("expect", "a miracle"), Err(Refusal::Expectation)),
            ("GET", URI, vec![("a", "b"); 100], ok),
            ("GET", URI, vec![("a", "b"); 101], Err(Refusal::HeadTooLarge)),
        ] {
            let mut request = Request::builder().method(method).uri(uri);
            for (name, value) in &fields {
                request = request.header(*name, *value);
            }
            let request = request.body(()).unwrap();
            assert_eq!(check(&request, &Limits::default()), expected, "{method} {uri:.50} {fields:.3?}");
        }
    }
}
