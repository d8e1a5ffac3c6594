//! Single packets through the loaded program, and the same ones through the pipeline on the host.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod answers;
mod builder;
mod decap;
mod explain;
mod fragments;
mod fuzz;
mod leases;
mod model;
mod nat;
mod object;
mod parity;
mod probes;
mod samples;
mod steering;
mod table;
mod targets;
