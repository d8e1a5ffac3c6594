//! The transition table: which instance has a flow of a bucket that changed hands, as far as that has to be known.
//!
//! A note is one word in a line of eight, written by one store, without locks. Fields, high bits first:
//!
//! | bits | while it is a claim | once trusted |
//! |---|---|---|
//! | 24 | tag | tag |
//! | 16 | high bits of the SYN's sequence number | 16 more bits of the tag |
//! | 8 | epoch of the last use | same |
//! | 1 | 0 | 1 |
//! | 15 | instance | instance |
//!
//! **A note is a claim until its flow proves it**: anyone can forge a SYN, and one forged SYN must not carry off a living
//! flow. A segment near the SYN's sequence number proves the claim, one far from it refutes it. RST and FIN neither delete nor
//! write a note; it ages.

use crate::tables::NoteLine;

/// Epochs (68.7 s) that a claim waits for its proof: a client gives up its SYNs after 127 s.
const CLAIM_EPOCHS: u8 = 3;
/// Epochs that a trusted note outlives its last packet: 2 h 6 min, more than the 2 h 4 min of RFC 5382 REQ-5.
const TRUSTED_EPOCHS: u8 = 110;

const TRUSTED: u64 = 1 << 15;

/// The epoch of a time: units of 2³⁶ ns (68.7 s), modulo 256.
#[inline(always)]
pub const fn epoch(now: u64) -> u8 {
    (now >> 36) as u8
}

/// One word of the table; 0 is a free slot, since nobody has instance number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note(pub u64);

/// What a SYN finds in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syn {
    /// A note of its flow: follow it.
    Noted(u16),
    /// It is noted now, for the bucket's current owner.
    Claimed,
    /// No slot for it, or its tuple is claimed with another sequence number: to the previous owner, which needs no note.
    Refused,
}

impl Note {
    #[inline(always)]
    const fn claim(hash: u64, sequence: u32, epoch: u8, instance: u16) -> Self {
        Self(
            hash >> 40 << 40
                | (sequence as u64 >> 16) << 24
                | (epoch as u64) << 16
                | instance as u64 & 0x7fff,
        )
    }

    #[inline(always)]
    const fn trusted(hash: u64, epoch: u8, instance: u16) -> Self {
        Self(hash >> 24 << 24 | (epoch as u64) << 16 | TRUSTED | instance as u64 & 0x7fff)
    }

    /// Whom it names.
    #[inline(always)]
    pub const fn instance(self) -> u16 {
        (self.0 & 0x7fff) as u16
    }

    #[inline(always)]
    const fn is_trusted(self) -> bool {
        self.0 & TRUSTED != 0
    }

    #[inline(always)]
    const fn is_free(self) -> bool {
        self.0 & 0x7fff == 0
    }

    /// Free or aged. The epoch wraps after 4.9 h: a note that old may look young again, which costs its slot, not a flow.
    #[inline(always)]
    const fn is_expired(self, epoch: u8) -> bool {
        let limit = if self.is_trusted() { TRUSTED_EPOCHS } else { CLAIM_EPOCHS };
        self.is_free() || epoch.wrapping_sub((self.0 >> 16) as u8) >= limit
    }

    #[inline(always)]
    const fn has_tag(self, hash: u64) -> bool {
        let bits = if self.is_trusted() { 24 } else { 40 };
        self.0 >> bits == hash >> bits
    }

    /// How far a sequence number is ahead of the SYN's, in units of 64 KiB.
    #[inline(always)]
    const fn distance(self, sequence: u32) -> u16 {
        ((sequence >> 16) as u16).wrapping_sub((self.0 >> 24) as u16)
    }
}

/// A SYN in a moved bucket: the note that it follows, or a claim for `current`.
#[inline(always)]
pub fn syn(line: &NoteLine, hash: u64, sequence: u32, epoch: u8, current: u16) -> Syn {
    let mut free = None;
    for slot in line {
        let note = Note(slot.load());
        if note.is_expired(epoch) {
            free = free.or(Some(slot));
        } else if note.has_tag(hash) {
            // A retransmitted SYN has the same number; another number is another claim, and the first one stands.
            return if note.is_trusted() || note.distance(sequence) == 0 {
                Syn::Noted(note.instance())
            } else {
                Syn::Refused
            };
        }
    }
    match free {
        Some(slot) => {
            slot.store(Note::claim(hash, sequence, epoch, current).0);
            Syn::Claimed
        }
        None => Syn::Refused,
    }
}

/// Any other segment in a moved bucket: the instance it is noted for, or `previous`, where an unnoted flow began.
///
/// One that `proves` settles a claim. Near its sequence number (a first flight is far below 64 KiB) the claim was true. Far
/// from it the flow lived before the claim was made, so it is `previous`'s: else a large upload would come by the number of
/// a forged SYN some day.
#[inline(always)]
pub fn segment(line: &NoteLine, hash: u64, sequence: u32, epoch: u8, proves: bool, previous: u16) -> u16 {
    for slot in line {
        let note = Note(slot.load());
        if note.is_expired(epoch) || !note.has_tag(hash) {
            continue;
        }
        let is_its = note.is_trusted() || note.distance(sequence) <= 1;
        let instance = if is_its { note.instance() } else { previous };
        let settled = Note::trusted(hash, epoch, instance);
        // One store for the proof, then one an epoch: a word that is only read stays shared between CPUs.
        if proves && note != settled {
            slot.store(settled.0);
        }
        return instance;
    }
    previous
}

/// What has no sequence number of the client's, the quote in an ICMP error: trusted notes only.
#[inline(always)]
pub fn trusted(line: &NoteLine, hash: u64, epoch: u8) -> Option<u16> {
    for slot in line {
        let note = Note(slot.load());
        if note.is_trusted() && note.has_tag(hash) && !note.is_expired(epoch) {
            return Some(note.instance());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The previous owner, whose unnoted flows are.
    const OLD: u16 = 3;
    const HASH: u64 = 0x1234_5678_9abc_def0;

    #[test]
    fn a_claim_becomes_trusted_by_a_near_segment_and_then_ignores_the_number() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x0001_fff0, 9, 7), Syn::Claimed);
        assert_eq!(trusted(&line, HASH, 9), None);
        assert_eq!(segment(&line, HASH, 0x0002_0001, 9, true, OLD), 7);
        assert_eq!(trusted(&line, HASH, 9), Some(7));
        assert_eq!(segment(&line, HASH, 0x9000_0000, 10, true, OLD), 7);
    }

    #[test]
    fn a_forged_syn_does_not_carry_off_a_living_flow() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x7777_0000, 9, 7), Syn::Claimed);
        assert_eq!(
            segment(&line, HASH, 0x1000_0000, 9, true, OLD),
            OLD,
            "the living flow stays with the previous owner"
        );
    }

    #[test]
    fn a_long_upload_that_comes_by_the_number_of_a_forged_syn_stays() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x7777_0000, 9, 7), Syn::Claimed);
        for high in 0x7000..0x8000 {
            assert_eq!(segment(&line, HASH, high << 16, 9, true, OLD), OLD);
        }
    }

    #[test]
    fn sequence_numbers_wrap() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, u32::MAX, 9, 7), Syn::Claimed);
        assert_eq!(segment(&line, HASH, 0, 9, true, OLD), 7);
    }

    #[test]
    fn a_second_claim_with_another_number_is_refused_while_the_first_is_young() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x1000_0000, 9, 7), Syn::Claimed);
        assert_eq!(
            syn(&line, HASH, 0x1000_0000, 10, 8),
            Syn::Noted(7),
            "a retransmission follows its own claim"
        );
        assert_eq!(syn(&line, HASH, 0x2000_0000, 10, 8), Syn::Refused);
        assert_eq!(syn(&line, HASH, 0x2000_0000, 9 + CLAIM_EPOCHS, 8), Syn::Claimed);
    }

    #[test]
    fn a_syn_follows_a_trusted_note_of_its_tuple() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 1, 9, 7), Syn::Claimed);
        assert_eq!(segment(&line, HASH, 2, 9, true, OLD), 7);
        assert_eq!(syn(&line, HASH, 0x8000_0000, 9, 8), Syn::Noted(7));
    }

    #[test]
    fn rst_and_fin_follow_a_claim_but_do_not_prove_it() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 1, 9, 7), Syn::Claimed);
        assert_eq!(segment(&line, HASH, 2, 9, false, OLD), 7);
        assert_eq!(trusted(&line, HASH, 9), None);
    }

    #[test]
    fn a_full_line_notes_nothing() {
        let line = NoteLine::default();
        for n in 0..8u64 {
            assert_eq!(syn(&line, HASH ^ n << 40, 1, 9, 7), Syn::Claimed);
        }
        assert_eq!(syn(&line, HASH ^ 8 << 40, 1, 9, 7), Syn::Refused);
        assert_eq!(segment(&line, HASH ^ 8 << 40, 2, 9, true, OLD), OLD);
    }

    #[test]
    fn a_trusted_note_outlives_two_hours_of_silence() {
        let line = NoteLine::default();
        syn(&line, HASH, 1, 200, 7);
        segment(&line, HASH, 2, 200, true, OLD);
        let two_hours = 200u8.wrapping_add(108); // 108 × 68.7 s = 2 h 3.7 min
        assert_eq!(segment(&line, HASH, 99, two_hours, true, OLD), 7);
    }
}
