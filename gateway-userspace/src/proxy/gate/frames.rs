//! Where in a stream of HTTP/2 frames a client is, and whether it sends more frames that are no requests than it has reason to. Pure.
//!
//! h2 bounds what a connection may hold. What it does not bound is work: a stream that is opened and reset over and over, pings,
//! settings and empty frames without end cost a client next to nothing.

use std::time::{Duration, Instant};

/// Behind it come frames (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// Length (3), type, flags, stream (4): RFC 9113, section 4.1.
pub(super) const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// So many bytes of a frame's header have come.
    Header(usize),
    /// So many bytes of a frame are still to come.
    Payload(u32),
}

/// For what a client lets us wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For its first byte.
    Fresh,
    /// For the rest of what has begun: the preface, a frame, the fields of a request.
    Within,
    /// For the rest of a frame of a body.
    Body,
    /// For nothing: every frame is whole.
    Between,
}

/// A client that does what no client needs to. Where the frame began with which that was enough; none: before these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flood(pub(super) Option<usize>);

/// A stream of frames.
#[derive(Debug)]
pub(super) struct Frames {
    next: Next,
    header: [u8; HEADER],
    /// The fields of a request go on in the next frame.
    open: bool,
    /// Things that were completed: changes with progress.
    completed: u64,
    credit: Credit,
}

impl Frames {
    /// In front of the preface.
    pub(super) fn new(now: Instant) -> Self {
        let credit = Credit { left: Credit::MOST, since: now };
        Self { next: Next::Preface(0), header: [0; HEADER], open: false, completed: 0, credit }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.next {
            Next::Preface(0) => Phase::Fresh,
            Next::Payload(_) if self.header[3] == DATA => Phase::Body,
            Next::Header(0) if !self.open => Phase::Between,
            _ => Phase::Within,
        }
    }

    pub(super) fn completed(&self) -> u64 {
        self.completed
    }

    /// Looks at what came next. `now` is asked for only when there is reason to.
    pub(super) fn advance(&mut self, bytes: &[u8], now: impl Fn() -> Instant) -> Result<(), Flood> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.next {
                Next::Preface(come) => {
                    let taken = rest.len().min(PREFACE - come);
                    at += taken;
                    self.next = Next::Preface(come + taken);
                    if come + taken == PREFACE {
                        self.complete();
                    }
                }
                Next::Header(come) => {
                    let taken = rest.len().min(HEADER - come);
                    self.header[come..come + taken].copy_from_slice(&rest[..taken]);
                    at += taken;
                    self.next = Next::Header(come + taken);
                    if come + taken == HEADER {
                        self.begin(&now).map_err(|_| Flood(at.checked_sub(HEADER)))?;
                    }
                }
                Next::Payload(left) => {
                    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    at += taken;
                    self.next = Next::Payload(left - taken as u32);
                    if self.next == Next::Payload(0) {
                        self.complete();
                    }
                }
            }
        }
        Ok(())
    }

    /// A frame's header is whole.
    fn begin(&mut self, now: &impl Fn() -> Instant) -> Result<(), Spent> {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        match kind {
            HEADERS | CONTINUATION => {
                self.open = flags & END_HEADERS == 0;
                self.credit.earn();
            }
            DATA if length > 0 => self.credit.earn(),
            DATA if flags & END_STREAM != 0 => {}
            // As many as there is data that we sent.
            WINDOW_UPDATE => {}
            RST_STREAM => self.credit.spend(2, now)?,
            _ => self.credit.spend(1, now)?,
        }
        self.next = Next::Payload(length);
        if length == 0 {
            self.complete();
        }
        Ok(())
    }

    fn complete(&mut self) {
        self.completed += 1;
        self.next = Next::Header(0);
    }
}

/// What is left of the frames that carry neither fields nor data. Each that does earns one, so that a client may cancel half of
/// its requests for as long as it likes; time earns some too, for those who only ping.
#[derive(Debug)]
struct Credit {
    left: u32,
    since: Instant,
}

/// There is none left.
struct Spent;

impl Credit {
    const MOST: u32 = 1_000;
    const A_SECOND: u64 = 50;

    fn earn(&mut self) {
        self.left = (self.left + 1).min(Self::MOST);
    }

    fn spend(&mut self, cost: u32, now: &impl Fn() -> Instant) -> Result<(), Spent> {
        if self.left < cost {
            let now = now();
            let elapsed = now.saturating_duration_since(self.since);
            if elapsed >= Duration::from_secs(1) {
                let earned = u32::try_from(elapsed.as_secs().saturating_mul(Self::A_SECOND));
                self.left = self.left.saturating_add(earned.unwrap_or(Self::MOST)).min(Self::MOST);
                self.since = now;
            }
        }
        self.left = self.left.checked_sub(cost).ok_or(Spent)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: &[u8; PREFACE] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    fn after(bytes: &[u8]) -> Frames {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        frames.advance(bytes, || start).unwrap();
        frames
    }

    #[test]
    fn phases() {
        let begun = |more: &[&[u8]]| [START.as_slice(), &more.concat()].concat();
        let headers = frame(HEADERS, 0, b"x");
        let rest = frame(CONTINUATION, END_HEADERS, b"x");
        let data = frame(DATA, 0, b"body");
        for (bytes, phase) in [
            (vec![], Phase::Fresh),
            (START[..1].to_vec(), Phase::Within),
            (START.to_vec(), Phase::Between),
            (begun(&[&headers[..3]]), Phase::Within),
            (begun(&[&headers[..9]]), Phase::Within),
            (begun(&[&headers]), Phase::Within),
            (begun(&[&headers, &rest]), Phase::Between),
            (begun(&[&data[..9]]), Phase::Body),
            (begun(&[&data[..4]]), Phase::Within),
            (begun(&[&data]), Phase::Between),
            (begun(&[&frame(SETTINGS, 0, b"")]), Phase::Between),
        ] {
            assert_eq!(after(&bytes).phase(), phase, "{bytes:?}");
        }
    }

    /// How many of `frames` pass within a moment, in each of `rounds` a second apart.
    fn passed(frames: &[Vec<u8>], rounds: u64) -> Vec<usize> {
        let start = Instant::now();
        let mut stream = Frames::new(start);
        stream.advance(START, || start).unwrap();
        let round = |round: u64| {
            let now = start + Duration::from_secs(round);
            let mut count = 0;
            while count < 5_000 && frames.iter().all(|frame| stream.advance(frame, || now).is_ok()) {
                count += 1;
            }
            stream.next = Next::Header(0);
            count
        };
        (0..rounds).map(round).collect()
    }

    #[test]
    fn what_is_no_request_is_bounded_and_what_is_is_not() {
        let [headers, data] = [frame(HEADERS, END_HEADERS, b"x"), frame(DATA, 0, b"x")];
        let reset = frame(RST_STREAM, 0, &[0; 4]);
        let only = |frame: Vec<u8>| vec![frame];
        for (frames, expected) in [
            (only(frame(PING, 0, &[0; 8])), vec![1_000, 50, 50]),
            (only(frame(SETTINGS, 0, b"")), vec![1_000, 50, 50]),
            (only(frame(DATA, 0, b"")), vec![1_000, 50, 50]),
            (only(frame(200, 0, b"?")), vec![1_000, 50, 50]),
            (only(frame(WINDOW_UPDATE, 0, &[0; 4])), vec![5_000; 3]),
            (only(frame(DATA, END_STREAM, b"")), vec![5_000; 3]),
            // Each request reset: it earns one and costs two. Every second one: for ever.
            (vec![headers.clone(), reset.clone()], vec![1_000, 50, 50]),
            (vec![headers.clone(), headers.clone(), reset.clone()], vec![5_000; 3]),
            (vec![headers, data, reset], vec![5_000; 3]),
        ] {
            let got = passed(&frames, 3);
            let near = got.iter().zip(&expected).all(|(got, expected)| got.abs_diff(*expected) <= 2);
            assert!(near, "{frames:?}: {got:?}");
        }
    }

    #[test]
    fn a_flood_is_known_by_the_frame_with_which_it_is_one() {
        let ping = frame(PING, 0, &[0; 8]);
        let start = Instant::now();
        let mut frames = after(START);
        frames.credit.left = 1;
        let two = [ping.clone(), ping.clone()].concat();
        assert_eq!(frames.advance(&two, || start), Err(Flood(Some(ping.len()))));
        let mut frames = after(START);
        frames.credit.left = 0;
        frames.advance(&ping[..4], || start).unwrap();
        assert_eq!(frames.advance(&ping[4..], || start), Err(Flood(None)));
    }

    proptest! {
        /// Where reads end does not matter.
        #[test]
        fn pieces_are_as_good_as_the_whole(bytes in prop::collection::vec(0..12_u8, 0..200), cut: prop::sample::Index) {
            let bytes = [START.as_slice(), &bytes].concat();
            let cut = cut.index(bytes.len());
            let start = Instant::now();
            let mut pieces = Frames::new(start);
            prop_assert!(pieces.advance(&bytes[..cut], || start).is_ok());
            prop_assert!(pieces.advance(&bytes[cut..], || start).is_ok());
            let whole = after(&bytes);
            prop_assert_eq!((pieces.phase(), pieces.next, pieces.completed), (whole.phase(), whole.next, whole.completed));
        }
    }
}
