//! Why a probe failed.

use std::{io, time::Duration};

/// Whether anything answers at an instance's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Something does, if only to refuse.
    Somebody,
    /// Nothing does.
    Nobody,
}

/// Why a probe failed, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection came about in time.
    #[error("no connection within {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// No route, or the last router or the host's own link says that nobody is there.
    #[error("{0}")]
    Unreachable(String),
    /// RST.
    #[error("connection refused")]
    Refused,
    /// Connected, and then no answer in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Slow(Duration),
    /// TLS did not come about.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection ended or broke before an answer.
    #[error("the connection ended before an answer{0}")]
    Cut(String),
    /// What came back is no HTTP.
    #[error("no HTTP/1 response: {0}")]
    NotHttp(String),
    /// A status that is none of those wanted.
    #[error("status {0}")]
    Status(u16),
    /// It could not be tried, for a reason of this host's own.
    #[error("could not be tried: {0}")]
    Own(String),
}

impl Failure {
    /// Of an attempt to connect.
    pub(super) fn of_connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::TimedOut => {
                Self::Unreachable(plain(error))
            }
            _ => Self::Own(plain(error)),
        }
    }

    /// Of reading or writing.
    pub(super) fn of_exchange(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::Unreachable(plain(error))
            }
            _ => Self::Cut(format!(": {}", plain(error))),
        }
    }

    /// What it says about the instance; nothing where it could not be tried.
    pub fn presence(&self) -> Option<Presence> {
        match self {
            Self::Silent(_) | Self::Unreachable(_) => Some(Presence::Nobody),
            Self::Refused
            | Self::Slow(_)
            | Self::Tls(_)
            | Self::Cut(_)
            | Self::NotHttp(_)
            | Self::Status(_) => Some(Presence::Somebody),
            Self::Own(_) => None,
        }
    }
}

/// The kernel's words in lower case, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r81_errors_are_told_in_plain_words() {
        let text = |errno| Failure::of_connecting(&io::Error::from_raw_os_error(errno)).to_string();
        assert_eq!(text(libc::ECONNREFUSED), "connection refused");
        assert_eq!(text(libc::EHOSTUNREACH), "no route to host");
        assert_eq!(text(libc::ENETUNREACH), "network is unreachable");
        assert_eq!(text(libc::EMFILE), "could not be tried: too many open files");
        assert_eq!(
            Failure::Silent(Duration::from_millis(1_500)).to_string(),
            "no connection within 1s 500ms"
        );
        assert_eq!(Failure::Status(503).to_string(), "status 503");
    }

    #[test]
    fn r82_nobody_is_there_where_nothing_answered() {
        let of = |errno| Failure::of_connecting(&io::Error::from_raw_os_error(errno)).presence();
        assert_eq!(of(libc::ECONNREFUSED), Some(Presence::Somebody));
        assert_eq!(of(libc::EHOSTUNREACH), Some(Presence::Nobody));
        assert_eq!(of(libc::ENETUNREACH), Some(Presence::Nobody));
        assert_eq!(of(libc::EADDRNOTAVAIL), None, "that is this host's own fault");
    }
}
