//! Those that are compared: nginx and HAProxy as the distribution has them, and gateway.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::ensure;

use lab::{
    address::PRIVATE,
    config::{AccessLog, Config, Route},
    gateway::binary,
    process::Process,
    wait,
};
use nix::sys::signal::Signal;

use crate::stage::{Stage, UPSTREAM, UPSTREAM_TLS, core, serve};

/// A server under test.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Where it ends TLS.
    pub(crate) tls: SocketAddr,
    /// Where it speaks plain HTTP; not all do.
    pub(crate) plain: Option<SocketAddr>,
    /// Where it passes TLS through for [`PASSED`]; not all do.
    pub(crate) pass: Option<SocketAddr>,
    process: Process,
}

/// A name whose TLS ends at the upstream.
pub(crate) const PASSED: &str = "passed.contoso.com";

/// What a reload takes at most.
const PATIENCE: Duration = Duration::from_secs(20);

const NGINX: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HAPROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}

impl Server {
    /// Started one after the other; all run until the end, and idle while they are not asked.
    pub(crate) fn all(stage: &Stage) -> anyhow::Result<Vec<Self>> {
        Ok(vec![Self::nginx(stage)?, Self::haproxy(stage)?, Self::gateway(stage)?])
    }

    /// Its process: all of them have one only.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    fn nginx(stage: &Stage) -> anyhow::Result<Self> {
        let leaf = stage.leaf();
        let folder = stage.folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 16000; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
    client_body_temp_path {folder}/n1; proxy_temp_path {folder}/n2; fastcgi_temp_path {folder}/n3; uwsgi_temp_path {folder}/n4;
    scgi_temp_path {folder}/n5;
    upstream up {{ server {UPSTREAM}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen {plain} backlog=4096;
        listen {tls} ssl http2 backlog=4096;
        http2_max_requests 1000000000;
        ssl_certificate {chain}; ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
        location / {{
            proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\";
            proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
}}
",
            plain = at(NGINX, 80),
            tls = at(NGINX, 443),
            chain = leaf.chain.display(),
            key = leaf.key.display(),
        );
        let file = stage.path("nginx.conf");
        fs::write(&file, config.replace("        http2_max_requests 1000000000;\n", ""))?;
        let line = format!("nginx -e stderr -c {}", file.display());
        let process = serve(&stage.host, &line, core(), at(NGINX, 443))?;
        Ok(Self { name: "nginx", tls: at(NGINX, 443), plain: Some(at(NGINX, 80)), pass: None, process })
    }

    fn haproxy(stage: &Stage) -> anyhow::Result<Self> {
        let leaf = stage.leaf();
        let pair = stage.path("pair.pem");
        fs::write(&pair, [fs::read(&leaf.chain)?, fs::read(&leaf.key)?].concat())?;
        let config = format!(
            "global
    nbthread 1
    maxconn 6000
    tune.ssl.cachesize 100000
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option forwardfor
    http-reuse always
frontend bench
    bind {plain} backlog 4096
    bind {tls} ssl crt {pair} alpn h2,http/1.1 backlog 4096
    default_backend up
backend up
    server one {UPSTREAM} pool-max-conn 256
frontend pass
    mode tcp
    bind {pass} backlog 4096
    tcp-request inspect-delay 5s
    tcp-request content accept if {{ req_ssl_hello_type 1 }}
    use_backend passed if {{ req_ssl_sni -i {PASSED} }}
backend passed
    mode tcp
    option splice-auto
    server one {UPSTREAM_TLS}
",
            plain = at(HAPROXY, 80),
            pass = at(HAPROXY, 8443),
            tls = at(HAPROXY, 443),
            pair = pair.display(),
        );
        let file = stage.path("haproxy.cfg");
        fs::write(&file, config)?;
        let line = format!("haproxy -db -f {}", file.display());
        let process = serve(&stage.host, &line, core(), at(HAPROXY, 443))?;
        Ok(Self {
            name: "HAProxy",
            tls: at(HAPROXY, 443),
            plain: Some(at(HAPROXY, 80)),
            pass: Some(at(HAPROXY, 8443)),
            process,
        })
    }

    /// Has gateway write an access log from now on, or none.
    pub(crate) fn log_to(&mut self, stage: &Stage, log: Option<PathBuf>) -> anyhow::Result<()> {
        let taken_up = |process: &Process| process.stderr().matches(" is taken up").count();
        let before = taken_up(&self.process);
        write(stage, log)?;
        self.process.signal(Signal::SIGHUP)?;
        ensure!(wait::eventually(PATIENCE, || taken_up(&self.process) > before), "{}", self.process.stderr());
        Ok(())
    }

    fn gateway(stage: &Stage) -> anyhow::Result<Self> {
        let file = write(stage, None)?;
        let tls = at(PRIVATE, 443);
        let line = format!("{} proxy --config {} --instance gw-1", binary()?.display(), file.display());
        let process = serve(&stage.host, &line, core(), tls)?;
        let plain = Some(at(PRIVATE, 80));
        Ok(Self { name: "gateway", tls, plain, pass: Some(tls), process })
    }
}

/// Gateway's file.
fn write(stage: &Stage, log: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let leaves: BTreeMap<_, _> = stage.leaves.iter().cloned().collect();
    let mut config = Config::new(1, &leaves);
    config.endpoint_mut("gateway").routes =
        vec![Route { path: "/".to_owned(), upstream: vec![format!("http://{UPSTREAM}")] }];
    "serve".clone_into(&mut config.proxy.http);
    config.proxy.access_log = log.map(|path| AccessLog { path });
    let passed = format!(
        "\n[[endpoint]]\nrole = \"gateway\"\nmode = \"passthrough\"\nhosts = [\"{PASSED}\"]\nupstream = [\"tcp://{UPSTREAM_TLS}\"]\n"
    );
    let file = stage.path("gateway.toml");
    fs::write(&file, toml::to_string(&config)? + &passed)?;
    Ok(file)
}
