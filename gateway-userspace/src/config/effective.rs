//! What a file says, and what holds where it says nothing: every key, with where its value comes from. Pure.
//!
//! The text is a file again: it means what the file means, and its comments are the defaults.

use std::{fmt::Write as _, path::Path};

use schemars::JsonSchema;
use serde::Serialize;
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::keys::{self, Fallback, Key, Kind, Table};
use crate::published;

/// Of the document; grows when a field changes its meaning.
const SCHEMA_VERSION: u32 = 1;
/// Where the remarks beside the values begin.
const REMARKS: usize = 44;

/// What `gateway config show --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Effective {
    /// 1
    pub schema_version: u32,
    /// The file, as it was named.
    pub file: String,
    /// Every key of it, and every key that has a default.
    pub values: Vec<Setting>,
}

/// A key and what holds of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Setting {
    /// `endpoint[0].routes[1].path`
    pub key: String,
    /// What holds; null where the default can only be described.
    pub value: serde_json::Value,
    /// Whence it is.
    pub from: Origin,
    /// Of the file, from 1. Absent where it is a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The default in words, where it is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub described: Option<&'static str>,
    /// As it would be written.
    #[serde(skip)]
    written: String,
}

/// Whence a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Written there.
    File,
    /// What holds where nothing is written.
    Default,
}

/// A table and its keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    heading: String,
    is_written: bool,
    settings: Vec<Setting>,
}

impl Effective {
    pub(super) fn new(file: &Path, sections: &[Section]) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            file: file.display().to_string(),
            values: sections.iter().flat_map(|section| section.settings.clone()).collect(),
        }
    }
}

/// A JSON Schema (draft-07) of [`Effective`].
pub fn schema() -> serde_json::Value {
    published::schema::<Effective>("gateway config show")
}

/// All tables of a file, in the order in which they are documented.
///
/// # Errors
/// It is not TOML.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, toml::de::Error> {
    let spans = DeTable::parse(text)?;
    let values: toml::Table = text.parse()?;
    let mut reader = Reader { text, sections: Vec::new() };
    let place = Place { heading: String::new(), path: String::new() };
    reader.table(&keys::ROOT, &place, "", Some((spans.get_ref(), &values)));
    Ok(reader.sections)
}

/// The same table twice: with places, and as plain values.
type Given<'t> = (&'t DeTable<'t>, &'t toml::Table);

struct Reader<'t> {
    text: &'t str,
    sections: Vec<Section>,
}

/// Where a table is.
struct Place {
    /// As in headings: `endpoint.routes`.
    heading: String,
    /// With numbers: `endpoint[0].routes[1]`.
    path: String,
}

impl Place {
    fn below(&self, name: &str, number: Option<usize>) -> Self {
        let join = |to: &str| if to.is_empty() { name.to_owned() } else { format!("{to}.{name}") };
        let number = number.map_or_else(String::new, |number| format!("[{number}]"));
        Self { heading: join(&self.heading), path: join(&self.path) + &number }
    }
}

impl Reader<'_> {
    /// A table's own keys, then the tables in it, as TOML wants it.
    fn table(&mut self, known: &'static Table, place: &Place, heading: &str, given: Option<Given<'_>>) {
        let found =
            |key: &Key| given.and_then(|(spans, values)| Some((spans.get(key.name)?, values.get(key.name)?)));
        let (inner, own): (Vec<_>, Vec<_>) = known.keys.iter().partition(|key| {
            let is_as_below = key.default == Fallback::Described("as below");
            table_of(key.kind).is_some() && (found(key).is_some() || is_as_below)
        });
        let settings = own.into_iter().filter_map(|key| self.setting(key, place, found(key))).collect();
        let is_root = place.heading.is_empty();
        if !is_root {
            self.sections.push(Section {
                heading: heading.to_owned(),
                is_written: given.is_some(),
                settings,
            });
        }
        for key in inner {
            let Some(table) = table_of(key.kind) else { continue };
            match found(key) {
                Some((spans, Value::Array(values))) => {
                    let spans = spans.get_ref().as_array().into_iter().flatten();
                    for (number, (span, value)) in spans.zip(values).enumerate() {
                        let place = place.below(key.name, Some(number));
                        let given = span.get_ref().as_table().zip(value.as_table());
                        self.table(table, &place, &format!("[[{}]]", place.heading), given);
                    }
                }
                found => {
                    let place = place.below(key.name, None);
                    let given =
                        found.and_then(|(span, value)| span.get_ref().as_table().zip(value.as_table()));
                    self.table(table, &place, &format!("[{}]", place.heading), given);
                }
            }
        }
    }

    /// None for a key that is not there and has no default: another one stands for it.
    fn setting(
        &self,
        key: &Key,
        place: &Place,
        given: Option<(&Spanned<DeValue<'_>>, &Value)>,
    ) -> Option<Setting> {
        let path = place.below(key.name, None).path;
        let setting = |value: Option<&Value>, from, line, described| Setting {
            key: path,
            value: value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default(),
            from,
            line,
            described,
            written: value.map_or_else(String::new, ToString::to_string),
        };
        match (given, key.default) {
            (Some((span, value)), _) => {
                let before = self.text.get(..span.span().start).unwrap_or_default();
                Some(setting(Some(value), Origin::File, Some(before.matches('\n').count() + 1), None))
            }
            (None, Fallback::Required) => None,
            (None, Fallback::Written(text)) => {
                let table = format!("value = {text}").parse::<toml::Table>().ok();
                let value = table.as_ref().and_then(|table| table.get("value"));
                Some(setting(value, Origin::Default, None, None))
            }
            (None, Fallback::Described(words)) if words.starts_with("required") => None,
            (None, Fallback::Described(words)) => Some(setting(None, Origin::Default, None, Some(words))),
        }
    }
}

fn table_of(kind: Kind) -> Option<&'static Table> {
    match kind {
        Kind::Inner(name) | Kind::OneOrMore(name) | Kind::Inners(name) => keys::table(name),
        _ => None,
    }
}

/// For people, and for the program again.
pub(super) fn render(file: &Path, sections: &[Section]) -> String {
    let mut text = format!("# What {} says. Behind # is what holds where it says nothing.\n", file.display());
    for section in sections {
        let off = if section.is_written { "" } else { "# " };
        // A string takes everything.
        let _ = write!(text, "\n{off}{}\n", section.heading);
        for setting in &section.settings {
            let name = setting.key.rsplit('.').next().unwrap_or_default();
            let (line, remark) = match (setting.line, setting.described) {
                (Some(line), _) => (format!("{name} = {}", setting.written), format!("# line {line}")),
                (None, Some(words)) => (format!("# {name}"), words.to_owned()),
                (None, None) => (format!("# {name} = {}", setting.written), "default".to_owned()),
            };
            let _ = writeln!(text, "{line:<REMARKS$}  {remark}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::examine;

    const FILES: [&str; 4] = [
        include_str!("../../../docs/examples/internal.toml"),
        include_str!("../../../docs/examples/external.toml"),
        include_str!("../../../docs/examples/none.toml"),
        include_str!("tests/all-keys.toml"),
    ];

    fn shown(text: &str) -> String {
        render(Path::new("gateway.toml"), &sections(text).unwrap())
    }

    #[test]
    fn what_is_shown_means_what_the_file_means() {
        for file in FILES {
            let again = shown(file);
            let folder = Path::new("etc");
            assert_eq!(examine(&again, folder).0.model, examine(file, folder).0.model, "{again}");
        }
    }

    #[test]
    fn defaults_that_are_written_out_change_nothing() {
        let file = include_str!("tests/minimal.toml");
        let written: String = shown(file)
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(default) if default.ends_with("  default") => {
                    default.trim_end_matches("default").to_owned() + "\n"
                }
                Some(heading) if heading.starts_with('[') => format!("{heading}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(
            written.contains("suffix = \"azure-api.net\"") && written.contains("[proxy.limits]"),
            "{written}"
        );
        let folder = Path::new("");
        let model = examine(&written, folder).0.model;
        assert!(model.is_some(), "{written}");
        assert_eq!(model, examine(file, folder).0.model, "{written}");
    }

    #[test]
    fn each_value_has_its_line_or_is_a_default() {
        let file = include_str!("tests/minimal.toml");
        let effective = Effective::new(Path::new("gateway.toml"), &sections(file).unwrap());
        let of = |key: &str| effective.values.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!((of("service.name").from, of("service.name").line), (Origin::File, Some(2)));
        assert_eq!(of("instance[0].dip").value, serde_json::json!(["10.0.0.11"]));
        assert_eq!(
            (of("service.mode").from, &of("service.mode").value),
            (Origin::Default, &"internal".into())
        );
        assert_eq!(of("balancer.seed").described, Some("the service's name"));
        assert!(
            effective
                .values
                .iter()
                .all(|setting| setting.key != "balancer.inside" || setting.described.is_some())
        );
        let text = shown(file);
        assert!(text.contains("\nname = \"contoso\"                              # line 2\n"), "{text}");
        assert!(text.contains("\n# suffix = \"azure-api.net\"                    default\n"), "{text}");
        assert!(text.contains("\n# [proxy.limits]\n"), "{text}");
    }

    #[test]
    fn tables_in_lists_are_shown_one_by_one() {
        let text = shown(FILES[0]);
        assert_eq!(text.matches("\n[[endpoint.routes]]\n").count(), 6, "{text}");
        assert!(text.contains("\n[endpoint.certificate]\nchain = \"tls/api.pem\""), "{text}");
    }
}
