//! `cargo xtask bench report`: the figures of docs/performance.md, and its plots, from `target/bench/results.json`.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result, ensure};
use lab::bench::{Results, Run, Table};

use super::chart;
use crate::workspace;

const DOCUMENT: &str = "docs/performance.md";
/// Beside the document.
const PLOTS: &str = "performance";
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench report` -->";
const END: &str = "<!-- end of figures -->";

/// Writes both.
///
/// # Errors
/// Nothing was measured yet, or the document has lost its markers.
pub(super) fn write() -> Result<()> {
    let results = Results::read()?;
    ensure!(
        !results.benches.is_empty(),
        "nothing was measured yet; next step: `cargo xtask bench packets` and `cargo xtask bench forwarding`"
    );
    let document = workspace::root().join(DOCUMENT);
    let text = fs::read_to_string(&document).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let figures = plots_and_figures(&results, &document.with_file_name(PLOTS))?;
    fs::write(&document, replaced(&text, &figures)?).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!(
        "{DOCUMENT} has the figures of: {}",
        results.benches.keys().cloned().collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

fn plots_and_figures(results: &Results, folder: &Path) -> Result<String> {
    fs::create_dir_all(folder)?;
    let mut text = String::new();
    for (name, run) in &results.benches {
        text.push_str(&heading(name, run));
        for table in &run.tables {
            if let Some(svg) = chart::svg(table) {
                let file = format!("{name}-{}.svg", table.name);
                fs::write(folder.join(&file), svg).with_context(|| format!("cannot write {file}"))?;
                let _ = writeln!(text, "\n![{}]({PLOTS}/{file})", table.title);
            }
            text.push_str(&markdown(table));
        }
    }
    Ok(text)
}

fn heading(name: &str, run: &Run) -> String {
    let Run { date, kernel, cpu, commit, command, .. } = run;
    format!("\n## {name}\n`{command}`, {date}, commit {commit}, {kernel}, {cpu}.\n")
}

/// Figures to the right.
fn markdown(table: &Table) -> String {
    let mut text = "\n".to_owned();
    for (n, row) in table.cells().iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if n == 0 {
            let _ = writeln!(text, "|---|{}", "---:|".repeat(table.columns.len()));
        }
    }
    text
}

/// The document with other figures between its markers.
fn replaced(text: &str, figures: &str) -> Result<String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts
        .with_context(|| format!("{DOCUMENT} has no place for figures, between `{BEGIN}` and `{END}`"))?;
    Ok(format!("{before}{BEGIN}\n{figures}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("# Title\n{BEGIN}\nold\n{END}\nlast\n");
        assert_eq!(replaced(&text, "new").unwrap(), format!("# Title\n{BEGIN}\nnew\n{END}\nlast\n"));
        assert!(replaced("# Title\n", "new").is_err());
    }

    #[test]
    fn the_document_has_the_markers() {
        let text = fs::read_to_string(workspace::root().join(DOCUMENT)).unwrap();
        assert!(replaced(&text, "").is_ok());
    }

    #[test]
    fn a_table_in_markdown() {
        let mut table = Table::new("t", "one core", &[("mpps", "Mpps", 1), ("ns", "ns", 0)]);
        table.add("ours", [("mpps", 5.0)]);
        assert_eq!(markdown(&table), "\n| one core | Mpps | ns |\n|---|---:|---:|\n| ours | 5.0 | – |\n");
    }
}
