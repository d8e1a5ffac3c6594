//! The control interface: HTTP on `balancer.admin` and on a Unix socket below `/run/gateway`.
//!
//! `routes.rs` is the table of what there is for programs; router, access rules and `openapi.rs` are made from it. `page` is for people. A request becomes a
//! [`Call`], which the owner task answers: nothing here holds state of the balancer. It runs on a thread of its own, so
//! that whoever keeps it busy keeps nothing else busy.

mod access;
pub mod audit;
mod call;
mod certificates;
pub mod client;
mod error;
mod failures;
mod handlers;
mod openapi;
mod page;
mod routes;
mod server;
mod socket;
pub mod tokens;
mod wire;

pub use call::{Answer, Call, Lent, Plan, Refused, WayWish, Who};
pub use error::Error;
pub use openapi::document as openapi;
pub use server::{Server, Settings};
pub use socket::{FOLDER, path as socket_path};
pub use wire::{Applied, Apply, Failure, Health, InstanceState, SCHEMA, SetState};
