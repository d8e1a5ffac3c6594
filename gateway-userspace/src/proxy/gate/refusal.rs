//! What the gate refuses.

use http::StatusCode;

/// Why a request is not let in. Each is answered with its status and the end of the connection: behind a request that is
/// not understood, the next one cannot be found with certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: not the grammar of RFC 9112, or two readings of it.
    BadRequest,
    /// 405: CONNECT or TRACE.
    Method,
    /// 414
    TargetTooLong,
    /// 417: an expectation other than 100-continue.
    Expectation,
    /// 431
    HeadTooLarge,
    /// 501: a transfer coding other than chunked.
    Coding,
    /// 501: a tunnel of another protocol than WebSocket's.
    Protocol,
    /// 505
    Version,
}

impl Refusal {
    /// The answer's status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Coding | Self::Protocol => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }
}
