//! A proxy on loopback for tests: real sockets, ephemeral ports, a CA of its own, upstreams that record what reaches them.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use gateway_userspace::{
    dns::{
        Records, Serial,
        serve::{Answers, Server},
    },
    model::{
        AccessLog, AccessLogFormat, Action, AdminState, Affinity, Backend, Balance, Balancer,
        CertificateFiles, Dns, Endpoint, FieldChanges, Forwarding, HealthCheck, HostPattern, Instance,
        InstanceName, Interfaces, Location, Mode, Model, Network, NoSni, Passthrough, Places, PlainHttp,
        Probe, Proxy, ProxyLimits, Role, Route, Service, Upstream, UpstreamLimits, UpstreamScheme, Vips,
    },
    proxy::{
        course::Course,
        headers::Via,
        limits::Limits,
        listen::{flush, listen},
        probe::{Asked, BalancerAt, Port, Told},
        routes::Door,
        state::{Known, State},
        tls::Tickets,
        upstream::{self, Connector, TlsConfigs},
        worker::{Current, Worker},
    },
};
use ipnet::IpNet;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::{NoClientAuth, danger::ClientCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// The name of the gateway role in tests.
pub(crate) const API: &str = "api.contoso.com";
/// Of the management role.
pub(crate) const MANAGEMENT: &str = "contoso.management.azure-api.net";
/// Nothing here takes as long.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A running proxy and all that belongs to it.
pub(crate) struct Running {
    pub(crate) worker: Arc<Worker>,
    pub(crate) current: Current,
    pub(crate) https: SocketAddr,
    pub(crate) management: SocketAddr,
    pub(crate) redirect: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) probe: SocketAddr,
    pub(crate) model: Model,
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) stop: watch::Sender<Course>,
    pub(crate) alive: mpsc::Receiver<()>,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// What differs from test to test.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) no_sni: NoSni,
    /// Routes of every role: a path, and upstreams by location, the nearest first.
    pub(crate) routes: Vec<(&'static str, Vec<Vec<SocketAddr>>)>,
    /// Of every route.
    pub(crate) balance: Balance,
    /// Of every location.
    pub(crate) health: Option<HealthCheck>,
    /// Of every upstream.
    pub(crate) upstream_limits: Option<UpstreamLimits>,
    /// That there may be; one serves.
    pub(crate) workers: usize,
    pub(crate) gateway_hosts: Vec<HostPattern>,
    /// How upstreams are spoken to; over https they have to be the tests' CA's.
    pub(crate) upstream_scheme: UpstreamScheme,
    /// Names whose TLS ends elsewhere.
    pub(crate) passthrough: Vec<Passthrough>,
    /// Whose connections begin with the PROXY protocol.
    pub(crate) proxy_protocol_from: Vec<IpNet>,
    /// Whether one is written, to `access.log` in the folder.
    pub(crate) access_log: bool,
}

impl Setup {
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        Self {
            limits: Limits { linger: Duration::from_millis(500), ..Limits::default() },
            no_sni: NoSni::Reject,
            routes: vec![("/", vec![vec![upstream]])],
            balance: Balance::default(),
            health: None,
            upstream_limits: None,
            workers: 1,
            upstream_scheme: UpstreamScheme::Http,
            passthrough: vec![],
            proxy_protocol_from: vec![],
            access_log: false,
            gateway_hosts: vec![
                HostPattern::Exact(API.into()),
                HostPattern::Wildcard("api.contoso.com".into()),
                HostPattern::Exact("other.contoso.com".into()),
            ],
        }
    }

    pub(crate) async fn start(self) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "the tests' CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let model = self.model(&folder, &issuer);

        let tickets = Arc::new(Tickets::new().unwrap());
        let known = Known::nothing(self.workers, &self.limits);
        tokio::spawn(upstream::watch(Arc::clone(&known.upstreams)));
        let mut state = State::load(&model, asked(&model), &tickets, &self.limits, &known).unwrap();
        let trust = Arc::new(client_config(ca.der()));
        state.connector = Connector::new(TlsConfigs::default().with_system(trust), &self.limits);
        let current = Arc::new(ArcSwap::from_pointee(state));
        let via = Via::new("gw-1").unwrap();
        let (tell, told) = mpsc::channel(4);
        let port = Arc::new(Port::new(tell, None));
        let dns = name_server(&model);
        let worker = Worker::new(Arc::clone(&current), Arc::new(self.limits), via, Arc::clone(&port), dns);
        let worker = Arc::new(worker);
        port.tell_of(&[Arc::clone(&worker)]);
        tokio::spawn(flush(Arc::clone(&worker)));
        let (stop, stopped) = watch::channel(Course::default());
        let (alive_here, alive) = mpsc::channel(1);
        let mut addresses = Vec::new();
        for door in [Door::Https, Door::Management, Door::Redirect, Door::Probe, Door::Http] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tokio::spawn(listen(
                Arc::clone(&worker),
                door,
                listener,
                stopped.clone(),
                pending::<()>(),
                alive_here.clone(),
            ));
        }
        Running {
            worker,
            current,
            https: addresses[0],
            management: addresses[1],
            redirect: addresses[2],
            http: addresses[4],
            probe: addresses[3],
            model,
            ca: ca.der().clone(),
            tickets,
            stop,
            alive,
            told,
            folder,
            issuer,
        }
    }

    fn model(&self, folder: &TempDir, issuer: &Issuer<'_, KeyPair>) -> Model {
        let service =
            Service { name: "contoso".into(), suffix: "azure-api.net".into(), mode: Mode::Internal };
        let location = |priority: usize, upstreams: &Vec<SocketAddr>| Location {
            priority: priority as u16 + 1,
            name: None,
            health: self.health.clone(),
            limits: self.upstream_limits.clone(),
            upstream: upstreams.iter().map(|a| Upstream::at(self.upstream_scheme, *a)).collect(),
        };
        let route = |(path, locations): &(&str, Vec<Vec<SocketAddr>>)| Route {
            path: (*path).into(),
            action: Action::Forward(Backend {
                balance: self.balance.clone(),
                locations: locations.iter().enumerate().map(|(nth, list)| location(nth, list)).collect(),
                ..Backend::default()
            }),
            response_headers: FieldChanges::default(),
        };
        let routes: Vec<Route> = self.routes.iter().map(route).collect();
        let endpoint = |role: Role, hosts: Vec<HostPattern>| Endpoint {
            role,
            certificates: vec![certificate(folder, issuer, role.as_str(), &hosts)],
            clients: None,
            hosts,
            routes: routes.clone(),
        };
        Model {
            endpoints: vec![
                endpoint(Role::Gateway, self.gateway_hosts.clone()),
                endpoint(Role::Portal, vec![HostPattern::Exact(Role::Portal.default_host(&service))]),
                endpoint(Role::Management, vec![HostPattern::Exact(MANAGEMENT.into())]),
            ],
            passthrough: self.passthrough.clone(),
            service,
            network: Network { subnet: vec![], vnet: vec![], peered: vec![] },
            vip: Vips {
                private: vec!["10.0.0.5".parse().unwrap()],
                public: vec!["203.0.113.5".parse().unwrap()],
            },
            balancer: Balancer {
                interfaces: Interfaces::One("eth0".into()),
                address: vec![],
                forwarding: Forwarding::L2,
                affinity: Affinity::FiveTuple,
                management_sources: vec![],
                drain: Duration::from_secs(1),
                admin: "127.0.0.1:9180".parse().unwrap(),
                tokens: None,
                seed: "contoso".into(),
            },
            instances: vec![Instance {
                name: InstanceName("gw-1".into()),
                dip: vec!["10.0.0.11".parse().unwrap()],
                weight: 100,
                admin_state: AdminState::Auto,
            }],
            places: Places::default(),
            probe: Probe { path: "/healthy".into(), ..Probe::default() },
            proxy: Proxy {
                no_sni: self.no_sni,
                http: PlainHttp::Redirect,
                proxy_protocol_from: self.proxy_protocol_from.clone(),
                ticket_secret: None,
                access_log: self.access_log.then(|| AccessLog {
                    path: folder.path().join("access.log"),
                    format: AccessLogFormat::Json,
                    query: false,
                }),
                metrics_sources: vec!["127.0.0.0/8".parse().unwrap()],
                limits: ProxyLimits::default(),
                resolver: vec![],
            },
            dns: Dns::default(),
            snat: None,
        }
    }
}

/// Who is in the proxy beside what is tested here.
fn name_server(model: &Model) -> Arc<Server> {
    let answers = Answers::new(&model.dns, &Records::new(model, Serial(1)));
    Server::for_cores(1, &Arc::new(ArcSwap::from_pointee(answers))).remove(0)
}

/// Of the only instance, whose balancer is elsewhere.
pub(crate) fn asked(model: &Model) -> Asked {
    Asked::of(model, &model.instances[0], BalancerAt::Elsewhere)
}

fn certificate(
    folder: &TempDir,
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    hosts: &[HostPattern],
) -> CertificateFiles {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, issuer).unwrap();
    let files = CertificateFiles {
        chain: folder.path().join(format!("{name}.pem")),
        key: folder.path().join(format!("{name}.key")),
    };
    std::fs::write(&files.chain, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

impl Running {
    /// A new certificate for a role's hosts, in the files of its old one.
    pub(crate) fn renew(&self, role: Role) {
        let endpoint = self.model.endpoints.iter().find(|e| e.role == role).unwrap();
        certificate(&self.folder, &self.issuer, role.as_str(), &endpoint.hosts);
    }

    /// As SIGHUP does with a changed file.
    pub(crate) fn reload(&self, model: &Model) {
        let known = self.current.load().known.clone();
        let state = State::load(model, asked(model), &self.tickets, &Limits::default(), &known).unwrap();
        self.current.store(Arc::new(state));
    }

    /// As [`Self::reload`], with other routes for every role.
    pub(crate) fn reroute(&self, routes: &[Route]) {
        let mut model = self.model.clone();
        model.endpoints.iter_mut().for_each(|endpoint| endpoint.routes = routes.to_vec());
        self.reload(&model);
    }

    /// The CA as a file, for curl and openssl.
    pub(crate) fn ca_file(&self) -> std::path::PathBuf {
        let path = self.folder.path().join("ca.pem");
        let text = x509_pem(&self.ca);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The https door of one more worker.
    pub(crate) async fn another(&self) -> SocketAddr {
        let (tell, _) = mpsc::channel(1);
        let (current, limits, via) =
            (Arc::clone(&self.current), Arc::new(Limits::default()), Via::new("gw-1").unwrap());
        let worker = Arc::new(Worker::new(
            current,
            limits,
            via,
            Arc::new(Port::new(tell, None)),
            name_server(&self.model),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (alive, _) = mpsc::channel(1);
        tokio::spawn(listen(worker, Door::Https, listener, self.stop.subscribe(), pending::<()>(), alive));
        address
    }

    /// As [`Self::reload`], of a configuration that may be refused: why.
    pub(crate) fn try_reload(&self, model: &Model) -> Result<(), String> {
        let known = self.current.load().known.clone();
        State::load(model, asked(model), &self.tickets, &Limits::default(), &known)
            .map(|state| self.current.store(Arc::new(state)))
            .map_err(|error| error.to_string())
    }

    /// Files with a certificate for that name and its key.
    pub(crate) fn certificate(&self, name: &str) -> CertificateFiles {
        certificate(&self.folder, &self.issuer, name, &[HostPattern::Exact(name.to_owned())])
    }

    /// For an upstream with these names.
    pub(crate) fn server_config(&self, names: &[&str]) -> rustls::ServerConfig {
        self.server_config_with(names, Arc::new(NoClientAuth))
    }

    /// For an upstream with these names that asks for certificates in this way.
    pub(crate) fn server_config_with(
        &self,
        names: &[&str],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap()
    }

    /// A verified TLS connection to `address` with this SNI.
    pub(crate) async fn tls(
        &self,
        address: SocketAddr,
        sni: &str,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.tls_again(&self.client(), address, sni).await
    }

    /// A client without sessions yet.
    pub(crate) fn client(&self) -> Arc<rustls::ClientConfig> {
        Arc::new(client_config(&self.ca))
    }

    /// As [`Self::tls`], by a client that may have a session to resume.
    pub(crate) async fn tls_again(
        &self,
        client: &Arc<rustls::ClientConfig>,
        address: SocketAddr,
        sni: &str,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let connector = TlsConnector::from(Arc::clone(client));
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        connector.connect(ServerName::try_from(sni.to_owned()).unwrap(), stream).await.unwrap()
    }

    /// As [`Self::tls`], with HTTP/2.
    pub(crate) async fn http2(
        &self,
        address: SocketAddr,
        sni: &str,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut client = client_config(&self.ca);
        client.alpn_protocols = vec![b"h2".to_vec()];
        let stream = self.tls_again(&Arc::new(client), address, sni).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        stream
    }

    /// Sends raw bytes to the https door as `API` and returns all that comes until the end.
    pub(crate) async fn ask(&self, raw: &[u8]) -> Vec<u8> {
        self.ask_as(self.https, API, raw).await
    }

    pub(crate) async fn ask_as(&self, address: SocketAddr, sni: &str, raw: &[u8]) -> Vec<u8> {
        let mut stream = self.tls(address, sni).await;
        stream.write_all(raw).await.unwrap();
        rest(&mut stream).await
    }
}

fn client_config(ca: &CertificateDer<'static>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn x509_pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (index, chunk) in der.chunks(3).enumerate() {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
        if index % 16 == 15 {
            text.push('\n');
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

/// Everything until the peer ends the connection in order: with close_notify over TLS, with FIN without.
pub(crate) async fn rest<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let (bytes, end) = cut(stream).await;
    assert!(end.is_ok(), "{end:?} after {:?}", String::from_utf8_lossy(&bytes));
    bytes
}

/// Everything until the connection ends, and how it does.
pub(crate) async fn cut<S: tokio::io::AsyncRead + Unpin>(
    stream: &mut S,
) -> (Vec<u8>, std::io::Result<usize>) {
    let mut bytes = Vec::new();
    let end = timeout(LONG, stream.read_to_end(&mut bytes)).await;
    (bytes, end.expect("the connection should have ended by now"))
}

/// Reads until `end` has come.
pub(crate) async fn until<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let byte = timeout(LONG, stream.read_u8()).await.expect("more should have come by now");
        bytes.push(byte.unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&bytes))));
    }
    String::from_utf8(bytes).unwrap()
}

/// Sends plain bytes and returns all that comes until the end.
pub(crate) async fn plain(address: SocketAddr, raw: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(raw).await.unwrap();
    rest(&mut stream).await
}

/// A ClientHello made here, with any bytes as SNI: TLS 1.2, one cipher suite that everybody knows.
pub(crate) fn client_hello(sni: Option<&[u8]>) -> Vec<u8> {
    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }
    let mut extensions = Vec::new();
    if let Some(name) = sni {
        let entry = [&[0][..], &sized(name)].concat();
        extensions.extend([&[0, 0][..], &sized(&sized(&entry))].concat());
    }
    // supported_groups x25519, signature_algorithms ecdsa_secp256r1_sha256
    extensions.extend([0, 10, 0, 4, 0, 2, 0, 0x1d, 0, 13, 0, 4, 0, 2, 4, 3]);
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(sized(&[0xc0, 0x2b]));
    hello.extend([1, 0]);
    hello.extend(sized(&extensions));
    let length = u32::try_from(hello.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &hello].concat();
    [&[0x16, 3, 1][..], &sized(&message)].concat()
}

/// A TCP server that answers every request with `answer` and keeps the bytes of each connection.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// `answer` is sent whenever a request's end is seen.
    pub(crate) async fn start(answer: &'static [u8]) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answer).await
    }

    /// As [`Self::start`], at an address that was free a moment ago.
    pub(crate) async fn start_at(address: SocketAddr, answer: &'static [u8]) -> Self {
        Self::on(TcpListener::bind(address).await.unwrap(), answer)
    }

    /// As [`Self::start`], on this socket.
    pub(crate) fn on(listener: TcpListener, answer: &'static [u8]) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                tokio::spawn(record(stream, answer, Arc::clone(&kept), number));
            }
        });
        Self { address, connections }
    }

    /// What came on each connection so far.
    pub(crate) fn connections(&self) -> Vec<String> {
        self.connections
            .lock()
            .unwrap()
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.connections().iter().map(|text| text.matches("HTTP/1.1\r\n").count()).sum()
    }

    /// What came in all, and forgets it.
    pub(crate) fn take(&self) -> String {
        let mut connections = self.connections.lock().unwrap();
        connections
            .iter_mut()
            .map(|bytes| String::from_utf8_lossy(&std::mem::take(bytes)).into_owned())
            .collect()
    }
}

async fn record(mut stream: TcpStream, answer: &'static [u8], kept: Arc<Mutex<Vec<Vec<u8>>>>, number: usize) {
    let mut pending = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        kept.lock().unwrap()[number].extend_from_slice(&buffer[..count]);
        pending.extend_from_slice(&buffer[..count]);
        while let Some(end) = request_end(&pending) {
            pending.drain(..end);
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

/// Where a request ends, by the simplest reading there is.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length:")).map(|v| v.trim().parse::<usize>());
    if text.contains("transfer-encoding: chunked") {
        return find(&bytes[head..], b"0\r\n\r\n").map(|end| head + end + 5);
    }
    let end = head + length.map_or(0, Result::unwrap);
    (bytes.len() >= end).then_some(end)
}

/// An upstream of which the test plays every part.
pub(crate) async fn played() -> (TcpListener, Setup) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup::to(listener.local_addr().unwrap());
    (listener, setup)
}

/// The next connection, once a whole head has come on it.
pub(crate) async fn request(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    let head = until(&mut stream, "\r\n\r\n").await;
    (stream, head)
}

/// Without the fields that are other for each request.
pub(crate) fn without_ids(message: &str) -> String {
    let fields = ["x-request-id: ", "traceparent: "];
    let is_one = |line: &&str| fields.iter().any(|field| line.starts_with(field));
    message.split_inclusive("\r\n").filter(|line| !is_one(line)).collect()
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
