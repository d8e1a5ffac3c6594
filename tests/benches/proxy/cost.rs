//! What a process used.

use std::{fs, time::Duration};

use anyhow::Context;

/// Time on a processor, of all threads of a process.
pub(crate) fn cpu(process: u32) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // `schedstat`: nanoseconds on a processor, then waiting for one, then turns. `stat` has hundredths of a second.
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().context("an empty schedstat")?;
        sum += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Memory of its own, in bytes: without what it shares with others, and without the kernel's buffers.
pub(crate) fn memory(process: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let fields = text.lines().filter_map(|line| line.strip_prefix("Private_"));
    let kib = fields.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.sum::<u64>() * 1024)
}
