//! A model for unit tests.

use std::time::Duration;

use crate::model::{
    AdminState, Affinity, Balancer, Dns, Forwarding, Instance, InstanceName, Interfaces, Mode, Model,
    Network, NoSni, Places, PlainHttp, Probe, Proxy, ProxyLimits, Service, Vips,
};

/// `gw-1` has 10.0.0.11, and so on.
pub(crate) fn instance(name: &str) -> Instance {
    let number = name.trim_start_matches("gw-");
    Instance {
        name: InstanceName(name.into()),
        dip: vec![format!("10.0.0.1{number}").parse().unwrap()],
        weight: 100,
        admin_state: AdminState::Auto,
    }
}

pub(crate) fn model(instances: &[&str]) -> Model {
    Model {
        service: Service { name: "contoso".into(), suffix: "azure-api.net".into(), mode: Mode::Internal },
        network: Network { subnet: vec!["10.0.0.0/24".parse().unwrap()], vnet: vec![], peered: vec![] },
        vip: Vips {
            private: vec!["10.0.0.5".parse().unwrap()],
            public: vec!["203.0.113.5".parse().unwrap()],
        },
        balancer: Balancer {
            interfaces: Interfaces::One("eth0".into()),
            forwarding: Forwarding::L2,
            address: vec![],
            affinity: Affinity::FiveTuple,
            management_sources: vec![],
            drain: Duration::from_secs(3600),
            admin: "127.0.0.1:9180".parse().unwrap(),
            tokens: None,
            seed: "contoso".into(),
        },
        instances: instances.iter().map(|name| instance(name)).collect(),
        places: Places::default(),
        probe: Probe::default(),
        endpoints: vec![],
        passthrough: vec![],
        proxy: Proxy {
            no_sni: NoSni::Reject,
            http: PlainHttp::Redirect,
            proxy_protocol_from: vec![],
            ticket_secret: None,
            access_log: None,
            metrics_sources: Vec::new(),
            limits: ProxyLimits::default(),
            resolver: vec![],
        },
        dns: Dns::default(),
        snat: None,
    }
}
