//! `gateway` by itself: how it is here, or what to do next.

use std::time::SystemTime;

use super::{
    find, print,
    screen::Colour,
    status::{headline, troubles},
};
use crate::{api::client::Client, status::Status};

const NEXT: &str = "\
No balancer runs on this host. Next:
  gateway check --config gateway.toml      what a configuration file says, and what is wrong with it
  gateway run --config gateway.toml        balancer and one instance on this host
  gateway --help                           all commands
";

/// A short status where a balancer is, else the next commands.
///
/// # Errors
/// There are several balancers.
pub fn run() -> anyhow::Result<()> {
    let Some(socket) = find::only()? else { return print(NEXT) };
    let client = Client::new(socket)?;
    let status: Status = client.get("/v1/status")?;
    let colour = Colour::of_stdout();
    let more = "\n`gateway status` has the whole, `gateway --help` all commands\n";
    print(&(headline(&status, SystemTime::now(), colour) + &troubles(&status, colour) + more))
}
