//! `gateway instance up|down|auto NAME`

use std::{thread, time::Duration};

use anyhow::Context;
use hyper::Method;

use super::{
    Target, explain, print, print_json,
    screen::grouped,
    status::{age, word},
};
use crate::{
    api::{InstanceState, SetState, client::Client},
    model::AdminState,
    status::Status,
};

/// Between two looks at a drain.
const PAUSE: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  gateway instance down gw-1
      gw-1 gets no new flows; those that it has go on for `balancer.drain`
  gateway instance down gw-1 --wait
      the same, and comes back when it has no flow left, or its drain is over
  gateway instance auto gw-1
      its probe decides again

It holds over a restart, and whatever the file says, until it is what the file says.";

/// What `gateway instance` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// up: in service whatever its probe says; down: drained; auto: its probe decides
    #[arg(value_enum)]
    state: Wish,
    /// The instance, as it is called in the file
    name: String,
    #[command(flatten)]
    target: Target,
    /// With `down`: wait until it has no flow left, or its drain is over
    #[arg(long)]
    wait: bool,
    /// Print its state as JSON
    #[arg(long)]
    json: bool,
}

/// An admin state on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wish {
    Up,
    Down,
    Auto,
}

/// Sets an instance's admin state.
///
/// # Errors
/// There is no such instance, no balancer.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let client = args.target.client()?;
    let admin_state = match args.state {
        Wish::Up => AdminState::Up,
        Wish::Down => AdminState::Down,
        Wish::Auto => AdminState::Auto,
    };
    let body =
        serde_json::to_vec(&SetState { admin_state }).context("the request cannot be written as JSON")?;
    let path = format!("/v1/instances/{}/admin-state", segment(&args.name));
    let state: InstanceState =
        client.ask(Method::PUT, &path, body).map_err(|error| explain(error, args.json))?;
    if args.json && !args.wait {
        return print_json(&state);
    }
    if !args.json {
        print(&said(&state))?;
    }
    if args.wait && admin_state == AdminState::Down {
        wait(&client, &args.name)?;
        return if args.json { print_json(&state) } else { print(&format!("{} is drained\n", args.name)) };
    }
    Ok(())
}

fn said(state: &InstanceState) -> String {
    let InstanceState { name, admin_state, configured, overridden, drain_ends_in, flows, .. } = state;
    let why = match overridden {
        true => format!("set at run time; the file says {}", word(*configured)),
        false => "as the file says".to_owned(),
    };
    let mut text = format!("{name} is {} ({why})\n", word(*admin_state));
    if *admin_state == AdminState::Down {
        let flows = flows
            .map_or("an unknown number of flows".to_owned(), |flows| format!("{} flows", grouped(flows)));
        let end = drain_ends_in.map_or("they are never ended".to_owned(), |left| {
            format!("what is left of them is ended in {}", age(Duration::from_secs(left)))
        });
        text += &format!("it gets no new flows and has {flows}; {end}\n");
    }
    text
}

/// Until no flow is left or the drain is over.
fn wait(client: &Client, name: &str) -> anyhow::Result<()> {
    loop {
        let status: Status = client.get("/v1/status")?;
        let one = status.instances.iter().find(|one| one.name == name);
        // What it had when it was asked before the drain says nothing.
        let is_over =
            one.is_none_or(|one| one.drain.is_none() || one.flows.is_some_and(|flows| flows.living == 0));
        if is_over {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

/// One segment of a path: an instance's name has letters, digits, `-`, `_` and `.`; whatever else was typed is no instance.
fn segment(name: &str) -> String {
    let kept: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    if kept.chars().all(|c| c == '.') { "_".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r83_a_drain_says_what_is_left_and_when_it_ends() {
        let mut state = InstanceState {
            schema_version: 1,
            name: "gw-1".into(),
            admin_state: AdminState::Down,
            configured: AdminState::Auto,
            overridden: true,
            drain_ends_in: Some(3_600),
            flows: Some(1_234),
        };
        assert_eq!(
            said(&state),
            "gw-1 is down (set at run time; the file says auto)\n\
             it gets no new flows and has 1,234 flows; what is left of them is ended in 1h\n"
        );
        state.admin_state = AdminState::Auto;
        state.overridden = false;
        assert_eq!(said(&state), "gw-1 is auto (as the file says)\n");
    }

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(segment("gw-1.a_b"), "gw-1.a_b");
        assert_eq!(segment("../../v1"), ".._.._v1");
        assert_eq!(segment(".."), "_");
    }
}
