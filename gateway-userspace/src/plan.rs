//! The kernel's tables as they should be, computed from what is wished and what is so. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{InstanceName, Model};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// What the tables are made from.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The configuration.
    pub model: Arc<Model>,
    /// Where the program is attached.
    pub interface: Interface,
    /// The instances' MACs as far as they are known. An instance that was never resolved takes no buckets.
    pub neighbours: BTreeMap<InstanceName, Mac>,
    /// The instance that runs on this very host: its packets go up the stack (`gateway run`).
    pub local: Option<InstanceName>,
    /// Instances, removed or `down`, whose drain is over: nothing is sent to them any more.
    pub ended: BTreeSet<InstanceName>,
}

/// The interface of the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Kernel's index.
    pub index: u32,
    /// Its own address.
    pub mac: Mac,
}

/// Tables as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More instances than numbers
    #[error("no instance number is free")]
    NoNumber,
}

/// The next tables. `running` is what the kernel has: buckets that change owner remember their previous one.
///
/// # Errors
/// See [`Error`].
pub fn plan(_desired: &Desired, _running: Option<&Plan>) -> Result<Plan, Error> {
    Ok(Plan {})
}
