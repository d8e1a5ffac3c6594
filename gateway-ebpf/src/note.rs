//! The transition table: which instance has a flow of a bucket that changed hands, as far as that has to be known.
//!
//! A note is one word in a line of eight, written by one store, without locks. Fields, high bits first:
//!
//! | bits | while it is a claim | once trusted |
//! |---|---|---|
//! | 24 | tag | tag |
//! | 16 | high bits of the SYN's sequence number | low bits of the bucket's number |
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
/// Nanoseconds after which no claim is left that was made before: its epochs, and one that another CPU sees later.
#[cfg(not(target_arch = "bpf"))]
pub const CLAIM_LIFE: u64 = (CLAIM_EPOCHS as u64 + 1) << 36;
/// Epochs that a trusted note outlives its last packet: 2 h 6 min, more than the 2 h 4 min of RFC 5382 REQ-5.
const TRUSTED_EPOCHS: u8 = 110;

const TRUSTED: u64 = 1 << 15;

/// A flow's hash as notes have it: its bucket takes the place of 16 bits. So user space finds the notes of a bucket whose window
/// closes; left there, they would lead a later flow of the same tuple astray in the next window.
#[inline(always)]
pub const fn in_bucket(hash: u64, bucket: u32) -> u64 {
    hash & !(0xffff << 24) | (bucket as u64 & 0xffff) << 24
}

/// How a packet of a moved bucket found its instance.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Settled {
    /// It is noted now, for the bucket's current owner.
    Claimed = 0,
    /// It fits a note that is still a claim.
    Noted = 1,
    /// It has a trusted note.
    Trusted = 2,
    /// It does not fit its tuple's claim: to the previous owner.
    Refuted = 3,
    /// A SYN for which there is no slot, or whose tuple is claimed with another number: to the previous owner.
    Refused = 4,
    /// Not noted: to the previous owner, where it must have begun.
    Previous = 5,
    /// UDP, which shows no beginning: to the current owner.
    Current = 6,
    /// The instance of its note is gone: dropped, or to the previous owner if that can ask the others.
    Gone = 7,
}

impl Settled {
    /// How many there are.
    pub const COUNT: u32 = 8;

    /// All of them with their names in output, by number.
    #[cfg(not(target_arch = "bpf"))]
    pub const ALL: [(Self, &'static str); Self::COUNT as usize] = [
        (Self::Claimed, "claimed"),
        (Self::Noted, "noted"),
        (Self::Trusted, "trusted"),
        (Self::Refuted, "refuted"),
        (Self::Refused, "refused"),
        (Self::Previous, "previous"),
        (Self::Current, "current"),
        (Self::Gone, "gone"),
    ];
}

/// An instance, and how it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer(pub u16, pub Settled);

/// Who has a moved bucket's flows, as far as they are not noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owners {
    /// Those that began before the window opened.
    pub previous: u16,
    /// Those that begin now.
    pub current: u16,
}

/// A flow's line of the table.
#[derive(Debug)]
pub struct Seen<'l, N, G> {
    /// The line.
    pub line: &'l NoteLine,
    /// The flow's hash, salted by this node.
    pub hash: u64,
    /// Nanoseconds; the clock is read only where a note is found or made.
    pub now: N,
    /// Whether nobody answers any more at an instance's address.
    pub is_gone: G,
}

impl<N: Fn() -> u64, G> Seen<'_, N, G> {
    #[inline(always)]
    fn epoch(&self) -> u8 {
        epoch((self.now)())
    }

    /// Notes the flow where a slot is free or expired.
    #[inline(always)]
    fn claim(&self, sequence: u32, instance: u16) -> bool {
        let epoch = self.epoch();
        for slot in self.line {
            if Note(slot.load()).is_expired(epoch) {
                slot.store(Note::claim(self.hash, sequence, epoch, instance).0);
                return true;
            }
        }
        false
    }
}

/// The epoch of a time: units of 2³⁶ ns (68.7 s), modulo 256.
#[inline(always)]
pub const fn epoch(now: u64) -> u8 {
    (now >> 36) as u8
}

/// One word of the table; 0 is a free slot, since nobody has instance number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note(pub u64);

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

    /// The low 16 bits of its flow's bucket; a claim that nobody has proved does not tell.
    #[inline(always)]
    pub const fn bucket(self) -> Option<u16> {
        if self.is_trusted() { Some((self.0 >> 24) as u16) } else { None }
    }

    /// Of its last use.
    #[inline(always)]
    const fn epoch(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The same, used in `epoch`.
    #[inline(always)]
    const fn used(self, epoch: u8) -> Self {
        Self(self.0 & !(0xff << 16) | (epoch as u64) << 16)
    }

    /// Whether no packet has used it for a whole epoch at least; an expired one is.
    #[cfg(not(target_arch = "bpf"))]
    pub const fn is_idle(self, epoch: u8) -> bool {
        // One epoch ahead is young, as in `is_expired`.
        self.is_expired(epoch) || epoch.wrapping_add(1).wrapping_sub(self.epoch()) > 2
    }

    #[inline(always)]
    const fn is_trusted(self) -> bool {
        self.0 & TRUSTED != 0
    }

    #[inline(always)]
    const fn is_free(self) -> bool {
        self.0 & 0x7fff == 0
    }

    /// Free or aged. The epoch wraps after 4.9 h: a note that old may look young again, which costs its slot, not a flow. One
    /// epoch ahead is young: another CPU has seen the clock step first.
    #[inline(always)]
    const fn is_expired(self, epoch: u8) -> bool {
        let limit = if self.is_trusted() { TRUSTED_EPOCHS } else { CLAIM_EPOCHS };
        self.is_free() || epoch.wrapping_add(1).wrapping_sub(self.epoch()) > limit
    }

    /// Its tag's 24 bits: nearly always the whole answer, for two instructions and without the time.
    #[inline(always)]
    const fn may_be(self, hash: u64) -> bool {
        (self.0 ^ hash) >> 40 == 0
    }

    /// All 40 bits that a trusted note has, and a datagram's.
    #[inline(always)]
    const fn is_whole(self, hash: u64) -> bool {
        (self.0 ^ hash) >> 24 == 0
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

/// A SYN in a moved bucket: the note that it follows, or a claim for `current`; where neither can be, `previous`, which needs
/// no note. A note that names an instance which is gone is made anew.
#[inline(always)]
pub fn syn(seen: &Seen<'_, impl Fn() -> u64, impl Fn(u16) -> bool>, sequence: u32, owners: Owners) -> Answer {
    for slot in seen.line {
        let note = Note(slot.load());
        if !note.may_be(seen.hash) {
            continue;
        }
        let epoch = seen.epoch();
        if note.is_expired(epoch) || !note.has_tag(seen.hash) {
            continue;
        }
        if (seen.is_gone)(note.instance()) {
            slot.store(Note::claim(seen.hash, sequence, epoch, owners.current).0);
            return Answer(owners.current, Settled::Claimed);
        }
        // A retransmitted SYN has the same number; another number is another claim, and the first one stands.
        return if note.is_trusted() {
            // A flow may begin by it: a note that no packet has used for a while is one that user space may take away.
            if note.epoch() != epoch {
                slot.store(note.used(epoch).0);
            }
            Answer(note.instance(), Settled::Trusted)
        } else if note.distance(sequence) == 0 {
            Answer(note.instance(), Settled::Noted)
        } else {
            Answer(owners.previous, Settled::Refused)
        };
    }
    if seen.claim(sequence, owners.current) {
        Answer(owners.current, Settled::Claimed)
    } else {
        Answer(owners.previous, Settled::Refused)
    }
}

/// Any other segment in a moved bucket: the instance it is noted for, or `previous`, where an unnoted flow began.
///
/// One that `proves` settles a claim. Near its sequence number (a first flight is far below 64 KiB) the claim was true. Far
/// from it the flow lived before the claim was made, so it is `previous`'s: else a large upload would come by the number of
/// a forged SYN some day.
#[inline(always)]
pub fn segment(
    seen: &Seen<'_, impl Fn() -> u64, impl Fn(u16) -> bool>,
    sequence: u32,
    proves: bool,
    previous: u16,
) -> Answer {
    for slot in seen.line {
        let note = Note(slot.load());
        if !note.may_be(seen.hash) {
            continue;
        }
        let epoch = seen.epoch();
        if note.is_expired(epoch) || !note.has_tag(seen.hash) {
            continue;
        }
        let answer = if note.is_trusted() {
            Answer(note.instance(), Settled::Trusted)
        } else if note.distance(sequence) <= 1 {
            Answer(note.instance(), Settled::Noted)
        } else {
            Answer(previous, Settled::Refuted)
        };
        let settled = Note::trusted(seen.hash, epoch, answer.0);
        // One store for the proof, then one an epoch: a word that is only read stays shared between CPUs.
        if proves && note != settled {
            slot.store(settled.0);
        }
        return answer;
    }
    Answer(previous, Settled::Previous)
}

/// A datagram of a service whose UDP flows keep their instance. It has neither beginning nor sequence number, so its note
/// stands from the first one on, with its bucket where a SYN's number would be, and is a claim for ever: each
/// epoch with a datagram renews it, and it ages as a claim does (RFC 4787 REQ-5 asks for two minutes). Who forges datagrams
/// pins the tuples that he forges, and for three minutes.
///
/// What goes to `previous` needs no note, as with SYNs: so there are some only where `previous` is gone or came back.
#[inline(always)]
pub fn datagram(seen: &Seen<'_, impl Fn() -> u64, impl Fn(u16) -> bool>, owners: Owners) -> Answer {
    let sequence = (seen.hash >> 8) as u32;
    for slot in seen.line {
        let note = Note(slot.load());
        if !note.is_whole(seen.hash) {
            continue;
        }
        let epoch = seen.epoch();
        if note.is_expired(epoch) {
            continue;
        }
        let is_gone = (seen.is_gone)(note.instance());
        let answer = if is_gone {
            Answer(owners.current, Settled::Claimed)
        } else {
            Answer(note.instance(), Settled::Noted)
        };
        let renewed = Note::claim(seen.hash, sequence, epoch, answer.0);
        if note != renewed {
            slot.store(renewed.0);
        }
        return answer;
    }
    if owners.previous != owners.current {
        Answer(owners.previous, Settled::Previous)
    } else if seen.claim(sequence, owners.current) {
        Answer(owners.current, Settled::Claimed)
    } else {
        Answer(owners.current, Settled::Refused)
    }
}

/// What has no sequence number of the client's, the quote in an ICMP error: notes that are proved, and datagrams'.
#[inline(always)]
pub fn quote(seen: &Seen<'_, impl Fn() -> u64, impl Fn(u16) -> bool>, previous: u16) -> Answer {
    for slot in seen.line {
        let note = Note(slot.load());
        if note.is_whole(seen.hash) && !note.is_expired(seen.epoch()) {
            return Answer(note.instance(), Settled::Trusted);
        }
    }
    Answer(previous, Settled::Previous)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The previous owner, whose unnoted flows are.
    const OLD: u16 = 3;
    const HASH: u64 = 0x1234_5678_9abc_def0;
    /// The instance at whose address nobody answers.
    const GONE: u16 = 5;

    fn seen(line: &NoteLine, hash: u64, epoch: u8) -> Seen<'_, impl Fn() -> u64, impl Fn(u16) -> bool> {
        Seen { line, hash, now: move || u64::from(epoch) << 36, is_gone: |instance| instance == GONE }
    }

    fn syn(line: &NoteLine, hash: u64, sequence: u32, epoch: u8, current: u16) -> Answer {
        super::syn(&seen(line, hash, epoch), sequence, Owners { previous: OLD, current })
    }

    fn segment(line: &NoteLine, hash: u64, sequence: u32, epoch: u8, proves: bool) -> Answer {
        super::segment(&seen(line, hash, epoch), sequence, proves, OLD)
    }

    fn quote(line: &NoteLine, epoch: u8) -> Answer {
        super::quote(&seen(line, HASH, epoch), OLD)
    }

    fn datagram(line: &NoteLine, epoch: u8, previous: u16, current: u16) -> Answer {
        super::datagram(&seen(line, HASH, epoch), Owners { previous, current })
    }

    const UNNOTED: Answer = Answer(OLD, Settled::Previous);
    const REFUSED: Answer = Answer(OLD, Settled::Refused);
    const REFUTED: Answer = Answer(OLD, Settled::Refuted);

    const fn claimed(instance: u16) -> Answer {
        Answer(instance, Settled::Claimed)
    }

    const fn noted(instance: u16) -> Answer {
        Answer(instance, Settled::Noted)
    }

    const fn trusted(instance: u16) -> Answer {
        Answer(instance, Settled::Trusted)
    }

    #[test]
    fn a_claim_becomes_trusted_by_a_near_segment_and_then_ignores_the_number() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x0001_fff0, 9, 7), claimed(7));
        assert_eq!(quote(&line, 9), UNNOTED);
        assert_eq!(segment(&line, HASH, 0x0002_0001, 9, true), noted(7));
        assert_eq!(quote(&line, 9), trusted(7));
        assert_eq!(segment(&line, HASH, 0x9000_0000, 10, true), trusted(7));
    }

    #[test]
    fn a_forged_syn_does_not_carry_off_a_living_flow() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x7777_0000, 9, 7), claimed(7));
        assert_eq!(
            segment(&line, HASH, 0x1000_0000, 9, true),
            REFUTED,
            "the living flow stays with the previous owner"
        );
    }

    #[test]
    fn a_long_upload_that_comes_by_the_number_of_a_forged_syn_stays() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x7777_0000, 9, 7), claimed(7));
        for high in 0x7000..0x8000 {
            assert_eq!(segment(&line, HASH, high << 16, 9, true).0, OLD);
        }
    }

    #[test]
    fn sequence_numbers_wrap() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, u32::MAX, 9, 7), claimed(7));
        assert_eq!(segment(&line, HASH, 0, 9, true), noted(7));
    }

    #[test]
    fn a_second_claim_with_another_number_is_refused_while_the_first_is_young() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 0x1000_0000, 9, 7), claimed(7));
        assert_eq!(syn(&line, HASH, 0x1000_0000, 10, 8), noted(7), "a retransmission follows its own claim");
        assert_eq!(syn(&line, HASH, 0x2000_0000, 10, 8), REFUSED);
        assert_eq!(syn(&line, HASH, 0x2000_0000, 9 + CLAIM_EPOCHS, 8), claimed(8));
    }

    #[test]
    fn a_syn_follows_a_trusted_note_of_its_tuple() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 1, 9, 7), claimed(7));
        assert_eq!(segment(&line, HASH, 2, 9, true), noted(7));
        assert_eq!(syn(&line, HASH, 0x8000_0000, 9, 8), trusted(7));
    }

    #[test]
    fn a_syn_renews_the_trusted_note_that_it_follows() {
        let line = NoteLine::default();
        syn(&line, HASH, 0x1000_0000, 9, 7);
        segment(&line, HASH, 0x1000_0000, 9, true);
        let note = || Note(line[0].load());
        assert!(!note().is_idle(9) && !note().is_idle(10) && note().is_idle(11), "{:?}", note());
        assert_eq!(syn(&line, HASH, 0x5000_0000, 20, 8), trusted(7));
        assert!(!note().is_idle(21) && note().is_idle(22), "{:?}", note());
        assert_eq!(note().bucket(), Some((HASH >> 24) as u16));
        assert!(!note().is_idle(19), "seen by a CPU whose clock is behind");
    }

    #[test]
    fn rst_and_fin_follow_a_claim_but_do_not_prove_it() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 1, 9, 7), claimed(7));
        assert_eq!(segment(&line, HASH, 2, 9, false), noted(7));
        assert_eq!(quote(&line, 9), UNNOTED);
    }

    #[test]
    fn a_full_line_notes_nothing() {
        let line = NoteLine::default();
        for n in 0..8u64 {
            assert_eq!(syn(&line, HASH ^ n << 40, 1, 9, 7), claimed(7));
        }
        assert_eq!(syn(&line, HASH ^ 8 << 40, 1, 9, 7), REFUSED);
        assert_eq!(segment(&line, HASH ^ 8 << 40, 2, 9, true), UNNOTED);
    }

    #[test]
    fn a_trusted_note_outlives_two_hours_of_silence() {
        let line = NoteLine::default();
        syn(&line, HASH, 1, 200, 7);
        segment(&line, HASH, 2, 200, true);
        let two_hours = 200u8.wrapping_add(108); // 108 × 68.7 s = 2 h 3.7 min
        assert_eq!(segment(&line, HASH, 99, two_hours, true), trusted(7));
    }

    #[test]
    fn r82_a_syn_whose_note_names_a_gone_instance_is_noted_anew() {
        let line = NoteLine::default();
        assert_eq!(syn(&line, HASH, 1, 9, GONE), claimed(GONE));
        segment(&line, HASH, 2, 9, true);
        assert_eq!(syn(&line, HASH, 0x8000_0000, 9, 7), claimed(7));
        assert_eq!(segment(&line, HASH, 0x8000_0001, 9, true), noted(7));
    }

    #[test]
    fn a_datagram_is_noted_where_previous_does_not_say_it_and_ages_as_a_claim() {
        let line = NoteLine::default();
        assert_eq!(datagram(&line, 9, OLD, 7), UNNOTED);
        assert_eq!(datagram(&line, 9, 7, 7), claimed(7));
        assert_eq!(datagram(&line, 11, 7, 8), noted(7), "an owner later");
        assert_eq!(quote(&line, 11), trusted(7), "an ICMP error follows it");
        assert_eq!(datagram(&line, 13, 7, 8), noted(7), "renewed in epoch 11");
        assert_eq!(datagram(&line, 13 + CLAIM_EPOCHS, 8, 8), claimed(8), "idle for three epochs");
    }

    #[test]
    fn r82_a_datagram_whose_note_names_a_gone_instance_is_noted_anew() {
        let line = NoteLine::default();
        assert_eq!(datagram(&line, 9, GONE, GONE), claimed(GONE));
        assert_eq!(datagram(&line, 9, 7, 7), claimed(7));
        assert_eq!(datagram(&line, 9, 8, 8), noted(7));
    }
}
