//! What is to be called, out of a form. Pure. Nothing but our own VIPs at their own ports can be connected to, and nothing but
//! configured names be asked for.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use serde::Deserialize;

use crate::{
    model::{DNS_PORT, HTTP_PORT, InstanceName},
    status::Status,
};

/// The methods that are offered.
pub(in crate::api::page) const METHODS: [&str; 7] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// A label in place of a wildcard's.
const ANY_LABEL: &str = "test";
const PATH: usize = 4_096;
const FIELDS: usize = 32;
const FIELD_BYTES: usize = 8_192;
const BODY: usize = 65_536;

/// Fields that are the connection's, or say whom is asked for.
const OURS: [HeaderName; 10] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The form as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(in crate::api::page) struct Form {
    pub(in crate::api::page) csrf: String,
    pub(in crate::api::page) name: String,
    pub(in crate::api::page) at: String,
    /// Empty: as a new flow would get it.
    pub(in crate::api::page) instance: String,
    pub(in crate::api::page) method: String,
    pub(in crate::api::page) path: String,
    pub(in crate::api::page) headers: String,
    pub(in crate::api::page) body: String,
}

/// A call that may be made.
#[derive(Debug, Clone)]
pub(in crate::api::page) struct Ask {
    pub(in crate::api::page) name: String,
    pub(in crate::api::page) at: SocketAddr,
    pub(in crate::api::page) instance: Option<InstanceName>,
    pub(in crate::api::page) method: Method,
    pub(in crate::api::page) path: PathAndQuery,
    pub(in crate::api::page) headers: HeaderMap,
    pub(in crate::api::page) body: String,
}

impl Ask {
    /// Whether it is over TLS.
    pub(in crate::api::page) fn is_secure(&self) -> bool {
        self.at.port() != HTTP_PORT
    }
}

/// Names by role.
pub(in crate::api::page) fn names(status: &Status) -> Vec<(&str, Vec<String>)> {
    let name = |host: &String| match host.strip_prefix("*.") {
        Some(parent) => format!("{ANY_LABEL}.{parent}"),
        None => host.clone(),
    };
    status.endpoints.iter().map(|one| (one.role.as_str(), one.hosts.iter().map(name).collect())).collect()
}

/// VIPs and their ports.
pub(in crate::api::page) fn places(status: &Status) -> Vec<SocketAddr> {
    let mut places: Vec<_> = status
        .vips
        .iter()
        .flat_map(|vip| vip.ports.iter().map(|port| SocketAddr::new(vip.address, *port)))
        .filter(|place| place.port() != DNS_PORT)
        .collect();
    // What is asked for mostly comes first: 443.
    places.sort_by_key(|place| place.port() != crate::model::HTTPS_PORT);
    places
}

/// The call, or what is wrong with the form.
pub(in crate::api::page) fn ask(form: &Form, status: &Status) -> Result<Ask, Vec<String>> {
    let mut faults = Vec::new();
    let mut fault = |text: String| faults.push(text);
    if !names(status).iter().any(|(_, names)| names.contains(&form.name)) {
        fault("Name: one of the configured ones.".to_owned());
    }
    let at = form.at.parse().ok().filter(|at| places(status).contains(at));
    if at.is_none() {
        fault("At: a VIP and a port that is served there.".to_owned());
    }
    let is_instance = status.instances.iter().any(|one| one.name == form.instance);
    if !form.instance.is_empty() && !is_instance {
        fault("Instance: one of the file.".to_owned());
    }
    if !METHODS.contains(&form.method.as_str()) {
        fault(format!("Method: one of {}.", METHODS.join(", ")));
    }
    let path = Some(&form.path).filter(|path| path.starts_with('/') && path.len() <= PATH);
    let path = path.and_then(|path| path.parse().ok());
    if path.is_none() {
        fault(format!("Path: begins with a slash, has no blanks (%20), at most {PATH} bytes."));
    }
    let headers = fields(&form.headers).map_err(&mut fault).ok();
    if form.body.len() > BODY {
        fault(format!("Body: at most {} KiB.", BODY / 1024));
    }
    if !form.body.is_empty() && ["GET", "HEAD"].contains(&form.method.as_str()) {
        fault(format!("Body: {} has none.", form.method));
    }
    let method = form.method.parse().ok();
    match (at, path, headers, method) {
        (Some(at), Some(path), Some(headers), Some(method)) if faults.is_empty() => Ok(Ask {
            name: form.name.clone(),
            at,
            instance: is_instance.then(|| InstanceName(form.instance.clone())),
            method,
            path,
            headers,
            body: form.body.clone(),
        }),
        _ => Err(faults),
    }
}

/// Lines of `Name: value`.
fn fields(text: &str) -> Result<HeaderMap, String> {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.len() > FIELDS || text.len() > FIELD_BYTES {
        return Err(format!("Headers: at most {FIELDS}, of {FIELD_BYTES} bytes together."));
    }
    let mut fields = HeaderMap::new();
    for line in lines {
        let pair = line.split_once(':');
        let name = pair.and_then(|(name, _)| name.trim().parse::<HeaderName>().ok());
        let value = pair.and_then(|(_, value)| HeaderValue::from_str(value.trim()).ok());
        let (Some(name), Some(value)) = (name, value) else {
            return Err(format!("Headers: `{line}` is not `Name: value`."));
        };
        if OURS.contains(&name) {
            return Err(format!("Headers: {name} follows from the rest."));
        }
        fields.append(name, value);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::full;

    fn form() -> Form {
        Form {
            name: "contoso.azure-api.net".into(),
            at: "10.0.0.5:443".into(),
            method: "POST".into(),
            path: "/orders?id=1".into(),
            headers: "Accept: text/plain\r\nX-Trace: 1\r\n".into(),
            body: "{}".into(),
            ..Form::default()
        }
    }

    #[test]
    fn r61_a_form_becomes_a_call() {
        let asked = ask(&form(), &full()).unwrap();
        assert_eq!((asked.at, asked.is_secure()), ("10.0.0.5:443".parse().unwrap(), true));
        assert_eq!((asked.headers.len(), asked.path.as_str(), asked.instance), (2, "/orders?id=1", None));
        let plain = Form { at: "10.0.0.5:80".into(), instance: "gw-2".into(), ..form() };
        let asked = ask(&plain, &full()).unwrap();
        assert_eq!((asked.is_secure(), asked.instance), (false, Some(InstanceName("gw-2".into()))));
        let wildcard = Form { name: "test.api.contoso.com".into(), ..form() };
        ask(&wildcard, &full()).unwrap();
    }

    #[test]
    fn r61_nothing_else_than_our_own_vips_and_names_can_be_called() {
        for at in [
            "127.0.0.1:9180",
            "127.0.0.1:443",
            "10.0.0.11:443",
            "10.0.0.5:22",
            "10.0.0.5:9180",
            "10.0.0.5:53",
            "203.0.113.5:443",
            "169.254.169.254:80",
            "0.0.0.0:443",
            "[::ffff:10.0.0.5]:443",
            "0x0a000005:443",
            "contoso.azure-api.net:443",
            "10.0.0.5",
            "",
        ] {
            let faults = ask(&Form { at: at.into(), ..form() }, &full()).unwrap_err();
            assert!(faults[0].starts_with("At: "), "{at}: {faults:?}");
        }
        for name in [
            "",
            "evil.example",
            "10.0.0.5",
            "*.api.contoso.com",
            "x.api.contoso.com",
            "contoso.azure-api.net.",
        ] {
            let faults = ask(&Form { name: name.into(), ..form() }, &full()).unwrap_err();
            assert!(faults[0].starts_with("Name: "), "{name}: {faults:?}");
        }
    }

    #[test]
    fn r61_what_would_be_another_request_is_none() {
        let long = "x".repeat(BODY + 1);
        let many = "A: b\n".repeat(FIELDS + 1);
        let changed: [(&str, Form); 12] = [
            ("Path: ", Form { path: "http://evil.example/".into(), ..form() }),
            ("Path: ", Form { path: "//evil\r\nHost: x".into(), ..form() }),
            ("Path: ", Form { path: "/a b".into(), ..form() }),
            ("Path: ", Form { path: String::new(), ..form() }),
            ("Method: ", Form { method: "CONNECT".into(), ..form() }),
            ("Method: ", Form { method: "GET / HTTP/1.1".into(), ..form() }),
            ("Headers: ", Form { headers: "Host: evil.example".into(), ..form() }),
            ("Headers: ", Form { headers: "transfer-encoding : chunked".into(), ..form() }),
            ("Headers: ", Form { headers: "no colon".into(), ..form() }),
            ("Headers: ", Form { headers: many, ..form() }),
            ("Body: ", Form { body: long, ..form() }),
            ("Instance: ", Form { instance: "gw-9".into(), ..form() }),
        ];
        for (begins, form) in changed {
            let faults = ask(&form, &full()).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with(begins), "{begins}: {faults:?}");
        }
        assert_eq!(
            ask(&Form { method: "GET".into(), ..form() }, &full()).unwrap_err(),
            ["Body: GET has none."]
        );
    }
}
