//! A response policy zone, as BIND, Unbound, Knot Resolver and PowerDNS load it: answers for these names in place of what
//! the DNS says, and no other name is touched.

use std::fmt::Write as _;

use super::{heading, records_of};
use crate::dns::Records;

/// One zone, whatever it is called: its names are relative.
pub fn text(records: &Records) -> String {
    let mut text = heading(";", records);
    let Records { ttl, serial, .. } = records;
    let _ = writeln!(text, "$TTL {ttl}");
    // Nobody asks for these two; a zone has them.
    let _ = writeln!(text, "@ IN SOA localhost. hostmaster.localhost. {serial} 3600 600 86400 {ttl}");
    text += "@ IN NS localhost.\n";
    for named in &records.names {
        text += &records_of(&named.host.to_string(), named, records);
    }
    if records.wildcards().next().is_some() {
        text += "; wildcards answer deeper than one label too: the proxy refuses such a name\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::records::testing::records;

    #[test]
    fn r52_names_are_relative_and_wildcards_are_as_others() {
        let text = text(&records());
        for line in [
            "@ IN SOA localhost. hostmaster.localhost. 1800000000 3600 600 86400 60\n",
            "\ncontoso.azure-api.net 60 IN A 10.0.0.5\n",
            "\nthrough.contoso.com 60 IN AAAA fd00:0:0:1::5\n",
            "\n*.shop.contoso.com 60 IN HTTPS 1 . alpn=h2,http/1.1 ipv4hint=10.0.0.5 ",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("through.contoso.com 60 IN HTTPS"), "{text}");
    }
}
