//! What the API asks the owner task, and how it is answered.

use std::{fmt, net::SocketAddr};

use tokio::sync::oneshot;

use super::wire::{Applied, Apply, Failure, Health, InstanceState, SCHEMA};
use crate::{
    dataplane::{Connections, Counters},
    model::{AdminState, InstanceName},
    plan::Difference,
    probe::Target,
    status::Status,
};

/// Where the owner task puts its answer. Nobody may be there any more to take it.
pub type Answer<T> = oneshot::Sender<T>;

/// A question to the owner task, or a change that it is asked for.
#[derive(Debug)]
pub enum Call {
    /// How it is.
    Status(Answer<Box<Status>>),
    /// Whether it works.
    Health(Answer<Health>),
    /// What was counted.
    Counters(Answer<Result<Counters, Refused>>),
    /// What another file would change; changes nothing.
    Plan(Plan, Answer<Result<Difference, Refused>>),
    /// Takes up the file.
    Apply(Who, Apply, Answer<Result<Applied, Refused>>),
    /// Sets an instance's admin state, or with none gives it back to the file.
    Instance(Who, InstanceName, Option<AdminState>, Answer<Result<InstanceState, Refused>>),
    /// Asks for a way to a VIP, for a call of the test console.
    Way(WayWish, Answer<Result<Lent, Refused>>),
    /// That call is over.
    WayBack,
}

/// Where a call of the test console is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayWish {
    /// A VIP and its port.
    pub vip: SocketAddr,
    /// At which instance; none: as a new flow would get it.
    pub instance: Option<InstanceName>,
}

/// A way to a VIP.
#[derive(Debug)]
pub struct Lent {
    /// To which instance.
    pub instance: InstanceName,
    /// Why to that one.
    pub why: String,
    /// How packets get there, for people.
    pub how: String,
    /// The same, for connecting.
    pub target: Target,
    /// What that takes.
    pub connections: Option<Connections>,
}

/// A file to compare with.
#[derive(Debug)]
pub struct Plan {
    /// Its text.
    pub text: String,
    /// What it is called, for messages; none: as the daemon's own.
    pub path: Option<std::path::PathBuf>,
}

/// Who asks for a change, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By the Unix socket.
    Local {
        /// The peer's user.
        uid: u32,
        /// The peer's process, where the kernel tells it.
        pid: Option<i32>,
    },
    /// By TCP, with this token.
    Token {
        /// The token's name.
        name: String,
        /// Whence.
        from: SocketAddr,
    },
    /// SIGHUP.
    Signal,
    /// `--watch`.
    FileWatch,
    /// The daemon itself.
    Itself,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid, pid: Some(pid) } => write!(f, "uid {uid} (pid {pid})"),
            Self::Local { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Token { name, from } => write!(f, "token {name} ({})", from.ip()),
            Self::Signal => f.write_str("SIGHUP"),
            Self::FileWatch => f.write_str("file watch"),
            Self::Itself => f.write_str("gateway"),
        }
    }
}

/// Why something is not done: whose fault it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such thing.
    Unknown(String),
    /// The file has faults: in words, and as `gateway check --json` gives them.
    Faults(String, serde_json::Value),
    /// It cannot be done in this state.
    Conflict(String),
    /// It was tried, and failed; everything is as before.
    Failed(String),
}

impl Refused {
    /// A sentence, or several.
    pub fn text(&self) -> &str {
        match self {
            Self::Unknown(text) | Self::Faults(text, _) | Self::Conflict(text) | Self::Failed(text) => text,
        }
    }

    /// As it is sent.
    pub fn wire(self) -> Failure {
        let (error, report) = match self {
            Self::Faults(text, report) => (text, Some(report)),
            Self::Unknown(text) | Self::Conflict(text) | Self::Failed(text) => (text, None),
        };
        Failure { schema_version: SCHEMA, error, report }
    }
}
