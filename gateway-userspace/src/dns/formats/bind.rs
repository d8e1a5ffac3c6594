//! Zone files after RFC 1035, and the statements by which BIND loads them.

use std::{fmt::Write as _, path::Path};

use super::{data_of, heading, records_of};
use crate::{
    dns::{Records, records::Named},
    model::Mode,
};

/// Times of a SOA record in seconds: to ask for a new serial, to ask again, to give up.
const REFRESH_RETRY_EXPIRE: &str = "3600 600 86400";

/// A zone, and what its file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The full name.
    pub name: String,
    /// The zone file.
    pub text: String,
}

/// One of each full name. A wildcard is in the zone of the name above it, where that is ours.
pub fn zones(records: &Records) -> Vec<Zone> {
    records
        .exact()
        .map(|(name, named)| Zone { name: name.to_owned(), text: zone(name, named, records) })
        .collect()
}

fn zone(name: &str, named: &Named, records: &Records) -> String {
    let mut text = heading(";", records);
    let own = format!("{name}.");
    let servers: Vec<String> = match &records.name_servers[..] {
        [] => vec![own.clone()],
        servers => servers.iter().map(|server| format!("{server}.")).collect(),
    };
    let Records { ttl, serial, .. } = records;
    let _ = writeln!(text, "$ORIGIN {own}\n$TTL {ttl}");
    let _ = writeln!(text, "@ IN SOA {} hostmaster {serial} {REFRESH_RETRY_EXPIRE} {ttl}", servers[0]);
    for server in &servers {
        let _ = writeln!(text, "@ IN NS {server}");
    }
    text += &records_of("@", named, records);
    if let Some(wildcard) = records.wildcard_of(name) {
        text += "; deeper than one label is answered too: the proxy refuses such a name\n";
        text += &records_of("*", wildcard, records);
    }
    text
}

/// The name of a zone's file.
pub fn file_name(zone: &str) -> String {
    format!("{zone}.zone")
}

/// Statements for `named.conf`, with the zone files in `folder`.
pub fn statements(records: &Records, folder: &Path) -> String {
    let mut text = heading("//", records);
    let inside: Vec<_> = records.inside.iter().map(|net| format!("{net}; ")).collect();
    // R3, R53: who is not inside is refused.
    let who = match records.mode {
        Mode::External | Mode::None => "any; ".to_owned(),
        Mode::Internal => format!("localhost; {}", inside.concat()),
    };
    for (name, _) in records.exact() {
        let file = folder.join(file_name(name));
        let _ = writeln!(
            text,
            "zone \"{name}\" {{ type primary; file \"{}\"; allow-query {{ {who}}}; allow-transfer {{ none; }}; }};",
            file.display()
        );
    }
    for (parent, named) in
        records.wildcards().filter(|(parent, _)| records.exact().all(|(name, _)| name != *parent))
    {
        let data: Vec<_> =
            data_of(named, records).into_iter().map(|(kind, data)| format!("{kind} {data}")).collect();
        let _ = writeln!(
            text,
            "// *.{parent} has no zone here: one for {parent} would hide all else below it. Where you have that zone, add\n\
             // `* {}` to it, or use `gateway dns zone --format rpz`.",
            data.join("`, `* ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::records::testing::records;

    #[test]
    fn r52_each_full_name_is_a_zone() {
        let zones = zones(&records());
        let names: Vec<_> = zones.iter().map(|zone| zone.name.as_str()).collect();
        let expected = [
            "api.contoso.com",
            "contoso.azure-api.net",
            "contoso.management.azure-api.net",
            "through.contoso.com",
            "v1.test.api.contoso.com",
        ];
        assert_eq!(names, expected);
        let expected = "\
; names of the service contoso, for clients in 10.0.0.0/24 only
$ORIGIN api.contoso.com.
$TTL 60
@ IN SOA api.contoso.com. hostmaster 1800000000 3600 600 86400 60
@ IN NS api.contoso.com.
@ 60 IN A 10.0.0.5
@ 60 IN AAAA fd00:0:0:1::5
@ 60 IN HTTPS 1 . alpn=h2,http/1.1 ipv4hint=10.0.0.5 ipv6hint=fd00:0:0:1::5
; deeper than one label is answered too: the proxy refuses such a name
* 60 IN A 10.0.0.5
* 60 IN AAAA fd00:0:0:1::5
* 60 IN HTTPS 1 . alpn=h2,http/1.1 ipv4hint=10.0.0.5 ipv6hint=fd00:0:0:1::5
";
        assert_eq!(zones[0].text, expected);
        assert!(!zones[3].text.contains("HTTPS"), "{}", zones[3].text);
    }

    #[test]
    fn name_servers_of_the_file_stand_in_ns_and_soa() {
        let servers = ["ns1.contoso.com", "ns2.contoso.com"].map(str::to_owned).to_vec();
        let zones = zones(&Records { name_servers: servers, ..records() });
        let text = &zones[1].text;
        assert!(text.contains("@ IN SOA ns1.contoso.com. hostmaster 1800000000 "), "{text}");
        assert!(text.contains("@ IN NS ns1.contoso.com.\n@ IN NS ns2.contoso.com.\n"), "{text}");
    }

    #[test]
    fn r53_statements_let_in_clients_inside_and_make_no_zone_of_a_wildcard() {
        let text = statements(&records(), Path::new("/etc/bind/gateway"));
        assert!(text.contains(
            "zone \"contoso.azure-api.net\" { type primary; file \"/etc/bind/gateway/contoso.azure-api.net.zone\"; \
             allow-query { localhost; 10.0.0.0/24; }; allow-transfer { none; }; };\n"
        ), "{text}");
        assert!(text.contains("// *.shop.contoso.com has no zone here"), "{text}");
        assert!(!text.contains("// *.api.contoso.com"), "it is in the zone of api.contoso.com");
        assert!(!text.contains("zone \"shop.contoso.com\""), "{text}");
    }
}
