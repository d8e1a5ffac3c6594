//! The HTTPS record of a name (RFC 9460): HTTP/2 at once, without asking for the address first.
//!
//! Service mode, priority 1, and the name itself as target, as an alias would be a second question. No key is `mandatory`: a client
//! that knows none of them connects as it always has.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use hickory_proto::rr::{
    Name,
    rdata::{
        A, AAAA, HTTPS, SVCB,
        svcb::{Alpn, IpHint, SvcParamKey, SvcParamValue},
    },
};

use super::Records;

/// What the proxy speaks over TLS, best first.
const ALPN: [&str; 2] = ["h2", "http/1.1"];

/// Its number among types.
pub(super) const TYPE: u16 = 65;

/// The record's data, keys in the order of their numbers.
pub(super) fn data(records: &Records) -> HTTPS {
    let mut parameters =
        vec![(SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(ALPN.map(str::to_owned).to_vec())))];
    if !records.v4.is_empty() {
        let hint = IpHint(records.v4.iter().copied().map(A).collect());
        parameters.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(hint)));
    }
    if !records.v6.is_empty() {
        let hint = IpHint(records.v6.iter().copied().map(AAAA).collect());
        parameters.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(hint)));
    }
    HTTPS(SVCB::new(1, Name::root(), parameters))
}

/// As a zone file has it.
pub(super) fn text(records: &Records) -> String {
    let mut text = format!("1 . alpn={}", ALPN.join(","));
    if !records.v4.is_empty() {
        let _ = write!(text, " ipv4hint={}", list(&records.v4));
    }
    if !records.v6.is_empty() {
        let _ = write!(text, " ipv6hint={}", list(&records.v6));
    }
    text
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// As on the wire, in hexadecimal: for servers that do not know the type.
pub(super) fn hexadecimal(records: &Records) -> String {
    let alpn = ALPN.iter().flat_map(|word| std::iter::once(word.len() as u8).chain(word.bytes()));
    let v4 = records.v4.iter().flat_map(Ipv4Addr::octets);
    let v6 = records.v6.iter().flat_map(Ipv6Addr::octets);
    // Priority 1, and the root as target.
    let mut bytes = vec![0, 1, 0];
    for (key, value) in [(1, alpn.collect::<Vec<u8>>()), (4, v4.collect()), (6, v6.collect())] {
        if !value.is_empty() {
            bytes.extend([0, key]);
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend(value);
        }
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder};

    use super::*;
    use crate::dns::records::testing::records;

    #[test]
    fn r52_text_and_bytes_are_those_of_rfc_9460() {
        let records = records();
        assert_eq!(text(&records), "1 . alpn=h2,http/1.1 ipv4hint=10.0.0.5 ipv6hint=fd00:0:0:1::5");
        let expected = concat!(
            "0001",
            "00", // priority, target
            "0001",
            "000c",
            "026832",
            "08687474702f312e31", // alpn
            "0004",
            "0004",
            "0a000005", // ipv4hint
            "0006",
            "0010",
            "fd000000000000010000000000000005", // ipv6hint
        );
        assert_eq!(hexadecimal(&records), expected);
        let mut bytes = Vec::new();
        data(&records).emit(&mut BinEncoder::new(&mut bytes)).unwrap();
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
        let only_v4 = Records { v6: vec![], ..records };
        assert_eq!(text(&only_v4), "1 . alpn=h2,http/1.1 ipv4hint=10.0.0.5");
        assert_eq!(hexadecimal(&only_v4), expected[..expected.len() - 40]);
    }
}
