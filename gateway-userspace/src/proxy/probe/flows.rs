//! `GET /flows`: this instance's living connections by bucket of the balancers' ring, the evidence by which they close windows.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::{
    model::{Affinity, InstanceName},
    net::{
        self,
        sockets::{self, Connection},
    },
    plan::Served,
};

/// How long what the kernel said is good for: several balancers ask within it, and it is far below what a window lasts.
const GOOD_FOR: Duration = Duration::from_millis(200);

/// What the kernel said last. One question at a time, for all workers.
#[derive(Debug, Default)]
pub(super) struct Flows(Mutex<Option<(Instant, Arc<[Connection]>)>>);

/// The answer's body.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema_version: u32,
    instance: &'a str,
    flows: usize,
    /// Bucket, and how many.
    buckets: Vec<(u32, u32)>,
    /// By role, when the first of the certificates that are shown is good no more, Unix time.
    certificates: &'a Ends,
}

/// See [`Report::certificates`].
pub(super) type Ends = BTreeMap<&'static str, i64>;

/// `affinity=five-tuple`, as in the file.
pub(super) fn affinity(query: Option<&str>) -> Option<Affinity> {
    match query?.strip_prefix("affinity=")? {
        "five-tuple" => Some(Affinity::FiveTuple),
        "three-tuple" => Some(Affinity::ThreeTuple),
        "source-address" => Some(Affinity::SourceAddress),
        _ => None,
    }
}

impl Flows {
    /// What lives now, or did a moment ago.
    pub(super) async fn report(
        &self,
        name: &InstanceName,
        served: &Served,
        affinity: Affinity,
        ends: &Ends,
    ) -> Result<Bytes, net::Error> {
        let connections = self.connections().await?;
        Ok(report(name, served, affinity, &connections, ends).into())
    }

    async fn connections(&self) -> Result<Arc<[Connection]>, net::Error> {
        let mut last = self.0.lock().await;
        if let Some((asked, connections)) = &*last
            && asked.elapsed() < GOOD_FOR
        {
            return Ok(Arc::clone(connections));
        }
        let asked = Instant::now();
        // Elsewhere, for this thread serves clients. The runtime ends before its answer only where nobody waits for it.
        let connections: Arc<[Connection]> =
            spawn_blocking(sockets::connections).await.unwrap_or_else(|_| Ok(Vec::new()))?.into();
        *last = Some((asked, Arc::clone(&connections)));
        Ok(connections)
    }
}

fn report(
    name: &InstanceName,
    served: &Served,
    affinity: Affinity,
    connections: &[Connection],
    certificates: &Ends,
) -> Vec<u8> {
    let mut buckets = BTreeMap::<u32, u32>::new();
    for Connection { local, peer } in connections {
        if let Some(bucket) = served.bucket(*local, *peer, affinity) {
            *buckets.entry(bucket).or_default() += 1;
        }
    }
    let flows = buckets.values().map(|&count| count as usize).sum();
    let buckets = buckets.into_iter().collect();
    let report = Report { schema_version: 1, instance: &name.0, flows, buckets, certificates };
    // Strings and numbers only: this cannot fail.
    serde_json::to_vec(&report).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    #[test]
    fn connections_to_services_are_counted_by_bucket_and_others_are_not() {
        let model = model(&["gw-1"]);
        let served = Served::of(&model, &model.instances[0].dip);
        let to = |local: &str, peer: &str| Connection {
            local: local.parse().unwrap(),
            peer: peer.parse().unwrap(),
        };
        let connections = [
            to("10.0.0.5:443", "10.0.7.7:50000"),
            to("10.0.0.5:443", "10.0.7.7:50001"),
            to("10.0.0.5:443", "10.0.7.8:50000"),
            to("10.0.0.5:22", "10.0.7.7:50000"),
            to("10.0.0.11:8080", "10.0.0.2:50000"),
            to("10.0.0.11:40000", "10.0.1.20:8080"),
        ];
        let name = &model.instances[0].name;
        let counts = |affinity| {
            let text =
                report(name, &served, affinity, &connections, &Ends::from([("portal", 1_800_000_000)]));
            let report: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(report["certificates"], serde_json::json!({ "portal": 1_800_000_000 }));
            let buckets: Vec<(u32, u32)> = serde_json::from_value(report["buckets"].clone()).unwrap();
            let mut counts: Vec<_> = buckets.iter().map(|(_, count)| *count).collect();
            counts.sort_unstable();
            (report["instance"].as_str() == Some("gw-1"), report["flows"].as_u64(), counts)
        };
        assert_eq!(counts(Affinity::FiveTuple), (true, Some(3), vec![1, 1, 1]));
        assert_eq!(counts(Affinity::SourceAddress), (true, Some(3), vec![1, 2]));
    }

    #[test]
    fn the_affinity_is_named_as_in_the_file() {
        assert_eq!(affinity(Some("affinity=three-tuple")), Some(Affinity::ThreeTuple));
        for query in [None, Some(""), Some("affinity="), Some("affinity=none")] {
            assert_eq!(affinity(query), None, "{query:?}");
        }
    }
}
