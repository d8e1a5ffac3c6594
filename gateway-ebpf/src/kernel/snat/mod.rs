//! Source NAT over packets of the host's stack and BPF maps.

mod frame;
pub mod maps;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns},
    programs::TcContext,
};

use self::{
    frame::SkbFrame,
    maps::{COUNTS, DROPS, EXHAUSTED, FORWARD, FRAGMENTS, NEXT, NEXT_BEGIN, NEXT_LEAVE, REVERSE, TABLE},
};
use crate::{
    reason::Reason,
    snat::{
        Verdict,
        allocate::Search,
        arrive as incoming,
        layout::{Count, Entry, Halves, Key, Table},
        leave as outgoing,
        map::{Flows, Refused, Way},
    },
    tables::NoteLine,
    word::Word,
};

/// Gives what leaves for outside a public VIP.
#[inline(always)]
pub fn leave(context: &TcContext) -> i32 {
    let skb = context.skb.skb;
    let verdict = outgoing::leave(&mut SkbFrame::new(skb), &KernelFlows);
    // SAFETY: the kernel hands every program of TC a valid context, and these words are for its programs.
    unsafe { (*skb).cb[ATTEMPT] = 0 };
    action(context, verdict)
}

/// Gives a flow that begins its port.
#[inline(always)]
pub fn begin(context: &TcContext) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: as above.
    let search = unsafe {
        let attempt = (*skb).cb[ATTEMPT];
        if attempt == 0 {
            (*skb).cb[START] = KernelFlows.random();
        }
        (*skb).cb[ATTEMPT] = attempt + 1;
        Search { start: (*skb).cb[START], attempt }
    };
    let verdict = outgoing::begin(&mut SkbFrame::new(skb), &KernelFlows, search);
    action(context, verdict)
}

/// Which of the packet's words has the number of the attempt.
const ATTEMPT: usize = 0;
/// And which has where the search began.
const START: usize = 1;

/// Gives what answers that the instance's own address.
#[inline(always)]
pub fn arrive(context: &TcContext) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: the kernel hands every program of TC a valid context.
    if unsafe { (*skb).vlan_present } != 0 {
        // Another network's.
        return TC_ACT_UNSPEC;
    }
    action(context, incoming::arrive(&mut SkbFrame::new(skb), &KernelFlows))
}

/// Whoever else has a program here sees the packet too.
#[inline(always)]
fn action(context: &TcContext, verdict: Verdict) -> i32 {
    let next = match verdict {
        Verdict::Untouched | Verdict::Translated => return TC_ACT_UNSPEC,
        Verdict::Dropped(_) => return TC_ACT_SHOT,
        Verdict::New => NEXT_BEGIN,
        Verdict::Entered => NEXT_LEAVE,
    };
    // SAFETY: on success it does not return; on failure nothing happened, and nothing passes with the DIP.
    unsafe { NEXT.tail_call(context, next) };
    TC_ACT_SHOT
}

struct KernelFlows;

impl Flows for KernelFlows {
    #[inline(always)]
    fn table(&self) -> Option<&Table> {
        TABLE.get(0).map(Halves::active)
    }

    #[inline(always)]
    fn get(&self, way: Way, key: Key) -> Option<&Word> {
        let entry = match way {
            Way::Forward => FORWARD.get_ptr(key),
            Way::Reverse => REVERSE.get_ptr(key),
        };
        // SAFETY: an aligned word that is only accessed whole. If the entry is taken out meanwhile its memory may be another one's: what
        // is read then was true a moment ago, and a replacement compares first.
        entry.map(|word| unsafe { &*word.cast::<Word>() })
    }

    #[inline(always)]
    fn insert(&self, way: Way, key: Key, entry: Entry) -> Result<(), Refused> {
        const EXISTS: i32 = -17;
        let made = match way {
            Way::Forward => FORWARD.insert(key, entry.0, BPF_NOEXIST.into()),
            Way::Reverse => REVERSE.insert(key, entry.0, BPF_NOEXIST.into()),
        };
        made.map_err(|error| if error == EXISTS { Refused::Taken } else { Refused::Full })
    }

    #[inline(always)]
    fn remove(&self, way: Way, key: Key) {
        // What is not there need not be taken out.
        let _ = match way {
            Way::Forward => FORWARD.remove(key),
            Way::Reverse => REVERSE.remove(key),
        };
    }

    #[inline(always)]
    fn fragments(&self, line: u32) -> Option<&NoteLine> {
        // SAFETY: the value is eight aligned words that live as long as the program, and are only accessed atomically.
        FRAGMENTS.get_ptr(line).map(|words| unsafe { &*words.cast::<NoteLine>() })
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments (kernel 5.11).
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn count(&self, count: Count, more: u64) {
        add(COUNTS.get_ptr_mut(count as u32), more);
    }

    #[inline(always)]
    fn count_drop(&self, reason: Reason) {
        add(DROPS.get_ptr_mut(reason as u32), 1);
    }

    #[inline(always)]
    fn is_exhausted(&self, destination: Key, now: u32) -> bool {
        // SAFETY: an aligned word. It may be another destination's by now, which is a guess that costs one flow a second.
        EXHAUSTED.get_ptr(destination).is_some_and(|value| unsafe { *value } >> 32 == u64::from(now))
    }

    #[inline(always)]
    fn exhausted(&self, destination: Key, now: u32) {
        // SAFETY: as above.
        let before = EXHAUSTED.get_ptr(destination).map_or(0, |value| unsafe { *value } & 0xffff_ffff);
        let after = u64::from(now) << 32 | (before + 1) & 0xffff_ffff;
        // A report that is lost is one of many.
        let _ = EXHAUSTED.insert(destination, after, BPF_ANY.into());
    }
}

#[inline(always)]
fn add(counter: Option<*mut u64>, more: u64) {
    if let Some(counter) = counter {
        // SAFETY: this CPU's own counter. What leaves may be interrupted by what comes, and the two count apart but for drops, of which
        // one more or less is no harm.
        unsafe { *counter += more };
    }
}
