//! Reads tables of a parsed TOML document key by key: what is unknown, of the wrong type or out of range becomes a
//! fault at its place, and reading goes on.

use std::time::Duration;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    code::Code,
    fault::{Fault, Problem, Span},
    keys::{self, Kind},
    value::{self, Parsed},
};
use crate::near::nearest;

/// What was found under a key.
#[derive(Debug, Clone)]
pub(super) enum Key<T> {
    /// Nothing.
    Absent,
    /// Something that has been reported as a fault: no more is to be said about it.
    Refused(Span),
    /// A value and where it stands.
    Given(Spanned<T>),
}

impl<T> Key<T> {
    /// The value and its place, if there is a good one.
    pub(super) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Refused(_) => None,
        }
    }

    /// The value alone.
    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(Spanned::get_ref)
    }

    /// Where it stands, good or not.
    pub(super) fn span(&self) -> Option<Span> {
        match self {
            Self::Absent => None,
            Self::Refused(span) => Some(span.clone()),
            Self::Given(value) => Some(value.span()),
        }
    }
}

impl<T: Clone> Key<T> {
    /// The value, or the default where there is none or a refused one.
    pub(super) fn value_or(&self, default: T) -> T {
        self.value().cloned().unwrap_or(default)
    }
}

/// A list with a place for each entry.
pub(super) type List<T> = Vec<Spanned<T>>;

/// A table being read.
pub(super) struct Reader<'doc, 'text, 'faults> {
    known: &'static keys::Table,
    table: Content<'doc, 'text>,
    at: Span,
    faults: &'faults mut Vec<Fault>,
}

enum Content<'doc, 'text> {
    Table(&'doc DeTable<'text>),
    Absent,
    /// Something else stands there, and has been reported.
    Refused,
}

impl<'doc, 'text, 'faults> Reader<'doc, 'text, 'faults> {
    /// The document itself.
    pub(super) fn root(
        document: &'doc Spanned<DeTable<'text>>,
        end: usize,
        faults: &'faults mut Vec<Fault>,
    ) -> Self {
        let table = Content::Table(document.get_ref());
        Self { known: &keys::ROOT, table, at: end..end, faults }.refuse_unknown()
    }

    fn refuse_unknown(self) -> Self {
        let Content::Table(table) = self.table else { return self };
        for key in table.keys().filter(|key| self.known.key(key.get_ref()).is_none()) {
            self.faults.push(unknown_key(self.known, key.get_ref(), key.span()));
        }
        self
    }

    /// Where the table stands: its header; the end of the file where it does not exist.
    pub(super) fn at(&self) -> Span {
        self.at.clone()
    }

    fn kind(&self, key: &str) -> Kind {
        let known = self.known.key(key);
        debug_assert!(known.is_some(), "`{key}` is read but not in the table of keys");
        known.map_or(Kind::Switch, |k| k.kind)
    }

    fn find(&self, key: &str) -> Option<&'doc Spanned<DeValue<'text>>> {
        debug_assert!(self.known.key(key).is_some(), "`{key}` is read but not in the table of keys");
        match self.table {
            Content::Table(table) => table.get(key),
            Content::Absent | Content::Refused => None,
        }
    }

    /// Whether anything stands under a key, for a table that means something by being there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn absent<T>(&self) -> Key<T> {
        match self.table {
            Content::Refused => Key::Refused(self.at()),
            Content::Table(_) | Content::Absent => Key::Absent,
        }
    }

    fn name(&self, key: &str) -> String {
        if self.known.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.known.name) }
    }

    fn wrong_type<T>(&mut self, key: &str, found: &Spanned<DeValue<'text>>, expected: &str) -> Key<T> {
        let message =
            format!("`{}` is {}, not {expected}", self.name(key), with_article(found.get_ref().type_str()));
        let mut problem = Problem::new(Code::WrongType, message).label(format!("expected {expected}"));
        if let Some(example) = self.known.key(key).map(|k| k.example).filter(|e| !e.is_empty()) {
            problem = problem.help(format!("for example `{key} = {example}`"));
        }
        self.faults.push(problem.at(found.span()));
        Key::Refused(found.span())
    }

    fn settle<T>(&mut self, span: Span, parsed: Parsed<T>) -> Key<T> {
        match parsed {
            Ok(value) => Key::Given(Spanned::new(span, value)),
            Err(problem) => {
                self.faults.push(problem.at(span.clone()));
                Key::Refused(span)
            }
        }
    }

    /// A string that `parse` understands.
    pub(super) fn text<T>(&mut self, key: &str, parse: fn(&str) -> Parsed<T>) -> Key<T> {
        let Some(found) = self.find(key) else { return self.absent() };
        match found.get_ref().as_str() {
            Some(text) => self.settle(found.span(), parse(text)),
            None => self.wrong_type(key, found, "a string"),
        }
    }

    /// One of the words that the key takes, each with its meaning.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Key<T> {
        debug_assert!(
            matches!(self.kind(key), Kind::Word(known) if words.iter().map(|(word, _)| word).eq(known)),
            "the words of `{key}` are not those in the table of keys"
        );
        let Some(found) = self.find(key) else { return self.absent() };
        let Some(text) = found.get_ref().as_str() else { return self.wrong_type(key, found, "a string") };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Key::Given(Spanned::new(found.span(), *meaning));
        }
        let list: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let problem =
            Problem::new(Code::UnknownWord, format!("`{text}` is no value of `{}`", self.name(key)))
                .label(format!("expected {}", list.join(", ")));
        let problem = match nearest(text, words.iter().map(|(word, _)| *word)) {
            Some(word) => problem.help(format!("did you mean `\"{word}\"`?")),
            None => problem,
        };
        self.settle(found.span(), Err(problem))
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, key: &str) -> Key<bool> {
        let Some(found) = self.find(key) else { return self.absent() };
        match found.get_ref().as_bool() {
            Some(value) => Key::Given(Spanned::new(found.span(), value)),
            None => self.wrong_type(key, found, "`true` or `false`"),
        }
    }

    /// A whole number in the key's range.
    pub(super) fn whole<T: TryFrom<i64>>(&mut self, key: &str) -> Key<T> {
        let Some(found) = self.find(key) else { return self.absent() };
        let Some(number) = found.get_ref().as_integer() else {
            return self.wrong_type(key, found, "a whole number");
        };
        let Kind::Whole(least, most) = self.kind(key) else { return Key::Absent };
        let value = i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|value| (least..=most).contains(value))
            .and_then(|value| T::try_from(value).ok());
        let parsed = value.ok_or_else(|| {
            Problem::new(Code::OutOfRange, format!("`{}` cannot be {number}", self.name(key)))
                .label(format!("expected {least} to {most}"))
        });
        self.settle(found.span(), parsed)
    }

    /// A duration in the key's range.
    pub(super) fn duration(&mut self, key: &str) -> Key<Duration> {
        let Some(found) = self.find(key) else { return self.absent() };
        if let Some(number) = found.get_ref().as_integer() {
            return self.settle(found.span(), value::duration(number.as_str()));
        }
        let Some(text) = found.get_ref().as_str() else {
            return self.wrong_type(key, found, "a duration in a string");
        };
        let Kind::Duration(least, most) = self.kind(key) else { return Key::Absent };
        let range = Duration::from_millis(least)..=Duration::from_millis(most);
        let parsed = value::duration(text).and_then(|value| {
            if range.contains(&value) {
                return Ok(value);
            }
            let [least, most] = [range.start(), range.end()].map(|d| humantime::format_duration(*d));
            Err(Problem::new(Code::OutOfRange, format!("`{}` cannot be {text}", self.name(key)))
                .label(format!("expected {least} to {most}")))
        });
        self.settle(found.span(), parsed)
    }

    /// A list of strings that `parse` understands. Bad entries are reported and left out; the list is refused when no
    /// good one is left.
    pub(super) fn texts<T>(&mut self, key: &str, parse: fn(&str) -> Parsed<T>) -> Key<List<T>> {
        let Some(found) = self.find(key) else { return self.absent() };
        let Some(array) = found.get_ref().as_array() else {
            return self.wrong_type(key, found, "a list of strings");
        };
        let mut good = List::new();
        for item in array {
            let parsed = match item.get_ref().as_str() {
                Some(text) => self.settle(item.span(), parse(text)),
                None => self.wrong_type(key, item, "a string"),
            };
            if let Key::Given(value) = parsed {
                good.push(value);
            }
        }
        if good.is_empty() && !array.is_empty() {
            return Key::Refused(found.span());
        }
        Key::Given(Spanned::new(found.span(), good))
    }

    /// As [`Self::texts`], but refused as a whole for one bad entry: for a list by which other keys are judged.
    pub(super) fn texts_all_good<T>(&mut self, key: &str, parse: fn(&str) -> Parsed<T>) -> Key<List<T>> {
        let before = self.faults.len();
        match self.texts(key, parse) {
            Key::Given(list) if self.faults.len() > before => Key::Refused(list.span()),
            list => list,
        }
    }

    /// A table of strings whose keys are free. Bad entries are reported and left out.
    pub(super) fn pairs<N, V>(
        &mut self,
        key: &str,
        name: fn(&str) -> Parsed<N>,
        value: fn(&str) -> Parsed<V>,
    ) -> Key<Vec<(Spanned<N>, Spanned<V>)>> {
        let Some(found) = self.find(key) else { return self.absent() };
        let Some(table) = found.get_ref().as_table() else {
            return self.wrong_type(key, found, "a table of strings");
        };
        let mut good = Vec::new();
        for (written, item) in table {
            let name = self.settle(written.span(), name(written.get_ref()));
            let value = match item.get_ref().as_str() {
                Some(text) => self.settle(item.span(), value(text)),
                None => self.wrong_type(key, item, "a string"),
            };
            if let (Key::Given(name), Key::Given(value)) = (name, value) {
                good.push((name, value));
            }
        }
        Key::Given(Spanned::new(found.span(), good))
    }

    /// The table under a key; one without keys where there is none.
    pub(super) fn inner(&mut self, key: &str) -> Reader<'doc, 'text, '_> {
        let Some(found) = self.find(key) else {
            let content =
                if matches!(self.table, Content::Refused) { Content::Refused } else { Content::Absent };
            return self.child(key, content, self.at());
        };
        match found.get_ref().as_table() {
            Some(table) => self.child(key, Content::Table(table), found.span()),
            None => {
                let _: Key<()> = self.wrong_type(key, found, "a table");
                self.child(key, Content::Refused, found.span())
            }
        }
    }

    /// The list of tables under a key, each read by `read`.
    pub(super) fn inners<T>(&mut self, key: &str, read: fn(Reader<'_, '_, '_>) -> T) -> Key<Vec<T>> {
        let Some(found) = self.find(key) else { return self.absent() };
        let Some(array) = found.get_ref().as_array() else {
            return self.wrong_type(key, found, "a list of tables");
        };
        let mut read_ones = Vec::new();
        for item in array {
            match item.get_ref().as_table() {
                Some(table) => read_ones.push(read(self.child(key, Content::Table(table), item.span()))),
                None => {
                    let _: Key<()> = self.wrong_type(key, item, "a table");
                }
            }
        }
        if read_ones.is_empty() && !array.is_empty() {
            return Key::Refused(found.span());
        }
        Key::Given(Spanned::new(found.span(), read_ones))
    }

    /// As [`Self::inners`], where a table by itself stands for a list of one.
    pub(super) fn one_or_more<T>(&mut self, key: &str, read: fn(Reader<'_, '_, '_>) -> T) -> Key<Vec<T>> {
        let Some(found) = self.find(key) else { return self.absent() };
        match found.get_ref() {
            DeValue::Table(table) => {
                let one = read(self.child(key, Content::Table(table), found.span()));
                Key::Given(Spanned::new(found.span(), vec![one]))
            }
            DeValue::Array(_) => self.inners(key, read),
            _ => self.wrong_type(key, found, "a table"),
        }
    }

    fn child(&mut self, key: &str, table: Content<'doc, 'text>, at: Span) -> Reader<'doc, 'text, '_> {
        let known = match self.kind(key) {
            Kind::Inner(name) | Kind::OneOrMore(name) | Kind::Inners(name) => keys::table(name),
            _ => None,
        };
        debug_assert!(known.is_some(), "`{key}` has no table of keys");
        Reader { known: known.unwrap_or(&keys::ROOT), table, at, faults: self.faults }.refuse_unknown()
    }
}

fn unknown_key(table: &keys::Table, key: &str, span: Span) -> Fault {
    let (what, place) = match table.name {
        "" => ("table", "at the top of the file".to_owned()),
        _ => ("key", format!("in `{}`", table.heading)),
    };
    let names: Vec<_> = table.keys.iter().map(|k| format!("`{}`", k.name)).collect();
    let problem = Problem::new(Code::UnknownKey, format!("unknown {what} `{key}` {place}"))
        .label(format!("expected one of {}", names.join(", ")));
    let problem = match nearest(key, table.keys.iter().map(|k| k.name)) {
        Some(name) => problem.help(format!("did you mean `{name}`?")),
        None => match keys::TABLES.iter().find(|t| t.key(key).is_some()) {
            Some(home) => problem.help(format!("there is a `{key}` in `{}`", home.heading)),
            None => problem,
        },
    };
    problem.at(span)
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
