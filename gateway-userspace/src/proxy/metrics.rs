//! What an instance's proxy counts, as metrics: OpenMetrics text. Counts begin with the process; one that takes over begins anew.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{
    counters::Outcome,
    observe::{BOUNDS, CLASSES, HostTraffic},
    state::State,
    upstream::{NameSeen, UpstreamSeen},
    worker::Worker,
};
use crate::{
    dns::serve::counters as dns,
    metrics::families::{Families, Histogram, flag},
    model::Role,
};

const MICROSECONDS: f64 = 1e6;

/// What is told in one answer.
#[derive(Debug)]
pub(super) struct Snapshot {
    outcomes: Vec<(&'static str, u64)>,
    connections: u64,
    hosts: Vec<Arc<HostTraffic>>,
    upstreams: Vec<UpstreamSeen>,
    names: Vec<NameSeen>,
    certificates: Vec<(Role, f64)>,
    lost_lines: u64,
    dns: dns::Sum,
}

impl Snapshot {
    /// Of these workers, which serve `state` now.
    pub(super) fn of(workers: &[Arc<Worker>], state: &State) -> Self {
        let outcome = |&(outcome, _): &(Outcome, &str)| {
            (outcome.name(), workers.iter().map(|worker| worker.counters().get(outcome)).sum())
        };
        let expiry = |(role, served): (&Role, &Arc<super::tls::Served>)| (*role, served.expires_at() as f64);
        let mut dns = dns::Sum::default();
        workers.iter().for_each(|worker| worker.dns.counters.add_to(&mut dns));
        Self {
            dns,
            outcomes: Outcome::ALL.iter().map(outcome).collect(),
            connections: workers.iter().map(|worker| worker.connections() as u64).sum(),
            hosts: state.known.traffic.hosts(),
            upstreams: state.known.upstreams.seen(),
            names: state.known.upstreams.names(),
            certificates: state.certificates.iter().map(expiry).collect(),
            lost_lines: state.access_log.as_ref().map_or(0, |log| log.lost()),
        }
    }

    /// OpenMetrics.
    pub(super) fn text(self) -> String {
        let mut registry = Registry::with_prefix("gateway_proxy");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("a string takes everything");
        text
    }

    fn dns_durations(&self) -> Histogram {
        let bounds = dns::BOUNDS.iter().map(|bound| *bound as f64 / MICROSECONDS).chain([f64::INFINITY]);
        Histogram {
            sum: self.dns.microseconds as f64 / MICROSECONDS,
            buckets: bounds.zip(self.dns.times).collect(),
        }
    }

    fn by_role(&self) -> impl Iterator<Item = (Role, Histogram)> {
        let of = |role| self.hosts.iter().filter(move |host| host.role == role).map(|host| host.sum());
        Role::ALL.into_iter().filter_map(move |role| {
            let all = of(role).reduce(|mut all, one| {
                all.microseconds += one.microseconds;
                all.durations.iter_mut().zip(one.durations).for_each(|(all, one)| *all += one);
                all
            })?;
            let bounds = BOUNDS.iter().map(|bound| *bound as f64 / MICROSECONDS).chain([f64::INFINITY]);
            let buckets = bounds.zip(all.durations).collect();
            Some((role, Histogram { sum: all.microseconds as f64 / MICROSECONDS, buckets }))
        })
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        families.gauge(
            "build_info",
            "The version that runs.",
            [([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )?;
        families.gauge("connections", "Clients' connections now.", [([], self.connections as f64)])?;
        families.counter(
            "outcomes",
            "Connections and requests, by what became of them.",
            self.outcomes.iter().map(|(outcome, count)| ([("outcome", *outcome)], *count)),
        )?;
        let sums: Vec<_> =
            self.hosts.iter().map(|host| (host.role.as_str(), &*host.host, host.sum())).collect();
        families.counter(
            "requests",
            "Requests for names that are served, by the class of their status; 4xx is also where client or connection ended first.",
            sums.iter().flat_map(|(role, host, sum)| {
                let classes = CLASSES.iter().zip(sum.classes);
                classes.map(move |(class, count)| ([("code", *class), ("host", *host), ("role", *role)], count))
            }),
        )?;
        families.bytes(
            "sent",
            "Bytes of answers' bodies.",
            sums.iter().map(|(role, host, sum)| ([("host", *host), ("role", *role)], sum.sent)),
        )?;
        families.counter(
            "passed_connections",
            "Connections whose bytes passed unread, and that have ended: WebSocket's, and those that are passed through.",
            sums.iter().map(|(role, host, sum)| ([("host", *host), ("role", *role)], sum.passed)),
        )?;
        families.bytes(
            "passed",
            "Bytes on them, counted at their end.",
            sums.iter().flat_map(|(role, host, sum)| {
                let both = [("from-client", sum.up), ("to-client", sum.down)];
                both.map(|(way, bytes)| ([("direction", way), ("host", *host), ("role", *role)], bytes))
            }),
        )?;
        families.histogram(
            "request_duration",
            "From a request's head to its answer's last byte; of a WebSocket's to its head.",
            self.by_role().map(|(role, histogram)| ([("role", role.as_str())], histogram)),
        )?;
        families.counter(
            "upstream_answers",
            "Answers of upstreams by the class of their status.",
            self.upstreams.iter().flat_map(|one| {
                let classes = CLASSES.iter().zip(one.answers);
                classes.map(|(class, count)| ([("code", *class), ("upstream", &*one.name)], count))
            }),
        )?;
        families.counter(
            "upstream_failures",
            "Requests that an upstream did not answer: no connection, broken off, too late.",
            self.upstreams.iter().map(|one| ([("upstream", &*one.name)], one.failures)),
        )?;
        families.gauge(
            "upstream_requests_in_flight",
            "Requests at an upstream now.",
            self.upstreams.iter().map(|one| ([("upstream", &*one.name)], one.in_flight as f64)),
        )?;
        families.gauge(
            "upstream_left_out",
            "1 while an upstream is left out after failures in a row.",
            self.upstreams.iter().map(|one| ([("upstream", &*one.name)], flag(one.is_left_out))),
        )?;
        families.gauge(
            "upstream_name_addresses",
            "Addresses of an upstream's name.",
            self.names.iter().map(|one| ([("name", &*one.name)], one.addresses as f64)),
        )?;
        families.gauge(
            "upstream_name_failing",
            "1 while the DNS does not answer for an upstream's name; its last addresses serve.",
            self.names.iter().map(|one| ([("name", &*one.name)], flag(one.is_failing))),
        )?;
        families.seconds(
            "certificate_expiry_timestamp",
            "When the certificate of a role's names expires, Unix time.",
            self.certificates.iter().map(|(role, time)| ([("role", role.as_str())], *time)),
        )?;
        families.counter(
            "access_log_lines_lost",
            "Lines of the access log that the disk was too slow for.",
            [([], self.lost_lines)],
        )?;
        families.counter(
            "dns_queries",
            "Questions of the DNS, by what became of them.",
            self.dns.questions().map(|(outcome, kind, transport, count)| {
                ([("outcome", outcome), ("transport", transport), ("type", kind)], count)
            }),
        )?;
        families.histogram(
            "dns_answer_duration",
            "From a question to its answer, of other servers too.",
            [([], self.dns_durations())],
        )?;
        families.counter(
            "dns_forwards",
            "Questions to the servers of dns.forward, by how these answered.",
            dns::ASKED.into_iter().zip(self.dns.asked).map(|(result, count)| ([("result", result)], count)),
        )
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::{model::HostPattern, proxy::observe::Traffic};

    /// One of each.
    pub(crate) fn full() -> Snapshot {
        let host = Traffic::new(1).host(Role::Gateway, &HostPattern::Exact("api.contoso.com".into()));
        host.count(0, StatusCode::OK, Duration::from_millis(3), 512);
        host.count_passed(0, 100, 1_000);
        let upstream = UpstreamSeen {
            name: "http://10.0.1.20:8080".into(),
            answers: [0, 7, 0, 0, 1],
            failures: 1,
            in_flight: 2,
            is_left_out: false,
        };
        Snapshot {
            outcomes: Outcome::ALL.iter().map(|(outcome, _)| (outcome.name(), 1)).collect(),
            connections: 3,
            hosts: vec![host],
            upstreams: vec![upstream],
            names: vec![NameSeen { name: "orders.internal".into(), addresses: 2, is_failing: false }],
            certificates: vec![(Role::Gateway, 1.8e9)],
            lost_lines: 0,
            dns: questions(),
        }
    }

    fn questions() -> dns::Sum {
        let counters = dns::Counters::default();
        let took = Duration::from_micros(20);
        counters.count(crate::dns::answer::Outcome::Answered, None, crate::dns::answer::Transport::Udp, took);
        let mut sum = dns::Sum::default();
        counters.add_to(&mut sum);
        sum
    }

    #[test]
    fn durations_are_counted_up_to_each_bound() {
        let text = full().text();
        let bucket = |bound| format!(r#"request_duration_seconds_bucket{{le="{bound}",role="gateway"}}"#);
        for (bound, count) in [("0.001", 0), ("0.005", 1), ("+Inf", 1)] {
            let line = format!("gateway_proxy_{} {count}\n", bucket(bound));
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("duration_seconds_sum{role=\"gateway\"} 0.003\n"), "{text}");
    }
}
