//! The text, and the documents that go by it: `docs/metrics.md`, the dashboard, the alert rules. Where `promtool` is, it has its
//! say. `GATEWAY_UPDATE_DOCS=1 cargo test -p gateway-userspace metrics` writes the list of metrics anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use gateway_ebpf::reason::Reason;

use super::*;
use crate::{
    published,
    status::testing::{full, serving},
};

const DASHBOARD: &str = "grafana/gateway.json";
const RULES: &str = "alerts/gateway.rules.yml";

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// The labels of every metric of a text, by its name as a query has it.
fn metrics(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = match line.split_once('{') {
            Some((name, rest)) => (name, rest.rsplit_once('}').unwrap().0),
            None => (line.split(' ').next().unwrap(), ""),
        };
        let labels = labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()));
        found.entry(name.to_owned()).or_default().extend(labels);
    }
    found
}

/// Of a balancer and of an instance's proxy.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = metrics(&text(&full()));
    all.append(&mut metrics(&crate::proxy::testing::metrics()));
    all
}

/// Words that begin with our prefix.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("gateway_")).collect()
}

#[test]
fn r84_the_dashboard_and_the_alert_rules_use_metrics_that_exist() {
    let known = known();
    for name in [DASHBOARD, RULES] {
        let text = fs::read_to_string(document(name)).unwrap();
        let used = named(&text);
        assert!(used.len() > 5, "{name}: {used:?}");
        let unknown: Vec<_> = used.into_iter().filter(|word| !known.contains_key(*word)).collect();
        assert!(unknown.is_empty(), "docs/{name} uses {unknown:?}");
    }
}

#[test]
fn r84_the_queries_of_the_dashboard_name_labels_that_exist() {
    let text = fs::read_to_string(document(DASHBOARD)).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let known = known();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            queries += 1;
            // What Prometheus adds, and what the metrics of this query have.
            let mut labels: BTreeSet<&str> = ["job", "instance"].into();
            labels.extend(named(query).into_iter().flat_map(|name| &known[name]).map(String::as_str));
            let legend = target["legendFormat"].as_str().unwrap();
            let grouped = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
            let grouped = grouped.flat_map(|names| names.split(", "));
            let shown = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
            for label in grouped.chain(shown) {
                assert!(labels.contains(label), "{query}: {label}");
            }
        }
    }
    assert!(queries > 15, "{queries}");
}

#[test]
fn the_alert_rules_name_drop_reasons_that_exist() {
    let text = fs::read_to_string(document(RULES)).unwrap();
    let named = text.split("reason=~\"").skip(1).filter_map(|rest| rest.split('"').next());
    let named: Vec<_> = named.flat_map(|names| names.split('|')).collect();
    assert!(!named.is_empty());
    for name in named {
        assert!(Reason::ALL.iter().any(|reason| reason.name() == name), "{name}");
    }
}

#[test]
fn metrics_md_has_every_metric() {
    let document = fs::read_to_string(document("metrics.md")).unwrap();
    let balancer = with_table(&document, "metrics", &text(&full()));
    let expected = with_table(&balancer, "metrics of the proxy", &crate::proxy::testing::metrics());
    published::is_up_to_date("metrics.md", &expected, "metrics");
}

/// The document with a table of the metrics of `text` between the marks of that name.
fn with_table(document: &str, mark: &str, text: &str) -> String {
    let labels = metrics(text);
    let mut rows = String::new();
    let mut kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE gateway_")?.split_once(' '));
    for line in text.lines() {
        let Some((name, help)) = line.strip_prefix("# HELP gateway_").and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let (_, kind) = kinds.next().unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "histogram" => "_bucket",
            _ => "",
        };
        let name = format!("gateway_{name}{suffix}");
        let labels: Vec<_> = labels[&name].iter().map(|label| format!("`{label}`")).collect();
        rows += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    let (begin, end) = (format!("<!-- begin {mark} -->\n"), format!("<!-- end {mark} -->"));
    let (before, rest) = document.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}| metric | type | labels | what |\n|---|---|---|---|\n{rows}{end}{after}")
}

#[test]
fn the_same_state_is_the_same_text_and_ends_as_openmetrics_does() {
    assert_eq!(text(&full()), text(&full()));
    let text = text(&serving());
    assert!(
        text.ends_with("\n# EOF\n") && text.contains("\ngateway_state{state=\"serving\"} 1.0\n"),
        "{text}"
    );
}

#[test]
fn r84_promtool_finds_no_fault() {
    // It reads the older format, in which a counter is declared with its whole name.
    let text = text(&full());
    let counters: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut classic = String::new();
    for line in text.lines().filter(|line| !line.starts_with("# UNIT") && *line != "# EOF") {
        let declared = line.strip_prefix("# ").and_then(|rest| rest.split(' ').nth(1));
        match declared.filter(|name| counters.contains(name)) {
            Some(name) => classic += &line.replacen(name, &format!("{name}_total"), 1),
            None => classic += line,
        }
        classic.push('\n');
    }
    promtool(&["check", "metrics"], &classic);
    promtool(&["check", "rules", &document(RULES).display().to_string()], "");
}

/// Where it is not installed, nothing is said.
fn promtool(arguments: &[&str], input: &str) {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return eprintln!("SKIPPED: promtool ({error}); install the package prometheus"),
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}
