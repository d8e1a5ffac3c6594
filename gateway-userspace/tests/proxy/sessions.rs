//! Which certificate a client gets, and sessions that go on at another instance, as openssl sees them.

use std::{fs, path::Path, process::Stdio};

use gateway_userspace::model::CertificateFiles;
use rcgen::{CertificateParams, KeyPair};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{API, Recorder, Running, Setup};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn running() -> Running {
    let upstream = Recorder::start(OK).await;
    Setup::to(upstream.address).start().await
}

/// What `openssl s_client` says of a connection with one request.
async fn openssl(proxy: &Running, options: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-servername", API, "-connect", &proxy.https.to_string()])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n");
    child.stdin.take().unwrap().write_all(request.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// A certificate with an RSA key beside the one that is there.
async fn add_rsa(proxy: &mut Running) {
    let output = Command::new("openssl").args(["genrsa", "2048"]).output().await.unwrap();
    let key = KeyPair::from_pem(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let certificate = CertificateParams::new(vec![API.to_owned()]).unwrap().self_signed(&key).unwrap();
    let at = |name: &str| proxy.folder.path().join(name);
    let files = CertificateFiles { chain: at("rsa.pem"), key: at("rsa.key") };
    fs::write(&files.chain, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    proxy.model.endpoints[0].certificates.insert(0, files);
    proxy.reload(&proxy.model);
}

#[tokio::test]
async fn r45_each_client_gets_a_certificate_that_it_can_verify() {
    let mut proxy = running().await;
    add_rsa(&mut proxy).await;
    for (options, kind) in [
        (&["-tls1_3"][..], "ECDSA"),
        (&["-tls1_2"], "ECDSA"),
        (&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], "RSA-PSS"),
        (&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"], "ECDSA"),
        (&["-tls1_2", "-sigalgs", "RSA+SHA256"], "RSA"),
        // By its cipher suites it could verify no other, whatever it says of signatures.
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "RSA-PSS"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ECDSA"),
    ] {
        let text = openssl(&proxy, options).await;
        assert!(text.contains(&format!("Peer signature type: {kind}\n")), "{options:?}\n{text}");
        assert!(text.contains("HTTP/1.1 200 OK"), "{options:?}\n{text}");
    }
    let text = openssl(&proxy, &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"]).await;
    assert!(text.contains("alert handshake failure"), "{text}");
}

/// Whether a session of the first is resumed at the second.
async fn goes_on(first: &Running, second: &Running, version: &str, folder: &Path) -> bool {
    let session = folder.join("session").display().to_string();
    let text = openssl(first, &[version, "-sess_out", &session]).await;
    assert!(text.contains("\nNew, TLSv1."), "{text}");
    let text = openssl(second, &[version, "-sess_in", &session]).await;
    assert!(text.contains("HTTP/1.1 200 OK"), "{text}");
    text.contains("\nReused, TLSv1.")
}

#[tokio::test]
async fn sessions_are_resumed_at_another_instance_with_the_same_secret() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let (one, other) = (running().await, running().await);
        for (secrets, resumed) in
            [([None, None], false), ([Some(1), Some(2)], false), ([Some(3), Some(3)], true)]
        {
            for (proxy, secret) in [&one, &other].into_iter().zip(secrets) {
                let secret = secret.map(|byte| [byte; 32]);
                proxy.tickets.share(secret.as_ref().map(<[u8; 32]>::as_slice)).unwrap();
            }
            assert_eq!(goes_on(&one, &other, version, folder.path()).await, resumed, "{version} {secrets:?}");
            assert!(goes_on(&one, &one, version, folder.path()).await, "{version}");
        }
    }
}

#[tokio::test]
async fn r45_what_cannot_be_used_stays_as_it_was_and_the_rest_is_taken_up() {
    use gateway_userspace::{model::Role, proxy::tls::Served};
    let proxy = running().await;
    let before = proxy.current.load_full();
    fs::write(&proxy.model.endpoints[0].certificates[0].chain, "half a fi").unwrap();
    proxy.renew(Role::Portal);
    let renewed = Served::renew(&proxy.model, &proxy.tickets, &before.certificates);
    let is_same = |role| std::sync::Arc::ptr_eq(&renewed[&role], &before.certificates[&role]);
    assert!(is_same(Role::Gateway));
    assert!(!is_same(Role::Portal));
    assert!(renewed[&Role::Portal].expires_at() > 2_000_000_000);
}
