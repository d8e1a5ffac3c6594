//! Single values as written in the file, parsed: text in, value or [`Problem`] out.

pub(super) mod field;
mod upstream;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::{HeaderName, Uri, uri::Scheme};
use ipnet::IpNet;

use super::{code::Code, fault::Problem};
use crate::model::{Balance, HostPattern, InstanceName, StatusCodes};

pub(super) use self::upstream::{name_server, upstream};

/// What a parser gives.
pub(super) type Parsed<T> = Result<T, Problem>;

/// `1h 30m`
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    humantime::parse_duration(text).map_err(|error| {
        let problem = Problem::new(Code::BadDuration, format!("`{text}` is not a duration: {error}"))
            .label("expected a number with its unit");
        match text.trim().parse::<u64>() {
            Ok(number) => problem.help(format!("did you mean `\"{number}s\"`?")),
            Err(_) => problem.help("for example `\"500ms\"`, `\"2s\"`, `\"1h 30m\"`"),
        }
    })
}

/// `10.0.0.5`, an address that a host can have.
pub(super) fn address(text: &str) -> Parsed<IpAddr> {
    let address: IpAddr = text.parse().map_err(|_| {
        let problem = Problem::new(Code::BadAddress, format!("`{text}` is not an IP address"))
            .label("expected an IPv4 or IPv6 address");
        if let Ok(net) = text.parse::<IpNet>() {
            problem.help(format!("leave the prefix length off: `\"{}\"`", net.addr()))
        } else if let Ok(socket) = text.parse::<SocketAddr>() {
            problem.help(format!("leave the port off: `\"{}\"`", socket.ip()))
        } else {
            problem.help("for example `\"10.0.0.5\"` or `\"fd00::5\"`")
        }
    })?;
    match never_a_host(address) {
        None => Ok(address),
        Some(what) => Err(Problem::new(Code::ReservedAddress, format!("no host can have {address}: {what}"))
            .label("expected the address of a host")),
    }
}

/// Why no host can have that address on any subnet.
fn never_a_host(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    match address {
        _ if address.is_unspecified() => Some("it is the unspecified address"),
        _ if address.is_loopback() => Some("it is a loopback address"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        _ if link_local => Some("it is a link-local address, valid on one link only"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("it is the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("it is IPv4-mapped; write it as IPv4"),
        _ => None,
    }
}

/// `127.0.0.1:9180`
pub(super) fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        Problem::new(Code::BadAddress, format!("`{text}` is not an IP address with a port"))
            .label("expected `address:port`")
            .help("for example `\"127.0.0.1:9180\"` or `\"[::1]:9180\"`")
    })
}

/// `10.0.0.0/24`, without host bits.
pub(super) fn prefix(text: &str) -> Parsed<IpNet> {
    let net: IpNet = text.parse().map_err(|_| {
        let problem = Problem::new(Code::BadPrefix, format!("`{text}` is not a network prefix"))
            .label("expected an address and a length");
        match text.parse::<IpAddr>() {
            Ok(address) => problem.help(format!("for this address alone: `\"{}\"`", IpNet::from(address))),
            Err(_) => problem.help("for example `\"10.0.0.0/24\"` or `\"fd00::/64\"`"),
        }
    })?;
    if net.trunc() == net {
        return Ok(net);
    }
    Err(Problem::new(Code::HostBits, format!("`{text}` names a host, not a network"))
        .label("host bits are set")
        .help(format!("did you mean the network `\"{}\"`?", net.trunc())))
}

/// R5
pub(super) fn service_name(text: &str) -> Parsed<String> {
    let length = text.chars().count();
    let reason = if text.is_empty() {
        "it is empty".to_owned()
    } else if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        "it does not begin with a letter".to_owned()
    } else if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        format!("`{}` is not a letter, digit or hyphen", bad.escape_debug())
    } else if text.ends_with('-') {
        "it ends with a hyphen".to_owned()
    } else if length > 50 {
        format!("it has {length} characters, at most 50 are allowed")
    } else {
        return Ok(text.to_owned());
    };
    Err(Problem::new(Code::ServiceName, format!("`{text}` cannot be a service name: {reason}"))
        .label("expected a letter, then letters, digits and inner hyphens, at most 50")
        .help("default host names are made from it; for example `\"contoso\"`"))
}

/// Letters, digits, `-`, `_`, `.`
pub(super) fn instance_name(text: &str) -> Parsed<InstanceName> {
    let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && text.len() <= 63;
    if fits {
        return Ok(InstanceName(text.to_owned()));
    }
    Err(Problem::new(Code::InstanceName, format!("`{text}` cannot be an instance's name"))
        .label("expected letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 63")
        .help("for example `\"gw-1\"`"))
}

/// What the kernel takes as a device's name (`dev_valid_name` in net/core/dev.c).
pub(super) fn interface_name(text: &str) -> Parsed<String> {
    let reason = match text {
        "" => "it is empty",
        "." | ".." => "the kernel refuses it",
        _ if text.len() > 15 => "it has more than 15 bytes",
        _ if text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) => {
            "it has a space, `/` or `:`"
        }
        _ => return Ok(text.to_owned()),
    };
    Err(Problem::new(Code::InterfaceName, format!("`{text}` cannot be an interface's name: {reason}"))
        .label("expected a name as `ip link` shows it, at most 15 bytes"))
}

/// Any text.
#[expect(clippy::unnecessary_wraps, reason = "it stands beside parsers that can fail")]
pub(super) fn text(text: &str) -> Parsed<String> {
    Ok(text.to_owned())
}

/// A file's path.
pub(super) fn file_path(text: &str) -> Parsed<String> {
    if text.is_empty() || text.contains('\0') {
        let message = "the path is empty or has a NUL character";
        return Err(
            Problem::new(Code::CertificateUnreadable, message).label("expected the path of a PEM file")
        );
    }
    Ok(text.to_owned())
}

/// An exact host name by RFC 1123, in lower case, one trailing dot taken off (R43).
pub(super) fn host_name(text: &str) -> Parsed<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if is_address_like(&name) {
        return Err(Problem::new(Code::HostIsAddress, format!("`{text}` is an IP address, not a host name"))
            .label("expected a name")
            .help("nothing is served to a bare IP (R40); remove it"));
    }
    let problem = |reason: &str| {
        Problem::new(Code::HostName, format!("`{text}` is not a host name: {reason}"))
            .label("expected labels of letters, digits and inner hyphens")
    };
    if name.is_empty() {
        return Err(problem("it is empty"));
    }
    if name.len() > 253 {
        return Err(problem("it has more than 253 characters"));
    }
    if let Some((_, rest)) = name.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or(rest);
        return Err(problem("it is a URL").help(format!("the name alone: `\"{host}\"`")));
    }
    if let Some((host, _)) = name.split_once([':', '/']) {
        return Err(problem("it has a port or a path").help(format!("the name alone: `\"{host}\"`")));
    }
    if !name.is_ascii() {
        return Err(problem("it has characters beyond ASCII").help("write it in its `xn--` form"));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(problem("a label between two dots is empty"));
        }
        if label.len() > 63 {
            return Err(problem("a label has more than 63 characters"));
        }
        if let Some(bad) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            return Err(problem(&format!("`{}` is not a letter, digit or hyphen", bad.escape_debug())));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(problem("a label begins or ends with a hyphen"));
        }
    }
    Ok(name)
}

/// An IP in any spelling that a client may resolve as one: dotted, decimal, octal, hexadecimal, in brackets. By the
/// WHATWG URL standard a name whose last label is a number is an IPv4 address.
fn is_address_like(name: &str) -> bool {
    let bare = name.trim_start_matches('[');
    let bare = bare.split(']').next().unwrap_or(bare);
    if bare.parse::<IpAddr>().is_ok() || name.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    digits || hexadecimal
}

/// An exact name or a wildcard one label deep (R44).
pub(super) fn host_pattern(text: &str) -> Parsed<HostPattern> {
    if !text.contains('*') {
        return host_name(text).map(HostPattern::Exact);
    }
    match text.strip_prefix("*.") {
        Some(parent) if !parent.contains('*') => host_name(parent).map(HostPattern::Wildcard),
        _ => Err(Problem::new(
            Code::Wildcard,
            format!("`{text}` is not a wildcard that a certificate could cover"),
        )
        .label("expected `*` as the whole first label, once")
        .help("for example `\"*.api.contoso.com\"`, which matches one label")),
    }
}

/// `/orders`; the trailing `/` is taken off, but for `/` itself.
pub(super) fn route_path(text: &str) -> Parsed<String> {
    let problem = |reason: &str| {
        Problem::new(Code::RoutePath, format!("`{text}` cannot be a route's path: {reason}"))
            .label("expected a path such as `/orders`")
    };
    let Some(inner) = text.strip_prefix('/') else {
        return Err(problem("it does not begin with `/`").help(format!("did you mean `\"/{text}\"`?")));
    };
    if text.contains(['?', '#']) {
        return Err(problem("it has a query or a fragment").help("only the path is compared"));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(problem(&format!("`{}` has to be percent-encoded", bad.escape_debug())));
    }
    let inner = inner.strip_suffix('/').filter(|inner| !inner.is_empty()).unwrap_or(inner);
    if !inner.is_empty() && inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(problem("it has an empty segment or a dot segment"));
    }
    Ok(format!("/{inner}"))
}

/// `/status-0123456789abcdef`
pub(super) fn probe_path(text: &str) -> Parsed<String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(Code::ProbePath, format!("`{text}` cannot be asked for"))
        .label("expected a path that begins with `/`, in visible ASCII")
        .help("for example `\"/status-0123456789abcdef\"`"))
}

/// `200-299, 401`
pub(super) fn status_codes(text: &str) -> Parsed<StatusCodes> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
    let code = |text: &str| number(text.trim()).filter(|code| (100..=599).contains(code));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(code(first)?..=code(last)?).filter(|range| !range.is_empty())
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges.map(StatusCodes).ok_or_else(|| {
        Problem::new(Code::ProbeStatus, format!("`{text}` are no status codes"))
            .label("expected codes and ranges from 100 to 599, separated by commas")
            .help("for example `\"200-399\"` or `\"200-299, 401\"`")
    })
}

/// `10MiB`
pub(super) fn size(text: &str) -> Parsed<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1_u64 << 30),
        _ => None,
    };
    let bytes =
        number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| {
        Problem::new(Code::BadSize, format!("`{text}` is not a size"))
            .label("expected a number with its unit: `B`, `KiB`, `MiB` or `GiB`")
            .help("for example `\"10MiB\"`")
    })
}

/// `https://www.contoso.com/new`
pub(super) fn redirect_target(text: &str) -> Parsed<String> {
    let problem = |reason: &str| {
        Problem::new(Code::RedirectTarget, format!("`{text}` cannot be redirected to: {reason}"))
            .label("expected `https://NAME/PATH` or `http://NAME/PATH`")
    };
    let Some((_, rest)) = text.split_once("://") else {
        return Err(problem("the scheme is missing").help(format!("did you mean `\"https://{text}\"`?")));
    };
    let uri: Uri =
        text.parse().map_err(|_| problem("it is no URL; spaces and the like are percent-encoded"))?;
    if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
        return Err(problem("clients are led to http and https only"));
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        return Err(problem("it has a user's name").help(format!("without it: `\"https://{host}\"`")));
    }
    if text.contains('#') {
        return Err(problem("it has a fragment").help("leave out `#` and what follows"));
    }
    Ok(text.to_owned())
}

/// `round-robin`, `hash-header:NAME`
pub(super) fn balance(text: &str) -> Parsed<Balance> {
    let problem = |code, reason: String| {
        Problem::new(code, reason)
            .label("expected `least-loaded`, `round-robin`, `hash-header:NAME` or `hash-cookie:NAME`")
    };
    let (word, name) = text.split_once(':').map_or((text, None), |(word, name)| (word, Some(name)));
    match (word, name) {
        ("least-loaded", None) => Ok(Balance::LeastLoaded),
        ("round-robin", None) => Ok(Balance::RoundRobin),
        ("hash-header", Some(name)) => name
            .parse()
            .map(Balance::HashHeader)
            .map_err(|_| problem(Code::FieldName, format!("`{name}` is not the name of a header field"))),
        ("hash-cookie", Some(name)) if name.parse::<HeaderName>().is_ok() => {
            Ok(Balance::HashCookie(name.to_owned()))
        }
        ("hash-cookie", Some(name)) => {
            Err(problem(Code::FieldName, format!("`{name}` is not the name of a cookie")))
        }
        _ => Err(problem(Code::UnknownWord, format!("`{text}` is no way to choose an upstream"))),
    }
}
