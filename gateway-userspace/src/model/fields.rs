//! What a route changes of a message's header fields.

use std::fmt;

use http::{HeaderName, HeaderValue};

/// Fields that are set, and fields that are taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldChanges {
    /// In place of all that a message has of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// All of the name; none of them is set as well.
    pub remove: Vec<HeaderName>,
}

impl FieldChanges {
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
    fn names_are_said_and_values_are_not() {
        let name = |text: &str| text.parse::<HeaderName>().unwrap();
        let changes = FieldChanges {
            set: vec![(name("x-team"), HeaderValue::from_static("orders"))],
            remove: vec![name("server")],
        };
        assert_eq!(changes.to_string(), "+x-team -server", "values may be secrets");
    }
}
