//! A request as a line of the access log. Pure.

use std::{
    fmt::Write as _,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{
    HeaderValue, Method, StatusCode, Uri, Version,
    header::{REFERER, USER_AGENT},
};

use super::{notes::Notes, passed::Through};
use crate::{
    model::AccessLogFormat,
    proxy::{host, message::RequestHead},
};

/// The longest part of a client's text in a line.
const LONGEST: usize = 2048;

/// What is kept of a request's head until its answer is over.
#[derive(Debug)]
pub struct Asked {
    /// When it came.
    pub time: SystemTime,
    /// Who asked.
    pub client: IpAddr,
    /// What for; the target as it came.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// HTTP's.
    pub version: Version,
    /// Host, as the client wrote it.
    pub host: Option<HeaderValue>,
    /// What asked.
    pub user_agent: Option<HeaderValue>,
    /// From where.
    pub referer: Option<HeaderValue>,
}

/// How it was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// Bytes of the answer's body that were sent, or to the client of a tunnel.
    pub sent: u64,
    /// Bytes from the client of a tunnel.
    pub received: Option<u64>,
    /// All of it was.
    pub is_whole: bool,
    /// From the request's head to the answer's last byte.
    pub took: Duration,
}

/// Whether query strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    /// As they came.
    Kept,
    /// They may have secrets in them.
    Left,
}

impl Asked {
    /// Of a request.
    pub fn of(head: &RequestHead, client: IpAddr) -> Self {
        Self {
            time: SystemTime::now(),
            client,
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            host: host::written(&head.uri, &head.headers),
            user_agent: head.headers.get(USER_AGENT).cloned(),
            referer: head.headers.get(REFERER).cloned(),
        }
    }
}

/// Appends the line.
pub(super) fn write(
    line: &mut String,
    format: AccessLogFormat,
    query: Query,
    asked: &Asked,
    answered: Answered,
    notes: &Notes,
) {
    match format {
        AccessLogFormat::Json => json(line, query, asked, answered, notes),
        AccessLogFormat::Combined => combined(line, query, asked, answered),
    }
    line.push('\n');
}

/// One object; what is not known is not in it.
fn json(line: &mut String, query: Query, asked: &Asked, answered: Answered, notes: &Notes) {
    let _ = write!(line, r#"{{"time":"{}""#, humantime::format_rfc3339_millis(asked.time));
    let _ = write!(line, r#","client":"{}""#, asked.client);
    text(line, "host", asked.host.as_ref().map(HeaderValue::as_bytes));
    text(line, "method", Some(asked.method.as_str().as_bytes()));
    text(line, "path", Some(path(&asked.uri).as_bytes()));
    if query == Query::Kept {
        text(line, "query", asked.uri.query().map(str::as_bytes));
    }
    let milliseconds = answered.took.as_secs_f64() * 1e3;
    let _ = write!(
        line,
        r#","protocol":"{}","status":{},"bytes":{},"milliseconds":{milliseconds:.3}"#,
        protocol(asked.version),
        answered.status.as_u16(),
        answered.sent
    );
    if let Some(received) = answered.received {
        let _ = write!(line, r#","received":{received}"#);
    }
    if !answered.is_whole {
        line.push_str(r#","broken_off":true"#);
    }
    text(line, "outcome", notes.outcome.map(|outcome| outcome.name().as_bytes()));
    text(line, "role", notes.host.as_ref().map(|host| host.role.as_str().as_bytes()));
    text(line, "upstream", notes.upstream.as_ref().map(|upstream| upstream.as_bytes()));
    text(line, "request_id", notes.id.as_ref().map(HeaderValue::as_bytes));
    text(line, "user_agent", asked.user_agent.as_ref().map(HeaderValue::as_bytes));
    text(line, "referer", referer(asked, query));
    line.push('}');
}

/// As Apache and nginx have it by that name.
fn combined(line: &mut String, query: Query, asked: &Asked, answered: Answered) {
    let _ = write!(line, r#"{} - - [{}] "{} "#, asked.client, clf_time(asked.time), asked.method);
    escaped(line, path(&asked.uri).as_bytes());
    if let (Query::Kept, Some(query)) = (query, asked.uri.query()) {
        line.push('?');
        escaped(line, query.as_bytes());
    }
    let _ = write!(line, r#" {}" {} {}"#, protocol(asked.version), answered.status.as_u16(), answered.sent);
    for value in [referer(asked, query), asked.user_agent.as_ref().map(HeaderValue::as_bytes)] {
        line.push_str(" \"");
        escaped(line, value.unwrap_or(b"-"));
        line.push('"');
    }
}

/// Appends the line of a connection that was passed through, of which nothing is known but its name.
pub(super) fn write_passed(line: &mut String, format: AccessLogFormat, through: &Through, took: Duration) {
    let (received, sent) = through.passed.both();
    match format {
        AccessLogFormat::Json => {
            let _ = write!(line, r#"{{"time":"{}""#, humantime::format_rfc3339_millis(through.time));
            let _ = write!(line, r#","client":"{}""#, through.client);
            text(line, "host", Some(through.name.as_bytes()));
            let milliseconds = took.as_secs_f64() * 1e3;
            let _ = write!(
                line,
                r#","protocol":"TLS","bytes":{sent},"milliseconds":{milliseconds:.3},"received":{received}"#
            );
            if !through.is_whole {
                line.push_str(r#","broken_off":true"#);
            }
            text(line, "outcome", Some(through.outcome.name().as_bytes()));
            text(line, "role", Some(through.host.role.as_str().as_bytes()));
            text(line, "upstream", through.upstream.as_ref().map(|upstream| upstream.as_bytes()));
            line.push('}');
        }
        AccessLogFormat::Combined => {
            let _ = write!(line, r#"{} - - [{}] "- "#, through.client, clf_time(through.time));
            escaped(line, through.name.as_bytes());
            let _ = write!(line, r#" TLS" 0 {sent} "-" "-""#);
        }
    }
    line.push('\n');
}

/// As Apache writes it.
fn clf_time(time: SystemTime) -> impl std::fmt::Display {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time =
        i64::try_from(since.as_secs()).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().strftime("%d/%b/%Y:%H:%M:%S +0000")
}

fn path(uri: &Uri) -> &str {
    // `*` and authorities have none of their own.
    match uri.path() {
        "" => "/",
        path => path,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Without the query string of the page, unless those are kept.
fn referer(asked: &Asked, query: Query) -> Option<&[u8]> {
    let whole = asked.referer.as_ref()?.as_bytes();
    let end = match query {
        Query::Kept => whole.len(),
        Query::Left => whole.iter().position(|byte| b"?#".contains(byte)).unwrap_or(whole.len()),
    };
    Some(&whole[..end])
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(LONGEST)]
}

/// `,"key":"value"`. Bytes that are no UTF-8 become the replacement character.
fn text(line: &mut String, key: &str, value: Option<&[u8]>) {
    let Some(value) = value else { return };
    let _ = write!(line, r#","{key}":"#);
    let value = String::from_utf8_lossy(cut(value));
    let plain = value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if plain {
        line.push('"');
        line.push_str(&value);
        line.push('"');
    } else {
        line.push_str(&serde_json::Value::from(value).to_string());
    }
}

/// Nothing in it ends the quotes or the line.
fn escaped(line: &mut String, value: &[u8]) {
    for &byte in cut(value) {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(line, "\\x{byte:02x}");
            }
            _ => line.push(char::from(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::proxy::counters::Outcome;

    fn asked(target: &str, fields: &[(&'static str, &[u8])]) -> Asked {
        let mut head = RequestHead::new(Method::GET, target.parse().unwrap());
        for (name, value) in fields {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        let asked = Asked::of(&head, "198.51.100.7".parse().unwrap());
        Asked { time: UNIX_EPOCH + Duration::from_millis(1_764_112_913_042), ..asked }
    }

    fn written(format: AccessLogFormat, query: Query, asked: &Asked) -> String {
        let took = Duration::from_micros(1_234);
        let answered = Answered { status: StatusCode::OK, sent: 512, received: None, is_whole: true, took };
        let notes = Notes { outcome: Some(Outcome::Forwarded), ..Notes::default() };
        let mut line = String::new();
        write(&mut line, format, query, asked, answered, &notes);
        line
    }

    #[test]
    fn a_line_of_json_has_no_query_unless_it_is_asked_for() {
        let asked = asked(
            "/orders?key=secret",
            &[("host", b"api.contoso.com"), ("user-agent", b"curl/8"), ("referer", b"https://a/b?token=1")],
        );
        let line = written(AccessLogFormat::Json, Query::Left, &asked);
        assert_eq!(
            line,
            "{\"time\":\"2025-11-25T23:21:53.042Z\",\"client\":\"198.51.100.7\",\"host\":\"api.contoso.com\",\
             \"method\":\"GET\",\"path\":\"/orders\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":512,\
             \"milliseconds\":1.234,\"outcome\":\"forwarded\",\"user_agent\":\"curl/8\",\"referer\":\"https://a/b\"}\n"
        );
        let line: serde_json::Value =
            serde_json::from_str(&written(AccessLogFormat::Json, Query::Kept, &asked)).unwrap();
        assert_eq!((&line["query"], &line["referer"]), (&"key=secret".into(), &"https://a/b?token=1".into()));
    }

    #[test]
    fn combined_is_what_log_readers_know() {
        let asked = asked("/a?b=c", &[("user-agent", b"curl/8"), ("referer", b"https://a/?t=1")]);
        let line = |query| written(AccessLogFormat::Combined, query, &asked);
        assert_eq!(
            line(Query::Left),
            "198.51.100.7 - - [25/Nov/2025:23:21:53 +0000] \"GET /a HTTP/1.1\" 200 512 \"https://a/\" \"curl/8\"\n"
        );
        assert!(line(Query::Kept).contains("\"GET /a?b=c HTTP/1.1\" 200 512 \"https://a/?t=1\""));
    }

    #[test]
    fn no_client_writes_a_line_of_its_own() {
        let agent = b"a\"b\\c\xffd\te";
        let asked = asked("/", &[("user-agent", agent)]);
        let line = written(AccessLogFormat::Combined, Query::Left, &asked);
        assert!(line.ends_with("\"-\" \"a\\x22b\\x5cc\\xffd\\x09e\"\n"), "{line}");
        let line = written(AccessLogFormat::Json, Query::Left, &asked);
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["user_agent"], "a\"b\\c\u{fffd}d\te");
        let endless = self::asked("/", &[("user-agent", &[b'a'; 9_000])]);
        assert!(written(AccessLogFormat::Json, Query::Left, &endless).len() < LONGEST + 500);
    }
}
