//! The one upgrade there is: WebSocket (RFC 6455, section 4), which a client of HTTP/2 asks for by CONNECT (RFC 8441) and upstreams are
//! asked for over HTTP/1.1.

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};

use super::message::{Headers, Protocol, RequestHead, ResponseHead};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// What a key is hashed with (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// By which an upstream shows that it has understood. Clients of HTTP/2 send none.
#[derive(Debug)]
pub(super) struct Key(HeaderValue);

/// Whether a request of HTTP/1.1 asks for it, as the gate reads it: whoever asks for something else, or for it otherwise, is served as if
/// it had not asked.
pub(super) fn is_asked(head: &RequestHead) -> bool {
    head.protocol == Some(Protocol::WebSocket) && head.method == Method::GET
}

/// Whether an upstream agrees.
pub(super) fn is_agreed(headers: &Headers) -> bool {
    is_websocket(headers, &UPGRADE)
}

/// Whether a request to an upstream asks for it.
pub(super) fn goes_on(headers: &Headers) -> bool {
    headers.contains(UPGRADE)
}

/// Asks an upstream, or tells a client that it is agreed on.
pub(super) fn put(headers: &mut Headers) {
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
}

impl Key {
    /// A new one for a request of HTTP/2 that asks for WebSocket: the gate lets no other CONNECT in.
    pub(super) fn of(head: &RequestHead) -> Option<Self> {
        if head.method != Method::CONNECT {
            return None;
        }
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).ok()?;
        HeaderValue::from_str(&BASE64_STANDARD.encode(nonce)).ok().map(Self)
    }

    /// Asks an upstream.
    pub(super) fn put(&self, head: &mut RequestHead) {
        head.method = Method::GET;
        head.headers.insert(SEC_WEBSOCKET_KEY, self.0.clone());
        put(&mut head.headers);
    }

    /// Whether an upstream's answer may go on, which is made one to CONNECT: of those, every 2xx opens the tunnel.
    pub(super) fn is_heeded(&self, head: &mut ResponseHead) -> bool {
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return !head.status.is_success();
        }
        head.status = StatusCode::OK;
        let accept = head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        accept.is_some_and(|accept| accept.as_bytes() == self.accept().as_bytes())
    }

    fn accept(&self) -> String {
        let both = [self.0.as_bytes(), GUID].concat();
        BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &both))
    }
}

fn is_websocket(headers: &Headers, name: &HeaderName) -> bool {
    headers.only(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    #[test]
    fn an_upstream_has_to_have_understood() {
        // RFC 6455, section 1.3.
        const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let key = Key(HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        for (status, accept, heeded) in [
            (101, Some(ACCEPT), Some(200)),
            (101, Some("c3pPLMBiTxaQ9kYGzzhZRbK+xOo="), None),
            (101, None, None),
            (200, Some(ACCEPT), None),
            (204, None, None),
            (302, None, Some(302)),
            (403, None, Some(403)),
            (500, None, Some(500)),
        ] {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
            if let Some(accept) = accept {
                head.headers.append(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(accept));
            }
            let got = key.is_heeded(&mut head).then(|| head.status.as_u16());
            assert_eq!(got, heeded, "{status} {accept:?}");
            assert_eq!(head.headers.contains(SEC_WEBSOCKET_ACCEPT), accept.is_some() && status != 101);
        }
    }

    #[test]
    fn a_client_of_http2_asks_by_connect_and_the_upstream_is_asked_by_get() {
        let request = |method| RequestHead::new(method, Uri::from_static("/chat"));
        assert!(Key::of(&request(Method::GET)).is_none());
        let [one, other] = [(); 2].map(|()| Key::of(&request(Method::CONNECT)).unwrap());
        assert_eq!((one.0.len(), one.0 == other.0), (24, false));
        let mut head = request(Method::CONNECT);
        one.put(&mut head);
        assert_eq!((&head.method, goes_on(&head.headers)), (&Method::GET, true));
        assert_eq!(head.headers.only(&SEC_WEBSOCKET_KEY), Some(&one.0));
    }
}
