//! Clients that show certificates.

use std::path::PathBuf;

/// Which certificates clients of an endpoint show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Of whoever may issue them: a PEM file.
    pub authorities: PathBuf,
    /// Whether they have to.
    pub demand: Demand,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Without one there is no connection.
    Required,
    /// Without one they are served as nobody in particular; a wrong one ends the connection.
    Optional,
}
