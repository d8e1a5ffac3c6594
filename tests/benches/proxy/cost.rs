//! What a process and its children used.

use std::{fs, time::Duration};

use anyhow::Context;

/// Time on a processor, of all threads of a process and of its children.
pub(crate) fn cpu(process: u32) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for id in family(process) {
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            // `schedstat`: nanoseconds on a processor, then waiting for one, then turns. `stat` has hundredths of a second.
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = text.split_whitespace().next().context("an empty schedstat")?;
            sum += first.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// Memory of its own, in bytes: without what it shares with others, and without the kernel's buffers.
pub(crate) fn memory(process: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for id in family(process) {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let fields = text.lines().filter_map(|line| line.strip_prefix("Private_"));
        let kib = fields.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        sum += kib.sum::<u64>() * 1024;
    }
    Ok(sum)
}

/// The process and its children.
fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    std::iter::once(process).chain(children).collect()
}
