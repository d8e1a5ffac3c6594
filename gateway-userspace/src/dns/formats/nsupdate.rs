//! A script for nsupdate(1): dynamic updates (RFC 2136) of a server that has the zones already.
//!
//! It names no zone. So nsupdate finds the one that a name is in, by asking: the name's own, or a parent that is yours.

use std::fmt::Write as _;

use super::{data_of, heading};
use crate::dns::Records;

/// One update a name, since each may be in a zone of its own: it is done whole or not at all.
pub fn text(records: &Records) -> String {
    let mut text = heading(";", records);
    for named in &records.names {
        let name = format!("{}.", named.host);
        for kind in ["A", "AAAA", "HTTPS"] {
            let _ = writeln!(text, "update delete {name} {kind}");
        }
        for (kind, data) in data_of(named, records) {
            let _ = writeln!(text, "update add {name} {} {kind} {data}", records.ttl);
        }
        text += "send\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::records::testing::records;

    #[test]
    fn r52_a_names_records_take_the_place_of_what_was_there() {
        let text = text(&records());
        let name = "\
update delete api.contoso.com. A
update delete api.contoso.com. AAAA
update delete api.contoso.com. HTTPS
update add api.contoso.com. 60 A 10.0.0.5
update add api.contoso.com. 60 AAAA fd00:0:0:1::5
update add api.contoso.com. 60 HTTPS 1 . alpn=h2,http/1.1 ipv4hint=10.0.0.5 ipv6hint=fd00:0:0:1::5
send
";
        assert!(text.contains(name), "{text}");
        assert!(text.contains("update add *.shop.contoso.com. 60 A 10.0.0.5\n"), "{text}");
        assert_eq!(text.matches("send\n").count(), 7);
        assert!(!text.contains("zone "), "{text}");
    }
}
