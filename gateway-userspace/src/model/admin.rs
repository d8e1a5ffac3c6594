//! Where a `management` endpoint without routes leads: to the balancer's API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Action, Backend, Balancer, FieldChanges, Location, Model, Role, Route, Upstream, UpstreamLimits,
    UpstreamScheme,
};

/// What the API takes from one address at once, less what else may come from there.
const AT_ONCE: u16 = 12;

impl Balancer {
    /// Where instances reach the API. Where it listens on every address, each balancer is asked at its own, the first one first; on
    /// one host at a loopback address.
    pub fn api_addresses(&self) -> Vec<SocketAddr> {
        let at = |ip| SocketAddr::new(ip, self.admin.port());
        let loopback = match self.admin.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        match self.admin.ip().is_unspecified() {
            false => vec![self.admin],
            true if self.address.is_empty() => vec![at(loopback)],
            true => self.address.iter().copied().map(at).collect(),
        }
    }

    /// The route to it.
    pub fn api_route(&self) -> Route {
        let location = |(nth, address): (usize, SocketAddr)| Location {
            priority: u16::try_from(nth + 1).unwrap_or(u16::MAX),
            name: Some("balancer.admin".to_owned()),
            upstream: vec![Upstream::at(UpstreamScheme::Http, address)],
            health: None,
            limits: Some(UpstreamLimits {
                requests: AT_ONCE,
                connections: Some(AT_ONCE),
                pending: 100,
                wait: std::time::Duration::from_secs(2),
            }),
        };
        Route {
            path: "/".to_owned(),
            action: Action::Forward(Backend {
                locations: self.api_addresses().into_iter().enumerate().map(location).collect(),
                ..Backend::default()
            }),
            response_headers: FieldChanges::default(),
        }
    }
}

impl Model {
    /// Whether the `management` endpoint leads to the API.
    pub fn serves_api(&self) -> bool {
        let route = self.balancer.api_route();
        self.endpoints
            .iter()
            .any(|endpoint| endpoint.role == Role::Management && *endpoint.routes == [route.clone()])
    }

    /// The same, where only the balancer's own host can reach it.
    pub fn serves_api_on_loopback(&self) -> bool {
        self.serves_api() && self.balancer.api_addresses().iter().any(|address| address.ip().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::model;

    #[test]
    fn the_api_is_asked_where_instances_reach_it() {
        let mut balancer = model(&["gw-1"]).balancer;
        for (admin, address, expected) in [
            ("127.0.0.1:9180", &[][..], &["127.0.0.1:9180"][..]),
            ("10.0.0.2:9180", &["10.0.0.3"], &["10.0.0.2:9180"]),
            ("0.0.0.0:9180", &["10.0.0.2", "10.0.0.3"], &["10.0.0.2:9180", "10.0.0.3:9180"]),
            ("0.0.0.0:9180", &[], &["127.0.0.1:9180"]),
            ("[::]:9180", &[], &["[::1]:9180"]),
        ] {
            balancer.admin = admin.parse().unwrap();
            balancer.address = address.iter().map(|text| text.parse().unwrap()).collect();
            let found: Vec<_> = balancer.api_addresses().iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{admin}");
        }
    }
}
