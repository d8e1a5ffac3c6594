//! TLS to upstreams: whom they may be certified by, what they are called, what they are shown.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use gateway_userspace::model::{
    Action, CertificateFiles, HealthCheck, StatusCodes, Upstream, UpstreamScheme, UpstreamTls,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

use crate::support::{LONG, Running, Setup, until};

/// A service that answers with the name it was asked for and whether it was shown a certificate.
struct Upstreams {
    address: SocketAddr,
    /// Of each connection.
    asked: Arc<Mutex<Vec<String>>>,
}

async fn serve(proxy: &Running, require: bool) -> Upstreams {
    let mut roots = RootCertStore::empty();
    roots.add(proxy.ca.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if require { verifier } else { verifier.allow_unauthenticated() }.build().unwrap();
    let config: ServerConfig = proxy.server_config_with(&["orders.internal"], verifier);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let connection = stream.get_ref().1;
                let name = connection.server_name().unwrap_or("no name").to_owned();
                let shown = if connection.peer_certificates().is_some() { "shown" } else { "nothing" };
                let body = format!("{name}, {shown}");
                seen.lock().unwrap().push(body.clone());
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                loop {
                    until(&mut stream, "\r\n\r\n").await;
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    Upstreams { address, asked }
}

async fn proxy() -> Running {
    Setup::to(([127, 0, 0, 1], 1).into()).start().await
}

/// Routes by path, each with TLS of its own, to one address.
fn route(
    proxy: &Running,
    upstream: SocketAddr,
    routes: &[(&str, &UpstreamTls)],
    health: Option<&HealthCheck>,
) {
    let routes: Vec<_> = routes
        .iter()
        .map(|(path, tls)| {
            let mut route = proxy.model.endpoints[0].routes[0].clone();
            route.path = (*path).to_owned();
            let Action::Forward(backend) = &mut route.action else { panic!("{route}") };
            let tls = Some(Arc::new((*tls).clone()));
            backend.locations[0].health = health.cloned();
            backend.locations[0].upstream =
                vec![Upstream { tls, ..Upstream::at(UpstreamScheme::Https, upstream) }];
            route
        })
        .collect();
    proxy.reroute(&routes);
}

async fn get(proxy: &Running, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if head.contains(" 200 ") { body.to_owned() } else { head[9..12].to_owned() }
}

/// A CA of somebody else.
fn other_ca(proxy: &Running) -> PathBuf {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["other".to_owned()]).unwrap().self_signed(&key).unwrap();
    let path = proxy.folder.path().join("other-ca.pem");
    std::fs::write(&path, certificate.pem()).unwrap();
    path
}

#[tokio::test]
async fn an_upstream_is_verified_by_its_own_ca_and_name() {
    let proxy = proxy().await;
    let upstream = serve(&proxy, false).await;
    let ours = UpstreamTls {
        ca: Some(proxy.ca_file()),
        server_name: Some("orders.internal".into()),
        certificate: None,
    };
    let nameless = UpstreamTls { server_name: None, ..ours.clone() };
    let misnamed = UpstreamTls { server_name: Some("stock.internal".into()), ..ours.clone() };
    let distrusted = UpstreamTls { ca: Some(other_ca(&proxy)), ..ours.clone() };
    let all =
        [("/ours", &ours), ("/nameless", &nameless), ("/misnamed", &misnamed), ("/distrusted", &distrusted)];
    route(&proxy, upstream.address, &all, None);
    assert_eq!(get(&proxy, "/ours").await, "orders.internal, nothing");
    for path in ["/nameless", "/misnamed", "/distrusted"] {
        assert_eq!(get(&proxy, path).await, "502", "{path}");
    }
    assert_eq!(get(&proxy, "/ours").await, "orders.internal, nothing");
    let ours = upstream.asked.lock().unwrap().iter().filter(|asked| asked.starts_with("orders")).count();
    assert_eq!(ours, 1, "one connection for both");
}

#[tokio::test]
async fn an_upstream_is_shown_a_certificate_and_connections_are_not_shared_with_others() {
    let proxy = proxy().await;
    let anonymous = UpstreamTls {
        ca: Some(proxy.ca_file()),
        server_name: Some("orders.internal".into()),
        certificate: None,
    };
    let known = UpstreamTls { certificate: Some(proxy.certificate("gw-1")), ..anonymous.clone() };
    let both = [("/known", &known), ("/anonymous", &anonymous)];

    let strict = serve(&proxy, true).await;
    route(&proxy, strict.address, &both, None);
    assert_eq!(get(&proxy, "/known").await, "orders.internal, shown");
    assert_eq!(get(&proxy, "/anonymous").await, "502");

    let lenient = serve(&proxy, false).await;
    route(&proxy, lenient.address, &both, None);
    for _ in 0..3 {
        assert_eq!(get(&proxy, "/known").await, "orders.internal, shown");
        assert_eq!(get(&proxy, "/anonymous").await, "orders.internal, nothing");
    }
    assert_eq!(lenient.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn probes_speak_tls_as_requests_do() {
    let proxy = proxy().await;
    let upstream = serve(&proxy, true).await;
    let tls = UpstreamTls {
        ca: Some(proxy.ca_file()),
        server_name: Some("orders.internal".into()),
        certificate: Some(proxy.certificate("gw-1")),
    };
    let health = HealthCheck {
        path: "/healthz".into(),
        host: None,
        status: StatusCodes::default(),
        interval: std::time::Duration::from_millis(100),
        timeout: std::time::Duration::from_millis(100),
        rise: 1,
        fall: 1,
    };
    route(&proxy, upstream.address, &[("/", &tls)], Some(&health));
    let probed = async {
        while upstream.asked.lock().unwrap().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, probed).await.unwrap();
    assert!(upstream.asked.lock().unwrap().iter().all(|asked| asked == "orders.internal, shown"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_and_change_nothing() {
    let proxy = proxy().await;
    let missing =
        CertificateFiles { chain: "/nonexistent/chain.pem".into(), key: "/nonexistent/key.pem".into() };
    for (tls, named) in [
        (
            UpstreamTls { ca: Some("/nonexistent/ca.pem".into()), ..UpstreamTls::default() },
            "/nonexistent/ca.pem",
        ),
        (
            UpstreamTls { ca: Some(proxy.ca_file()), certificate: Some(missing), ..UpstreamTls::default() },
            "/nonexistent/chain.pem",
        ),
    ] {
        let mut model = proxy.model.clone();
        let Action::Forward(backend) = &mut model.endpoints[0].routes[0].action else { panic!() };
        backend.locations[0].upstream[0] =
            Upstream { tls: Some(Arc::new(tls)), ..Upstream::at(UpstreamScheme::Https, proxy.https) };
        let error = proxy.try_reload(&model).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}
