//! What the host's sockets know of a flow.

use crate::{
    address::{Address, Flow},
    frame::Frame,
    parse::IpHeader,
    word::Word,
};

/// Who has a TCP flow, as far as one host can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A socket of this host in any state but LISTEN: half-open and TIME_WAIT too.
    Socket,
    /// Nobody yet, but the segment acknowledges a SYN cookie of this host.
    Cookie,
    /// Nobody here.
    Nobody,
}

/// How a packet of a moved bucket was settled. The discriminant is the index of its counter.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Settled {
    /// It begins a connection: this host's.
    Syn = 0,
    /// It is no TCP: this host's.
    Datagram = 1,
    /// A socket here has it.
    Socket = 2,
    /// It answers a SYN cookie of this host.
    Cookie = 3,
    /// Nobody here knows it, and nobody is left to ask: for the stack to answer.
    Last = 4,
    /// Nobody here knows it: to the next hop.
    Forwarded = 5,
    /// As [`Self::Last`], but the balancer that sent it is behind: dropped, since the owner may be one it does not know of.
    Stale = 6,
}

impl Settled {
    /// All of them, by number.
    pub const ALL: [Self; 7] =
        [Self::Syn, Self::Datagram, Self::Socket, Self::Cookie, Self::Last, Self::Forwarded, Self::Stale];

    /// As in output for people and JSON.
    #[cfg(not(target_arch = "bpf"))]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Datagram => "datagram",
            Self::Socket => "socket",
            Self::Cookie => "cookie",
            Self::Last => "last",
            Self::Forwarded => "forwarded",
            Self::Stale => "stale",
        }
    }
}

/// Whose owner is looked for.
pub struct Asked<'a, H> {
    /// The client's.
    pub flow: &'a Flow,
    /// Its other end.
    pub vip: Address,
    /// Of the packet that the frame holds.
    pub header: &'a H,
    /// Where its TCP header begins, if it may answer a SYN cookie: not in an ICMP error that quotes the flow. A place and no
    /// header, for that would have to lie on the stack, and there the verifier wants it aligned.
    pub segment: Option<usize>,
}

/// The host's sockets, and what goes with asking them.
pub trait Sockets {
    /// Who has a flow.
    fn owner<F: Frame, H: IpHeader>(&self, frame: &F, asked: &Asked<'_, H>) -> Owner;
    /// The newest generation of a ring that was heard of: 0, or the number with bit 32 set.
    fn newest(&self) -> Option<&Word>;
    /// Counts.
    fn settle(&self, how: Settled);
}
