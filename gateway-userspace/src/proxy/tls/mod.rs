//! TLS towards clients: certificates by name, and nothing at all for names that are not here.

mod accept;
mod certificate;
mod tickets;

pub use self::{
    accept::{Accepted, Hello, Shown, accept},
    certificate::{CertificateError, Certificates, Served},
    tickets::{Secret, Tickets},
};
