//! `/etc/hosts`, and `C:\Windows\System32\drivers\etc\hosts` (R50).

use std::fmt::Write as _;

use super::heading;
use crate::dns::Records;

/// An address and a name a line, since Windows reads nine names a line and no more.
pub fn text(records: &Records) -> String {
    let mut text = heading("#", records);
    for (name, _) in records.exact() {
        for address in records.addresses() {
            let _ = writeln!(text, "{address} {name}");
        }
    }
    for (parent, _) in records.wildcards() {
        let _ = writeln!(
            text,
            "# *.{parent} cannot be said here, since a hosts file has no wildcards: add a line for each name that is used"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::records::testing::records;

    #[test]
    fn r50_a_line_is_an_address_and_a_name() {
        let text = text(&records());
        let expected = "\
# names of the service contoso, for clients in 10.0.0.0/24 only
10.0.0.5 api.contoso.com
fd00:0:0:1::5 api.contoso.com
10.0.0.5 contoso.azure-api.net
fd00:0:0:1::5 contoso.azure-api.net
10.0.0.5 contoso.management.azure-api.net
fd00:0:0:1::5 contoso.management.azure-api.net
10.0.0.5 through.contoso.com
fd00:0:0:1::5 through.contoso.com
10.0.0.5 v1.test.api.contoso.com
fd00:0:0:1::5 v1.test.api.contoso.com
# *.api.contoso.com cannot be said here, since a hosts file has no wildcards: add a line for each name that is used
# *.shop.contoso.com cannot be said here, since a hosts file has no wildcards: add a line for each name that is used
";
        assert_eq!(text, expected);
        assert!(text.is_ascii());
    }
}
