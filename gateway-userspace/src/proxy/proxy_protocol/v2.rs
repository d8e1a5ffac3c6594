//! Version 2: sixteen bytes, two addresses, extensions. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ends, Header, MOST, Malformed, may_be};

/// No other protocol begins so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Up to the length of what follows, that included.
const FIXED: usize = 16;

/// Version and command.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Address family and transport.
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    if !may_be(bytes, &SIGNATURE) {
        return Err(Malformed);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, transport, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let addresses = match (command, transport) {
        (LOCAL, _) | (PROXY, UNSPEC) => 0,
        (PROXY, TCP4) => 12,
        (PROXY, TCP6) => 36,
        _ => return Err(Malformed),
    };
    if length < addresses || FIXED + length > MOST {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    Ok(Some((ends(&body[..addresses]).map_or(Header::Own, Header::Of), FIXED + length)))
}

/// Of 12 bytes for IPv4, of 36 for IPv6.
fn ends(body: &[u8]) -> Option<Ends> {
    let (addresses, ports) = body.split_last_chunk::<4>()?;
    let (source, destination) = addresses.split_at(addresses.len() / 2);
    let [from, to] = [u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])];
    Some(Ends {
        source: SocketAddr::new(address(source)?, from),
        destination: SocketAddr::new(address(destination)?, to),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

/// What an upstream is told of a client; both ends are of one address family.
pub fn header(ends: Ends) -> Vec<u8> {
    let addresses: Vec<u8> = match (ends.source.ip().to_canonical(), ends.destination.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => [source.octets(), destination.octets()].concat(),
        (source, destination) => [octets(source), octets(destination)].concat(),
    };
    let transport = if addresses.len() == 8 { TCP4 } else { TCP6 };
    let mut header = Vec::with_capacity(FIXED + addresses.len() + 4);
    header.extend(SIGNATURE);
    header.extend([PROXY, transport, 0, addresses.len() as u8 + 4]);
    header.extend(addresses);
    header.extend(ends.source.port().to_be_bytes());
    header.extend(ends.destination.port().to_be_bytes());
    header
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    /// With the fields of the fixed part as given.
    fn raw(command: u8, transport: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, transport], &length, body].concat()
    }

    #[test]
    fn bytes_are_those_of_the_specification() {
        let header = header(ends("192.0.2.7:51000", "10.0.0.5:443"));
        let body = [192, 0, 2, 7, 10, 0, 0, 5, 0xc7, 0x38, 0x01, 0xbb];
        assert_eq!(header, raw(0x21, 0x11, &body));
    }

    #[test]
    fn what_is_written_is_read_once_all_of_it_is_there() {
        for (source, destination) in
            [("192.0.2.7:51000", "10.0.0.5:443"), ("[2001:db8::7]:51000", "[fd00::5]:3443")]
        {
            let ends = ends(source, destination);
            let header = header(ends);
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Ok(None), "{length}");
            }
            let more = [&header[..], b"\x16\x03\x01"].concat();
            assert_eq!(parse(&more), Ok(Some((Header::Of(ends), header.len()))));
        }
    }

    #[test]
    fn mapped_addresses_are_written_as_ipv4() {
        let mapped = ends("[::ffff:192.0.2.7]:1", "[::ffff:10.0.0.5]:2");
        assert_eq!(header(mapped), header(ends("192.0.2.7:1", "10.0.0.5:2")));
    }

    #[test]
    fn extensions_are_skipped_and_local_is_the_proxys_own() {
        let body = [192, 0, 2, 7, 10, 0, 0, 5, 0xc7, 0x38, 0x01, 0xbb, 0x04, 0, 3, 1, 2, 3];
        let header = raw(0x21, 0x11, &body);
        let of = Header::Of(ends("192.0.2.7:51000", "10.0.0.5:443"));
        assert_eq!(parse(&header), Ok(Some((of, header.len()))));
        for own in [raw(0x20, 0, &[]), raw(0x20, 0x11, &body), raw(0x21, 0, &[]), raw(0x21, 0, &[9; 7])] {
            assert_eq!(parse(&own), Ok(Some((Header::Own, own.len()))));
        }
    }

    #[test]
    fn what_is_only_like_one_is_none() {
        let body = [0; 36];
        for header in [
            raw(0x11, 0x11, &body),
            raw(0x22, 0x11, &body),
            raw(0x21, 0x12, &body),
            raw(0x21, 0x22, &body),
            raw(0x21, 0x31, &[0; 216]),
            raw(0x21, 0x11, &body[..11]),
            raw(0x21, 0x21, &body[..35]),
            raw(0x21, 0x11, &[0; MOST - FIXED + 1]),
            b"\r\n\r\n\0\r\nQUIX".to_vec(),
            b"\x16\x03\x01".to_vec(),
            b"GET / HTTP/1.1\r\n".to_vec(),
        ] {
            assert_eq!(super::super::parse(&header), Err(Malformed), "{header:?}");
        }
    }
}
