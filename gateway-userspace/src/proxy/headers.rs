//! Which fields travel on, and which are ours to set. Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, VIA},
};

use super::{message::Headers, tls::Identity};

/// What a client over TLS is said to have used.
pub const HTTPS: HeaderValue = HeaderValue::from_static("https");
/// In plain text.
pub const HTTP: HeaderValue = HeaderValue::from_static("http");

const X_CLIENT_CERT_FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
const X_CLIENT_CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields of one connection only (RFC 9110, section 7.6.1, and those that older software still sends).
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that a client cannot take away by naming them in Connection: they are what the message is.
const KEPT: [HeaderName; 2] = [CONTENT_LENGTH, HOST];

/// Fields that have no meaning behind a body, or a dangerous one.
const NO_TRAILERS: [HeaderName; 16] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::RANGE,
    header::SET_COOKIE,
    header::TRAILER,
    VIA,
    header::WWW_AUTHENTICATE,
];

/// What the upstream is told about the client.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its address.
    pub address: &'a HeaderValue,
    /// What we add to Via.
    pub via: &'a Via,
    /// [`HTTPS`] or [`HTTP`].
    pub scheme: &'a HeaderValue,
    /// The certificate that it has shown.
    pub certificate: Option<&'a Identity>,
}

/// Our Via field, RFC 9110, section 7.6.3, by the version in which a request came. It names the instance, not the product.
#[derive(Debug, Clone)]
pub struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// `None` if `instance` cannot stand in a field.
    pub fn new(instance: &str) -> Option<Self> {
        let value = |version: &str| HeaderValue::from_str(&format!("{version} {instance}")).ok();
        Some(Self { http10: value("1.0")?, http11: value("1.1")?, http2: value("2.0")? })
    }
}

/// Makes a client's request head one for the upstream. `host` is what the client asked for, as it wrote it.
pub fn to_upstream(headers: &mut Headers, host: HeaderValue, client: Client<'_>, received: Version) {
    let mut takes_trailers = false;
    drop_fields(headers, |name, value| {
        // Whether the client reads what comes behind an answer's body (RFC 9110, section 10.1.4).
        takes_trailers |= *name == TE && has_member(value.as_bytes(), b"trailers");
        // The body is asked for, and so "100 Continue" sent, by whoever reads it once the upstream takes the request.
        is_of_client(name.as_str()) || *name == EXPECT
    });
    if takes_trailers {
        headers.append(TE, HeaderValue::from_static("trailers"));
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
    join_cookies(headers);
    let via = match received {
        Version::HTTP_10 => &client.via.http10,
        Version::HTTP_2 => &client.via.http2,
        _ => &client.via.http11,
    };
    // Of those that follow only Host may be there: the others were not ours.
    headers.append(VIA, via.clone());
    headers.append(X_FORWARDED_FOR, client.address.clone());
    if let Some(certificate) = client.certificate {
        headers.append(X_CLIENT_CERT_SUBJECT, certificate.subject.clone());
        headers.append(X_CLIENT_CERT_FINGERPRINT, certificate.fingerprint.clone());
    }
    headers.append(X_FORWARDED_PROTO, client.scheme.clone());
    headers.append(X_FORWARDED_HOST, host.clone());
    headers.insert(HOST, host);
}

/// Whether a field that is a list (RFC 9110, section 5.6.1), in however many lines, has this member, in whatever case.
pub fn lists(headers: &Headers, name: &HeaderName, member: &[u8]) -> bool {
    headers.get_all(name).any(|value| has_member(value.as_bytes(), member))
}

/// The same of one line's value.
pub fn has_member(value: &[u8], member: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(member))
}

/// Leaves of trailers, in both directions, what may be one: nothing that says how a message is read, whom it is for or who sent it
/// (RFC 9110, section 6.5.1), for whoever adds trailers to the head would take it for that.
pub fn trailers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers.get_all(CONNECTION).iter().flat_map(named).collect();
    let is_none =
        |name: &HeaderName| is_of_client(name.as_str()) || NO_TRAILERS.contains(name) || named.contains(name);
    let dropped: Vec<HeaderName> = headers.keys().filter(|name| is_none(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// RFC 9113, section 8.2.3: HTTP/2 may send a cookie a field; in HTTP/1.1 there is one field for all.
fn join_cookies(headers: &mut Headers) {
    if headers.get_all(&COOKIE).nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(&COOKIE).map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Makes an upstream's answer one for the client.
pub fn to_client(headers: &mut Headers) {
    drop_fields(headers, |name, _| is_hop_by_hop(name.as_str()) || *name == header::PROXY_AUTHENTICATE);
}

/// Drops fields, in one walk, and those that Connection names, which hardly ever names any.
fn drop_fields(headers: &mut Headers, mut is_dropped: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
    let mut all_named = Vec::new();
    headers.retain(|name, value| {
        if *name == CONNECTION {
            all_named.extend(named(value));
        }
        !is_dropped(name, value)
    });
    if !all_named.is_empty() {
        headers.retain(|name, _| !all_named.contains(name));
    }
}

/// The fields that Connection names in this line.
fn named(connection: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    // What nearly all of them say names no field, or one that is dropped anyway.
    const USUAL: [&[u8]; 5] = [b"keep-alive", b"close", b"upgrade", b"te", b""];
    let names = connection.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
    names
        .filter(|name| !USUAL.iter().any(|usual| name.eq_ignore_ascii_case(usual)))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !KEPT.contains(name))
}

fn is_hop_by_hop(name: &str) -> bool {
    // By length first: nearly all names are done with that.
    const LENGTHS: u32 = lengths(&[2, 7, 10, 16, 17, 19]);
    has_length(name, LENGTHS) && HOP_BY_HOP.contains(&name)
}

/// What is of the client's connection, or what it says about itself or about proxies before us, which is no better than its word.
/// Upstreams that map `-` to `_` (CGI, WSGI) would take `X_Forwarded_For` for ours, and `Content_Length` for the length.
fn is_of_client(name: &str) -> bool {
    // RFC 9440 has the last two.
    const UNTRUSTED: [&str; 4] = ["forwarded", "x-real-ip", "client-cert", "client-cert-chain"];
    const BEGINNINGS: [&str; 2] = ["x-forwarded", "x-client-cert"];
    const LENGTHS: u32 = lengths(&[2, 7, 9, 10, 11, 14, 16, 17, 19]);
    let begins = |with: &&str| name.get(..with.len()).is_some_and(|begin| is_alike(begin, with));
    if name.starts_with("x") && BEGINNINGS.iter().any(begins) {
        return true;
    }
    let is = |other: &&str| is_alike(name, other);
    has_length(name, LENGTHS)
        && (UNTRUSTED.iter().any(is) || HOP_BY_HOP.iter().any(is) || name == "content_length")
}

/// Numbers below 32 as a set.
const fn lengths(all: &[u32]) -> u32 {
    let (mut set, mut at) = (0, 0);
    while at < all.len() {
        set |= 1 << all[at];
        at += 1;
    }
    set
}

fn has_length(name: &str, lengths: u32) -> bool {
    name.len() < 32 && lengths >> name.len() & 1 == 1
}

/// Equal if underscore is hyphen. Names of fields are lower case.
fn is_alike(name: &str, other: &str) -> bool {
    name.len() == other.len()
        && name.bytes().zip(other.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&str, &str)]) -> Headers {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        list(fields).into()
    }

    fn forwarded(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = list(fields);
        let (address, via) = (HeaderValue::from_static("192.0.2.1"), Via::new("gw-1").unwrap());
        let client = Client { address: &address, via: &via, scheme: &HTTPS, certificate: None };
        to_upstream(&mut headers, HeaderValue::from_static("api.contoso.com"), client, Version::HTTP_11);
        let ours = [
            "host: api.contoso.com",
            "via: 1.1 gw-1",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-host: api.contoso.com",
            "x-forwarded-proto: https",
        ];
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        for line in ours {
            let before = all.len();
            all.retain(|other| other != line);
            assert_eq!(all.len(), before - 1, "{line} once in {headers:?}");
        }
        all.sort();
        all
    }

    #[test]
    fn every_hop_by_hop_field_is_one() {
        assert!(HOP_BY_HOP.iter().all(|name| is_hop_by_hop(name) && is_of_client(name)));
        assert!(
            ![HOST, VIA, CONTENT_LENGTH, X_FORWARDED_PROTO].iter().any(|name| is_hop_by_hop(name.as_str()))
        );
    }

    #[test]
    fn hop_by_hop_and_named_fields_stay_here() {
        let fields = [
            ("connection", "close, X-Secret"),
            ("connection", "x-other,content-length, Host"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "5"),
            ("proxy-connection", "x"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("proxy-authorization", "x"),
            ("accept", "a"),
            ("content-length", "3"),
            ("authorization", "b"),
        ];
        assert_eq!(
            forwarded(&fields),
            ["accept: a", "authorization: b", "connection: te", "content-length: 3", "te: trailers"]
        );
        assert!(forwarded(&[("te", "gzip;q=0.5, deflate")]).is_empty());
    }

    #[test]
    fn untrusted_fields_and_their_look_alikes_are_replaced() {
        let fields = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "5.6.7.8"),
            ("x_forwarded_for", "x"),
            ("x-forwarded_proto", "x"),
            ("x-forwarded-server", "x"),
            ("x-forwarded", "x"),
            ("forwarded", "for=1"),
            ("x-real-ip", "x"),
            ("x_real_ip", "x"),
            ("x-client-cert-subject", "CN=root"),
            ("x_client-cert_fingerprint", "x"),
            ("x-client-cert", "x"),
            ("client-cert", "x"),
            ("client_cert_chain", "x"),
            ("content_length", "9"),
            ("transfer_encoding", "chunked"),
            ("x_mine", "kept"),
            ("via", "1.1 other"),
        ];
        assert_eq!(forwarded(&fields), ["via: 1.1 other", "x_mine: kept"]);
    }

    #[test]
    fn trailers_say_nothing_of_who_sent_a_message_or_how_it_is_read() {
        let mut fields = map(&[
            ("grpc-status", "0"),
            ("x-checksum", "1"),
            ("x-forwarded-for", "6.6.6.6"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("host", "x"),
            ("set-cookie", "a=b"),
            ("authorization", "x"),
        ]);
        trailers(&mut fields);
        assert_eq!(fields, map(&[("grpc-status", "0"), ("x-checksum", "1")]));
    }

    #[test]
    fn cookies_in_crumbs_are_one_field() {
        let fields = [("cookie", "a=b"), ("accept", "a"), ("cookie", "c=d"), ("cookie", "e=f")];
        assert_eq!(forwarded(&fields), ["accept: a", "cookie: a=b; c=d; e=f"]);
        assert_eq!(forwarded(&fields[..2]), ["accept: a", "cookie: a=b"]);
        assert_eq!(forwarded(&[&fields[..], &[("connection", "cookie")]].concat()), ["accept: a"]);
    }

    #[test]
    fn answers_lose_their_hop_by_hop_fields() {
        let mut headers = list(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("server", "s"),
            ("trailer", "t"),
        ]);
        to_client(&mut headers);
        assert_eq!(headers, list(&[("server", "s"), ("trailer", "t")]));
    }
}
