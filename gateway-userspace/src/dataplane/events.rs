//! The kernel program's events in the daemon's log, with names for their numbers.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use aya::Ebpf;
use aya_log::EbpfLogger;
use gateway_ebpf::reason::Reason;
use log::{Log, Metadata, Record};
use tokio::io::unix::AsyncFd;
use tokio_util::task::AbortOnDropHandle;

use super::Error;

/// What the counters' scopes are called: a VIP, or a VIP and port.
pub(super) type ScopeNames = ArcSwap<BTreeMap<u16, String>>;

/// A task that ends with this.
pub(super) struct Events {
    _task: AbortOnDropHandle<()>,
}

impl Events {
    pub(super) fn start(ebpf: &mut Ebpf, scopes: Arc<ScopeNames>) -> Result<Self, Error> {
        let logger = EbpfLogger::init_with_logger(ebpf, Named(scopes))
            .map_err(|error| Error::Events(Box::new(error)))?;
        // SAFETY: the logger owns its descriptor and moves into the registration, which ends before it closes.
        let ready = unsafe { AsyncFd::register(logger) };
        let mut ready = ready.map_err(|error| Error::Events(Box::new(error)))?;
        Ok(Self {
            _task: AbortOnDropHandle::new(tokio::spawn(async move {
                while let Ok(mut guard) = ready.readable_mut().await {
                    guard.get_inner_mut().flush();
                    guard.clear_ready();
                }
            })),
        })
    }
}

/// Passes records on to the process's logger: `drop scope=2 reason=13 hi=… lo=…` as a sentence.
struct Named(Arc<ScopeNames>);

impl Log for Named {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        match sentence(&text, &self.0.load()) {
            Some(sentence) => log::warn!("{sentence}"),
            None => log::logger().log(record),
        }
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

fn sentence(text: &str, scopes: &BTreeMap<u16, String>) -> Option<String> {
    let fields = text.strip_prefix("drop ")?;
    let field = |name: &str| {
        fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?.parse::<u64>().ok()
    };
    let number = field("reason")?;
    let reason = Reason::ALL.iter().find(|&&reason| reason as u64 == number)?;
    let (hi, lo) = (field("hi")?, field("lo")?);
    let source: IpAddr = match hi {
        gateway_ebpf::address::V4 => std::net::Ipv4Addr::from(lo as u32).into(),
        _ => std::net::Ipv6Addr::from(u128::from(hi) << 64 | u128::from(lo)).into(),
    };
    let (name, meaning, remedy) = (reason.name(), reason.meaning(), reason.remedy());
    // Scope 0 is a frame whose VIP cannot be told.
    let place = scopes.get(&u16::try_from(field("scope")?).ok()?).map_or("no VIP", String::as_str);
    Some(format!("first drop ({name}) at {place}, from {source}: {meaning}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_a_sentence() {
        let scopes = BTreeMap::from([(2, "203.0.113.5".to_owned())]);
        let text = format!("drop scope=2 reason=13 hi={} lo={}", u64::MAX, 0xc633_6407_u32);
        let expected =
            "first drop (no-service) at 203.0.113.5, from 198.51.100.7: no service on this protocol";
        let sentence = |text: &str| sentence(text, &scopes);
        assert!(sentence(&text).unwrap().starts_with(expected));
        assert_eq!(sentence("attached"), None);
        assert_eq!(sentence("drop scope=2 reason=63 hi=0 lo=0"), None);
    }
}
