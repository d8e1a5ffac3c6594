//! A snippet for a Corefile, to `import` in the block of a server: the plugin `template` answers for the names and lets all
//! else through to the plugins behind it.

use std::fmt::Write as _;

use super::{data_of, heading};
use crate::{
    dns::{Records, records::Named},
    model::HostPattern,
};

/// `(gateway) { … }`
pub fn text(records: &Records) -> String {
    let mut text = heading("#", records);
    text += "(gateway) {\n";
    for named in &records.names {
        text += &templates(named, records);
    }
    text += "}\n";
    text
}

/// One for each type, and one that says of all others that there is nothing.
fn templates(named: &Named, records: &Records) -> String {
    let (zone, label) = match &named.host {
        HostPattern::Exact(name) => (name, ""),
        HostPattern::Wildcard(parent) => (parent, "[^.]+[.]"),
    };
    // `[.]`: a backslash would be the Corefile's own.
    let pattern = format!("^{label}{}[.]$", zone.replace('.', "[.]"));
    let ttl = records.ttl;
    let mut text = String::new();
    let data = data_of(named, records);
    for kind in ["A", "AAAA", "HTTPS"] {
        let answers: Vec<_> = data.iter().filter(|(other, _)| *other == kind).map(|(_, data)| data).collect();
        if answers.is_empty() {
            continue;
        }
        let _ = writeln!(text, "    template IN {kind} {zone} {{\n        match \"{pattern}\"");
        for data in answers {
            let _ = writeln!(text, "        answer \"{{{{ .Name }}}} {ttl} IN {kind} {data}\"");
        }
        text += "        fallthrough\n    }\n";
    }
    let _ = writeln!(
        text,
        "    template IN ANY {zone} {{\n        match \"{pattern}\"\n        rcode NOERROR\n        authority \"{{{{ .Name }}}} {ttl} IN SOA \
         {{{{ .Name }}}} hostmaster.{{{{ .Name }}}} {} 3600 600 86400 {ttl}\"\n        fallthrough\n    }}",
        records.serial
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::records::testing::records;

    #[test]
    fn r52_a_name_matches_whole_and_a_wildcard_one_label() {
        let text = text(&records());
        let exact = r#"
    template IN A contoso.azure-api.net {
        match "^contoso[.]azure-api[.]net[.]$"
        answer "{{ .Name }} 60 IN A 10.0.0.5"
        fallthrough
    }
"#;
        assert!(text.contains(exact), "{text}");
        let wildcard = r#"
    template IN AAAA shop.contoso.com {
        match "^[^.]+[.]shop[.]contoso[.]com[.]$"
        answer "{{ .Name }} 60 IN AAAA fd00:0:0:1::5"
        fallthrough
    }
"#;
        assert!(text.contains(wildcard), "{text}");
        let rest = r#"
    template IN ANY through.contoso.com {
        match "^through[.]contoso[.]com[.]$"
        rcode NOERROR
        authority "{{ .Name }} 60 IN SOA {{ .Name }} hostmaster.{{ .Name }} 1800000000 3600 600 86400 60"
        fallthrough
    }
"#;
        assert!(text.contains(rest), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(!text.contains("template IN HTTPS through.contoso.com"), "{text}");
    }
}
