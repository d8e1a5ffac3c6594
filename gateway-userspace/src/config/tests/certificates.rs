//! Certificate files that do not fit their endpoint, made by rcgen.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::{
    config::{
        Code, Fault, certificates,
        resolve::{CertificateUse, UpstreamTlsUse},
    },
    model::{CertificateFiles, HostPattern, Role},
};

/// 2030-01-01T00:00:00Z, within the certificates' time.
const IN_TIME: u64 = 1_893_456_000;

/// A folder with `chain.pem` and `key.pem`, and the endpoint that names them.
struct Files {
    folder: TempDir,
    hosts: Vec<HostPattern>,
}

impl Files {
    fn new(names: &[&str], hosts: Vec<HostPattern>) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap(), hosts };
        let CertifiedKey { cert, signing_key } = issue(names);
        files.write("chain.pem", &cert.pem());
        files.write("key.pem", &signing_key.serialize_pem());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// What `gateway check` finds that many seconds after 1970: code, and whether the caret is at `key`.
    fn found_at(&self, seconds: u64) -> Vec<(Code, &'static str)> {
        let one = CertificateUse {
            role: Role::Gateway,
            hosts: self.hosts.clone(),
            files: CertificateFiles { chain: self.path("chain.pem"), key: self.path("key.pem") },
            chain_at: 10..20,
            key_at: 30..40,
        };
        let faults = certificates::check(
            std::slice::from_ref(&one),
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        );
        let place = |fault: &Fault| match fault.span() {
            Some(span) if *span == one.chain_at => "chain",
            Some(span) if *span == one.key_at => "key",
            _ => "elsewhere",
        };
        faults.iter().map(|fault| (fault.code(), place(fault))).collect()
    }

    fn found(&self) -> Vec<(Code, &'static str)> {
        self.found_at(IN_TIME)
    }
}

fn issue(names: &[&str]) -> CertifiedKey<KeyPair> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    let signing_key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    CertifiedKey { cert, signing_key }
}

fn api() -> Vec<HostPattern> {
    vec![HostPattern::Exact("api.contoso.com".to_owned())]
}

#[test]
fn a_pair_that_fits() {
    assert_eq!(Files::new(&["api.contoso.com"], api()).found(), []);
    assert_eq!(Files::new(&["API.Contoso.com"], api()).found(), [], "names compare without case");
    assert_eq!(Files::new(&["*.contoso.com"], api()).found(), [], "a wildcard covers one label");
}

#[test]
fn r45_names_that_are_not_covered() {
    let not_covered = [(Code::NameNotCovered, "chain")];
    assert_eq!(Files::new(&["contoso.com"], api()).found(), not_covered);
    assert_eq!(Files::new(&["*.com"], api()).found(), not_covered, "a wildcard covers one label only");
    let wildcard = vec![HostPattern::Wildcard("contoso.com".to_owned())];
    assert_eq!(Files::new(&["api.contoso.com"], wildcard.clone()).found(), not_covered);
    assert_eq!(Files::new(&["*.contoso.com"], wildcard).found(), []);
}

#[test]
fn files_that_are_missing() {
    let files = Files::new(&["api.contoso.com"], api());
    std::fs::remove_file(files.path("chain.pem")).unwrap();
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert_eq!(files.found(), [(Code::CertificateUnreadable, "chain"), (Code::CertificateUnreadable, "key")]);
}

#[test]
fn files_that_are_not_pem() {
    let files = Files::new(&["api.contoso.com"], api());
    files.write("chain.pem", "hello");
    files.write("key.pem", "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n");
    let found = [(Code::CertificateNotPem, "chain"), (Code::CertificateNotPem, "key")];
    assert_eq!(files.found(), found);

    let block = |label: &str| format!("-----BEGIN {label}-----\naGVsbG8=\n-----END {label}-----\n");
    files.write("chain.pem", &block("CERTIFICATE"));
    files.write("key.pem", &block("PRIVATE KEY"));
    assert_eq!(files.found(), found, "PEM without a certificate or key in it");

    files.write("key.pem", &block("ENCRYPTED PRIVATE KEY"));
    assert_eq!(files.found(), found, "an encrypted key");
}

#[test]
fn r45_a_key_of_another_certificate() {
    let files = Files::new(&["api.contoso.com"], api());
    files.write("key.pem", &issue(&["api.contoso.com"]).signing_key.serialize_pem());
    assert_eq!(files.found(), [(Code::KeyMismatch, "key")]);
}

#[test]
fn r45_out_of_its_time() {
    let files = Files::new(&["api.contoso.com"], api());
    let year = 31_557_600;
    for seconds in [IN_TIME - 6 * year, IN_TIME + 6 * year] {
        assert_eq!(files.found_at(seconds), [(Code::CertificateExpired, "chain")]);
    }
}

#[test]
fn files_of_tls_to_upstreams() {
    let files = Files::new(&["client"], vec![]);
    let found = |ca: &str, chain: &str, key: &str| {
        let pair = CertificateFiles { chain: files.path(chain), key: files.path(key) };
        let one =
            UpstreamTlsUse { ca: Some((files.path(ca), 1..2)), certificate: Some((pair, 10..20, 30..40)) };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(IN_TIME);
        let faults = certificates::check_upstreams(&[one], now);
        faults.iter().map(|fault| (fault.code(), fault.span().unwrap().start)).collect::<Vec<_>>()
    };
    files.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    files.write("empty.pem", "");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    files.write("broken.pem", broken);
    assert_eq!(found("chain.pem", "chain.pem", "key.pem"), []);
    assert_eq!(found("none.pem", "chain.pem", "key.pem"), [(Code::CertificateUnreadable, 1)]);
    assert_eq!(found("empty.pem", "chain.pem", "key.pem"), [(Code::CertificateNotPem, 1)]);
    assert_eq!(found("broken.pem", "chain.pem", "key.pem"), [(Code::CertificateNotPem, 1)]);
    assert_eq!(
        found("key.pem", "none.pem", "key.pem"),
        [(Code::CertificateNotPem, 1), (Code::CertificateUnreadable, 10)]
    );
    assert_eq!(found("chain.pem", "chain.pem", "other.key"), [(Code::KeyMismatch, 30)]);
    assert_eq!(found("chain.pem", "chain.pem", "none.key"), [(Code::CertificateUnreadable, 30)]);
}
