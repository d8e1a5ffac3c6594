//! Where upstreams are, and who knows where those with names are.

use std::net::{IpAddr, SocketAddr};

use super::{Parsed, host_name};
use crate::{
    config::{code::Code, fault::Problem},
    model::{Upstream, UpstreamAddress, UpstreamScheme},
};

/// What DNS servers listen on.
const DNS_PORT: u16 = 53;

/// `http://10.0.1.20:8080`, `https://orders.internal:443`
pub(in crate::config) fn upstream(text: &str) -> Parsed<Upstream> {
    let problem = |reason: String| {
        Problem::new(Code::Upstream, format!("`{text}` cannot be an upstream: {reason}"))
            .label("expected `http://HOST:PORT` or `https://HOST:PORT`, for HTTP/2 `h2c` or `h2`")
    };
    let (word, rest) = text.split_once("://").unwrap_or(("", text));
    let scheme = match word {
        "http" => UpstreamScheme::Http,
        "https" => UpstreamScheme::Https,
        "tcp" => UpstreamScheme::Tcp,
        "h2c" => UpstreamScheme::H2c,
        "h2" => UpstreamScheme::H2,
        other => {
            let reason = if other.is_empty() {
                "the scheme is missing".to_owned()
            } else {
                format!("`{other}` is unknown")
            };
            return Err(problem(reason).help(format!("did you mean `\"http://{rest}\"`?")));
        }
    };
    if let Some((authority, _)) = rest.split_once(['/', '?', '#']) {
        return Err(problem("it has a path; the request's own path is kept".to_owned())
            .help(format!("without it: `\"{word}://{authority}\"`")));
    }
    if let Ok(address) = rest.parse::<SocketAddr>() {
        return match unreachable(address) {
            None => Ok(Upstream::at(scheme, address)),
            Some(reason) => Err(problem(reason)),
        };
    }
    let port = if scheme.is_tls() { 443 } else { 80 };
    let with_port = |host: String| {
        let help = format!("for port {port}: `\"{word}://{host}\"`");
        problem("the port is missing".to_owned()).help(help)
    };
    let bare = rest.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Err(with_port(SocketAddr::new(address, port).to_string()));
    }
    let Some((host, port_text)) = rest.rsplit_once(':') else {
        return Err(match host_name(rest) {
            Ok(_) => with_port(format!("{rest}:{port}")),
            Err(_) => problem("it is neither `IP:PORT` nor `NAME:PORT`".to_owned()),
        });
    };
    let host =
        host_name(host).map_err(|_| problem(format!("`{host}` is neither an IP address nor a name")))?;
    match port_text.parse::<u16>() {
        Ok(0) | Err(_) => Err(problem(format!("`{port_text}` is no port"))),
        Ok(port) => Ok(Upstream { scheme, address: UpstreamAddress::Name { host, port }, tls: None }),
    }
}

/// `10.0.0.2`, or `10.0.0.2:5353`
pub(in crate::config) fn name_server(text: &str) -> Parsed<SocketAddr> {
    let problem = |reason: String| {
        Problem::new(Code::BadAddress, format!("`{text}` cannot be asked for names: {reason}"))
            .label("expected an IP address, or one with a port")
            .help("for example `\"10.0.0.2\"` or `\"[fd00::2]:5353\"`")
    };
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
    let address = address.or_else(|_| text.parse()).map_err(|_| problem("it is no IP address".to_owned()))?;
    match unreachable(address) {
        None => Ok(address),
        Some(reason) => Err(problem(reason)),
    }
}

/// Why nothing can be sent there.
fn unreachable(address: SocketAddr) -> Option<String> {
    let ip = address.ip();
    if address.port() == 0 {
        return Some("port 0 cannot be connected to".to_owned());
    }
    (ip.is_unspecified() || ip.is_multicast()).then(|| format!("{ip} cannot be connected to"))
}
