//! Attaching to an interface.

use aya::programs::{
    ProgramError, Xdp,
    xdp::{self, XdpLinkId},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{Error, has_errno};

/// How XDP runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack: slow, but everywhere.
    Generic,
}

pub(super) fn attach(program: &mut Xdp, interface: &str) -> Result<(XdpMode, XdpLinkId), Error> {
    let native = match program.attach(interface, xdp::XdpMode::Driver) {
        Ok(link) => return Ok((XdpMode::Native, link)),
        Err(native) => native,
    };
    refuse(interface, &native)?;
    log::warn!(
        "{interface}: its driver takes no XDP program ({}); running generic XDP, several times slower",
        reason(&native)
    );
    match program.attach(interface, xdp::XdpMode::Skb) {
        Ok(link) => Ok((XdpMode::Generic, link)),
        Err(generic) => {
            refuse(interface, &generic)?;
            Err(Error::Attach { interface: interface.to_owned(), source: Box::new(generic) })
        }
    }
}

/// Faults that generic mode would not mend.
fn refuse(interface: &str, error: &ProgramError) -> Result<(), Error> {
    if has_errno(error, libc::EBUSY) || has_errno(error, libc::EEXIST) {
        return Err(Error::Busy(interface.to_owned()));
    }
    if has_errno(error, libc::EPERM) {
        return Err(Error::Permission(error.to_string().into()));
    }
    Ok(())
}

/// The innermost cause: "Operation not supported".
fn reason(error: &ProgramError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
