//! What the gate refuses, and how the refusal travels through hyper to the answer.

use http::{Method, StatusCode, Uri};

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

/// The method of the request that the gate puts in the place of a refused one. The gate refuses it from a client.
const METHOD: &str = "REFUSED";

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

    /// Whether a client's method is the one kept for refusals.
    pub(super) fn is_reserved(method: &[u8]) -> bool {
        method == METHOD.as_bytes()
    }

    /// A request that stands for this refusal: so the answer keeps its place behind those of earlier requests.
    pub(super) fn request(self) -> String {
        format!("{METHOD} /{} HTTP/1.1\r\n\r\n", self.status().as_u16())
    }

    /// The status to answer with, if the request is one made by `Self::request`.
    pub fn of(method: &Method, uri: &Uri) -> Option<StatusCode> {
        if method.as_str() != METHOD {
            return None;
        }
        Some(uri.path().get(1..).and_then(|code| code.parse().ok()).unwrap_or(StatusCode::BAD_REQUEST))
    }
}
