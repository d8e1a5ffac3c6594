//! What can fail between user space and the kernel's BPF, told to a person.

use std::io;

use aya::{
    EbpfError,
    maps::{MapError, xdp::XdpMapError},
    programs::ProgramError,
};

use super::refusal::Refusal;

/// What failed, and on what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Built with GATEWAY_BPF_SKIP=1.
    #[error("this binary was built without the kernel object; build it with `cargo xtask build`")]
    NoObject,
    /// The object and this program do not fit.
    #[error("the kernel object has no `{0}`; build object and binary together with `cargo xtask build`")]
    NotInObject(&'static str),
    /// EPERM
    #[error(
        "no permission to load BPF programs; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    Permission(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Maps could not be made.
    #[error("the kernel object could not be loaded; it needs Linux 6.1 or newer (`uname -r` shows yours)")]
    Load(#[source] Box<EbpfError>),
    /// Refused.
    #[error(
        "the kernel's verifier refused the program{refusal}; it needs Linux 6.1 or newer (`uname -r` shows yours)"
    )]
    Verify {
        /// What the verifier said.
        refusal: Refusal,
        /// Why, in a word.
        #[source]
        source: io::Error,
    },
    /// E2BIG
    #[error(
        "the program is too large for this kernel's verifier{refusal}; a newer kernel takes more (`uname -r` shows yours)"
    )]
    TooLarge {
        /// What the verifier said.
        refusal: Refusal,
        /// Why, in a word.
        #[source]
        source: io::Error,
    },
    /// EBUSY
    #[error(
        "{0} already carries an XDP program; stop what put it there, or remove it with `xdp-loader unload {0} --all` or `ip link set dev {0} xdp off`"
    )]
    Busy(String),
    /// Neither native nor generic.
    #[error("XDP cannot be attached to {interface}")]
    Attach {
        /// Where.
        interface: String,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// No TCX.
    #[error(
        "probes through the data path need Linux 6.6 or newer (`uname -r` shows yours); set probe.via = \"instance\""
    )]
    NoTcx,
    /// Neither in nor out.
    #[error(
        "the programs of probes cannot be attached to {interface}; set probe.via = \"instance\" to do without"
    )]
    AttachTc {
        /// Where.
        interface: String,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// Neither in nor out.
    #[error("the programs of source NAT cannot be attached to {interface}")]
    AttachSnat {
        /// Where.
        interface: String,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// A table of source NAT that cannot be made.
    #[error("source NAT")]
    Translation(#[source] crate::plan::Error),
    /// A table of flows.
    #[error("BPF map {map}")]
    Flows {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It went away.
    #[error("there is no interface {interface}")]
    NoInterface {
        /// Its name.
        interface: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else about a program.
    #[error("BPF program")]
    Program(#[from] ProgramError),
    /// A table.
    #[error("BPF map {map}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        source: Box<MapError>,
    },
    /// A table could not be mapped into memory.
    #[error("a BPF map of {bytes} bytes could not be mapped into memory")]
    Mmap {
        /// How large it is.
        bytes: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Per-CPU tables.
    #[error("the number of CPUs could not be read from {file}")]
    Cpus {
        /// From where.
        file: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nowhere to pin to.
    #[error(
        "there is no bpffs at /sys/fs/bpf, where programs and maps are kept over a restart; mount it (`mount -t bpf bpf /sys/fs/bpf`)"
    )]
    NoBpffs,
    /// What lies there is not of this program, or others may change it.
    #[error(
        "{path} is not what this program has put there for its owner alone; see who made it and remove it (`gateway detach`, or `rm -r`)"
    )]
    Foreign {
        /// A pin or a folder.
        path: String,
    },
    /// Of another version.
    #[error(
        "the running program's tables, in {folder}, have another layout than this version's; it goes on as it is. To change over,          `gateway detach`, which ends forwarding and the balancer's memory of flows, and start this version"
    )]
    Layout {
        /// Where they are pinned.
        folder: String,
    },
    /// No program of its own, and none that is at work.
    #[error(
        "the program that takes packets out of tunnels cannot be gone on with as it is, and this process may load none; restart the service (`systemctl restart`), or start it with CAP_BPF and CAP_PERFMON"
    )]
    Inherit,
    /// A successor.
    #[error("another process has taken over the program and its tables")]
    TakenOver,
    /// bpffs refuses.
    #[error("cannot use {path}, where programs and maps are kept over a restart")]
    Pins {
        /// A pin or a folder.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program or map could not be pinned, or its pin not be used.
    #[error("cannot pin {what}, or use its pin")]
    Pin {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Whose pins they are cannot be told.
    #[error("the network namespace cannot be told")]
    Namespace(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another object than the built-in one.
    #[error("the kernel object {path} cannot be read")]
    Object {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was saved beside the tables.
    #[error("what was saved beside the tables cannot be read or written; `gateway detach` begins anew")]
    Saved {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// More than there is room for.
    #[error(
        "{bytes} bytes have to be saved beside the tables, which have room for {limit}; name fewer instances"
    )]
    TooMuchSaved {
        /// How many.
        bytes: usize,
        /// How many fit.
        limit: usize,
    },
    /// The log's map.
    #[error("events of the kernel program")]
    Events(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(super) fn map<E: Into<MapError>>(map: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Map { map, source: Box::new(source.into()) }
    }

    pub(super) fn pin<E: std::error::Error + Send + Sync + 'static>(
        what: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Pin { what, source: Box::new(source) }
    }

    pub(super) fn device(error: XdpMapError) -> Self {
        match error {
            XdpMapError::MapError(error) => Self::map("PORTS")(error),
            XdpMapError::ChainedProgramNotSupported => Self::NotInObject("PORTS"),
        }
    }

    pub(super) fn load(error: EbpfError) -> Self {
        if is_permission(&error) { Self::Permission(Box::new(error)) } else { Self::Load(Box::new(error)) }
    }

    /// Keeps the verifier's log out of the chain of causes: it has thousands of lines.
    pub(super) fn verify(error: ProgramError) -> Self {
        let ProgramError::LoadError { io_error: source, verifier_log } = error else {
            return Self::Program(error);
        };
        match source.raw_os_error() {
            Some(libc::EPERM) => Self::Permission(Box::new(source)),
            Some(libc::E2BIG) => Self::TooLarge { refusal: Refusal::keep(&verifier_log.to_string()), source },
            _ => Self::Verify { refusal: Refusal::keep(&verifier_log.to_string()), source },
        }
    }
}

/// Whether EPERM is somewhere in the chain.
pub(super) fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    has_errno(error, libc::EPERM)
}

/// Whether an errno is somewhere in the chain.
pub(super) fn has_errno(error: &(dyn std::error::Error + 'static), errno: i32) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) == Some(errno) {
            return true;
        }
        next = error.source();
    }
    false
}
