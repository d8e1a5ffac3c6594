//! Who may use which ports of the public VIPs for outbound flows (R31, R34): pure, on both sides.
//!
//! Ports are given out in blocks of eight. Balancers lease them ([`Ledger`]), instances use what they hold ([`Holding`]), and what
//! both say to each other is [`Order`] and [`Report`]:
//!
//! ```text
//! balancer                                            instance
//! Ledger: free ─► leased ─► draining ─► resting ─►    Holding: waits ─► in use ─► leaving ─► given back
//!                  │          │                                  ▲
//!                  ▼          ▼                                  │
//!                 its table ─► Order { leased, routed, draining } ─► what every living balancer has in its table
//!                 ◄─────────── Report { held, idle, wanted … } ◄────
//! ```
//!
//! A block is in a balancer's table before its instance uses it, and it stays there until the instance has said that nothing of it
//! is left.

mod blocks;
mod desk;
mod holding;
mod ledger;
mod pool;
#[cfg(test)]
mod tests;
mod wire;

pub use self::{
    blocks::{Block, Blocks},
    desk::{Asked, Desk},
    holding::{Holding, Use},
    ledger::{Ledger, Rules, SavedLedger},
    pool::{Share, pool},
    wire::{ORDER_LIMIT, Order, Report, Top, VipOrder, VipReport, Wrong},
};
