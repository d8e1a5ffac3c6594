//! What a route changes of a message's header fields.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields that are set, and fields that are taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldChanges {
    /// In place of all that a message has of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// All of the name; none of them is set as well.
    pub remove: Vec<HeaderName>,
}

impl FieldChanges {
    /// Changes a message.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// Whether it says anything of a field.
    pub fn names(&self, field: &HeaderName) -> bool {
        self.remove.contains(field) || self.set.iter().any(|(name, _)| name == field)
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

impl fmt::Display for FieldChanges {
    /// `+x-team -server`: names alone, for values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.iter().map(|(name, _)| format!("+{name}"));
        let words: Vec<_> = set.chain(self.remove.iter().map(|name| format!("-{name}"))).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_name_is_replaced_or_taken_away() {
        let name = |text: &str| text.parse::<HeaderName>().unwrap();
        let changes = FieldChanges {
            set: vec![(name("x-team"), HeaderValue::from_static("orders"))],
            remove: vec![name("server")],
        };
        let mut headers = HeaderMap::new();
        for (field, value) in
            [("x-team", "a"), ("x-team", "b"), ("server", "a"), ("server", "b"), ("etag", "c")]
        {
            headers.append(name(field), HeaderValue::from_static(value));
        }
        changes.apply(&mut headers);
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        left.sort_unstable();
        assert_eq!(left, [("etag", &b"c"[..]), ("x-team", b"orders")]);
        assert_eq!(changes.to_string(), "+x-team -server", "values may be secrets");
    }
}
