//! Lines for a file in `/etc/dnsmasq.d`.

use std::fmt::Write as _;

use super::heading;
use crate::dns::{Records, https};

/// `local` keeps questions about a name, and below it, from being forwarded; `host-record` is that name alone.
pub fn text(records: &Records) -> String {
    let mut text = heading("#", records);
    let addresses: Vec<_> = records.addresses().map(|ip| ip.to_string()).collect();
    // Each family once a line is what it takes.
    let lines = addresses_in_lines(records);
    for (name, named) in records.exact() {
        let _ = writeln!(text, "local=/{name}/");
        for line in &lines {
            let _ = writeln!(text, "host-record={name},{line},{}", records.ttl);
        }
        if named.https {
            let _ = writeln!(text, "dns-rr={name},{},{}", https::TYPE, https::hexadecimal(records));
        }
    }
    for (parent, _) in records.wildcards() {
        let _ = writeln!(text, "# deeper than one label is answered too: the proxy refuses such a name");
        for address in &addresses {
            let _ = writeln!(text, "address=/*.{parent}/{address}");
        }
    }
    text
}

fn addresses_in_lines(records: &Records) -> Vec<String> {
    let most = records.v4.len().max(records.v6.len());
    let nth = |n: usize| {
        let v4 = records.v4.get(n).map(ToString::to_string);
        let v6 = records.v6.get(n).map(ToString::to_string);
        v4.into_iter().chain(v6).collect::<Vec<_>>().join(",")
    };
    (0..most).map(nth).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::records::testing::records;

    #[test]
    fn r52_a_name_is_answered_and_never_forwarded() {
        let text = text(&records());
        let name = "\
local=/contoso.azure-api.net/
host-record=contoso.azure-api.net,10.0.0.5,fd00:0:0:1::5,60
dns-rr=contoso.azure-api.net,65,0001000001000c02683208687474702f312e31000400040a00000500060010fd000000000000010000000000000005
";
        assert!(text.contains(name), "{text}");
        let end = "\
address=/*.shop.contoso.com/10.0.0.5
address=/*.shop.contoso.com/fd00:0:0:1::5
";
        assert!(text.ends_with(end), "{text}");
        assert!(!text.contains("dns-rr=through.contoso.com"), "{text}");
        assert!(!text.contains("local=/shop.contoso.com/"), "{text}");
    }

    #[test]
    fn more_addresses_of_a_family_are_more_lines() {
        let mut records = records();
        records.v4.push([10, 0, 0, 6].into());
        assert_eq!(addresses_in_lines(&records), ["10.0.0.5,fd00:0:0:1::5", "10.0.0.6"]);
    }
}
