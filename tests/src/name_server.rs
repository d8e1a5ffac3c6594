//! Name servers of the distribution, on hosts of the lab.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::{
    dig::dig,
    host::{Host, command},
    process::Process,
    wait,
};

/// To load its zones.
const READY: Duration = Duration::from_secs(15);

/// One that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct NameServer(Process);

/// BIND on all addresses of a host, with these lines in its configuration besides; `options` go into that block.
///
/// # Errors
/// It does not start, or does not answer.
pub fn bind(host: &Host, folder: &Path, options: &str, lines: &str) -> anyhow::Result<NameServer> {
    let home = folder.display();
    let text = format!(
        "options {{ directory \"{home}\"; pid-file none; session-keyfile \"{home}/session.key\"; listen-on {{ any; }}; \
         listen-on-v6 {{ any; }}; dnssec-validation no; notify no; {options} }};\ncontrols {{ }};\n{lines}\n"
    );
    let file = folder.join("named.conf");
    fs::write(&file, text)?;
    start(host, &format!("named -g -n 1 -c {}", file.display()))
}

/// dnsmasq on all addresses of a host, with this configuration.
///
/// # Errors
/// It does not start, or does not answer.
pub fn dnsmasq(host: &Host, folder: &Path, lines: &str) -> anyhow::Result<NameServer> {
    let file = folder.join("dnsmasq.conf");
    fs::write(&file, format!("no-resolv\nno-hosts\nuser=root\nlog-facility=-\npid-file=\n{lines}\n"))?;
    start(host, &format!("dnsmasq --keep-in-foreground --conf-file={}", file.display()))
}

/// Unbound on all addresses of a host, with this in its configuration behind `server:`.
///
/// # Errors
/// It does not start, or does not answer.
pub fn unbound(host: &Host, folder: &Path, lines: &str) -> anyhow::Result<NameServer> {
    let file = folder.join("unbound.conf");
    let home = folder.display();
    let text = format!(
        "server:\n  interface: 0.0.0.0\n  access-control: 0.0.0.0/0 allow\n  chroot: \"\"\n  username: \"\"\n  directory: \"{home}\"\n  \
         pidfile: \"\"\n  use-syslog: no\n{lines}\nremote-control:\n  control-enable: no\n"
    );
    fs::write(&file, text)?;
    start(host, &format!("unbound -d -c {}", file.display()))
}

fn start(host: &Host, line: &str) -> anyhow::Result<NameServer> {
    let mut server = NameServer(host.spawn(command(line))?);
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    host.ip(["link set lo up"])?;
    let answers = || match server.0.ended() {
        Ok(None) => {
            dig(host, localhost, "ready.test A").is_ok_and(|said| !said.status.is_empty()).then_some(true)
        }
        _ => Some(false),
    };
    let ready = wait::until(READY, answers).with_context(|| format!("`{line}` does not answer"))?;
    ensure!(ready, "`{line}` has ended:\n{}", server.0.stderr());
    Ok(server)
}

impl NameServer {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        self.0.stderr()
    }
}
