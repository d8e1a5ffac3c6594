//! Two looks for tests.

use std::time::{Duration, Instant};

use super::samples::Samples;
use crate::status::testing::full;

/// A second apart, with more packets of each counter than of the one before.
pub(super) fn samples() -> Samples {
    let (mut samples, began) = (Samples::default(), Instant::now());
    samples.take(began, full());
    let mut next = full();
    let counters = next.counters.as_mut().unwrap();
    for (number, one) in (1..).zip(counters.services.iter_mut().chain(&mut counters.instances)) {
        (one.packets, one.bytes) = (one.packets + 1_200 * number, one.bytes + 90_000 * number);
    }
    counters.drops[0].packets += 3;
    samples.take(began + Duration::from_secs(1), next);
    samples
}
