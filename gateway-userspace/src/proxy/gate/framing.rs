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
    /// to be shown again with what follows, or to nothing at all.
    pub(super) fn check(&mut self, bytes: &[u8], limits: &Limits) -> Checked {
        let mut passed = 0;
        let mut refusal = None;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            match self {
                Self::Head(head) => match head.advance(rest, limits) {
                    Ok(None) => break,
                    Ok(Some(complete)) => {
                        passed += complete.length;
                        *self = match complete.body {
                            Body::Length(0) => Self::new(),
                            Body::Length(length) => Self::Length(length),
                            Body::Chunked => Self::Chunked(Chunked::new()),
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
                Self::Chunked(body) => match body.advance(rest, limits) {
                    Ok(taken) => {
                        passed += taken;
                        if body.is_end() {
                            *self = Self::new();
                        }
                    }
                    Err(Broken) => *self = Self::Broken,
                },
                Self::Refused | Self::Broken => break,
            }
        }
        Checked { passed, refusal }
    }
}
