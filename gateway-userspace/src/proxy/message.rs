//! Requests and answers on their way through. Pure.
//!
//! Fields are a list, not a map: a message has a dozen of them, and to look at so many costs less than to hash one name. Limits bound
//! how many there may be ([`Limits::fields`](super::limits::Limits::fields)). The order in which they came is kept.

use std::{borrow::Borrow, io::Write as _};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::model::FieldChanges;

/// The fields of a message, in their order (RFC 9110, section 5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// A request's head, or an answer's, with what has its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<H, B> {
    /// All but the body.
    pub head: H,
    /// What has the body.
    pub body: B,
}

/// A request.
pub type Request<B> = Message<RequestHead, B>;

/// An answer.
pub type Response<B> = Message<ResponseHead, B>;

/// What is in front of a request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// What is to be done …
    pub method: Method,
    /// … with what.
    pub uri: Uri,
    /// By which it came, or goes on.
    pub version: Version,
    /// All fields.
    pub headers: Headers,
    /// What a tunnel is for that CONNECT asks for (RFC 8441, section 4).
    pub protocol: Option<Protocol>,
}

/// What is spoken in a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6455.
    WebSocket,
    /// What is not spoken here.
    Other,
}

impl Protocol {
    /// By its name (RFC 8441, section 5.1).
    pub fn of(name: &[u8]) -> Self {
        if name == b"websocket" { Self::WebSocket } else { Self::Other }
    }
}

/// What is in front of an answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// What came of the request.
    pub status: StatusCode,
    /// The same for people, where it is not what everybody says.
    pub reason: Option<Bytes>,
    /// All fields.
    pub headers: Headers,
}

impl Headers {
    /// For how many there is room at first: more than most messages have, and what malloc still keeps at hand for each thread (1,032
    /// bytes).
    pub const ROOM: usize = 14;

    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// None, with room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Names in their order, as often as they are there.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Values in their order.
    pub fn values(&self) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The first one of that name.
    pub fn get(&self, name: impl Borrow<HeaderName>) -> Option<&HeaderValue> {
        let name = name.borrow();
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// All of that name.
    pub fn get_all<'h>(&'h self, name: &'h HeaderName) -> impl DoubleEndedIterator<Item = &'h HeaderValue> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value)
    }

    /// The only one of that name; none if there are more.
    pub fn only(&self, name: impl Borrow<HeaderName>) -> Option<&HeaderValue> {
        let name = name.borrow();
        let mut all = self.0.iter().filter(|(other, _)| other == name);
        all.next().filter(|_| all.next().is_none()).map(|(_, value)| value)
    }

    /// There is one of that name.
    pub fn contains(&self, name: impl Borrow<HeaderName>) -> bool {
        self.get(name).is_some()
    }

    /// One more.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// The only one of that name from here on, in the first one's place.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        let Some(place) = self.0.iter().position(|(other, _)| *other == name) else {
            return self.append(name, value);
        };
        self.0[place].1 = value;
        if self.0[place + 1..].iter().any(|(other, _)| *other == name) {
            let mut at = 0;
            self.0.retain(|(other, _)| {
                at += 1;
                at <= place + 1 || *other != name
            });
        }
    }

    /// Unless one of that name is there.
    pub fn insert_if_absent(&mut self, name: HeaderName, value: impl FnOnce() -> HeaderValue) {
        if !self.contains(&name) {
            self.append(name, value());
        }
    }

    /// All of that name go; the first one's value.
    pub fn remove(&mut self, name: impl Borrow<HeaderName>) -> Option<HeaderValue> {
        let name = name.borrow();
        let place = self.0.iter().position(|(other, _)| other == name)?;
        let (_, value) = self.0.remove(place);
        self.0.retain(|(other, _)| other != name);
        Some(value)
    }

    /// As a route says.
    pub fn change(&mut self, changes: &FieldChanges) {
        for name in &changes.remove {
            self.remove(name);
        }
        for (name, value) in &changes.set {
            self.insert(name.clone(), value.clone());
        }
    }

    /// Only those stay for which `stays` is true.
    pub fn retain(&mut self, mut stays: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
        self.0.retain(|(name, value)| stays(name, value));
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl From<Headers> for HeaderMap {
    fn from(headers: Headers) -> Self {
        let mut map = Self::with_capacity(headers.len());
        for (name, value) in headers.0 {
            map.append(name, value);
        }
        map
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        let mut headers = Self::with_capacity(Self::ROOM.max(map.len()));
        let mut last = None;
        for (name, value) in map {
            // A name is told once for all its values.
            last = name.or(last);
            if let Some(name) = &last {
                headers.append(name.clone(), value);
            }
        }
        headers
    }
}

/// For how much of a head that is written there is room at first: more than most have, and what malloc still keeps at hand.
pub const HEAD_ROOM: usize = 1024;

/// Appends a field as HTTP/1.1 has it (RFC 9112, section 5).
pub fn write_field(text: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    text.extend_from_slice(name.as_str().as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// Appends what is in front of so much of a body in chunks (RFC 9112, section 7.1). Behind it is a line's end.
pub fn write_chunk_size(text: &mut Vec<u8>, size: usize) {
    // A Vec takes it all.
    let _written = write!(text, "{size:x}\r\n");
}

impl<H, B> Message<H, B> {
    /// The same with another body.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> Message<H, C> {
        Message { head: self.head, body: change(self.body) }
    }
}

impl RequestHead {
    /// Without fields, of HTTP/1.1.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, version: Version::HTTP_11, headers: Headers::new(), protocol: None }
    }
}

impl ResponseHead {
    /// Without fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, reason: None, headers: Headers::new() }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, COOKIE, HOST, VIA};
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> Headers {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn fields_keep_their_order_and_their_number() {
        let mut all = headers(&[(COOKIE, "a"), (HOST, "b"), (COOKIE, "c"), (VIA, "d")]);
        assert_eq!(all.get_all(&COOKIE).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(
            (all.get(COOKIE).unwrap(), all.only(&COOKIE), all.only(&HOST).unwrap()),
            (&"a".parse().unwrap(), None, &"b".parse().unwrap())
        );
        all.insert(COOKIE, HeaderValue::from_static("e"));
        assert_eq!(all, headers(&[(COOKIE, "e"), (HOST, "b"), (VIA, "d")]));
        all.insert_if_absent(HOST, || unreachable!("it is there"));
        all.insert_if_absent(ACCEPT, || HeaderValue::from_static("f"));
        assert_eq!(all.remove(HOST).unwrap(), "b");
        assert_eq!((all.remove(HOST), all), (None, headers(&[(COOKIE, "e"), (VIA, "d"), (ACCEPT, "f")])));
    }

    #[test]
    fn all_of_a_name_is_replaced_or_taken_away() {
        let (team, server) = (HeaderName::from_static("x-team"), HeaderName::from_static("server"));
        let changes = FieldChanges {
            set: vec![(team.clone(), HeaderValue::from_static("orders"))],
            remove: vec![server.clone()],
        };
        let mut all = headers(&[
            (team.clone(), "a"),
            (VIA, "v"),
            (team.clone(), "b"),
            (server.clone(), "a"),
            (server, "b"),
        ]);
        all.change(&changes);
        assert_eq!(all, headers(&[(team, "orders"), (VIA, "v")]));
    }

    proptest! {
        /// What is there by name does not differ from what a map has.
        #[test]
        fn a_map_and_back(steps in prop::collection::vec((0..4_usize, 0..3_usize, "[a-c]"), 0..20)) {
            let names = [COOKIE, HOST, HeaderName::from_static("x-a")];
            let (mut list, mut map) = (Headers::new(), HeaderMap::new());
            for (step, name, value) in steps {
                let (name, value) = (names[name].clone(), HeaderValue::from_str(&value).unwrap());
                match step {
                    0 => prop_assert_eq!(list.remove(&name), map.remove(&name)),
                    1 => {
                        list.insert(name.clone(), value.clone());
                        map.insert(name, value);
                    }
                    _ => {
                        list.append(name.clone(), value.clone());
                        map.append(name, value);
                    }
                }
            }
            prop_assert_eq!(list.len(), map.len());
            for name in &names {
                let of_map: Vec<_> = map.get_all(name).iter().collect();
                prop_assert_eq!(list.get_all(name).collect::<Vec<_>>(), of_map);
            }
            prop_assert_eq!(HeaderMap::from(list), map.clone());
            prop_assert_eq!(HeaderMap::from(Headers::from(map.clone())), map);
        }
    }
}
