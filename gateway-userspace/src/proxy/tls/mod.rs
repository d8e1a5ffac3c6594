//! TLS towards clients: certificates by name, and nothing at all for names that are not here.

mod accept;
mod certificate;
mod client;
mod error;
mod pair;
pub mod ticket_secret;
mod tickets;

pub use self::{
    accept::{Accepted, Hello, Shown, accept},
    certificate::{Certificates, Served},
    client::{Expired, Identity, Policy},
    error::CertificateError,
    tickets::{Bound, Secret, Tickets},
};
