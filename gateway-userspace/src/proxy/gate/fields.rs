//! The strict gate of HTTP/2: what is to be judged in a head that is well formed. Pure.
//!
//! Streams whose fields are malformed are [reset](crate::proxy::http2) before: upper case, control characters, pseudo-fields that are
//! missing, unknown, repeated or late, fields of a connection, TE but for `trailers`, a Content-Length that the data is not.

use http::{
    Method, Uri,
    header::{CONTENT_LENGTH, EXPECT, HOST},
};

use super::{
    super::{
        host,
        limits::Limits,
        message::{Headers, Protocol, RequestHead},
    },
    refusal::Refusal,
};

/// Whether a request may be served.
pub(in crate::proxy) fn check(head: &RequestHead, limits: &Limits) -> Result<(), Refusal> {
    let RequestHead { method, uri, headers, .. } = head;
    if *method == Method::TRACE {
        return Err(Refusal::Method);
    }
    if *method == Method::CONNECT {
        check_connect(head)?;
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
    match headers.get_all(&EXPECT).all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(()),
        false => Err(Refusal::Expectation),
    }
}

/// RFC 8441: a tunnel, if it is WebSocket's. It has no body but what passes in it.
fn check_connect(head: &RequestHead) -> Result<(), Refusal> {
    match head.protocol {
        None => Err(Refusal::Method),
        Some(Protocol::Other) => Err(Refusal::Protocol),
        Some(Protocol::WebSocket) if head.headers.contains(CONTENT_LENGTH) => Err(Refusal::BadRequest),
        Some(Protocol::WebSocket) => Ok(()),
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
fn check_host(uri: &Uri, headers: &Headers) -> Option<()> {
    let mut hosts = headers.get_all(&HOST);
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
fn check_length(headers: &Headers) -> Option<()> {
    let mut lengths = headers.get_all(&CONTENT_LENGTH);
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
    use http::{HeaderName, HeaderValue};

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
            let uri = Uri::from_static("https://api.contoso.com/chat");
            let mut head = RequestHead::new(Method::CONNECT, uri);
            if let Some(length) = length {
                head.headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            head.protocol = protocol.map(|name: &str| Protocol::of(name.as_bytes()));
            assert_eq!(check(&head, &Limits::default()), expected, "{protocol:?} {length:?}");
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
            let mut head = RequestHead::new(method.parse().unwrap(), uri.parse().unwrap());
            for (name, value) in &fields {
                head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(check(&head, &Limits::default()), expected, "{method} {uri:.50} {fields:.3?}");
        }
    }
}
