//! Source NAT of instances (R30 to R34).

pub mod layout;
pub mod state;
