//! Which names of a file are the operator's: all of its strings that are not the format's own words. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use toml::Value;

use crate::config::keys::{self, Kind, Table};

/// Shorter ones would be found in every text.
const LEAST: usize = 3;

/// The names of a file, one with faults too.
pub(super) fn of(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    match text.parse::<toml::Table>() {
        Ok(table) => collect(&keys::ROOT, &table, &mut names),
        // What is no TOML has strings all the same.
        Err(_) => text.split('"').skip(1).step_by(2).for_each(|string| add(string, &mut names)),
    }
    names
}

fn collect(known: &Table, table: &toml::Table, names: &mut BTreeSet<String>) {
    for (name, value) in table {
        let kind = known.key(name).map(|key| key.kind);
        match kind {
            // One of the format's own words, or a number with its unit.
            Some(Kind::Word(_) | Kind::Switch | Kind::Whole(..) | Kind::Duration(..))
                if !value.is_table() => {}
            Some(Kind::Inner(inner) | Kind::OneOrMore(inner) | Kind::Inners(inner)) => {
                let inner = keys::table(inner).unwrap_or(&keys::ROOT);
                let tables =
                    value.as_array().into_iter().flatten().chain([value]).filter_map(Value::as_table);
                tables.for_each(|table| collect(inner, table, names));
            }
            // Names of fields are the operator's too.
            Some(Kind::Pairs(_)) => {
                for (field, value) in value.as_table().into_iter().flatten() {
                    add(field, names);
                    strings(value, names);
                }
            }
            // What is unknown may be a name that stands in the wrong place.
            _ => strings(value, names),
        }
    }
}

fn strings(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => add(text, names),
        Value::Array(items) => items.iter().for_each(|item| strings(item, names)),
        Value::Table(table) => table.values().for_each(|value| strings(value, names)),
        _ => {}
    }
}

/// The whole, and its parts: of `http://orders.internal:8080` the host, of `tls/api.pem` the file, of host names those above them.
fn add(text: &str, names: &mut BTreeSet<String>) {
    let mut keep = |name: &str| {
        let name = name.trim_matches(|c: char| !c.is_alphanumeric());
        // The format's own words say nothing of anybody.
        let is_word = keys::TABLES.iter().flat_map(|table| table.keys).any(|key| match key.kind {
            Kind::Word(words) => words.contains(&name),
            _ => key.name == name,
        });
        if name.len() >= LEAST && name.contains(char::is_alphabetic) && !is_word && !COMMON.contains(&name) {
            names.insert(name.to_lowercase());
        }
    };
    // An address is found by its form, wherever it stands.
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    if rest.parse::<IpAddr>().is_ok() || rest.parse::<IpNet>().is_ok() || rest.parse::<SocketAddr>().is_ok() {
        return;
    }
    keep(rest);
    for part in rest.split(['/', ':', '*', ' ', '@', '?', ',', '=']) {
        keep(part);
        // `api.contoso.com`: whoever knows `contoso.com` knows too much; a top-level domain alone says nothing.
        let labels: Vec<_> = part.split('.').collect();
        for first in 1..labels.len().saturating_sub(1) {
            keep(&labels[first..].join("."));
        }
    }
}

/// Parts of values that are the format's, or everybody's.
const COMMON: [&str; 18] = [
    "http",
    "https",
    "h2c",
    "tcp",
    "tls",
    "pem",
    "key",
    "com",
    "net",
    "org",
    "local",
    "internal",
    "toml",
    "gateway",
    "etc",
    "run",
    "var",
    "azure-api.net",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_the_formats_words_are_not() {
        let names = of(include_str!("../../../docs/examples/internal.toml"));
        for name in [
            "contoso",
            "api.contoso.com",
            "contoso.com",
            "developer.contoso.com",
            "eth0",
            "gw-1",
            "api.pem",
            "on-premises",
        ] {
            assert!(names.contains(name), "{name} in {names:?}");
        }
        for word in ["internal", "l2", "five-tuple", "gateway", "portal", "auto", "1h", "http", "com", "tls"]
        {
            assert!(!names.contains(word), "{word} in {names:?}");
        }
        assert!(
            names.iter().all(|name| !name.contains("fd00")),
            "addresses are found by their form: {names:?}"
        );
    }

    #[test]
    fn a_file_with_faults_has_names_too() {
        assert!(of("[service]\nname = \"contoso\"\nwrong = { deep = [\"fabrikam\"] }").contains("fabrikam"));
        assert!(of("[service\nname = \"contoso\"").contains("contoso"));
    }
}
