//! For clients that resolve names themselves: an /etc/hosts that one process and its children see.

use std::{fs, net::IpAddr, process::Command};

use lab::lab::Lab;

/// `command`, for which `name` is at `address`.
pub(crate) fn resolving(lab: &Lab, name: &str, address: IpAddr, command: &Command) -> Command {
    let hosts = lab.folder().join("hosts");
    fs::write(&hosts, format!("{address} {name}\n")).unwrap();
    let mut unshare = Command::new("unshare");
    // Many clients have many sockets.
    let mount = r#"mount --bind "$0" /etc/hosts && ulimit -n 8192 && exec "$@""#;
    unshare
        .args(["--mount", "sh", "-c", mount])
        .arg(hosts)
        .arg(command.get_program())
        .args(command.get_args());
    unshare
}
