//! User space of gateway: `gateway.toml` → [`config`] → [`model`] → [`plan`] → [`dataplane`], and the proxy.

pub mod api;
pub mod balance;
pub mod config;
pub mod control;
pub mod dataplane;
pub mod detach;
pub mod dns;
pub mod doctor;
pub mod explain;
mod file_watch;
pub mod help;
pub mod init;
pub mod inside;
pub mod maglev;
pub mod metrics;
pub mod model;
mod near;
pub mod net;
pub mod plan;
pub mod privileges;
pub mod probe;
pub mod proxy;
mod published;
pub mod service_manager;
mod shell;
pub mod snat;
pub mod status;
pub mod supervise;
pub mod support;
pub mod texts;
mod trust;
pub mod vip_test;
pub mod watchdog;

#[cfg(test)]
pub(crate) mod testing;
