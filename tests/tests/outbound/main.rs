//! R21, R30 to R34: flows that instances begin, as the services and hosts at the other end see them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod leases;
mod many;
mod strangers;
mod support;
mod traffic;
