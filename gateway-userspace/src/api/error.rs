//! What keeps the control interface from being there.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why it cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TCP address is not to be had.
    #[error(
        "cannot listen on {address} (`balancer.admin`): {source}; write another address into the file, or stop what \
         listens there (`ss -ltnp`)"
    )]
    Listen {
        /// Of the file.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("cannot make the control socket {}: {source}", path.display())]
    Socket {
        /// Where it would be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread, or no event loop on it.
    #[error("cannot start the control interface: {0}")]
    Thread(io::Error),
}
