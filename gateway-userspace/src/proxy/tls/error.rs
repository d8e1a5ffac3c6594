//! Why names cannot be served over TLS.

use std::{io, path::PathBuf};

use rustls_pki_types::pem;

use super::ticket_secret::SecretError;
use crate::model::Role;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Missing, or not ours to read.
    #[error("endpoint {role}: cannot read {path}")]
    Unreadable {
        /// Whose.
        role: Role,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not PEM, or nothing fitting in it.
    #[error("endpoint {role}: {path} has no {what} in PEM form")]
    Pem {
        /// Whose.
        role: Role,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Not X.509.
    #[error("endpoint {role}: the first certificate in {path} is not valid X.509")]
    X509 {
        /// Whose.
        role: Role,
        /// The file.
        path: PathBuf,
    },
    /// The two files do not belong together, or the key is of an unknown kind.
    #[error("endpoint {role}: the key in {key} does not fit the first certificate in {chain}")]
    KeyDoesNotFit {
        /// Whose.
        role: Role,
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No client could be verified.
    #[error(
        "endpoint {role}: {path} has no certificate authority that clients' certificates can be verified by"
    )]
    Authority {
        /// Whose.
        role: Role,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    /// The keys of tickets.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The library refused.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}
