//! The certificate that a VIP shows: taken as it is, and judged beside.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    ClientConfig, Error,
    client::{Resumption, danger::ServerCertVerifier as _},
};
use rustls_pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use crate::trust::{self, Shown};

/// Keeps what a client that goes by the system's store would say of a certificate.
#[derive(Debug, Default)]
pub(super) struct Judge(Mutex<Option<Verdict>>);

/// What a client would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_trusted: bool,
    pub(super) text: String,
}

impl Judge {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A client's side of TLS with it, which lets every certificate pass.
    pub(super) fn client(self: &Arc<Self>) -> Result<Arc<ClientConfig>, Error> {
        let judge = Arc::clone(self);
        let mut config = trust::without_verifying(move |shown| judge.look(shown))?;
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn look(&self, Shown { leaf, others, name, response, now }: &Shown<'_>) {
        let judged = trust::verifier().map_err(|error| format!("not judged: {error}")).and_then(|verifier| {
            let outcome = verifier.verify_server_cert(leaf, others, name, response, *now);
            outcome.map_err(|error| format!("not trusted by this host: {error}"))
        });
        let verdict = match judged {
            Ok(_) => Verdict { is_trusted: true, text: "trusted by this host, and for this name".to_owned() },
            Err(text) => Verdict { is_trusted: false, text },
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }

    /// What it came to.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is in a certificate, for people.
pub(super) fn describe(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(leaf) else {
        return vec!["the certificate cannot be understood".to_owned()];
    };
    let until = leaf.validity().not_after;
    let end = until.to_rfc2822().unwrap_or_else(|_| until.timestamp().to_string());
    vec![
        format!("certificate for {}", names(&leaf)),
        format!("issued by {}, good until {end}", leaf.issuer()),
    ]
}

fn names(leaf: &X509Certificate<'_>) -> String {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return "no name".to_owned() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect::<Vec<_>>().join(", ")
}
