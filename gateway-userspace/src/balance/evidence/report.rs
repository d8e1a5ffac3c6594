//! What an instance answers.

use std::{collections::BTreeMap, time::Instant};

use gateway_ebpf::layout::BUCKETS;
use serde::Deserialize;

/// The answer to `GET /flows`.
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    schema_version: u32,
    instance: String,
    flows: u64,
    buckets: Vec<(u32, u64)>,
    // An earlier version says nothing of them.
    #[serde(default)]
    certificates: BTreeMap<String, i64>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::balance) enum Wrong {
    #[error("its answer cannot be read ({0}); run the same version of gateway on all hosts")]
    Form(String),
    #[error("its answer has schema_version {0}, and this version knows 1; run the same version on all hosts")]
    Version(u32),
    #[error("{0} answers at its address; see that the files of balancer and instances agree")]
    Name(String),
}

/// An instance's living flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::balance) struct Report {
    /// When it was asked: what it says was so later than that.
    pub(in crate::balance) begun: Instant,
    /// The mask by which it was asked to sort them.
    pub(in crate::balance) affinity: u64,
    /// How many.
    pub(in crate::balance) flows: u64,
    /// The buckets that they are in, in order.
    pub(in crate::balance) buckets: Vec<u32>,
    /// By role, when the first of the certificates that it shows is good no more, Unix time.
    pub(in crate::balance) certificates: BTreeMap<String, i64>,
}

impl Report {
    /// Whether it has one in that bucket.
    pub(super) fn has(&self, bucket: u32) -> bool {
        self.buckets.binary_search(&bucket).is_ok()
    }

    /// From what the instance `name` answered to a question asked at `begun`.
    pub(super) fn read(bytes: &[u8], name: &str, begun: Instant, affinity: u64) -> Result<Self, Wrong> {
        let body: Body = serde_json::from_slice(bytes).map_err(|error| Wrong::Form(error.to_string()))?;
        if body.schema_version != 1 {
            return Err(Wrong::Version(body.schema_version));
        }
        if body.instance != name {
            return Err(Wrong::Name(body.instance));
        }
        let mut buckets: Vec<u32> =
            body.buckets.into_iter().filter(|(_, count)| *count > 0).map(|(bucket, _)| bucket).collect();
        buckets.sort_unstable();
        if buckets.last().is_some_and(|&bucket| bucket as usize >= BUCKETS) {
            return Err(Wrong::Form("a bucket that no ring has".into()));
        }
        if buckets.is_empty() != (body.flows == 0) {
            return Err(Wrong::Form("its number of flows is not that of its buckets".into()));
        }
        Ok(Self { begun, affinity, flows: body.flows, buckets, certificates: body.certificates })
    }
}

#[cfg(test)]
mod tests {
    use gateway_ebpf::address::FIVE_TUPLE;

    use super::*;

    fn read(text: &str) -> Result<Report, Wrong> {
        Report::read(text.as_bytes(), "gw-1", Instant::now(), FIVE_TUPLE)
    }

    #[test]
    fn an_answer_is_read_and_a_wrong_one_is_told() {
        let report =
            read(r#"{"schema_version":1,"instance":"gw-1","flows":3,"buckets":[[9,2],[4,1],[5,0]]}"#);
        let report = report.unwrap();
        assert_eq!((report.flows, &report.buckets[..]), (3, &[4, 9][..]));
        assert!(report.has(9) && !report.has(5) && report.certificates.is_empty());
        let shown = read(
            r#"{"schema_version":1,"instance":"gw-1","flows":0,"buckets":[],"certificates":{"portal":1800000000}}"#,
        );
        assert_eq!(shown.unwrap().certificates, [("portal".to_owned(), 1_800_000_000)].into());
        let wrong = |version: u32, name: &str, flows: u64, bucket: u32| {
            read(&format!(
                r#"{{"schema_version":{version},"instance":"{name}","flows":{flows},"buckets":[[{bucket},1]]}}"#
            ))
        };
        assert_eq!(wrong(2, "gw-1", 1, 0), Err(Wrong::Version(2)));
        assert_eq!(wrong(1, "gw-2", 1, 0), Err(Wrong::Name("gw-2".into())));
        assert!(matches!(wrong(1, "gw-1", 0, 0), Err(Wrong::Form(_))));
        assert!(matches!(wrong(1, "gw-1", 1, 65_537), Err(Wrong::Form(_))));
        assert!(matches!(read("<html>"), Err(Wrong::Form(_))));
    }
}
