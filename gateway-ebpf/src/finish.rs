//! The last program of the slow way: does what the slow program decided.

use crate::{
    admit::Stopped,
    frame::Frame,
    headers::{Ethernet, Ipv4, Ipv6},
    layout::{self, INSTANCES},
    parse::{IpHeader, Link, Packet, Part, Stop},
    pipeline::{self, Verdict},
    reason::Reason,
    rewrite,
    tables::Tables,
};

/// What is to be done with a frame: handed from program to program through memory, so integers only.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Job {
    /// Of the flow.
    pub hash: u64,
    /// [`TASK_FORWARD`]
    pub task: u8,
    /// 1 for IPv4, 0 for IPv6.
    pub is_v4: u8,
    /// IANA's number of the payload.
    pub protocol: u8,
    /// 1 if it begins a TCP connection.
    pub syns: u8,
    /// Where it is counted.
    pub scope: u16,
    /// The instance that it goes to.
    pub instance: u16,
    /// The interface that it came by: [`layout::Interface::port`].
    pub port: u16,
    /// As [`Link::type_at`].
    pub type_at: u16,
    /// As [`Packet::start`].
    pub start: u16,
    /// As [`Packet::payload`].
    pub payload: u16,
    /// As [`Packet::end`].
    pub end: u16,
    /// As [`Part::field`]: a later fragment has no transport header.
    pub part: u16,
}

const _: () = assert!(size_of::<Job>() == 32);

/// [`Job::task`]: to its instance.
pub const TASK_FORWARD: u8 = 0;

/// No header begins further back in a frame than this: what the verifier has to know of an offset.
const FARTHEST: u16 = 1023;

/// Does what the slow program decided on this frame.
#[inline(always)]
pub fn finish<F: Frame, T: Tables>(frame: &mut F, tables: &T, job: &Job) -> Verdict {
    let done = if job.is_v4 != 0 {
        on::<_, _, Ipv4>(frame, tables, job)
    } else {
        on::<_, _, Ipv6>(frame, tables, job)
    };
    done.unwrap_or_else(|stop| pipeline::stop(tables, Stopped { scope: job.scope, stop }))
}

#[inline(always)]
fn on<F: Frame, T: Tables, H: IpHeader>(frame: &mut F, tables: &T, job: &Job) -> Result<Verdict, Stop> {
    let block = tables.block().ok_or(Stop::Pass)?;
    let start = usize::from(job.start & FARTHEST);
    let ethernet = frame.read::<Ethernet>(0).ok_or(Stop::Drop(Reason::Truncated))?;
    let header = frame.read::<H>(start).ok_or(Stop::Drop(Reason::Truncated))?;
    let link = Link { ethernet, ethertype: 0, type_at: usize::from(job.type_at & FARTHEST), end: start };
    let packet = Packet {
        source: header.source(),
        protocol: job.protocol,
        start,
        payload: usize::from(job.payload & FARTHEST),
        end: usize::from(job.end),
        hop_limit: 0,
        part: Part { field: job.part, id: 0 },
    };
    let instance =
        &block.instances[(u32::from(job.instance) & (INSTANCES - 1)) as usize][layout::family(H::IS_V4)];
    let bytes = frame.length() as u64;
    rewrite::rewrite::<_, _, true>(frame, &link, &header, &packet, instance, job.hash)?;
    tables.count(job.scope, job.instance, bytes, job.syns.into());
    Ok(rewrite::egress(instance, job.port))
}
