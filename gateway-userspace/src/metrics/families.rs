//! Writing metrics family by family, in the order in which they are given: the text of an unchanged state is unchanged.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// A label's name and value.
pub(crate) type Label<'a> = (&'static str, &'a str);

/// What was measured, by upper bound; the last one is infinity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    /// Of all.
    pub(crate) sum: f64,
    /// How many are up to the bound and above the one before.
    pub(crate) buckets: Vec<(f64, u64)>,
}

/// The families written so far, and room for more.
pub(crate) struct Families<'e>(DescriptorEncoder<'e>);

impl<'e> Families<'e> {
    pub(crate) fn new(encoder: DescriptorEncoder<'e>) -> Self {
        Self(encoder)
    }

    /// What only grows; `_total` is put behind the name.
    pub(crate) fn counter<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], u64)>,
    ) -> fmt::Result {
        self.counter_in(None, name, help, samples)
    }

    /// The same in bytes, which is put behind the name before that.
    pub(crate) fn bytes<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], u64)>,
    ) -> fmt::Result {
        self.counter_in(Some(&Unit::Bytes), name, help, samples)
    }

    fn counter_in<'a, const N: usize>(
        &mut self,
        unit: Option<&Unit>,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// What goes up and down.
    pub(crate) fn gauge<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], f64)>,
    ) -> fmt::Result {
        self.gauge_in(None, name, help, samples)
    }

    /// Durations in seconds, which is put behind the name.
    pub(crate) fn histogram<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, Histogram { sum, buckets }) in samples {
            let count = buckets.iter().map(|(_, count)| count).sum();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    /// The same in seconds, which is put behind the name.
    pub(crate) fn seconds<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], f64)>,
    ) -> fmt::Result {
        self.gauge_in(Some(&Unit::Seconds), name, help, samples)
    }

    fn gauge_in<'a, const N: usize>(
        &mut self,
        unit: Option<&Unit>,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// 1 for yes.
pub(crate) fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
