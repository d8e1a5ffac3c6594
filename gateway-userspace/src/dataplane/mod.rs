//! The kernel's side of a plan: programs, maps, links. Knows nothing of policy.

use crate::plan::Plan;

/// The loaded program and its maps. Dropping it detaches.
#[derive(Debug)]
pub struct Dataplane {}

/// What an apply did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Buckets written.
    pub buckets: usize,
    /// All other table entries written.
    pub entries: usize,
}

/// How XDP runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack: slow, but everywhere.
    Generic,
}

/// What failed, and on what.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

impl Dataplane {
    /// Loads the program; it is not attached yet. Starts forwarding its log events to `log`, which needs a tokio runtime.
    ///
    /// # Errors
    /// No privileges, old kernel, verifier.
    pub fn load() -> Result<Self, Error> {
        Ok(Self {})
    }

    /// Writes what differs from the plan applied last.
    ///
    /// # Errors
    /// A map that could not be written.
    pub fn apply(&mut self, _plan: &Plan) -> Result<Changes, Error> {
        Ok(Changes::default())
    }

    /// Attaches natively, else generically with a warning that names the reason.
    ///
    /// # Errors
    /// Another program is there; no XDP at all.
    pub fn attach(&mut self, _interface: &str) -> Result<XdpMode, Error> {
        Ok(XdpMode::Native)
    }
}
