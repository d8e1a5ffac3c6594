//! An answer's head as it is written, and how its body is delimited (RFC 9112, section 6). Pure.

use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::proxy::{
    headers::lists,
    message::{HEAD_ROOM, ResponseHead, write_field},
};

/// What of a request an answer goes by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct To {
    /// HEAD: there is no body behind the answer's head.
    pub(super) is_head: bool,
    /// HTTP/1.0
    pub(super) is_old: bool,
    /// Another request may come.
    pub(super) keeps: bool,
    /// Who asks reads what comes behind a body in chunks.
    pub(super) takes_trailers: bool,
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimited {
    /// There is none, whatever the head says.
    Nothing,
    Length(u64),
    Chunks,
    /// By the connection's end.
    End,
}

/// A head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) text: Vec<u8>,
    pub(super) body: Delimited,
    /// Another answer may come behind it.
    pub(super) keeps: bool,
}

/// `length`: of the body, if that is known.
pub(super) fn begin(head: &ResponseHead, length: Option<u64>, to: To) -> Begun {
    let status = head.status;
    let is_interim = status.is_informational();
    let has_none =
        to.is_head || is_interim || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let body = match length {
        _ if has_none => Delimited::Nothing,
        Some(length) => Delimited::Length(length),
        None if to.is_old => Delimited::End,
        None => Delimited::Chunks,
    };
    // RFC 9110, section 8.6; what HEAD and 304 say is of a body that is not there.
    let may_say_length = |value: &HeaderValue| match body {
        Delimited::Nothing => !is_interim && status != StatusCode::NO_CONTENT,
        Delimited::Length(length) => value.to_str().is_ok_and(|said| said.parse() == Ok(length)),
        Delimited::Chunks | Delimited::End => false,
    };
    let keeps = to.keeps && body != Delimited::End && !lists(&head.headers, &CONNECTION, b"close");
    let mut text = Vec::with_capacity(HEAD_ROOM);
    text.extend_from_slice(if to.is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    let reason = head.reason.as_deref();
    let reason = reason.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(reason);
    text.extend_from_slice(b"\r\n");
    let (mut says_connection, mut says_length) = (false, false);
    for (name, value) in head.headers.iter() {
        match *name {
            CONTENT_LENGTH if says_length || !may_say_length(value) => continue,
            CONTENT_LENGTH => says_length = true,
            TRANSFER_ENCODING => continue,
            CONNECTION => says_connection = true,
            _ => {}
        }
        write_field(&mut text, name, value.as_bytes());
    }
    match keeps {
        _ if says_connection || is_interim => {}
        true if to.is_old => write_field(&mut text, &CONNECTION, b"keep-alive"),
        true => {}
        false => write_field(&mut text, &CONNECTION, b"close"),
    }
    match body {
        Delimited::Length(length) if !says_length => {
            write_field(&mut text, &CONTENT_LENGTH, length.to_string().as_bytes());
        }
        Delimited::Chunks => write_field(&mut text, &TRANSFER_ENCODING, b"chunked"),
        Delimited::Length(_) | Delimited::Nothing | Delimited::End => {}
    }
    text.extend_from_slice(b"\r\n");
    Begun { text, body, keeps }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderName;

    use super::*;

    const TO: To = To { is_head: false, is_old: false, keeps: true, takes_trailers: false };

    fn begun(
        status: u16,
        fields: &[(&'static str, &'static str)],
        length: Option<u64>,
        to: To,
    ) -> (String, Begun) {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        for (name, value) in fields {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let begun = begin(&head, length, to);
        let text = std::str::from_utf8(&begun.text).unwrap();
        let lines: Vec<_> = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
        (lines.join("|"), begun)
    }

    #[test]
    fn a_body_is_delimited_so_that_the_client_understands_it() {
        let head = To { is_head: true, ..TO };
        let old = To { is_old: true, ..TO };
        let says = [("content-length", "9"), ("a", "b")];
        for (status, fields, length, to, text, body) in [
            (200, &says[1..], Some(5), TO, "HTTP/1.1 200 OK|a: b|content-length: 5", Delimited::Length(5)),
            (200, &says[..0], Some(0), TO, "HTTP/1.1 200 OK|content-length: 0", Delimited::Length(0)),
            (200, &says, Some(9), TO, "HTTP/1.1 200 OK|content-length: 9|a: b", Delimited::Length(9)),
            (200, &says[..1], Some(7), TO, "HTTP/1.1 200 OK|content-length: 7", Delimited::Length(7)),
            (200, &says[..1], None, TO, "HTTP/1.1 200 OK|transfer-encoding: chunked", Delimited::Chunks),
            (200, &says[1..], None, TO, "HTTP/1.1 200 OK|a: b|transfer-encoding: chunked", Delimited::Chunks),
            (200, &says[1..], None, old, "HTTP/1.0 200 OK|a: b|connection: close", Delimited::End),
            (
                200,
                &says[..0],
                Some(1),
                old,
                "HTTP/1.0 200 OK|connection: keep-alive|content-length: 1",
                Delimited::Length(1),
            ),
            (200, &says[..1], Some(0), head, "HTTP/1.1 200 OK|content-length: 9", Delimited::Nothing),
            (200, &says[..0], Some(0), head, "HTTP/1.1 200 OK", Delimited::Nothing),
            (304, &says[..1], Some(0), TO, "HTTP/1.1 304 Not Modified|content-length: 9", Delimited::Nothing),
            (204, &says[..1], Some(0), TO, "HTTP/1.1 204 No Content", Delimited::Nothing),
            (299, &says[..0], Some(0), TO, "HTTP/1.1 299 |content-length: 0", Delimited::Length(0)),
        ] {
            let (said, begun) = begun(status, fields, length, to);
            assert_eq!((said.as_str(), begun.body), (text, body));
            assert_eq!(begun.keeps, body != Delimited::End, "{text}");
        }
    }

    #[test]
    fn the_last_answer_says_that_it_is() {
        let last = To { keeps: false, ..TO };
        let close = [("connection", "close")];
        for (fields, to) in [(&close[..0], last), (&close[..], last), (&close[..], TO)] {
            let (said, begun) = begun(404, fields, Some(0), to);
            assert!(!begun.keeps && said.matches("connection: close").count() == 1, "{said}");
        }
        let (said, _) = begun(101, &[("connection", "upgrade"), ("upgrade", "websocket")], Some(0), last);
        assert_eq!(said, "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: websocket");
    }

    #[test]
    fn a_reason_of_the_upstreams_own_is_passed_on() {
        let mut head = ResponseHead::new(StatusCode::NOT_FOUND);
        head.reason = Some(Bytes::from_static(b"Nope"));
        assert!(begin(&head, Some(0), TO).text.starts_with(b"HTTP/1.1 404 Nope\r\n"));
    }
}
