//! Dropped packets as the program shows them: a task reads them as they come, and the last one of each kind is kept.

use std::{
    collections::BTreeMap,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aya::maps::{MapData, RingBuf};
use gateway_ebpf::{
    layout::{About, SAMPLE_BYTES, Sample},
    reason::Reason,
};
use nix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};
use tokio_util::task::AbortOnDropHandle;

use super::{Error, samples};

/// The last packet that was dropped, of those that are shown: the first of each kind and CPU, then one in 1,024.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Shown {
    /// When, RFC 3339.
    pub time: String,
    /// By which interface it came, by name where it has one.
    pub interface: String,
    /// Bytes of the frame.
    pub length: u32,
    /// `10.0.7.7:50000 > 203.0.113.5:443 TCP SYN len 54, no-service`
    pub line: String,
    /// The frame's beginning, 128 bytes at most.
    pub hex: String,
}

/// The ring buffer, and what came out of it.
pub(super) struct Ring {
    /// None: of a program that another process has loaded.
    ring: Option<RingBuf<MapData>>,
    /// By scope and reason.
    last: BTreeMap<(u16, u8), (SystemTime, Sample)>,
}

impl Ring {
    pub(super) fn new(ring: Option<RingBuf<MapData>>) -> Self {
        Self { ring, last: BTreeMap::new() }
    }

    /// Takes in what has come.
    pub(super) fn drain(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        while let Some(item) = ring.next() {
            if let Some(sample) = read(&item) {
                let key = (sample.about.scope, sample.about.reason);
                self.last.insert(key, (wall_time(sample.about.time), sample));
            }
        }
    }

    /// The last one of its kind.
    pub(super) fn last(&self, scope: u16, reason: Reason) -> Option<Shown> {
        let (time, sample) = self.last.get(&(scope, reason as u8))?;
        let index = sample.about.interface;
        let name = nix::net::if_::if_indextoname(index).ok().and_then(|name| name.into_string().ok());
        Some(Shown {
            time: humantime::format_rfc3339_millis(*time).to_string(),
            interface: name.unwrap_or_else(|| index.to_string()),
            length: sample.about.length,
            line: samples::line(sample),
            hex: samples::hex(sample),
        })
    }

    /// Forgets what a number named before.
    pub(super) fn forget(&mut self, scope: u16) {
        self.drain();
        self.last.retain(|&(of, _), _| of != scope);
    }
}

/// One that panicked while it held the ring left it usable.
pub(super) fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task that ends with this.
pub(super) struct Reader {
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    /// None: there is nothing to read.
    pub(super) fn start(ring: Arc<Mutex<Ring>>) -> Result<Option<Self>, Error> {
        let descriptor = lock(&ring).ring.as_ref().map(|ring| ring.as_fd().try_clone_to_owned());
        let Some(descriptor) = descriptor else { return Ok(None) };
        let descriptor = descriptor.map_err(|error| Error::Events(Box::new(error)))?;
        // SAFETY: the descriptor moves into the registration, which ends before it closes.
        let ready = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        let ready = ready.map_err(|error| Error::Events(Box::new(error)))?;
        Ok(Some(Self {
            _task: AbortOnDropHandle::new(tokio::spawn(async move {
                while let Ok(mut guard) = ready.readable().await {
                    // Before reading: what comes meanwhile wakes it again.
                    guard.clear_ready();
                    lock(&ring).drain();
                }
            })),
        }))
    }
}

fn read(bytes: &[u8]) -> Option<Sample> {
    const ABOUT: usize = size_of::<About>();
    let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let about = About {
        time: u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?),
        interface: number(8)?,
        length: number(12)?,
        captured: number(16)?,
        scope: u16::from_ne_bytes(bytes.get(20..22)?.try_into().ok()?),
        reason: *bytes.get(22)?,
        pad: 0,
    };
    Some(Sample { about, headers: bytes.get(ABOUT..ABOUT + SAMPLE_BYTES)?.try_into().ok()? })
}

/// Of a reading of the monotonic clock not long ago.
fn wall_time(monotonic: u64) -> SystemTime {
    let now = SystemTime::now();
    let Ok(clock) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return now };
    let age = Duration::from(clock).saturating_sub(Duration::from_nanos(monotonic));
    now.checked_sub(age).unwrap_or(now)
}
