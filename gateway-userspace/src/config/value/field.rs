//! Header fields that a route sets or removes.

use http::{HeaderName, HeaderValue, header};

use super::Parsed;
use crate::config::{code::Code, fault::Problem};

/// The longest value: a whole head of an answer has to fit a client's bounds, 8 KiB with most.
const LONGEST: usize = 4_096;

/// Fields of one connection, which end at each hop (RFC 9110, section 7.6.1).
const OF_CONNECTIONS: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that say where a message ends.
const OF_FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// A field that requests get. Host is one of them: upstreams that know themselves by another name than clients do need it, and
/// X-Forwarded-Host has what the client asked for.
pub(in crate::config) fn set_in_requests(text: &str) -> Parsed<HeaderName> {
    let name = changeable(text)?;
    match name == header::EXPECT {
        true => Err(refused(text, "\"100 Continue\" is asked for by whoever has the body")),
        false => Ok(name),
    }
}

/// A field that answers get.
pub(in crate::config) fn set_in_answers(text: &str) -> Parsed<HeaderName> {
    let name = changeable(text)?;
    match name == header::HOST {
        true => Err(refused(text, "it is one of requests")),
        false => Ok(name),
    }
}

/// A field that is taken away.
pub(in crate::config) fn removed(text: &str) -> Parsed<HeaderName> {
    let name = changeable(text)?;
    match name == header::HOST {
        true => Err(refused(text, "each request has one (RFC 9112, section 3.2)")),
        false => Ok(name),
    }
}

/// A field's value. Request fields may carry secrets, which debug output then leaves out.
pub(in crate::config) fn value(text: &str) -> Parsed<HeaderValue> {
    let problem = |reason: String| {
        Problem::new(Code::FieldValue, format!("this cannot be the value of a header field: {reason}"))
            .label("expected visible ASCII characters and inner spaces")
    };
    if let Some(bad) = text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
        return Err(problem(format!("`{}` cannot stand in it", bad.escape_debug())));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err(problem("it begins or ends with a space, which is no part of a value".to_owned()));
    }
    if text.len() > LONGEST {
        return Err(problem(format!("it has {} characters, at most {LONGEST} are allowed", text.len())));
    }
    let mut value = HeaderValue::from_str(text).map_err(|error| problem(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn changeable(text: &str) -> Parsed<HeaderName> {
    let name: HeaderName = text.parse().map_err(|_| {
        let problem = Problem::new(Code::FieldName, format!("`{text}` is not the name of a header field"))
            .label("expected letters, digits and hyphens");
        let meant: String =
            text.trim().trim_end_matches(':').chars().map(|c| if c == ' ' { '-' } else { c }).collect();
        match meant.parse::<HeaderName>() {
            Ok(_) => problem.help(format!("did you mean `{meant}`?")),
            Err(_) => problem.help("for example `X-Team`"),
        }
    })?;
    if OF_CONNECTIONS.contains(&name) {
        return Err(refused(text, "it belongs to one connection, and ends at the proxy"));
    }
    if OF_FRAMING.contains(&name) {
        return Err(refused(text, "it says where a message ends"));
    }
    Ok(name)
}

fn refused(text: &str, reason: &str) -> Problem {
    Problem::new(Code::FieldRefused, format!("a route cannot change `{text}`: {reason}"))
        .label("expected another field")
        .help("remove it")
}
