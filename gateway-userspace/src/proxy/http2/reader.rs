//! A client's bytes as what they say, wherever reads end. Pure.

use h2::Reason;

use super::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADER, HEADERS, Header, LONGEST, PADDED, Said,
};

/// Behind it come frames (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames that the fields of one request come in: with more of them than its size explains, only work is meant.
const CONTINUATIONS: usize = 32;

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

/// Where in a client's bytes we are.
#[derive(Debug)]
pub(super) struct Reader {
    at: At,
    /// A frame that is not whole, but for DATA, which need not be.
    held: Vec<u8>,
    /// What was held has been handed out.
    spent: bool,
    open: Option<Open>,
    /// What a block of fields may be.
    most: usize,
    /// Things that were completed: changes with progress.
    completed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Preface,
    Frame,
    /// Within DATA: what there is still to come of it, and of its padding. `flow` and `unused` until they are told.
    Data {
        stream: u32,
        flow: u32,
        unused: u32,
        left: usize,
        padding: usize,
        ends: bool,
    },
}

/// Fields that go on in the next frame.
#[derive(Debug)]
struct Open {
    stream: u32,
    ends: bool,
    wrong: bool,
    block: Vec<u8>,
    frames: usize,
    /// What was collected has been handed out.
    spent: bool,
}

impl Reader {
    /// In front of the preface; `most` is what the fields of a request may be.
    pub(super) fn new(most: usize) -> Self {
        Self { at: At::Preface, held: Vec::new(), spent: false, open: None, most, completed: 0 }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.at {
            At::Preface if self.held.is_empty() => Phase::Fresh,
            At::Data { .. } => Phase::Body,
            At::Frame if self.is_between() => Phase::Between,
            _ => Phase::Within,
        }
    }

    fn is_between(&self) -> bool {
        (self.spent || self.held.is_empty()) && self.open.as_ref().is_none_or(|open| open.spent)
    }

    pub(super) fn completed(&self) -> u64 {
        self.completed
    }

    /// What the next bytes say; none: more are needed. An error ends the connection.
    pub(super) fn next<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Result<Option<Said<'a>>, Reason> {
        if std::mem::take(&mut self.spent) {
            self.held = Vec::new();
        }
        if self.open.as_ref().is_some_and(|open| open.spent) {
            self.open = None;
        }
        if self.at == At::Preface {
            let taken = bytes.len().min(PREFACE.len() - self.held.len());
            self.held.extend_from_slice(&bytes[..taken]);
            *bytes = &bytes[taken..];
            match PREFACE.strip_prefix(&*self.held) {
                None => return Err(Reason::PROTOCOL_ERROR),
                Some([]) => self.complete(),
                Some(_) => return Ok(None),
            }
            self.held = Vec::new();
        }
        if let At::Data { .. } = self.at {
            return Ok(self.data(bytes));
        }
        // What is not whole is continued until it is; what is whole is looked at where it is.
        let Some(header) = self.header(bytes)? else { return Ok(None) };
        if header.kind == DATA {
            return self.begin_data(header, bytes);
        }
        let size = HEADER + header.length;
        let payload: &'a [u8] = if self.held.is_empty() {
            let Some((frame, rest)) = bytes.split_at_checked(size) else {
                self.hold(bytes, size);
                return Ok(None);
            };
            *bytes = rest;
            &frame[HEADER..]
        } else {
            if !self.hold(bytes, size) {
                return Ok(None);
            }
            self.spent = true;
            &self.held[HEADER..]
        };
        self.completed += 1;
        let fields = Fields { open: &mut self.open, most: self.most };
        match header.kind {
            HEADERS | CONTINUATION => fields.next(header, payload).map(Some),
            _ if fields.open.is_some() => Err(Reason::PROTOCOL_ERROR),
            _ => header.said(payload).map(Some),
        }
    }

    /// Takes bytes until so many are held.
    fn hold(&mut self, bytes: &mut &[u8], size: usize) -> bool {
        let taken = bytes.len().min(size.saturating_sub(self.held.len()));
        self.held.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        self.held.len() == size
    }

    /// The header of the frame that comes.
    fn header(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, Reason> {
        let header = match bytes.first_chunk::<HEADER>() {
            Some(header) if self.held.is_empty() => *header,
            _ => {
                if self.held.len() < HEADER && !self.hold(bytes, HEADER) {
                    return Ok(None);
                }
                let Some(header) = self.held.first_chunk::<HEADER>() else { return Ok(None) };
                *header
            }
        };
        let header = Header::read(header);
        if header.length > LONGEST { Err(Reason::FRAME_SIZE_ERROR) } else { Ok(Some(header)) }
    }

    fn begin_data<'b>(&mut self, header: Header, bytes: &mut &'b [u8]) -> Result<Option<Said<'b>>, Reason> {
        if header.stream == 0 || self.open.is_some() {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let front = HEADER + usize::from(header.has(PADDED));
        if header.length < front - HEADER {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        // With the length of its padding.
        let padding = if self.held.is_empty() && bytes.len() >= front {
            let padding = bytes[front - 1];
            *bytes = &bytes[front..];
            padding
        } else {
            if !self.hold(bytes, front) {
                return Ok(None);
            }
            let padding = self.held[front - 1];
            self.held = Vec::new();
            padding
        };
        let padding = if header.has(PADDED) { usize::from(padding) } else { 0 };
        let left = header.length - (front - HEADER);
        let left = left.checked_sub(padding).ok_or(Reason::PROTOCOL_ERROR)?;
        let ends = header.has(END_STREAM);
        let (flow, unused) = (header.length as u32, (header.length - left) as u32);
        self.at = At::Data { stream: header.stream, flow, unused, left, padding, ends };
        Ok(self.data(bytes))
    }

    /// A piece of DATA.
    fn data<'b>(&mut self, bytes: &mut &'b [u8]) -> Option<Said<'b>> {
        let At::Data { stream, flow, unused, left, padding, ends } = self.at else { return None };
        if bytes.is_empty() && flow == 0 && left + padding > 0 {
            return None;
        }
        let (data, rest) = bytes.split_at(left.min(bytes.len()));
        let left = left - data.len();
        let (skipped, rest) = rest.split_at(padding.min(rest.len()));
        let padding = padding - skipped.len();
        *bytes = rest;
        let is_whole = left + padding == 0;
        if is_whole {
            self.complete();
        } else {
            self.at = At::Data { stream, flow: 0, unused: 0, left, padding, ends };
        }
        Some(Said::Data { stream, flow, unused, bytes: data, ends: ends && is_whole })
    }

    fn complete(&mut self) {
        self.completed += 1;
        self.at = At::Frame;
    }
}

/// Blocks of fields, of a frame or of many.
struct Fields<'a> {
    open: &'a mut Option<Open>,
    most: usize,
}

impl<'a> Fields<'a> {
    fn next(self, header: Header, payload: &'a [u8]) -> Result<Said<'a>, Reason> {
        let Self { open, most } = self;
        let stream = header.stream;
        let is_whole = header.has(END_HEADERS);
        if header.kind == HEADERS {
            if stream == 0 || open.is_some() {
                return Err(Reason::PROTOCOL_ERROR);
            }
            let (block, wrong) = header.block(payload)?;
            let ends = header.has(END_STREAM);
            if is_whole {
                return Ok(Said::Fields { stream, block, ends, wrong });
            }
            *open = Some(Open { stream, ends, wrong, block: block.to_vec(), frames: 0, spent: false });
            return Ok(Said::Part);
        }
        let open = open.as_mut().filter(|open| open.stream == stream).ok_or(Reason::PROTOCOL_ERROR)?;
        open.frames += 1;
        if open.frames > CONTINUATIONS || open.block.len() + payload.len() > most {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        open.block.extend_from_slice(payload);
        open.spent = is_whole;
        let Open { ends, wrong, ref block, .. } = *open;
        Ok(if is_whole { Said::Fields { stream, block, ends, wrong } } else { Said::Part })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::http2::frame::HEADERS;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const MOST: usize = 64 * 1024;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let stream = u32::from(kind != SETTINGS && kind != PING);
        let header = Header { length: payload.len(), kind, flags, stream };
        [&header.bytes(), payload].concat()
    }

    /// What is said in `bytes`, of which so many come at once.
    fn said(reader: &mut Reader, bytes: &[u8], at_once: usize) -> Result<Vec<String>, Reason> {
        let mut all = Vec::new();
        for mut part in bytes.chunks(at_once) {
            while let Some(said) = reader.next(&mut part)? {
                all.push(format!("{said:?}"));
            }
        }
        Ok(all)
    }

    /// The phase behind so many bytes.
    fn phase(bytes: &[u8]) -> Phase {
        let mut reader = Reader::new(MOST);
        said(&mut reader, bytes, bytes.len().max(1)).unwrap();
        reader.phase()
    }

    #[test]
    fn phases() {
        let begun = |more: &[&[u8]]| [PREFACE, &more.concat()].concat();
        let headers = frame(HEADERS, 0, b"x");
        let rest = frame(CONTINUATION, END_HEADERS, b"x");
        let data = frame(DATA, 0, b"abc");
        for (bytes, expected) in [
            (vec![], Phase::Fresh),
            (PREFACE[..1].to_vec(), Phase::Within),
            (begun(&[]), Phase::Between),
            (begun(&[&frame(SETTINGS, 0, b"")]), Phase::Between),
            (begun(&[&frame(PING, 0, &[0; 8])[..12]]), Phase::Within),
            (begun(&[&headers]), Phase::Within),
            (begun(&[&headers, &rest]), Phase::Between),
            (begun(&[&headers, &rest, &data[..8]]), Phase::Within),
            (begun(&[&headers, &rest, &data[..9]]), Phase::Body),
            (begun(&[&headers, &rest, &data[..11]]), Phase::Body),
            (begun(&[&headers, &rest, &data]), Phase::Between),
        ] {
            assert_eq!(phase(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn nothing_is_held_between_frames() {
        let mut reader = Reader::new(MOST);
        let ping = frame(PING, 0, &[1; 8]);
        said(&mut reader, &[PREFACE, &ping, &ping[..3]].concat(), 5).unwrap();
        assert_eq!(reader.held, ping[..3]);
        said(&mut reader, &[&ping[3..], &ping].concat(), 100).unwrap();
        assert_eq!((reader.held.capacity(), reader.completed()), (0, 4));
    }

    #[test]
    fn bodies_are_handed_on_as_they_come_and_padding_is_not() {
        let padded = frame(DATA, END_STREAM | PADDED, &[2, b'a', b'b', 0, 0]);
        let mut reader = Reader::new(MOST);
        let data =
            |flow, unused, bytes, ends| format!("{:?}", Said::Data { stream: 1, flow, unused, bytes, ends });
        assert_eq!(said(&mut reader, &[PREFACE, &padded].concat(), MOST).unwrap(), [data(5, 3, b"ab", true)]);
        let mut reader = Reader::new(MOST);
        said(&mut reader, PREFACE, MOST).unwrap();
        assert_eq!(
            said(&mut reader, &padded, 1).unwrap(),
            [data(5, 3, b"", false), data(0, 0, b"a", false), data(0, 0, b"b", false)]
                .into_iter()
                .chain([data(0, 0, b"", false), data(0, 0, b"", true)])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn fields_have_a_bound_and_no_end_in_little_pieces() {
        let large = |count: usize| {
            let first = frame(HEADERS, 0, &[0; LONGEST]);
            [PREFACE, &first, &frame(CONTINUATION, 0, &[0; LONGEST]).repeat(count)].concat()
        };
        assert!(said(&mut Reader::new(MOST), &large(3), 1000).is_ok());
        assert_eq!(said(&mut Reader::new(MOST), &large(4), 1000), Err(Reason::ENHANCE_YOUR_CALM));
        let small = [PREFACE, &frame(HEADERS, 0, b"x"), &frame(CONTINUATION, 0, b"").repeat(33)].concat();
        assert_eq!(said(&mut Reader::new(MOST), &small, 1000), Err(Reason::ENHANCE_YOUR_CALM));
    }

    proptest! {
        /// Where reads end does not matter, but that bodies come in other pieces.
        #[test]
        fn pieces_are_as_good_as_the_whole(
            frames in prop::collection::vec((0..11_u8, prop::sample::select(vec![0_u8, 1, 4, 5, 8, 0xd, 0x24, 0x2d]), prop::collection::vec(0..6_u8, 0..20)), 0..12),
            at_once in 1..30_usize,
        ) {
            let bytes = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, *flags, payload));
            let bytes = PREFACE.iter().copied().chain(bytes).collect::<Vec<u8>>();
            let (mut whole, mut pieces) = (Reader::new(MOST), Reader::new(MOST));
            let without_bodies = |said: Result<Vec<String>, Reason>| {
                said.map(|mut all| {
                    all.retain(|one| !one.starts_with("Data"));
                    all
                })
            };
            let (expected, got) = (said(&mut whole, &bytes, bytes.len()), said(&mut pieces, &bytes, at_once));
            prop_assert_eq!(without_bodies(got), without_bodies(expected.clone()));
            if expected.is_ok() {
                prop_assert_eq!((whole.phase(), whole.completed()), (pieces.phase(), pieces.completed()));
            }
        }
    }
}
