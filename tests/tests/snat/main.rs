//! Source NAT of an instance: single packets through the loaded programs, and the same ones through the code on the host.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod flows;
mod object;
mod world;
