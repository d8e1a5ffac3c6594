//! A field, read once and remembered as what it is.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::proxy::{message::Protocol, value};

/// What the size of each field is more than its bytes (RFC 7541, section 4.1).
const OVERHEAD: usize = 32;

/// A field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Field {
    pub(in super::super) name: Name,
    pub(in super::super) value: Value,
    /// In the sense of RFC 7541, section 4.1.
    pub(in super::super) size: usize,
}

/// What it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Plain(HeaderName),
    /// No request has such a field. How long it is.
    Wrong(usize),
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Value {
    Method(Method),
    Scheme(Scheme),
    Authority(Authority),
    Path(PathAndQuery),
    Protocol(Protocol),
    Plain(HeaderValue),
    /// No field of the name says such a thing.
    Wrong,
}

impl Field {
    pub(in super::super) fn new(name: Name, value: &[u8]) -> Self {
        let size = name.len() + value.len() + OVERHEAD;
        let value = Value::of(&name, value).unwrap_or(Value::Wrong);
        Self { name, value, size }
    }
}

impl Name {
    pub(in super::super) fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            // Those of answers, and unknown ones, are no names because of the colon.
            name => HeaderName::from_lowercase(name).map_or(Self::Wrong(name.len()), Self::Plain),
        }
    }

    /// In bytes.
    fn len(&self) -> usize {
        match self {
            Self::Method | Self::Scheme => 7,
            Self::Authority => 10,
            Self::Path => 5,
            Self::Protocol => 9,
            Self::Plain(name) => name.as_str().len(),
            Self::Wrong(length) => *length,
        }
    }
}

impl Value {
    fn of(name: &Name, value: &[u8]) -> Option<Self> {
        let copy = || Bytes::copy_from_slice(value);
        match name {
            Name::Method => Method::from_bytes(value).map(Self::Method).ok(),
            Name::Scheme => Scheme::try_from(value).map(Self::Scheme).ok(),
            Name::Authority => Authority::from_maybe_shared(copy()).map(Self::Authority).ok(),
            Name::Path if value.is_empty() => None,
            Name::Path => PathAndQuery::from_maybe_shared(copy()).map(Self::Path).ok(),
            Name::Protocol => Some(Self::Protocol(Protocol::of(value))),
            Name::Plain(_) => value::value(copy()).map(Self::Plain),
            Name::Wrong(_) => None,
        }
    }
}
