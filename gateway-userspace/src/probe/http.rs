//! The request of a probe, and what is read of its response: the status, and nothing behind it. Pure.

use std::net::SocketAddr;

use super::failure::Failure;
use crate::model::{Probe, authority};

/// Bytes of a response that are read in search of its status; interim responses may come before it.
pub(super) const MOST: usize = 8 * 1024;
/// The longest status line.
const LINE: usize = 1024;

/// Who asks.
pub(super) const USER_AGENT: &str = concat!("gateway-probe/", env!("CARGO_PKG_VERSION"));

/// The request.
pub(super) fn request(probe: &Probe, address: SocketAddr) -> Vec<u8> {
    let (path, host) = (&probe.path, host(probe, address));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// Whom it asks for.
pub(super) fn host(probe: &Probe, address: SocketAddr) -> String {
    probe.host.clone().unwrap_or_else(|| authority(&bracketed(address), address.port()))
}

fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// The final response's status, if it is there yet.
pub(super) fn status(response: &[u8]) -> Result<Option<u16>, Failure> {
    let mut rest = response;
    loop {
        let Some(end) = rest.iter().take(LINE).position(|byte| *byte == b'\n') else {
            let is_beginning = rest.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected);
            return if is_beginning && rest.len() < LINE { Ok(None) } else { Err(garbage(rest)) };
        };
        let status = of_line(&rest[..end]).ok_or_else(|| garbage(rest))?;
        // 101 is final: nobody asked for another protocol.
        if status >= 200 || status == 101 {
            return Ok(Some(status));
        }
        match rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            Some(head) => rest = &rest[head + 4..],
            None => return Ok(None),
        }
    }
}

/// RFC 9112, 4: version, a space, three digits, a space, whatever; here the last space may be missing, as it often is.
fn of_line(line: &[u8]) -> Option<u16> {
    let line = line.strip_suffix(b"\r")?;
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (code, reason) = rest.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) || !(reason.is_empty() || reason.starts_with(b" ")) {
        return None;
    }
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    (100..=599).contains(&code).then_some(code)
}

fn garbage(response: &[u8]) -> Failure {
    let shown: String = String::from_utf8_lossy(&response[..response.len().min(32)]).escape_debug().collect();
    Failure::NotHttp(format!("\"{shown}\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(response: &str) -> Result<Option<u16>, Failure> {
        status(response.as_bytes())
    }

    #[test]
    fn r81_a_request_names_its_host() {
        let asked = |host: Option<&str>, address: &str| {
            let probe = Probe { host: host.map(str::to_owned), ..Probe::default() };
            String::from_utf8(request(&probe, address.parse().unwrap())).unwrap()
        };
        let request = asked(Some("contoso.com"), "10.0.0.11:8080");
        assert!(
            request.starts_with("GET /status-0123456789abcdef HTTP/1.1\r\nHost: contoso.com\r\n"),
            "{request}"
        );
        assert!(request.ends_with("Connection: close\r\n\r\n"), "{request}");
        assert!(asked(None, "10.0.0.11:8080").contains("\r\nHost: 10.0.0.11:8080\r\n"));
        assert!(asked(None, "[fd00::11]:8080").contains("\r\nHost: [fd00::11]:8080\r\n"));
    }

    #[test]
    fn the_status_is_read_as_soon_as_its_line_is_there() {
        assert_eq!(text("HTTP/1.1 200 OK\r\n"), Ok(Some(200)));
        assert_eq!(text("HTTP/1.0 404\r\nServer: x\r\n"), Ok(Some(404)));
        assert_eq!(text("HTTP/1.1 503 Service Unavailable\r\n\r\nbody"), Ok(Some(503)));
        for part in ["", "H", "HTTP/1.", "HTTP/1.1 20", "HTTP/1.1 200 OK\r"] {
            assert_eq!(text(part), Ok(None), "{part}");
        }
    }

    #[test]
    fn interim_responses_are_passed_over() {
        assert_eq!(text("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"), Ok(Some(200)));
        assert_eq!(text("HTTP/1.1 100 Continue\r\n"), Ok(None));
        assert_eq!(text("HTTP/1.1 101 Switching Protocols\r\n"), Ok(Some(101)));
    }

    #[test]
    fn what_is_no_response_is_told() {
        for garbage in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/2 200\r\n",
            "HTTP/1.1 200 OK\n",
            "HTTP/1.1  200 OK\r\n",
            "HTTP/1.1 2000 OK\r\n",
            "HTTP/1.1 20x\r\n",
            "HTTP/1.1 099 x\r\n",
            "HTTP/1.1 200OK\r\n",
            "<html>",
            "\r\n",
        ] {
            assert!(matches!(text(garbage), Err(Failure::NotHttp(_))), "{garbage}");
        }
        assert!(text(&format!("HTTP/1.1 200 {}", "a".repeat(LINE))).is_err(), "a line without an end");
        assert_eq!(
            text("SSH-2.0\u{1b}\r\n").unwrap_err().to_string(),
            r#"no HTTP/1 response: "SSH-2.0\u{1b}\r\n""#
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_status_garbage_or_waited_for(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            if let Ok(None) = status(&bytes) {
                prop_assert!(bytes.len() < LINE);
            }
        }

        #[test]
        fn it_is_the_same_however_the_response_is_cut(code in 200u16..600, cut in 0usize..30) {
            let whole = format!("HTTP/1.1 {code} because\r\nA: b\r\n\r\n");
            let cut = cut.min(whole.len());
            let part = text(&whole[..cut]).unwrap();
            prop_assert!(part.is_none() || part == Some(code));
            prop_assert_eq!(text(&whole), Ok(Some(code)));
        }
    }
}
