//! The one upgrade there is: WebSocket over HTTP/1.1 (RFC 6455, section 4). Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};

use super::gate::NO_UPGRADE;

const UPGRADE_AS_IT_COMES: HeaderName = HeaderName::from_static(NO_UPGRADE);
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Whether a request asks for it, as the gate reads it: whoever asks for something else, or for it otherwise, is served as if it
/// had not asked.
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    // First what hardly any request has.
    is_websocket(headers, &UPGRADE_AS_IT_COMES)
        && request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && headers.get(CONTENT_LENGTH).is_none_or(|length| length.as_bytes().iter().all(|b| *b == b'0'))
        && !headers.contains_key(TRANSFER_ENCODING)
        && headers.get_all(CONNECTION).iter().any(|value| lists_upgrade(value.as_bytes()))
}

/// Whether an upstream agrees.
pub(super) fn is_agreed(headers: &HeaderMap) -> bool {
    is_websocket(headers, &UPGRADE)
}

/// Whether a request to an upstream asks for it.
pub(super) fn goes_on(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// Asks an upstream, or tells a client that it is agreed on.
pub(super) fn put(headers: &mut HeaderMap) {
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
}

/// Whether the value of a Connection field has `upgrade` in it.
pub(super) fn lists_upgrade(value: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn is_websocket(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
        && values.next().is_none()
}
