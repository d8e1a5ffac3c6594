//! Identifiers of a request: `traceparent` (W3C Trace Context, level 1) is kept or begun, and `X-Request-Id` likewise. Pure.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::proxy::{message::Headers, upstream::mixed, value::value};

/// The identifier that logs and people go by.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static OURS: [HeaderName; 3] = [X_REQUEST_ID, TRACEPARENT, TRACESTATE];

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;
/// The trace's identifier in it.
const TRACE_ID: std::ops::Range<usize> = 3..35;
/// The longest identifier of a client's that is kept.
const LONGEST: usize = 64;

/// Where new identifiers come from: no two alike, of whatever process.
#[derive(Debug)]
pub struct Source {
    /// Where each of the numbers begins, at random.
    keys: [u64; 3],
    turn: AtomicU64,
}

impl Default for Source {
    fn default() -> Self {
        Self { keys: std::array::from_fn(|_| RandomState::new().hash_one(0)), turn: AtomicU64::new(0) }
    }
}

impl Source {
    /// Three numbers, of which none is zero, that stands for "none" in Trace Context. No two of a source's are alike.
    fn next(&self) -> [u64; 3] {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.keys.map(|key| mixed(key.wrapping_add(turn)).max(1))
    }
}

/// Gives a request's head both fields where they are not there or cannot be right, and says the request's identifier: the client's
/// own if it may stand in a log, else the trace's.
pub fn identify(headers: &mut Headers, source: &Source) -> HeaderValue {
    // Most clients send none of them.
    if !headers.names().any(|name| OURS.contains(name)) {
        let (trace, id) = begun(source);
        headers.append(TRACEPARENT, trace);
        headers.append(X_REQUEST_ID, id.clone());
        return id;
    }
    let own = headers.only(X_REQUEST_ID).filter(|value| is_request_id(value.as_bytes())).cloned();
    let id = match headers.only(TRACEPARENT).filter(|value| is_traceparent(value.as_bytes())) {
        Some(trace) => own.unwrap_or_else(|| id_of(trace)),
        None => {
            let (trace, id) = begun(source);
            headers.insert(TRACEPARENT, trace);
            // It belongs to what was not to be understood.
            headers.remove(TRACESTATE);
            own.unwrap_or(id)
        }
    };
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

/// The trace's identifier, as a request's.
fn id_of(trace: &HeaderValue) -> HeaderValue {
    let id = trace.as_bytes().get(TRACE_ID).and_then(|id| HeaderValue::from_bytes(id).ok());
    id.unwrap_or_else(|| trace.clone())
}

fn is_request_id(value: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+/=".contains(byte);
    !value.is_empty() && value.len() <= LONGEST && value.iter().all(fits)
}

/// Section 3.2. Later versions may be longer; `ff` is none.
fn is_traceparent(value: &[u8]) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        value[range].iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
    };
    let named = |range: std::ops::Range<usize>| value[range].iter().any(|byte| *byte != b'0');
    let longer = value.len() > LENGTH && !value.starts_with(b"00") && value[LENGTH] == b'-';
    (value.len() == LENGTH || longer)
        && [2, 35, 52].iter().all(|at| value[*at] == b'-')
        && [0..2, 3..35, 36..52, 53..55].into_iter().all(digits)
        && !value.starts_with(b"ff")
        && named(3..35)
        && named(36..52)
}

/// A new trace, and its identifier. Not sampled: whether a trace is recorded is for those to decide who record it.
fn begun(source: &Source) -> (HeaderValue, HeaderValue) {
    let mut text = *b"00-________________________________-________________-00";
    let places = [TRACE_ID.start, TRACE_ID.start + 16, TRACE_ID.end + 1];
    for (at, number) in places.into_iter().zip(source.next()) {
        text[at..at + 16].copy_from_slice(&digits(number));
    }
    let text = Bytes::copy_from_slice(&text);
    // Digits and hyphens.
    let value = |text| value(text).unwrap_or(HeaderValue::from_static(""));
    (value(text.clone()), value(text.slice(TRACE_ID)))
}

/// Hexadecimal, eight digits at once: this is done for every request, and formatting costs twenty times as much.
fn digits(number: u64) -> [u8; 16] {
    let (high, low) = (eight((number >> 32) as u32), eight(number as u32));
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// The digits of a number, the first one in the highest byte.
fn eight(number: u32) -> u64 {
    let spread = u64::from(number);
    let spread = (spread << 16 | spread) & 0x0000_ffff_0000_ffff;
    let spread = (spread << 8 | spread) & 0x00ff_00ff_00ff_00ff;
    let each = (spread << 4 | spread) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (each + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    each + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'9' - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn list(fields: &[(&'static str, &str)]) -> Headers {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn digits_are_those_of_formatting() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(digits(number), *format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn what_is_right_is_kept() {
        let mut headers = list(&[("traceparent", GOOD), ("tracestate", "a=b"), ("x-request-id", "a-1")]);
        let before = headers.clone();
        assert_eq!(identify(&mut headers, &Source::default()), "a-1");
        assert_eq!(headers, before);
    }

    #[test]
    fn without_one_the_trace_is_the_requests_identifier() {
        let mut headers = list(&[("traceparent", GOOD)]);
        assert_eq!(identify(&mut headers, &Source::default()), GOOD[3..35]);
        let source = Source::default();
        let (mut one, mut other) = (Headers::new(), Headers::new());
        let (first, second) = (identify(&mut one, &source), identify(&mut other, &source));
        assert_ne!(first, second);
        for (headers, id) in [(one, first), (other, second)] {
            let trace = headers.only(&TRACEPARENT).unwrap().to_str().unwrap();
            assert!(is_traceparent(trace.as_bytes()), "{trace}");
            assert_eq!((&trace[3..35], headers.only(&X_REQUEST_ID).unwrap()), (id.to_str().unwrap(), &id));
        }
    }

    #[test]
    fn what_cannot_be_right_is_begun_anew() {
        let long = "a".repeat(LONGEST + 1);
        for (name, value) in [
            ("x-request-id", ""),
            ("x-request-id", "a b"),
            ("x-request-id", "\"a"),
            ("x-request-id", long.as_str()),
            ("traceparent", ""),
            ("traceparent", &GOOD[..54]),
            ("traceparent", &GOOD.replace('4', "G")),
            ("traceparent", &GOOD.replace('f', "F")),
            ("traceparent", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"),
        ] {
            let mut headers = list(&[(name, value), ("tracestate", "a=b")]);
            identify(&mut headers, &Source::default());
            let now = headers.only(HeaderName::from_static(name)).unwrap().clone();
            assert_ne!(now, value, "{name}");
            assert!(name != "traceparent" || !headers.contains(TRACESTATE), "{value}");
        }
        let mut twice = list(&[("traceparent", GOOD), ("traceparent", GOOD)]);
        identify(&mut twice, &Source::default());
        assert_eq!(twice.get_all(&TRACEPARENT).count(), 1);
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(identify(&mut list(&[("traceparent", later)]), &Source::default()), later[3..35]);
    }
}
