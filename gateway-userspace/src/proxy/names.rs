//! A table of host names: exact ones, wildcards one label deep, and the nearest name for the operator's log. Pure.

use std::collections::HashMap;

use crate::model::HostPattern;

/// What is less alike than this is no typing error but another name.
const NEAR: f64 = 0.8;

/// Something by host name.
#[derive(Debug, Clone)]
pub struct Names<T> {
    exact: HashMap<String, T>,
    /// By parent: `*.api.contoso.com` is held as `api.contoso.com`.
    wildcard: HashMap<String, T>,
}

impl<T> Names<T> {
    /// The value of `name`, which is lower case and without a trailing dot. An exact name beats a wildcard, and a wildcard is
    /// one label deep (R44).
    pub fn get(&self, name: &str) -> Option<&T> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let (label, parent) = name.split_once('.')?;
        if label.is_empty() { None } else { self.wildcard.get(parent) }
    }

    /// The configured name most like `name`, if any is.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let exact = self.exact.keys().cloned();
        let wildcard = self.wildcard.keys().map(|parent| format!("*.{parent}"));
        exact
            .chain(wildcard)
            .map(|candidate| (strsim::normalized_damerau_levenshtein(&candidate, name), candidate))
            .filter(|(likeness, _)| *likeness >= NEAR)
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)))
            .map(|(_, candidate)| candidate)
    }
}

impl<T> FromIterator<(HostPattern, T)> for Names<T> {
    fn from_iter<I: IntoIterator<Item = (HostPattern, T)>>(entries: I) -> Self {
        let mut names = Self { exact: HashMap::new(), wildcard: HashMap::new() };
        for (pattern, value) in entries {
            match pattern {
                HostPattern::Exact(name) => names.exact.insert(name, value),
                HostPattern::Wildcard(parent) => names.wildcard.insert(parent, value),
            };
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Names<u8> {
        [
            (HostPattern::Exact("api.contoso.com".into()), 1),
            (HostPattern::Wildcard("api.contoso.com".into()), 2),
            (HostPattern::Exact("x.api.contoso.com".into()), 3),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn r44_exact_beats_wildcard_and_a_wildcard_is_one_label_deep() {
        let names = table();
        for (name, expected) in [
            ("api.contoso.com", Some(1)),
            ("y.api.contoso.com", Some(2)),
            ("x.api.contoso.com", Some(3)),
            ("a.y.api.contoso.com", None),
            (".api.contoso.com", None),
            ("contoso.com", None),
            ("", None),
        ] {
            assert_eq!(names.get(name).copied(), expected, "{name}");
        }
    }

    #[test]
    fn r41_the_nearest_name_is_a_typing_error_away() {
        assert_eq!(table().nearest("apo.contoso.com").as_deref(), Some("api.contoso.com"));
        assert_eq!(table().nearest("www.example.org"), None);
    }
}
