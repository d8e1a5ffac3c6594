//! What a client calls us: host names and addresses as they come in SNI, Host and absolute-form targets. Pure.

use std::{borrow::Cow, net::Ipv6Addr};

use http::{HeaderValue, Uri, header::HOST};

use super::{charset, message::Headers};

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A host name: lower case, without port and without one trailing dot (R43).
    Name(Cow<'a, str>),
    /// An IP address in any spelling (R40).
    Address,
    /// Nothing: no SNI, no Host, or an empty one.
    Nothing,
}

/// Not the `uri-host [ ":" port ]` of RFC 9110, section 7.2; user info counts as malformed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Whom a request asks, as the client wrote it: the authority of an absolute-form target, else Host (RFC 9112, section 3.2.2).
pub fn written(uri: &Uri, headers: &Headers) -> Option<HeaderValue> {
    let authority = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    authority.or_else(|| headers.get(HOST).cloned())
}

/// Reads the value of a Host field or the authority of a target.
///
/// # Errors
/// [`Malformed`]
pub fn parse(raw: &[u8]) -> Result<Asked<'_>, Malformed> {
    // Nearly all are a name alone, or one with a port: that is told by one look at each byte.
    let all = raw.iter().fold(0, |all, byte| all | KINDS[usize::from(*byte)]);
    let raw = std::str::from_utf8(raw).map_err(|_| Malformed)?;
    if all & OTHER == 0 {
        return Ok(normalise_as(raw, all & UPPER != 0));
    }
    if let Some(rest) = raw.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(Malformed)?;
        check_port(port)?;
        return literal_v6(address).then_some(Asked::Address).ok_or(Malformed);
    }
    if literal_v6(raw) {
        return Ok(Asked::Address);
    }
    let (name, port) = raw.split_at(raw.find(':').unwrap_or(raw.len()));
    check_port(port)?;
    if name.bytes().any(|byte| KINDS[usize::from(byte)] & OTHER != 0) {
        return Err(Malformed);
    }
    Ok(normalise(name))
}

/// A name without port: as in SNI.
pub fn normalise(name: &str) -> Asked<'_> {
    normalise_as(name, name.bytes().any(|byte| byte.is_ascii_uppercase()))
}

fn normalise_as(name: &str, has_upper: bool) -> Asked<'_> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Asked::Nothing;
    }
    if is_numeric(name) {
        return Asked::Address;
    }
    Asked::Name(if has_upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// `""` or `":443"`; an empty port after the colon is allowed by RFC 3986, section 3.2.3.
fn check_port(port: &str) -> Result<(), Malformed> {
    let digits = match port.strip_prefix(':') {
        None if port.is_empty() => return Ok(()),
        None => return Err(Malformed),
        Some("") => return Ok(()),
        Some(digits) => digits,
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed);
    }
    digits.parse::<u16>().map(|_| ()).map_err(|_| Malformed)
}

/// With or without a zone: `fe80::1%eth0`.
fn literal_v6(text: &str) -> bool {
    // Names and IPv4 addresses are told apart by this, which costs far less than to try.
    if text.bytes().filter(|byte| *byte == b':').count() < 2 {
        return false;
    }
    let address = text.split_once('%').map_or(text, |(address, _zone)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

/// What is no `reg-name` of RFC 3986, section 3.2.2.
const OTHER: u8 = 1;
/// An upper case letter.
const UPPER: u8 = 2;

/// Of each byte.
const KINDS: [u8; 256] = {
    let is_reg_name = charset::alphanumeric_or(b"-._~%!$&'()*+,;=");
    let (mut kinds, mut byte) = ([0; 256], 0);
    while byte < 256 {
        if !is_reg_name[byte] {
            kinds[byte] = OTHER;
        } else if (byte as u8).is_ascii_uppercase() {
            kinds[byte] = UPPER;
        }
        byte += 1;
    }
    kinds
};

/// The URL standard's rule: what ends in a number is an IPv4 address, in whatever spelling (`127.1`, `0x7f000001`, `017700000001`).
fn is_numeric(name: &str) -> bool {
    // Which top-level domains do not end like that tells most names apart.
    if !name.bytes().next_back().is_some_and(|last| last.is_ascii_hexdigit() || matches!(last, b'x' | b'X')) {
        return false;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Asked<'_>, Malformed> {
        Ok(Asked::Name(Cow::Borrowed(text)))
    }

    #[test]
    fn r43_case_port_and_one_trailing_dot_do_not_matter() {
        for raw in [
            "api.contoso.com",
            "API.Contoso.COM",
            "api.contoso.com.",
            "api.contoso.com:443",
            "Api.contoso.com.:1",
            "api.contoso.com:",
        ] {
            assert_eq!(parse(raw.as_bytes()), name("api.contoso.com"), "{raw}");
        }
        assert_eq!(parse(b"api.contoso.com.."), name("api.contoso.com."));
    }

    #[test]
    fn r40_an_address_in_any_spelling_is_no_name() {
        for raw in [
            "10.0.0.5",
            "10.0.0.5:443",
            "10.0.0.5.",
            "0x0a.0.0.5",
            "0x0a000005",
            "167772165",
            "012.0.0.5",
            "01200000005",
            "10.5",
            "127.1",
            "0X7F.1",
            "[fd00::5]",
            "[fd00::5]:3443",
            "[::ffff:10.0.0.5]",
            "fd00::5",
            "[fe80::1%25eth0]",
        ] {
            assert_eq!(parse(raw.as_bytes()), Ok(Asked::Address), "{raw}");
        }
    }

    #[test]
    fn user_info_spaces_and_bad_ports_are_malformed() {
        for raw in [
            "user@api.contoso.com",
            "api contoso.com",
            "api.contoso.com:99999",
            "api.contoso.com:+1",
            "api.contoso.com:x",
            "a:1:2",
            "a/b",
            "a\tb",
            "[fd00::5",
            "[fd00::5]x",
            "[nonsense]",
            "\u{e4}pi.contoso.com",
            "a#b",
            "a?b",
            "a\\b",
            "<a>",
        ] {
            assert_eq!(parse(raw.as_bytes()), Err(Malformed), "{raw}");
        }
        assert_eq!(parse(b"\xff"), Err(Malformed));
    }

    #[test]
    fn nothing_is_nothing() {
        for raw in ["", ".", ":80"] {
            assert_eq!(parse(raw.as_bytes()), Ok(Asked::Nothing), "{raw}");
        }
    }
}
