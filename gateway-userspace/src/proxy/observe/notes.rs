//! What is noted of a request while it is answered.

use std::sync::Arc;

use http::HeaderValue;

use super::traffic::HostTraffic;
use crate::proxy::{counters::Outcome, message::Response};

/// Filled in on the way.
#[derive(Debug, Default)]
pub struct Notes {
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Whose name was asked for.
    pub host: Option<Arc<HostTraffic>>,
    /// Who answered.
    pub upstream: Option<Arc<str>>,
    /// Of a request that went to an upstream.
    pub id: Option<HeaderValue>,
}

impl Notes {
    /// An answer, and what it stands for.
    pub fn with<B>(&mut self, outcome: Outcome, response: Response<B>) -> Response<B> {
        self.outcome = Some(outcome);
        response
    }
}
