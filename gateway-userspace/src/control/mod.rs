//! The verbs that ask a running balancer, by its Unix socket, and show what it says.

mod apply;
mod bare;
mod dns;
mod doctor;
mod drops;
mod explain;
mod find;
mod instance;
mod plan;
pub(crate) mod screen;
mod status;
mod token;
mod top;

pub use self::{
    apply::{Args as ApplyArgs, run as apply},
    bare::run as bare,
    dns::{Args as DnsArgs, run as dns},
    doctor::{Args as DoctorArgs, run as doctor},
    drops::{Args as DropsArgs, run as drops},
    explain::{Args as ExplainArgs, run as explain_packet},
    find::Target,
    instance::{Args as InstanceArgs, run as instance},
    plan::{Args as PlanArgs, run as plan},
    status::{Args as StatusArgs, run as status},
    token::{Args as TokenArgs, run as token},
    top::{Args as TopArgs, run as top},
};

pub(crate) use self::plan::plan_path;

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

use crate::api::client;

/// Ends the process with this code; all has been said.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub struct Exit(pub u8);

/// To stdout, as one document.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("this cannot be written as JSON")?;
    print(&format!("{text}\n"))
}

/// To stdout. Whoever reads no further has seen enough.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// A refusal as its own exit code: 2 where the file has faults.
fn explain(error: client::Error, json: bool) -> anyhow::Error {
    match error {
        client::Error::Refused { status, failure } => {
            if json {
                if let Err(error) = print_json(&failure) {
                    return error;
                }
            } else {
                eprintln!("gateway: {}", failure.error);
            }
            Exit(if status == 422 { 2 } else { 1 }).into()
        }
        other => other.into(),
    }
}
