//! Frames (RFC 9113, sections 4 and 6): what a client's say, and how ours look. Pure.

use h2::Reason;

/// Length (3), type, flags, stream (4): section 4.1.
pub(super) const HEADER: usize = 9;

/// Of a frame's payload: what both sides take unless they say otherwise (section 4.2), and we do not.
pub(super) const LONGEST: usize = 16_384;

/// What a window may be at most (section 6.9.1).
pub(super) const WIDEST: i64 = 0x7fff_ffff;

/// What a window is at first.
pub(super) const WINDOW: u32 = 65_535;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

/// What is in front of a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A piece of a body, and its end. `flow`: what of the windows it takes, `unused`: what of that is padding; all of both with a
    /// frame's first piece.
    Data {
        stream: u32,
        flow: u32,
        unused: u32,
        bytes: &'a [u8],
        ends: bool,
    },
    /// The fields of a request, or trailers. `wrong`: it depends on itself.
    Fields {
        stream: u32,
        block: &'a [u8],
        ends: bool,
        wrong: bool,
    },
    /// Fields that go on in the next frame.
    Part,
    /// A stream is given up.
    Reset {
        stream: u32,
        reason: Reason,
    },
    /// Numbers and values.
    Settings(Settings<'a>),
    Settled,
    Ping([u8; 8]),
    Pong([u8; 8]),
    /// A window is opened; 0 is the connection's.
    Window {
        stream: u32,
        by: u32,
    },
    /// A frame that is wrong, of a stream that is none the less for others.
    Wrong {
        stream: u32,
        reason: Reason,
    },
    /// What is of no concern to us.
    Else,
}

/// The settings that we heed, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings<'a>(pub(super) &'a [u8]);

impl Header {
    pub(super) fn read(bytes: [u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff,
        }
    }

    pub(super) fn bytes(self) -> [u8; HEADER] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The block within HEADERS, and whether the stream depends on itself.
    pub(super) fn block<'a>(&self, mut payload: &'a [u8]) -> Result<(&'a [u8], bool), Reason> {
        let mut wrong = false;
        if self.has(PADDED) {
            let (padding, rest) = payload.split_first().ok_or(Reason::FRAME_SIZE_ERROR)?;
            let end = rest.len().checked_sub(usize::from(*padding)).ok_or(Reason::PROTOCOL_ERROR)?;
            payload = &rest[..end];
        }
        if self.has(WITH_PRIORITY) {
            let (priority, rest) = payload.split_first_chunk::<5>().ok_or(Reason::FRAME_SIZE_ERROR)?;
            wrong = depends_on(priority) == self.stream;
            payload = rest;
        }
        Ok((payload, wrong))
    }

    /// What a frame says that is whole, and neither body nor fields.
    pub(super) fn said<'a>(&self, payload: &'a [u8]) -> Result<Said<'a>, Reason> {
        let stream = self.stream;
        let of_connection = || if stream == 0 { Ok(()) } else { Err(Reason::PROTOCOL_ERROR) };
        let of_stream = || if stream != 0 { Ok(()) } else { Err(Reason::PROTOCOL_ERROR) };
        Ok(match self.kind {
            PRIORITY => {
                of_stream()?;
                match <&[u8; 5]>::try_from(payload) {
                    Err(_) => Said::Wrong { stream, reason: Reason::FRAME_SIZE_ERROR },
                    Ok(priority) if depends_on(priority) == stream => {
                        Said::Wrong { stream, reason: Reason::PROTOCOL_ERROR }
                    }
                    Ok(_) => Said::Else,
                }
            }
            RST_STREAM => {
                of_stream()?;
                Said::Reset { stream, reason: u32::from_be_bytes(sized(payload)?).into() }
            }
            SETTINGS => {
                of_connection()?;
                match self.has(ACK) {
                    true => sized(payload).map(|[]| Said::Settled)?,
                    false if !payload.len().is_multiple_of(6) => return Err(Reason::FRAME_SIZE_ERROR),
                    false => Said::Settings(Settings(payload)),
                }
            }
            PING => {
                of_connection()?;
                let data = sized(payload)?;
                if self.has(ACK) { Said::Pong(data) } else { Said::Ping(data) }
            }
            GOAWAY => {
                of_connection()?;
                if payload.len() < 8 { return Err(Reason::FRAME_SIZE_ERROR) } else { Said::Else }
            }
            WINDOW_UPDATE => match (u32::from_be_bytes(sized(payload)?) & 0x7fff_ffff, stream) {
                (0, 0) => return Err(Reason::PROTOCOL_ERROR),
                (0, stream) => Said::Wrong { stream, reason: Reason::PROTOCOL_ERROR },
                (by, stream) => Said::Window { stream, by },
            },
            // Only servers push. Fields go on only behind some.
            PUSH_PROMISE | CONTINUATION => return Err(Reason::PROTOCOL_ERROR),
            _ => Said::Else,
        })
    }
}

/// What a stream depends on; the highest bit says how.
fn depends_on(priority: &[u8; 5]) -> u32 {
    let [a, b, c, d, _] = *priority;
    u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
}

fn sized<const N: usize>(payload: &[u8]) -> Result<[u8; N], Reason> {
    payload.try_into().map_err(|_| Reason::FRAME_SIZE_ERROR)
}

impl Settings<'_> {
    /// What the windows of streams shall be at first (`SETTINGS_INITIAL_WINDOW_SIZE`), each time that it is said.
    pub(super) fn windows(self) -> impl Iterator<Item = Result<u32, Reason>> {
        self.0.chunks_exact(6).filter_map(|setting| {
            let &[a, b, c, d, e, f] = setting else { return None };
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                // SETTINGS_ENABLE_PUSH, SETTINGS_MAX_FRAME_SIZE: we neither push nor send larger frames than everyone takes.
                2 if value > 1 => Some(Err(Reason::PROTOCOL_ERROR)),
                5 if !(16_384..1 << 24).contains(&value) => Some(Err(Reason::PROTOCOL_ERROR)),
                4 if i64::from(value) > WIDEST => Some(Err(Reason::FLOW_CONTROL_ERROR)),
                4 => Some(Ok(value)),
                _ => None,
            }
        })
    }
}

/// A frame with a payload that is known.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[&[u8]], out: &mut Vec<u8>) {
    let length = payload.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&Header { length, kind, flags, stream }.bytes());
    payload.iter().for_each(|part| out.extend_from_slice(part));
}

/// Ours, in the beginning.
pub(super) fn settings(all: &[(u16, u32)], out: &mut Vec<u8>) {
    let all: Vec<[u8; 6]> = all
        .iter()
        .map(|(number, value)| {
            let ([a, b], [c, d, e, f]) = (number.to_be_bytes(), value.to_be_bytes());
            [a, b, c, d, e, f]
        })
        .collect();
    frame(SETTINGS, 0, 0, &[all.as_flattened()], out);
}

pub(super) fn settled(out: &mut Vec<u8>) {
    frame(SETTINGS, ACK, 0, &[], out);
}

pub(super) fn ping(flags: u8, data: [u8; 8], out: &mut Vec<u8>) {
    frame(PING, flags, 0, &[&data], out);
}

pub(super) fn go_away(last: u32, reason: Reason, out: &mut Vec<u8>) {
    frame(GOAWAY, 0, 0, &[&last.to_be_bytes(), &u32::from(reason).to_be_bytes()], out);
}

pub(super) fn reset(stream: u32, reason: Reason, out: &mut Vec<u8>) {
    frame(RST_STREAM, 0, stream, &[&u32::from(reason).to_be_bytes()], out);
}

pub(super) fn window(stream: u32, by: u32, out: &mut Vec<u8>) {
    frame(WINDOW_UPDATE, 0, stream, &[&by.to_be_bytes()], out);
}

/// Fields that `write` appends to what it is given, in as many frames as they need (section 6.10).
pub(super) fn fields(stream: u32, ends: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    write(out);
    let flags = if ends { END_STREAM } else { 0 };
    let length = out.len() - start - HEADER;
    let header = |length, kind, flags| Header { length, kind, flags, stream }.bytes();
    if length <= LONGEST {
        return out[start..start + HEADER].copy_from_slice(&header(length, HEADERS, flags | END_HEADERS));
    }
    out[start..start + HEADER].copy_from_slice(&header(LONGEST, HEADERS, flags));
    let more = out.split_off(start + HEADER + LONGEST);
    let pieces = more.chunks(LONGEST);
    let last = pieces.len() - 1;
    for (number, piece) in pieces.enumerate() {
        frame(CONTINUATION, if number == last { END_HEADERS } else { 0 }, stream, &[piece], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_need_more_frames_than_one() {
        for length in [0, 1, LONGEST, LONGEST + 1, 3 * LONGEST, 3 * LONGEST + 5] {
            let mut out = b"before".to_vec();
            fields(7, true, &mut out, |block| block.extend((0..length).map(|n| n as u8)));
            let (mut rest, mut block, mut frames) = (&out[6..], Vec::new(), Vec::new());
            while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
                let header = Header::read(*header);
                block.extend_from_slice(&behind[..header.length]);
                rest = &behind[header.length..];
                frames.push((header.kind, header.flags, header.stream));
            }
            assert!(block.iter().enumerate().all(|(n, byte)| *byte == n as u8) && block.len() == length);
            let count = length.div_ceil(LONGEST).max(1);
            let expected: Vec<_> = (0..count)
                .map(|n| {
                    let end = if n + 1 == count { END_HEADERS } else { 0 };
                    if n == 0 { (HEADERS, END_STREAM | end, 7) } else { (CONTINUATION, end, 7) }
                })
                .collect();
            assert_eq!(frames, expected, "{length}");
        }
    }
}
