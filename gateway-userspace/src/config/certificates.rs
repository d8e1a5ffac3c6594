//! Whether certificate files are what their endpoint needs: readable, a pair, in date, covering its names (R45); and whether those
//! of TLS to upstreams can be used. Only `gateway check` asks: `load` runs on balancers too, which have no certificates.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{RootCertStore, crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate, time::ASN1Time};

use super::{
    code::Code,
    fault::{Fault, Problem, Span},
    resolve::{AuthorityUse, CertificateUse, UpstreamTlsUse},
};
use crate::model::{CertificateFiles, HostPattern};

/// Reads the files of every endpoint and reports what does not fit, at its place in the configuration.
pub(super) fn check(uses: &[CertificateUse], now: SystemTime) -> Vec<Fault> {
    uses.iter().flat_map(|one| check_one(one, now).0).collect()
}

/// The same of one, and its chain where that can be read.
pub(super) fn check_one(
    one: &CertificateUse,
    now: SystemTime,
) -> (Vec<Fault>, Option<Vec<CertificateDer<'static>>>) {
    pair(&one.files, (&one.chain_at, &one.key_at), &one.hosts, seconds(now))
}

/// The same for TLS to upstreams.
pub(super) fn check_upstreams(uses: &[UpstreamTlsUse], now: SystemTime) -> Vec<Fault> {
    let now = seconds(now);
    let check_one = |one: &UpstreamTlsUse| {
        let ca = one.ca.as_ref().and_then(|(path, at)| {
            let problem = file(path).and_then(|pem| authorities(&pem)).err()?;
            Some(problem.at(at.clone()))
        });
        let shown = one.certificate.as_ref();
        let shown = shown.map(|(files, chain_at, key_at)| pair(files, (chain_at, key_at), &[], now).0);
        ca.into_iter().chain(shown.into_iter().flatten()).collect::<Vec<_>>()
    };
    uses.iter().flat_map(check_one).collect()
}

/// Whether files of authorities are what clients can be verified by.
pub(super) fn check_clients(uses: &[AuthorityUse]) -> Vec<Fault> {
    let check_one = |one: &AuthorityUse| {
        let problem = file(&one.path).and_then(|pem| authorities(&pem)).err()?;
        Some(problem.at(one.at.clone()))
    };
    uses.iter().filter_map(check_one).collect()
}

fn seconds(now: SystemTime) -> i64 {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// A certificate for these names and its key, each with its place in the configuration.
fn pair(
    files: &CertificateFiles,
    (chain_at, key_at): (&Span, &Span),
    hosts: &[HostPattern],
    now: i64,
) -> (Vec<Fault>, Option<Vec<CertificateDer<'static>>>) {
    let mut faults = Vec::new();
    let mut keep = |problem: Problem, span: &Span| faults.push(problem.at(span.clone()));
    let chain = file(&files.chain).and_then(|pem| chain(&pem)).map_err(|p| keep(p, chain_at)).ok();
    if let Some(leaf) = chain.as_ref().and_then(|chain| chain.first()) {
        for problem in leaf_problems(leaf, hosts, now) {
            keep(problem, chain_at);
        }
    }
    let key = file(&files.key).and_then(|pem| key(&pem)).map_err(|p| keep(p, key_at)).ok();
    if let (Some(chain), Some(key)) = (&chain, key)
        && let Some(problem) = pair_problem(chain.clone(), &key)
    {
        keep(problem, key_at);
    }
    (faults, chain)
}

/// Certificates that can be trusted, at least one.
fn authorities(pem: &[u8]) -> Result<(), Problem> {
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(chain(pem)?);
    match usable {
        0 => Err(Problem::new(Code::CertificateNotPem, "there is no usable certificate in the file")
            .label("expected certificates of authorities")),
        _ => Ok(()),
    }
}

fn file(path: &Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(path).map_err(|error| {
        Problem::new(Code::CertificateUnreadable, format!("{} cannot be read: {error}", path.display()))
            .label("expected a PEM file that can be read")
            .help("a relative path is relative to the folder of the configuration file")
    })
}

/// The certificates of a chain file, at least one.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let problem = |what: String| {
        Problem::new(Code::CertificateNotPem, what)
            .label("expected `BEGIN CERTIFICATE` blocks, leaf first")
            .help("a DER file becomes PEM with `openssl x509 -inform der -in FILE`")
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(format!("the chain is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(problem("there is no certificate in the chain file".to_owned()));
    }
    Ok(chain)
}

/// The private key of a key file.
fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let problem = Problem::new(
            Code::CertificateNotPem,
            format!("there is no private key in the key file: {error}"),
        )
        .label("expected one `BEGIN PRIVATE KEY` block");
        // The label of an encrypted PKCS#8 key, RFC 7468 section 11.
        if pem.windows(21).any(|part| part == b"ENCRYPTED PRIVATE KEY") {
            problem.help("it is encrypted; decrypt it with `openssl pkey -in FILE`")
        } else {
            problem
        }
    })
}

/// What is wrong with a leaf for those names at that time, in seconds since 1970.
fn leaf_problems(leaf: &CertificateDer<'_>, hosts: &[HostPattern], now: i64) -> Vec<Problem> {
    let certificate = match x509_parser::parse_x509_certificate(leaf) {
        Ok((_, certificate)) => certificate,
        Err(error) => {
            let message = format!("the first certificate cannot be understood: {error}");
            return vec![
                Problem::new(Code::CertificateNotPem, message).label("expected an X.509 certificate"),
            ];
        }
    };
    date_problem(&certificate, now).into_iter().chain(name_problem(&certificate, hosts)).collect()
}

fn date_problem(certificate: &X509Certificate<'_>, now: i64) -> Option<Problem> {
    let validity = certificate.validity();
    let written = |time: ASN1Time| time.to_rfc2822().unwrap_or_else(|_| time.timestamp().to_string());
    let message = if now > validity.not_after.timestamp() {
        format!("the certificate has expired on {}", written(validity.not_after))
    } else if now < validity.not_before.timestamp() {
        format!("the certificate is not valid before {}", written(validity.not_before))
    } else {
        return None;
    };
    Some(
        Problem::new(Code::CertificateExpired, message)
            .label("expected a certificate that is valid now")
            .help("renew it, or set this host's clock"),
    )
}

fn name_problem(certificate: &X509Certificate<'_>, hosts: &[HostPattern]) -> Option<Problem> {
    let names = covered_names(certificate);
    let bare: Vec<_> =
        hosts.iter().filter(|host| !covers(&names, host)).map(|host| format!("`{host}`")).collect();
    if bare.is_empty() {
        return None;
    }
    let has = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
    Some(
        Problem::new(Code::NameNotCovered, format!("the certificate does not cover {}", bare.join(", ")))
            .label("expected a certificate for every name of its endpoint")
            .help(format!("its subject alternative names cover {has}")),
    )
}

/// The DNS names among the subject alternative names, in lower case.
fn covered_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns_name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns_name).collect()
}

/// RFC 6125 section 6.4: equal, or a wildcard for the whole first label.
fn covers(names: &[String], host: &HostPattern) -> bool {
    let wanted = host.to_string();
    let wildcard = wanted.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    names.iter().any(|name| *name == wanted || Some(name) == wildcard.as_ref())
}

fn pair_problem(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Option<Problem> {
    let signer = match any_supported_type(key) {
        Ok(signer) => signer,
        Err(error) => {
            let message = format!("the private key cannot be used: {error}");
            return Some(
                Problem::new(Code::CertificateNotPem, message).label("expected an RSA, ECDSA or Ed25519 key"),
            );
        }
    };
    match CertifiedKey::new(chain, signer).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => Some(
            Problem::new(Code::KeyMismatch, "the private key does not belong to the certificate")
                .label("expected the key of the chain's first certificate")
                .help("the leaf has to be the first certificate of the chain file"),
        ),
        // What webpki cannot read of a leaf has been reported by `leaf_problems`.
        Ok(()) | Err(_) => None,
    }
}
