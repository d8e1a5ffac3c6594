//! Every table and key of the file: what the reader knows, what the documentation says and what the JSON Schema is
//! made from.

mod limits;
mod routes;
mod tables;

pub use tables::{ROOT, TABLES};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string; the text says of what form.
    Text(&'static str),
    /// One of a few words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A whole number, both ends included.
    Whole(i64, i64),
    /// A duration such as `1h 30m`, both ends included, in milliseconds.
    Duration(u64, u64),
    /// A list of strings; the text says of what form one is.
    Texts(&'static str),
    /// A table of strings whose keys are free; the text says of what form an entry is.
    Pairs(&'static str),
    /// A table, described by the [`Table`] of that name.
    Inner(&'static str),
    /// A table, or a list of such tables, described by the [`Table`] of that name.
    OneOrMore(&'static str),
    /// A list of tables, described by the [`Table`] of that name.
    Inners(&'static str),
}

/// A key has to be there, or has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Has to be there.
    Required,
    /// As it would be written in the file.
    Written(&'static str),
    /// In words.
    Described(&'static str),
}

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds when it is not there.
    pub default: Fallback,
    /// What it means, and the requirement it comes from.
    pub meaning: &'static str,
    /// A value as written in the file.
    pub example: &'static str,
}

/// A table of the file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// `service`; for a table inside another one `endpoint.certificate`.
    pub name: &'static str,
    /// Its heading: `[service]`, `[[instance]]`, `[[endpoint]] certificate`.
    pub heading: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// In the order in which they are documented.
    pub keys: &'static [Key],
}

impl Table {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

/// The table of that name.
pub fn table(name: &str) -> Option<&'static Table> {
    if name.is_empty() { Some(&ROOT) } else { TABLES.iter().find(|t| t.name == name) }
}
