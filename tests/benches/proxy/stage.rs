//! One host on which all run: servers under test on addresses of their own, the upstream behind them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use lab::{
    address::{BALANCER, Station},
    ca::{Authority, Leaf},
    config::{custom_host, default_host},
    host::{self, Host},
    lab::ROLES,
    process::Process,
    wait,
};
use tempfile::TempDir;

/// Where the upstream listens.
pub(crate) const UPSTREAM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where it ends TLS itself.
pub(crate) const UPSTREAM_TLS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// What a small answer has.
const SMALL: usize = 1024;
/// What `/large` has.
pub(crate) const LARGE: u64 = 1 << 20;
/// A server that does not listen by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The stage; Drop ends what runs on it.
pub(crate) struct Stage {
    pub(crate) host: Host,
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    /// One for each role, of which the first has the name that is asked for.
    pub(crate) leaves: Vec<(&'static str, Leaf)>,
    _upstream: Process,
}

/// The core of the server under test: the last one, which interrupts and everybody else's habits spare most.
pub(crate) fn core() -> usize {
    cores() - 1
}

/// The core of load and upstream.
pub(crate) fn other_core() -> usize {
    0
}

fn cores() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1) as usize
}

/// The name that clients ask for.
pub(crate) fn name() -> String {
    default_host("gateway")
}

impl Stage {
    pub(crate) fn raise() -> anyhow::Result<Self> {
        ensure!(cores() > 1, "the bench needs two cores: one for the server under test, one for the load");
        let folder = tempfile::tempdir()?;
        let authority = Authority::new(&folder.path().join("tls"))?;
        let names = |role| [Some(default_host(role)), custom_host(role).map(str::to_owned)];
        let leaf =
            |role| Ok((role, authority.leaf(role, &names(role).into_iter().flatten().collect::<Vec<_>>())?));
        let leaves = ROLES.into_iter().map(leaf).collect::<anyhow::Result<Vec<_>>>()?;
        let host = Host::new("bench")?;
        // An interface for the instance's address; its other end leads nowhere.
        host.ip(["link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up"])?;
        for ip in Station::instance(1).addresses().into_iter().chain(BALANCER.addresses()) {
            let prefix = if ip.is_ipv4() { 24 } else { 64 };
            host.ip([format!(
                "address add {ip}/{prefix} dev eth0{}",
                if ip.is_ipv4() { "" } else { " nodad" }
            )])?;
        }
        let upstream = upstream(&host, folder.path(), &leaves)?;
        Ok(Self { host, folder, authority, leaves, _upstream: upstream })
    }

    /// The certificate of [`name`].
    pub(crate) fn leaf(&self) -> &Leaf {
        &self.leaves[0].1
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// nginx, which answers from its own memory.
fn upstream(host: &Host, folder: &Path, leaves: &[(&str, Leaf)]) -> anyhow::Result<Process> {
    let leaf = &leaves[0].1;
    let content = folder.join("content");
    fs::create_dir_all(&content)?;
    fs::write(content.join("small"), vec![b'x'; SMALL])?;
    fs::write(content.join("large"), vec![b'x'; LARGE as usize])?;
    let config = format!(
        "daemon off; master_process off; pid {0}/upstream.pid; error_log stderr error;
events {{ worker_connections 16000; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 600s;
    open_file_cache max=16; default_type application/octet-stream;
    client_body_temp_path {0}/u1; proxy_temp_path {0}/u2; fastcgi_temp_path {0}/u3; uwsgi_temp_path {0}/u4; scgi_temp_path {0}/u5;
    server {{
        listen {UPSTREAM} backlog=4096; listen {UPSTREAM_TLS} ssl backlog=4096; root {0}/content;
        ssl_certificate {1}; ssl_certificate_key {2};
    }}
}}
",
        folder.display(),
        leaf.chain.display(),
        leaf.key.display()
    );
    let file = folder.join("upstream.conf");
    fs::write(&file, config)?;
    serve(host, &format!("nginx -e stderr -c {}", file.display()), other_core(), UPSTREAM)
}

/// Starts a server on a core and waits until it listens. nginx has no master (`master_process off`): its workers would outlive a
/// master that is killed.
pub(crate) fn serve(host: &Host, line: &str, core: usize, at: SocketAddr) -> anyhow::Result<Process> {
    let process = host.spawn(host::command(&format!("taskset --cpu-list {core} {line}")))?;
    listens(host, &process, at).with_context(|| line.to_owned())?;
    Ok(process)
}

fn listens(host: &Host, process: &Process, at: SocketAddr) -> anyhow::Result<()> {
    let listens = wait::eventually(PATIENCE, || host.enter(|| TcpStream::connect(at).is_ok()));
    ensure!(listens, "nobody listens at {at}:\n{}", process.stderr());
    Ok(())
}
