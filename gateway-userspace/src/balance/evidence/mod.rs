//! What is known of living flows: the instances say which they have, by bucket, and windows close by that.
//!
//! A window may close once no living flow of its bucket is at another instance than the current owner: from then on the
//! current owner gets every packet. Instances answer `GET /flows` from their sockets (half-open ones and TIME_WAIT included,
//! whichever balancer sent them), so what an answer says was so at a moment after it was asked for. What may happen beside it,
//! and why nothing goes astray:
//!
//! - **A socket that a list misses**, since the kernel makes it while sockets come, go and change their place: two answers in a row,
//!   a second apart or more, have to say so.
//! - **A packet on its way** when the bucket changed hands, or a client's answer to a SYN cookie, for which no socket is there
//!   yet: the question has to be asked [`ledger::MARGIN`] after the bucket's last change.
//! - **A SYN that goes to `previous`** because its line of the transition table is full: the kernel counts them
//!   (`Settled::Refused`). The question has to be asked that margin after the counter was last seen to grow, and the counter is
//!   read again right before a window is closed. (A SYN of the fraction of a millisecond between that and the write is lost, and
//!   its client tries again.)
//! - **A SYN that follows a claim** of its own first transmission, to one that was the owner then: claims die within
//!   `note::CLAIM_LIFE`. Where there can be one, because the bucket changed hands more than once or had a window shortly
//!   before, the question has to be asked later than that.
//! - **A SYN that follows a trusted note**, since its client uses the tuple of an older flow again: a bucket with a trusted
//!   note for another than its current owner does not close. Notes of flows that no instance has are taken out when no packet has used them for a
//!   whole epoch (68.7 s); a SYN that follows one renews it. Answers older than [`ledger::FRESH`] count for nothing, so such a note
//!   was not used since.
//! - **Owners that a window does not list**, since it has room for eight: where one is full, everybody is asked.
//! - **An owner that does not answer** keeps its windows open, unless it is gone (R82) or its drain has ended.
//! - **Buckets 0 and 65,536** are one in a trusted note, which has 16 bits for them, and close together.
//!
//! A switched affinity closes as a whole, with all buckets: when by the new mask every flow of each instance is in a bucket
//! that is its own. There is one thing that this does not see: a note has the bucket of the old mask, so a client that uses a tuple
//! again in the seconds between the answer and the end of a switch, during which instances changed too, may lose that new
//! connection.
//!
//! UDP leaves no sockets to ask for; no service keeps its flows today.

mod ask;
mod askers;
mod drain;
mod ledger;
#[cfg(test)]
mod model;
mod report;

pub(super) use self::{
    ask::{Failure, Place},
    askers::{Answer, Askers, Order, Pace},
    ledger::{Known, Ledger, Obstacle, Verdict},
    report::Report,
};
