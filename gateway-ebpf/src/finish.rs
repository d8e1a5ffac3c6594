//! The last program of the slow way: does what the slow program decided.

use crate::{
    admit::Stopped,
    answer::{self, Cause},
    frame::{Frame, Shrink},
    headers::{Ethernet, Ipv4, Ipv6},
    hops,
    layout::{self, Block, INSTANCES, Instance, WAY_NAT},
    nat,
    parse::{FARTHEST, IpHeader, Link, Packet, Part, Stop},
    pipeline::{self, Verdict},
    reason::Reason,
    rewrite::{self, Ask},
    steer::NO_BUCKET,
    step::Step,
    tables::Tables,
    version::Version,
};

/// What is to be done with a frame: handed from program to program through memory, so integers only.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Job {
    /// Of the flow.
    pub hash: u64,
    /// As [`crate::steer::Steered::bucket`].
    pub bucket: u32,
    /// As [`crate::steer::Steered::bucket_before`].
    pub bucket_before: u32,
    /// [`TASK_FORWARD`], [`TASK_ECHO`], [`TASK_RESET`], [`TASK_ANSWER`]
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
    /// [`layout::Service::backend_port`]; 0: the packet has no ports (a later fragment, [`TASK_ANSWER`]).
    pub backend_port: u16,
}

const _: () = assert!(size_of::<Job>() == 40);

/// [`Job::task`]: to its instance.
pub const TASK_FORWARD: u8 = 0;
/// [`Job::task`]: an echo request is answered.
pub const TASK_ECHO: u8 = 1;
/// [`Job::task`]: its flow is at an end, and the sender is told so.
pub const TASK_RESET: u8 = 2;
/// [`Job::task`]: to its instance, whose ping it answers.
pub const TASK_ANSWER: u8 = 3;

/// Does what the slow program decided on this frame, and counts it. What is dropped may have an [`answer`](fn@answer).
#[inline(always)]
pub fn finish<F: Frame, T: Tables>(frame: &mut F, tables: &T, job: &Job) -> Verdict {
    let done = if job.is_v4 != 0 {
        on::<_, _, Ipv4>(frame, tables, job)
    } else {
        on::<_, _, Ipv6>(frame, tables, job)
    };
    done.unwrap_or_else(|stop| pipeline::stop(tables, Stopped { scope: job.scope, stop }))
}

/// Answers a packet that [`finish`] has dropped, if its reason has an answer. The frame is as it came: where a rewrite finds
/// no way, it has not begun.
#[inline(always)]
pub fn answer<F: Shrink, T: Tables>(frame: &mut F, tables: &T, job: &Job, verdict: Verdict) -> Verdict {
    let Verdict::Drop(reason) = verdict else { return verdict };
    let Some(block) = tables.block() else { return verdict };
    if !answer::has_answer(reason) {
        return verdict;
    }
    // The verifier would else walk each answer once for every reason.
    let number = u64::from(reason as u8) * block.config.one;
    let answered = if job.is_v4 != 0 {
        refuse::<_, _, Ipv4>(frame, tables, block, job, number)
    } else {
        refuse::<_, _, Ipv6>(frame, tables, block, job, number)
    };
    if answered.is_some() { Verdict::Transmit } else { verdict }
}

#[inline(always)]
fn on<F: Frame, T: Tables, H: Version>(frame: &mut F, tables: &T, job: &Job) -> Result<Verdict, Stop> {
    let block = tables.block().ok_or(Stop::Pass)?;
    let cause = read::<_, H>(frame, job).ok_or(Stop::Drop(Reason::Truncated))?;
    match job.task {
        TASK_ECHO => answer::echo(frame, tables, block, &cause).map(|()| Verdict::Transmit),
        TASK_RESET => Err(Stop::Drop(Reason::Gone)),
        _ => {
            let Cause { link, header, packet } = &cause;
            let instance = instance::<H>(block, job);
            tables.tell(|| Step::Instance { number: job.instance, entry: *instance });
            let bytes = frame.length() as u64;
            let ask = Ask {
                hash: job.hash,
                backend_port: job.backend_port,
                hops: hops::list(block, job, layout::family(H::IS_V4)),
            };
            rewrite::rewrite::<_, _, true>(frame, link, header, packet, instance, ask)?;
            if job.task == TASK_ANSWER && instance.way == WAY_NAT && !H::IS_V4 {
                nat::message(frame, packet, (header.destination(), instance.address))?;
            }
            tables.count(job.scope, job.instance, bytes, job.syns.into());
            Ok(rewrite::egress(instance, job.port))
        }
    }
}

#[inline(always)]
fn refuse<F: Shrink, T: Tables, H: Version>(
    frame: &mut F,
    tables: &T,
    block: &Block,
    job: &Job,
    reason: u64,
) -> Option<()> {
    let cause = read::<_, H>(frame, job)?;
    let room = if job.bucket == NO_BUCKET { 0 } else { hops::BYTES };
    let mtu = instance::<H>(block, job).mtu.saturating_sub(room);
    answer::refuse(frame, tables, block, &cause, mtu, reason)
}

#[inline(always)]
fn instance<'b, H: IpHeader>(block: &'b Block, job: &Job) -> &'b Instance {
    &block.instances[(u32::from(job.instance) & (INSTANCES - 1)) as usize][layout::family(H::IS_V4)]
}

/// The headers of the packet that the slow program decided on.
#[inline(always)]
fn read<F: Frame, H: IpHeader>(frame: &F, job: &Job) -> Option<Cause<H>> {
    let start = usize::from(job.start & FARTHEST);
    let ethernet = frame.read::<Ethernet>(0)?;
    let header = frame.read::<H>(start)?;
    let link = Link { ethernet, ethertype: 0, type_at: usize::from(job.type_at & FARTHEST), end: start };
    let packet = Packet {
        source: header.source(),
        protocol: job.protocol,
        start,
        payload: usize::from(job.payload & FARTHEST),
        end: usize::from(job.end),
        hop_limit: 0,
        part: Part::WHOLE,
    };
    Some(Cause { link, header, packet })
}
