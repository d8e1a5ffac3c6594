//! R45: clients that show certificates, as curl and rustls do.

use std::{path::PathBuf, sync::Arc};

use gateway_userspace::model::{ClientCertificates, Demand, HostPattern};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{HandshakeKind, RootCertStore};
use rustls_pki_types::pem::PemObject;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{API, Recorder, Running, Setup, plain, rest, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PORTAL: &str = "portal.api.contoso.com";

/// An authority for clients, and where its certificate is.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

/// A client's certificate and key.
struct Files(PathBuf, PathBuf);

impl Authority {
    fn new(proxy: &Running, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = proxy.folder.path().join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// Good until that year.
    fn issue(&self, name: &str, until: i32) -> Files {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Contoso");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let at = |end: &str| self.file.with_extension(format!("{name}-{until}.{end}"));
        std::fs::write(at("pem"), certificate.pem()).unwrap();
        std::fs::write(at("key"), key.serialize_pem()).unwrap();
        Files(at("pem"), at("key"))
    }
}

/// Clients of the endpoint with that number have to show certificates of `authority`.
fn demand(proxy: &mut Running, endpoint: usize, authority: &Authority, demand: Demand) {
    let clients = ClientCertificates { authorities: authority.file.clone(), demand };
    proxy.model.endpoints[endpoint].clients = Some(clients);
    proxy.reload(&proxy.model);
}

async fn running() -> (Recorder, Running) {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    (upstream, proxy)
}

/// What curl makes of it: the answer's body, or nothing.
async fn curl(proxy: &Running, files: Option<&Files>, options: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--noproxy", "*", "--http1.1", "-H", "X-Client-Cert-Subject: CN=root"]);
    command.args(options).args(["--connect-to", &format!("{API}:443:{}", proxy.https), "--cacert"]);
    command.arg(proxy.ca_file());
    if let Some(Files(certificate, key)) = files {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    let output = command.arg(format!("https://{API}/")).output().await.unwrap();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn fingerprint(files: &Files) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(&files.0)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit('=').next().unwrap().replace(':', "").to_ascii_lowercase()
}

#[tokio::test]
async fn r45_who_shows_the_right_certificate_is_let_in_and_upstreams_are_told() {
    let (upstream, mut proxy) = running().await;
    let (ours, theirs) = (Authority::new(&proxy, "ours"), Authority::new(&proxy, "theirs"));
    let (alice, late, mallory) =
        (ours.issue("alice", 2099), ours.issue("alice", 2020), theirs.issue("alice", 2099));
    let print = fingerprint(&alice).await;
    for demanded in [Demand::Required, Demand::Optional] {
        demand(&mut proxy, 0, &ours, demanded);
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            assert_eq!(curl(&proxy, Some(&alice), version).await, "ok");
            let got = upstream.take();
            assert!(got.contains("\r\nx-client-cert-subject: CN=alice,O=Contoso\r\n"), "{got}");
            assert!(got.contains(&format!("\r\nx-client-cert-fingerprint: {print}\r\n")), "{got}");
            assert!(!got.contains("root"), "{got}");

            let optional = demanded == Demand::Optional;
            assert_eq!(curl(&proxy, None, version).await == "ok", optional);
            assert!(!upstream.take().contains("x-client-cert"));
            assert_eq!(curl(&proxy, Some(&late), version).await, "", "expired");
            assert_eq!(curl(&proxy, Some(&mallory), version).await, "", "of another authority");
            assert_eq!(upstream.take(), "");
        }
    }
}

#[tokio::test]
async fn in_plain_text_there_is_only_the_way_to_https() {
    let (upstream, mut proxy) = running().await;
    let ask = format!("GET /x HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n");
    assert!(plain(proxy.http, ask.as_bytes()).await.ends_with(b"ok"));
    upstream.take();
    let ours = Authority::new(&proxy, "ours");
    demand(&mut proxy, 0, &ours, Demand::Optional);
    let answer = String::from_utf8(plain(proxy.http, ask.as_bytes()).await).unwrap();
    assert!(answer.contains(&format!("\r\nlocation: https://{API}/x\r\n")), "{answer}");
    assert_eq!(upstream.take(), "");
}

#[tokio::test]
async fn r43_a_host_with_another_policy_is_421() {
    let (_upstream, mut proxy) = running().await;
    // The gateway's certificate covers it.
    proxy.model.endpoints[1].hosts.push(HostPattern::Exact(PORTAL.into()));
    proxy.reload(&proxy.model);
    let ask = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(ask(PORTAL).as_bytes()).await.unwrap();
    assert!(until(&mut client, "ok").await.starts_with("HTTP/1.1 200 "));
    let ours = Authority::new(&proxy, "ours");
    demand(&mut proxy, 1, &ours, Demand::Optional);
    client.write_all(ask(PORTAL).as_bytes()).await.unwrap();
    assert!(rest(&mut client).await.starts_with(b"HTTP/1.1 421 "));
    // Also for the connection's own name, where something else is demanded now.
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(ask(API).as_bytes()).await.unwrap();
    assert!(until(&mut client, "ok").await.starts_with("HTTP/1.1 200 "));
    demand(&mut proxy, 0, &ours, Demand::Required);
    client.write_all(ask(API).as_bytes()).await.unwrap();
    assert!(rest(&mut client).await.starts_with(b"HTTP/1.1 421 "));
}

/// A client that has these files, and sessions to resume.
fn client(proxy: &Running, Files(certificate, key): &Files) -> Arc<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(proxy.ca.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![PemObject::from_pem_file(certificate).unwrap()],
            PemObject::from_pem_file(key).unwrap(),
        );
    Arc::new(config.unwrap())
}

#[tokio::test]
async fn a_ticket_keeps_who_the_client_is_and_is_none_where_something_else_is_demanded() {
    let (upstream, mut proxy) = running().await;
    let (ours, theirs) = (Authority::new(&proxy, "ours"), Authority::new(&proxy, "theirs"));
    let client = client(&proxy, &ours.issue("alice", 2099));
    let steps = [
        (None, HandshakeKind::Full, false),
        (None, HandshakeKind::Resumed, false),
        (Some((&ours, Demand::Required)), HandshakeKind::Full, true),
        (None, HandshakeKind::Resumed, true),
        (Some((&theirs, Demand::Optional)), HandshakeKind::Full, false),
        (Some((&ours, Demand::Optional)), HandshakeKind::Full, true),
    ];
    for (step, (demanded, kind, known)) in steps.into_iter().enumerate() {
        if let Some((authority, demanded)) = demanded {
            demand(&mut proxy, 0, authority, demanded);
        }
        let mut stream = proxy.tls_again(&client, proxy.https, API).await;
        let request = format!("GET / HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        if step == 4 {
            // A certificate of ours is a wrong one there.
            let mut answer = Vec::new();
            assert!(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.is_err());
            continue;
        }
        assert!(rest(&mut stream).await.ends_with(b"ok"), "{step}");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "{step}");
        assert_eq!(upstream.take().contains("x-client-cert-subject: CN=alice"), known, "{step}");
    }
}
