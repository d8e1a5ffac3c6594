//! A table's plotted column as bars, in SVG. Readable on light and dark paper: nothing is filled but the bars, and the words
//! take the reader's scheme.

use std::fmt::Write as _;

use lab::bench::{Column, Table};

const WIDTH: f64 = 860.0;
const BAR: f64 = 18.0;
const GAP: f64 = 8.0;
/// Above the bars, for the title.
const HEAD: f64 = 36.0;
/// A letter of the 13-pixel font, about.
const LETTER: f64 = 7.0;
/// Behind the longest bar, for its figure.
const FIGURE: f64 = 70.0;

const STYLE: &str = "text { font: 13px system-ui, sans-serif; fill: #444c56 } .title { font-weight: 600 } .ours { fill: #1f6feb } .peer { fill: #8b949e } @media (prefers-color-scheme: dark) { text { fill: #b1bac4 } .ours { fill: #388bfd } .peer { fill: #6e7681 } }";

/// The chart; `None` where nothing was measured of what is plotted.
pub(super) fn svg(table: &Table) -> Option<String> {
    let column = table.columns.iter().find(|column| column.key == table.plot)?;
    let bars: Vec<(&str, f64)> = table
        .rows
        .iter()
        .filter_map(|row| Some((row.case.as_str(), *row.values.get(&column.key)?)))
        .collect();
    let longest = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if longest <= 0.0 {
        return None;
    }
    let letters = bars.iter().map(|(case, _)| case.chars().count()).max().unwrap_or(0);
    let left = letters as f64 * LETTER + GAP;
    let scale = (WIDTH - left - FIGURE) / longest;
    let height = HEAD + bars.len() as f64 * (BAR + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n<text class=\"title\" x=\"0\" y=\"18\">{title}</text>\n",
        title = title(table, column)
    );
    for (n, (case, value)) in bars.iter().enumerate() {
        let top = HEAD + n as f64 * (BAR + GAP);
        let line = top + BAR * 0.75;
        let class = if is_ours(case) { "ours" } else { "peer" };
        let width = (value * scale).max(1.0);
        let _ = writeln!(
            svg,
            "<text x=\"{end:.0}\" y=\"{line:.0}\" text-anchor=\"end\">{case}</text>\
             <rect class=\"{class}\" x=\"{left:.0}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\
             <text x=\"{after:.0}\" y=\"{line:.0}\">{value:.digits$}</text>",
            end = left - GAP,
            case = escaped(case),
            after = left + width + GAP,
            digits = column.digits,
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Cases that are gateway's stand out.
fn is_ours(case: &str) -> bool {
    !["bare", "direct", "nftables", "HAProxy", "classic"].iter().any(|peer| case.starts_with(peer))
}

fn title(table: &Table, column: &Column) -> String {
    escaped(&format!("{}: {}", table.title, column.label))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", "a & b", &[("mpps", "Mpps", 1), ("ns", "ns", 0)]);
        table.add("bare <x>", [("mpps", 5.0)]);
        table.add("gateway", [("mpps", 2.5)]);
        table.add("unmeasured", [("ns", 1.0)]);
        table
    }

    #[test]
    fn bars_are_as_long_as_their_figures_and_ours_stand_out() {
        let svg = svg(&table()).unwrap();
        let width = |class: &str| -> f64 {
            let (_, rest) = svg.split_once(&format!("<rect class=\"{class}\"")).unwrap();
            let (_, rest) = rest.split_once("width=\"").unwrap();
            rest.split_once('"').unwrap().0.parse().unwrap()
        };
        assert!((width("peer") - 2.0 * width("ours")).abs() < 0.2, "{svg}");
        assert!(svg.contains(">5.0</text>") && svg.contains(">2.5</text>"));
    }

    #[test]
    fn what_was_not_measured_has_no_bar_and_text_is_escaped() {
        let svg = svg(&table()).unwrap();
        assert!(!svg.contains("unmeasured"));
        assert!(svg.contains("a &amp; b") && svg.contains("bare &lt;x>"));
        assert_eq!(super::svg(&Table::new("t", "none", &[("mpps", "Mpps", 1)])), None);
    }
}
