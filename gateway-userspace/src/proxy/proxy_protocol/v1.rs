//! Version 1: a line of text. Pure.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{Ends, Header, Malformed, may_be};

/// The longest line there is, its end included.
const LONGEST: usize = 107;
const BEGIN: &[u8] = b"PROXY ";

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let head = &bytes[..bytes.len().min(LONGEST)];
    if !may_be(head, BEGIN) {
        return Err(Malformed);
    }
    let Some(end) = head.iter().position(|byte| !(b' '..=b'~').contains(byte)) else {
        return if head.len() < LONGEST { Ok(None) } else { Err(Malformed) };
    };
    match &head[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if head.len() < LONGEST => return Ok(None),
        _ => return Err(Malformed),
    }
    let line = head.get(BEGIN.len()..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(Malformed)?;
    Ok(Some((header(line)?, end + 2)))
}

/// What stands behind `PROXY `.
fn header(line: &str) -> Result<Header, Malformed> {
    let words: Vec<&str> = line.split(' ').collect();
    let ends = match words[..] {
        // Whatever stands behind it is to be ignored.
        ["UNKNOWN", ..] => return Ok(Header::Own),
        ["TCP4", source, destination, from, to] => {
            ends::<Ipv4Addr>(source, destination).zip(port(from).zip(port(to)))
        }
        ["TCP6", source, destination, from, to] => {
            ends::<Ipv6Addr>(source, destination).zip(port(from).zip(port(to)))
        }
        _ => None,
    };
    let ((source, destination), (from, to)) = ends.ok_or(Malformed)?;
    Ok(Header::Of(Ends {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    }))
}

fn ends<A: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Option<(IpAddr, IpAddr)> {
    let address = |text: &str| text.parse::<A>().ok().map(Into::into);
    Some((address(source)?, address(destination)?))
}

/// Digits alone, and no zero in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.5 51000 443\r\n";

    #[test]
    fn a_line_is_read_once_its_end_is_there() {
        for length in 0..LINE.len() {
            assert_eq!(parse(&LINE[..length]), Ok(None), "{length}");
        }
        let ends =
            Ends { source: "192.0.2.7:51000".parse().unwrap(), destination: "10.0.0.5:443".parse().unwrap() };
        let more = [LINE, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&more), Ok(Some((Header::Of(ends), LINE.len()))));
        let line = b"PROXY TCP6 2001:db8::7 fd00::5 1 65535\r\n";
        let ends = Ends {
            source: "[2001:db8::7]:1".parse().unwrap(),
            destination: "[fd00::5]:65535".parse().unwrap(),
        };
        assert_eq!(parse(line), Ok(Some((Header::Of(ends), line.len()))));
    }

    #[test]
    fn unknown_is_the_proxys_own() {
        for line in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"] {
            assert_eq!(parse(line), Ok(Some((Header::Own, line.len()))));
        }
    }

    #[test]
    fn what_is_only_like_one_is_none() {
        for line in [
            &b"PROXY TCP4 192.0.2.7 10.0.0.5 51000 443\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.5 51000 443\r\r\n",
            b"PROXY  TCP4 192.0.2.7 10.0.0.5 51000 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.5 51000 443 \r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.5 51000\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.5 051000 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.5 +51000 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.5 510000 443\r\n",
            b"PROXY TCP4 192.0.2.07 10.0.0.5 51000 443\r\n",
            b"PROXY TCP4 192.0.2 10.0.0.5 51000 443\r\n",
            b"PROXY TCP4 ::1 ::1 51000 443\r\n",
            b"PROXY TCP6 192.0.2.7 10.0.0.5 51000 443\r\n",
            b"PROXY tcp4 192.0.2.7 10.0.0.5 51000 443\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.5 51000 443\r\n",
            b"PROXY UNKNOWNX\r\n",
            b"PROXY\tTCP4 192.0.2.7 10.0.0.5 51000 443\r\n",
            b"PROXY TCP4 192.0.2.7\x00 10.0.0.5 51000 443\r\n",
            b"PROXY \r\n",
            b"PROXZ",
            b"POST / HTTP/1.1\r\n",
        ] {
            assert_eq!(parse(line), Err(Malformed), "{}", String::from_utf8_lossy(line));
        }
        assert_eq!(parse(&[b"PROXY UNKNOWN".as_slice(), &[b' '; 200]].concat()), Err(Malformed), "too long");
    }
}
