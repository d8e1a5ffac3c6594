//! What a client gets by its ClientHello, and by a request: for connections, and for `gateway explain`. Pure.

use std::{net::IpAddr, sync::Arc};

use super::{
    guard::{Guard, Roles},
    host::Asked,
    passthrough::To,
    routes::{Door, Routes, Site},
    tls::{Certificates, Policy, Served},
};
use crate::model::{NoSni, Role};

/// What of a configuration it depends on.
#[derive(Clone, Copy)]
pub struct Rules<'s> {
    /// Who is answered.
    pub routes: &'s Routes,
    /// What clients are shown.
    pub certificates: &'s Certificates,
    /// What a ClientHello without a name gets.
    pub no_sni: NoSni,
    /// Whose names a client is served.
    pub guard: &'s Guard,
}

/// A connection on which a request is made.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Where it came in.
    pub door: Door,
    /// The VIP, or in mode `none` the host's own address.
    pub at: IpAddr,
    /// The client.
    pub peer: IpAddr,
    /// What the client was shown, and for which name ([`super::host::normalise`]), where there is TLS.
    pub shown: Option<(&'a Served, Option<&'a str>)>,
}

/// Where TLS of a connection ends.
#[derive(Debug)]
pub enum Goes {
    /// Here, with the certificate of this role's names.
    Here(Role),
    /// Here, with any certificate: for a probe.
    Anyhow,
    /// Elsewhere.
    Elsewhere(To),
}

impl<'s> Rules<'s> {
    /// R40, R41, R20(d): where a ClientHello leads, if the name that it asks for is served at this door. A probe need not ask for one.
    pub fn hello(&self, door: Door, roles: Roles, hello: &Asked<'_>) -> Option<Goes> {
        if let Asked::Name(name) = hello
            && door != Door::Probe
            && let Some((through, host)) = self.routes.through(roles, name)
        {
            let (through, host) = (Arc::clone(through), Arc::clone(host));
            return Some(Goes::Elsewhere(To { through, name: name.clone().into_owned(), host }));
        }
        match hello {
            Asked::Name(name) => Some(Goes::Here(self.routes.site(door, roles, name)?.role)),
            Asked::Nothing if self.no_sni == NoSni::DefaultCertificate && door == Door::Https => {
                Some(Goes::Here(Role::Gateway))
            }
            Asked::Nothing if door == Door::Probe => Some(Goes::Anyhow),
            Asked::Nothing | Asked::Address => None,
        }
    }

    /// The site of a name, lower case, and the door to it, if a request may ask for it here.
    pub fn site(&self, asking: &Asking<'_>, name: &str) -> Option<(&'s Arc<Site>, Door)> {
        if !asking.may_ask_for(name) {
            return None;
        }
        let roles = self.guard.roles(asking.door, asking.at, asking.peer);
        let site = self.routes.site(asking.door, roles, name)?;
        self.has_shown_enough(asking, site.role).then(|| (site, self.door_to(asking.door, site.role)))
    }

    /// Where clients have to show something else, or nothing, the connection is one for other names. By the configuration of now:
    /// it may be another one than at the handshake.
    fn has_shown_enough(&self, asking: &Asking<'_>, role: Role) -> bool {
        asking.shown.is_none_or(|(shown, _)| {
            self.certificates.get(&role).is_some_and(|served| served.policy == shown.policy)
        })
    }

    /// Names whose clients show certificates are not served in plain text.
    fn door_to(&self, door: Door, role: Role) -> Door {
        let asks = |served: &Arc<Served>| served.policy != Policy::default();
        match door {
            Door::Http if self.certificates.get(&role).is_some_and(asks) => Door::Redirect,
            door => door,
        }
    }
}

impl Asking<'_> {
    /// R43: a request may leave its connection's SNI only for a name that the certificate shown there covers. A client that
    /// took a certificate without the name of the SNI has what it asked for.
    fn may_ask_for(&self, name: &str) -> bool {
        self.shown.is_none_or(|(shown, sni)| sni == Some(name) || shown.covers(name))
    }
}
