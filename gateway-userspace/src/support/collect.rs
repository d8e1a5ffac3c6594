//! What goes into the archive. What cannot be had is told in its place.

use std::{path::Path, process::Command, time::Duration};

use hyper::Method;
use serde_json::Value;

use crate::{
    api::client::Client,
    config,
    control::{Target, plan_path},
    doctor::{self, ALL, Ask},
};

/// Of the log.
const LINES: &str = "20000";
const UNITS: [&str; 3] = ["gateway.service", "gateway-balance.service", "gateway-proxy@*.service"];

/// A file of the archive, not veiled yet.
pub(super) struct Collected {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// What a file of the archive is.
pub(super) fn meaning(name: &str) -> &'static str {
    match name {
        "versions.txt" => "of the program, the kernel and the system",
        "gateway.toml" => "the configuration file",
        "check.txt" => "what `gateway check` says of it",
        "config.txt" => "what holds, as `gateway config show` has it",
        "status.json" => "the running balancer's state",
        "counters.json" => "what it counted, drops and their last packets included",
        "plan.json" => "what the file would change",
        "doctor.json" => "what is wrong on this host, as `gateway doctor` finds it",
        _ => "the log, from the journal",
    }
}

/// Everything, in the order in which one reads it.
pub(super) fn all(target: &Target, file: &Path, text: &str, since: Duration) -> Vec<Collected> {
    let client = target.client();
    let asked = |path: &str| answer(&client, |client| client.get::<Value>(path));
    let collected = |name, text| Collected { name, text };
    let plan = answer(&client, |client| client.ask::<Value>(Method::POST, &plan_path(file), text.to_owned()));
    vec![
        collected("versions.txt", versions()),
        collected("gateway.toml", text.to_owned()),
        collected("check.txt", config::check::text(file)),
        collected("config.txt", config::show::text(file).unwrap_or_else(|error| failed(&error))),
        collected("status.json", asked("/v1/status")),
        collected("counters.json", asked("/v1/counters")),
        collected("plan.json", plan),
        collected("doctor.json", findings(file).unwrap_or_else(|error| failed(&error))),
        collected("log.txt", log(since)),
    ]
}

/// As `gateway doctor --json` prints it, of the host as it looks and of nobody who was named.
fn findings(file: &Path) -> anyhow::Result<String> {
    let facts = doctor::gather(&Ask { file: file.to_owned(), ..Ask::default() })?;
    Ok(serde_json::to_string_pretty(&doctor::examine(ALL, &facts))? + "\n")
}

fn answer<E: std::error::Error + Send + Sync + 'static>(
    client: &anyhow::Result<Client>,
    ask: impl FnOnce(&Client) -> Result<Value, E>,
) -> String {
    match client {
        Ok(client) => match ask(client) {
            Ok(mut value) => {
                without_bytes(&mut value);
                format!("{value:#}\n")
            }
            Err(error) => failed(&anyhow::Error::new(error)),
        },
        Err(error) => failed(error),
    }
}

/// Packets are shown by a line; their bytes have addresses, and perhaps what clients said.
fn without_bytes(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("hex");
            fields.values_mut().for_each(without_bytes);
        }
        Value::Array(items) => items.iter_mut().for_each(without_bytes),
        _ => {}
    }
}

fn failed(error: &anyhow::Error) -> String {
    format!("not to be had: {error:#}\n")
}

fn versions() -> String {
    let read = |path: &str| {
        std::fs::read_to_string(path).unwrap_or_else(|error| failed(&anyhow::anyhow!("{path}: {error}")))
    };
    format!(
        "gateway {}\n\n{}\n{}\nprocessors: {}\n",
        env!("CARGO_PKG_VERSION"),
        read("/proc/version"),
        read("/etc/os-release"),
        std::thread::available_parallelism()
            .map_or_else(|error| error.to_string(), |number| number.to_string()),
    )
}

/// Where there is no journal, the operator has the log elsewhere.
fn log(since: Duration) -> String {
    let mut journalctl = Command::new("journalctl");
    journalctl.args([
        "--no-pager",
        "--quiet",
        "--output",
        "short-iso-precise",
        "--no-hostname",
        "--lines",
        LINES,
    ]);
    journalctl.arg(format!("--since=-{}s", since.as_secs()));
    UNITS.iter().for_each(|unit| {
        journalctl.args(["--unit", unit]);
    });
    match journalctl.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => format!("not to be had: journalctl: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => format!("not to be had: journalctl: {error}\n"),
    }
}
