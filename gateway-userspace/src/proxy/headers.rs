//! Which fields travel on, and which are ours to set. Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE, VIA},
};

use super::{gate::NO_UPGRADE, tls::Identity};

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
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static(NO_UPGRADE),
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
pub fn to_upstream(headers: &mut HeaderMap, host: HeaderValue, client: Client<'_>, received: Version) {
    let trailers = headers.contains_key(TE) && takes_trailers(headers);
    drop_hop_by_hop(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    drop_untrusted(headers);
    // The body is asked for, and so "100 Continue" sent, by hyper once the upstream takes the request.
    headers.remove(EXPECT);
    join_cookies(headers);
    let via = match received {
        Version::HTTP_10 => &client.via.http10,
        Version::HTTP_2 => &client.via.http2,
        _ => &client.via.http11,
    };
    headers.append(VIA, via.clone());
    headers.insert(X_FORWARDED_FOR, client.address.clone());
    if let Some(certificate) = client.certificate {
        headers.insert(X_CLIENT_CERT_SUBJECT, certificate.subject.clone());
        headers.insert(X_CLIENT_CERT_FINGERPRINT, certificate.fingerprint.clone());
    }
    headers.insert(X_FORWARDED_PROTO, client.scheme.clone());
    headers.insert(X_FORWARDED_HOST, host.clone());
    headers.insert(HOST, host);
}

/// Whether the client reads what comes behind an answer's body (RFC 9110, section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    lists(headers, &TE, b"trailers")
}

/// Whether a field that is a list (RFC 9110, section 5.6.1), in however many lines, has this member, in whatever case.
pub fn lists(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| has_member(value.as_bytes(), member))
}

/// The same of one line's value.
pub fn has_member(value: &[u8], member: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(member))
}

/// Leaves of trailers, in both directions, what may be one: nothing that says how a message is read, whom it is for or who sent it
/// (RFC 9110, section 6.5.1), for whoever adds trailers to the head would take it for that.
pub fn trailers(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    drop_untrusted(headers);
    for name in &NO_TRAILERS {
        headers.remove(name);
    }
}

/// RFC 9113, section 8.2.3: HTTP/2 may send a cookie a field; in HTTP/1.1 there is one field for all.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.by_ref().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Makes an upstream's answer one for the client.
pub fn to_client(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    headers.remove(header::PROXY_AUTHENTICATE);
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // One walk over what is there, which is seldom any of them, costs less than to look for each.
    let dropped: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if dropped.contains(&CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b','))
            .map(<[u8]>::trim_ascii)
            // What nearly all of them say names no field, or one that is dropped anyway.
            .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"))
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .filter(|name| !KEPT.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in dropped {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    // By length first: nearly all names are done with that.
    const LENGTHS: u32 = 1 << 2 | 1 << 7 | 1 << 10 | 1 << 16 | 1 << 17 | 1 << 19;
    let length = name.as_str().len();
    length < 32 && LENGTHS >> length & 1 == 1 && HOP_BY_HOP.contains(name)
}

/// What a client says about itself or about proxies before us is no better than its word. Upstreams that map `-` to `_` (CGI,
/// WSGI) would take `X_Forwarded_For` for ours, and `Content_Length` for the length.
fn drop_untrusted(headers: &mut HeaderMap) {
    let untrusted: Vec<HeaderName> =
        headers.keys().filter(|name| is_untrusted(name.as_str())).cloned().collect();
    for name in untrusted {
        headers.remove(name);
    }
}

fn is_untrusted(name: &str) -> bool {
    let is = |other: &str| is_alike(name, other);
    let begins = |with: &str| name.get(..with.len()).is_some_and(|begin| is_alike(begin, with));
    if begins("x-forwarded") || begins("x-client-cert") {
        return true;
    }
    // RFC 9440
    if is("forwarded") || is("x-real-ip") || is("client-cert") || is("client-cert-chain") {
        return true;
    }
    name.contains('_') && (is("content-length") || is("via") || HOP_BY_HOP.iter().any(|hop| is(hop.as_str())))
}

/// Equal if underscore is hyphen. Names in a [`HeaderMap`] are lower case.
fn is_alike(name: &str, other: &str) -> bool {
    name.len() == other.len()
        && name.bytes().zip(other.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    fn forwarded(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = map(fields);
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
        assert!(HOP_BY_HOP.iter().all(is_hop_by_hop));
        assert!(![HOST, VIA, CONTENT_LENGTH, X_FORWARDED_PROTO].iter().any(is_hop_by_hop));
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
    }

    #[test]
    fn answers_lose_their_hop_by_hop_fields() {
        let mut headers = map(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("server", "s"),
            ("trailer", "t"),
        ]);
        to_client(&mut headers);
        assert_eq!(headers, map(&[("server", "s"), ("trailer", "t")]));
    }
}
