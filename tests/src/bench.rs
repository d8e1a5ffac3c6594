//! What the benches have in common: tables of figures, the file they are kept in, and how they are shown.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Of the file; a reader that finds another one cannot read it.
const SCHEMA_VERSION: u32 = 1;

/// `target/bench/results.json`: the last run of each bench, by its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    schema_version: u32,
    /// `packets`, `forwarding`
    pub benches: BTreeMap<String, Run>,
}

/// One run of a bench.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// When it ended, UTC, as RFC 3339 has it.
    pub date: String,
    /// `Linux 6.18.5`
    pub kernel: String,
    /// `AMD EPYC, 2 cores`
    pub cpu: String,
    /// Of the tree; `+` behind it: with changes that were not committed.
    pub commit: String,
    /// What to type for the same.
    pub command: String,
    /// What was measured.
    pub tables: Vec<Table>,
}

/// Figures of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// For programs and file names: `live-frames`.
    pub name: String,
    /// For people.
    pub title: String,
    /// What the figures are, in the order in which they are shown.
    pub columns: Vec<Column>,
    /// Which column is plotted.
    pub plot: String,
    /// One for each case.
    pub rows: Vec<Row>,
}

/// A kind of figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Column {
    /// Its key in a [`Row`].
    pub key: String,
    /// With the unit, for people.
    pub label: String,
    /// Decimal places that mean something.
    pub digits: usize,
}

/// The figures of one case; what was not measured is not there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// By [`Column::key`].
    #[serde(flatten)]
    pub values: BTreeMap<String, f64>,
}

impl Table {
    /// Without rows; a column is (key, label, decimal places), and the first one is plotted.
    pub fn new(name: &str, title: &str, columns: &[(&str, &str, usize)]) -> Self {
        let column = |&(key, label, digits): &(&str, &str, usize)| Column {
            key: key.to_owned(),
            label: label.to_owned(),
            digits,
        };
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            columns: columns.iter().map(column).collect(),
            plot: columns.first().map(|(key, ..)| (*key).to_owned()).unwrap_or_default(),
            rows: Vec::new(),
        }
    }

    /// Another column than the first is plotted.
    #[must_use]
    pub fn plotting(mut self, key: &str) -> Self {
        key.clone_into(&mut self.plot);
        self
    }

    /// Adds the figures of a case.
    pub fn add(&mut self, case: &str, values: impl IntoIterator<Item = (&'static str, f64)>) {
        let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.rows.push(Row { case: case.to_owned(), values });
    }

    /// Cells as text, the heading first.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let heading =
            std::iter::once(self.title.clone()).chain(self.columns.iter().map(|column| column.label.clone()));
        let row = |row: &Row| {
            let cell = |column: &Column| {
                let value = row.values.get(&column.key);
                value.map_or_else(|| "–".to_owned(), |value| format!("{value:.*}", column.digits))
            };
            std::iter::once(row.case.clone()).chain(self.columns.iter().map(cell)).collect()
        };
        std::iter::once(heading.collect()).chain(self.rows.iter().map(row)).collect()
    }

    /// In columns, for a terminal.
    pub fn text(&self) -> String {
        let cells = self.cells();
        let width = |n: usize| {
            cells.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut text = String::new();
        for row in &cells {
            for (n, cell) in row.iter().enumerate() {
                // Names to the left, figures to the right.
                let _ = match n {
                    0 => write!(text, "{cell:<0$}", width(n)),
                    _ => write!(text, "  {cell:>0$}", width(n)),
                };
            }
            text.push('\n');
        }
        text
    }
}

impl Run {
    /// Of these tables, here and now.
    ///
    /// # Errors
    /// The machine cannot be described.
    pub fn new(command: &str, tables: Vec<Table>) -> anyhow::Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("which kernel is this?")?;
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("which processor is this?")?;
        let models: Vec<_> = cpuinfo.lines().filter(|line| line.starts_with("model name")).collect();
        let model = models.first().and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
        Ok(Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            // Without what whoever built it has put behind the version.
            kernel: format!("Linux {}", kernel.trim().split('-').next().unwrap_or_default()),
            cpu: format!("{model}, {} cores", models.len()),
            commit: commit(),
            command: command.to_owned(),
            tables,
        })
    }

    /// Keeps it as the last run of this bench, and shows it: as tables, or as JSON for programs.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn publish(self, name: &str, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(&self)?);
        } else {
            for table in &self.tables {
                println!("{}", table.text());
            }
        }
        let mut results = Results::read()?;
        results.benches.insert(name.to_owned(), self);
        let path = path();
        fs::create_dir_all(path.parent().context("a path without folder")?)?;
        fs::write(&path, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Results {
    /// From the file; without one there is no run.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read() -> anyhow::Result<Self> {
        let path = path();
        if !path.exists() {
            return Ok(Self { schema_version: SCHEMA_VERSION, benches: BTreeMap::new() });
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let results: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no file of results; remove it", path.display()))?;
        ensure!(
            results.schema_version == SCHEMA_VERSION,
            "{} was written by another version; remove it",
            path.display()
        );
        Ok(results)
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/results.json")
}

/// A tree that is no git repository has no commit.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|list| !list.is_empty());
    format!("{commit}{}", if changed { "+" } else { "" })
}

/// The middle one: the lower of two in the middle.
///
/// # Panics
/// There is none.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The value at or below which so many percent of them are (nearest rank).
///
/// # Panics
/// There is none.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let values: Vec<_> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((median(&values), percentile(&values, 99)), (50.0, 99.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(percentile(&[7.0], 99), 7.0);
    }

    #[test]
    fn a_table_stands_in_columns_and_shows_what_was_not_measured() {
        let mut table = Table::new("t", "one core", &[("mpps", "Mpps", 2), ("ns", "ns", 0)]);
        table.add("ours", [("mpps", 4.256), ("ns", 20.4)]);
        table.add("nftables DNAT", [("mpps", 0.5)]);
        assert_eq!(
            table.text(),
            "one core       Mpps  ns\n\
             ours           4.26  20\n\
             nftables DNAT  0.50   –\n"
        );
    }

    #[test]
    fn a_row_is_read_back_with_its_figures_beside_its_name() {
        let mut table = Table::new("t", "one core", &[("mpps", "Mpps", 2)]);
        table.add("ours", [("mpps", 4.25)]);
        let json = serde_json::to_value(&table).unwrap();
        assert_eq!(json["rows"][0], serde_json::json!({ "case": "ours", "mpps": 4.25 }));
        let back: Table = serde_json::from_value(json).unwrap();
        assert_eq!(back.cells(), table.cells());
    }
}
