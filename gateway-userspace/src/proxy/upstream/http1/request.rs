//! The head of a request, as it is written. Pure.

use http::{
    Method,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::proxy::message::{HEAD_ROOM, RequestHead, write_field};

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimited {
    /// By its length, which its head tells.
    ByLength,
    /// In chunks.
    InChunks,
}

impl Delimited {
    /// As the head says.
    pub(super) fn of(head: &RequestHead) -> Self {
        if head.headers.contains(TRANSFER_ENCODING) { Self::InChunks } else { Self::ByLength }
    }
}

/// A head (RFC 9112, section 3). Where there is no body though the method expects one, it says so (RFC 9110, section 8.6).
pub(super) fn encode(head: &RequestHead, has_body: bool) -> Vec<u8> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    // An absolute form may have had a query behind no path.
    let root = if target.starts_with('?') { "/" } else { "" };
    let mut text = Vec::with_capacity(HEAD_ROOM);
    for piece in [head.method.as_str(), " ", root, target, " HTTP/1.1\r\n"] {
        text.extend_from_slice(piece.as_bytes());
    }
    for (name, value) in head.headers.iter() {
        write_field(&mut text, name, value.as_bytes());
    }
    let expects_none = head.method == Method::GET || head.method == Method::HEAD;
    if !has_body && !expects_none && !head.headers.contains(CONTENT_LENGTH) {
        write_field(&mut text, &CONTENT_LENGTH, b"0");
    }
    text.extend_from_slice(b"\r\n");
    text
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn text(request: http::request::Builder, has_body: bool) -> String {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let head = RequestHead { headers: parts.headers.into(), ..RequestHead::new(parts.method, parts.uri) };
        String::from_utf8(encode(&head, has_body)).unwrap()
    }

    #[test]
    fn fields_are_written_in_their_order_and_the_target_as_it_is() {
        let request = Request::get("/a?b=c").header("host", "a").header("x-b", "1").header("x-b", "2");
        assert_eq!(text(request, false), "GET /a?b=c HTTP/1.1\r\nhost: a\r\nx-b: 1\r\nx-b: 2\r\n\r\n");
        assert_eq!(text(Request::get("http://a?b"), true), "GET /?b HTTP/1.1\r\n\r\n");
        assert_eq!(text(Request::options("*"), true), "OPTIONS * HTTP/1.1\r\n\r\n");
        assert_eq!(text(Request::head("/"), false), "HEAD / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn who_has_no_body_where_one_is_expected_says_so_once() {
        assert_eq!(text(Request::post("/"), false), "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        let request = Request::put("/").header("content-length", "0");
        assert_eq!(text(request, false), "PUT / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(text(Request::post("/"), true), "POST / HTTP/1.1\r\n\r\n");
    }
}
