//! Where in a stream of requests we are. Pure.

use super::{
    super::limits::Limits,
    chunked::{Broken, Chunked},
    head::{Body, Head},
    refusal::Refusal,
};

/// What the next byte belongs to.
#[derive(Debug)]
pub(super) enum Framing {
    Head(Head),
    Length(u64),
    Chunked(Chunked),
    /// Behind a head that asks for another protocol: never read as a request.
    Upgrade,
    /// Behind a refused head: never read as a request.
    Refused,
    /// In a body whose end cannot be found.
    Broken,
}

/// What became of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// So many may pass.
    pub(super) passed: usize,
    /// Why the head behind them may not.
    pub(super) refusal: Option<Refusal>,
}

impl Framing {
    /// In front of a head.
    pub(super) fn new() -> Self {
        Self::Head(Head::default())
    }

    /// Checks `bytes`, which begin where this stands. What is left over belongs to a head that is not whole yet, and is
    /// to be shown again with what follows, or to nothing at all. Nothing is changed but names of Upgrade fields.
    pub(super) fn check(&mut self, bytes: &mut [u8], limits: &Limits) -> Checked {
        let mut passed = 0;
        let mut refusal = None;
        while passed < bytes.len() {
            let rest = &mut bytes[passed..];
            match self {
                Self::Head(head) => match head.advance(rest, limits) {
                    Ok(None) => break,
                    Ok(Some(complete)) => {
                        passed += complete.length;
                        *self = match complete.body {
                            Body::Length(0) => Self::new(),
                            Body::Length(length) => Self::Length(length),
                            Body::Chunked => Self::Chunked(Chunked::new()),
                            Body::Upgrade => Self::Upgrade,
                        };
                    }
                    Err(reason) => {
                        refusal = Some(reason);
                        *self = Self::Refused;
                    }
                },
                Self::Length(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    passed += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        *self = Self::new();
                    }
                }
                Self::Chunked(body) => {
                    let (taken, outcome) = body.advance(rest, limits);
                    passed += taken;
                    if let Err(Broken) = outcome {
                        *self = Self::Broken;
                    } else if body.is_end() {
                        *self = Self::new();
                    }
                }
                Self::Upgrade | Self::Refused | Self::Broken => break,
            }
        }
        Checked { passed, refusal }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What passes of a stream that comes in pieces, as the gate does it: what is left over is shown again.
    fn pass(pieces: &[&[u8]]) -> (Vec<u8>, Option<Refusal>, bool) {
        let limits = Limits::default();
        let (mut framing, mut held, mut passed) = (Framing::new(), Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let checked = framing.check(&mut held, &limits);
            passed.extend(held.drain(..checked.passed));
            if checked.refusal.is_some() || matches!(framing, Framing::Broken) {
                return (passed, checked.refusal, true);
            }
        }
        (passed, None, false)
    }

    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
            Just("\r\nGET / HTTP/1.0\r\n\r\n".to_owned()),
            Just("GET / HTTP/1.1\nHost: a\n\n".to_owned()),
            Just("GET / HTTP/1.1\r\nUpgrade: a\r\n\r\n".to_owned()),
            Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
            Just("3\r\nabc\r\n0\r\nx: y\r\n\r\n".to_owned()),
            (0_usize..30)
                .prop_map(|n| format!("POST / HTTP/1.1\r\nContent-Length: {n}\r\n\r\n{}", "x".repeat(n))),
            "[ -~\r\n]{0,12}",
        ]
    }

    #[test]
    fn what_passes_in_front_of_a_fault_does_not_depend_on_the_cut() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}ag");
        assert_eq!(pass(&[whole.as_bytes()]), pass(&[head.as_bytes(), b"a", b"g"]));
    }

    #[test]
    fn upgrade_fields_lose_their_name_however_they_are_cut() {
        let stream = "GET / HTTP/1.1\r\nUPGRADE: a\r\nX-Upgrade: b\r\nupgrade:c\r\n\r\n";
        let blank = "GET / HTTP/1.1\r\nupgrad_: a\r\nX-Upgrade: b\r\nupgrad_:c\r\n\r\n";
        for cut in 1..stream.len() {
            let pieces: Vec<_> = stream.as_bytes().chunks(cut).collect();
            assert_eq!(pass(&pieces).0, blank.as_bytes());
        }
    }

    proptest! {
        /// However a stream is cut, the same passes and the same is refused.
        #[test]
        fn cuts_do_not_matter(parts in prop::collection::vec(part(), 0..6), cut in 1_usize..9) {
            let stream = parts.concat().into_bytes();
            let pieces: Vec<_> = stream.chunks(cut).collect();
            prop_assert_eq!(pass(&pieces), pass(&[&stream]));
        }

        /// What passes is a beginning of what came: nothing is made up, and changed only what the test above shows.
        #[test]
        fn only_a_beginning_passes(stream in prop::collection::vec(any::<u8>(), 0..200)) {
            let (passed, _, _) = pass(&[&stream]);
            prop_assert!(stream.starts_with(&passed));
        }
    }
}
