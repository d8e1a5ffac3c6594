//! The answers that are our own: a status, no body, no name and, but for probes, no date of ours.

use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::{
    body::ResponseBody,
    message::{Response, ResponseHead},
};

const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// Seconds.
const SOON: HeaderValue = HeaderValue::from_static("1");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// An answer after which the connection goes on.
pub fn empty(status: StatusCode) -> Response<ResponseBody> {
    Response { head: ResponseHead::new(status), body: ResponseBody::Empty }
}

/// With this host's time, by which `gateway doctor` on the balancer sees that clocks differ.
pub fn dated<B>(mut response: Response<B>) -> Response<B> {
    let now = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
    if let Some(date) = now.ok().and_then(|now| HeaderValue::try_from(now).ok()) {
        response.head.headers.insert(DATE, date);
    }
    response
}

/// 503, and when to come again.
pub fn busy() -> Response<ResponseBody> {
    let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
    response.head.headers.append(RETRY_AFTER, SOON);
    response
}

/// An answer that ends the connection.
pub fn last(status: StatusCode) -> Response<ResponseBody> {
    let mut response = empty(status);
    response.head.headers.append(CONNECTION, CLOSE);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.head.headers.append(ALLOW, METHODS);
    }
    response
}

/// 200 with a document.
pub fn document(media_type: HeaderValue, document: Bytes) -> Response<ResponseBody> {
    let mut head = ResponseHead::new(StatusCode::OK);
    head.headers.append(CONTENT_TYPE, media_type);
    Response { head, body: ResponseBody::Document(Some(document)) }
}

/// The same over HTTP/2, where connections are no concern of an answer (RFC 9113, section 8.2.2).
pub fn without_connection<B>(mut response: Response<B>) -> Response<B> {
    response.head.headers.remove(CONNECTION);
    response
}

/// R40, R41: the one answer to whoever asks for what is not here.
pub fn misdirected() -> Response<ResponseBody> {
    last(StatusCode::MISDIRECTED_REQUEST)
}

/// 308, which keeps the method, to `location`.
pub fn redirect(location: &str) -> Response<ResponseBody> {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut response = empty(StatusCode::PERMANENT_REDIRECT);
            response.head.headers.append(LOCATION, location);
            response
        }
        Err(_) => last(StatusCode::BAD_REQUEST),
    }
}
