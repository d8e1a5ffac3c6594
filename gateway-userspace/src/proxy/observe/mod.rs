//! What is seen of requests: identifiers, counts, the access log.

mod body;
mod line;
mod log;
mod notes;
mod passed;
pub mod trace;
mod traffic;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;

use self::line::Answered;
pub use self::{
    body::ObservedBody,
    line::Asked,
    log::AccessLog,
    notes::Notes,
    passed::{Passed, Through, Tunnelled},
    traffic::{BOUNDS, CLASSES, HostTraffic, Sum, Traffic, class},
};
use super::{
    body::ResponseBody,
    counters::Outcome,
    message::{RequestHead, Response},
    worker::Worker,
};

/// What stands for a status where there was none, as nginx has it.
const UNANSWERED: u16 = 499;

/// A request from its head to its answer's end. Dropped, it is over.
pub struct Request {
    worker: Arc<Worker>,
    began: Instant,
    /// Kept for the access log, and where that is.
    logged: Option<Box<(Arc<AccessLog>, Asked)>>,
    notes: Notes,
    /// None before there is an answer.
    status: Option<StatusCode>,
    sent: u64,
    is_whole: bool,
    /// Of one that became a tunnel: when that was, and what passed in it, from the client and to it.
    answered_in: Option<Duration>,
    passed: Option<(u64, u64)>,
}

impl Request {
    /// At its head; `log` has a line of it at its end.
    pub fn begin(
        worker: &Arc<Worker>,
        log: Option<&Arc<AccessLog>>,
        head: &RequestHead,
        client: IpAddr,
    ) -> Self {
        let asked = |log| Box::new((Arc::clone(log), Asked::of(head, client)));
        Self {
            worker: Arc::clone(worker),
            began: Instant::now(),
            logged: log.map(asked),
            notes: Notes::default(),
            status: None,
            sent: 0,
            is_whole: false,
            answered_in: None,
            passed: None,
        }
    }

    /// To be filled in.
    pub fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// With its answer, which it goes with.
    pub fn answered(mut self, response: Response<ResponseBody>) -> Response<ObservedBody> {
        self.status = Some(response.head.status);
        if let Some(outcome) = self.notes.outcome {
            self.worker.counters.count(outcome);
        }
        response.map(|body| ObservedBody::new(body, self))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let worker = self.worker.pool.worker();
        let status = self.status.unwrap_or_else(|| {
            self.notes.outcome = Some(Outcome::Unanswered);
            self.worker.counters.count(Outcome::Unanswered);
            StatusCode::from_u16(UNANSWERED).unwrap_or(StatusCode::BAD_REQUEST)
        });
        if let Some(host) = &self.notes.host {
            host.count(worker, status, self.answered_in.unwrap_or(took), self.sent);
            if let Some((up, down)) = self.passed {
                host.count_passed(worker, up, down);
            }
        }
        if let Some(logged) = &self.logged {
            let (log, asked) = &**logged;
            let (received, sent) = self.passed.map_or((None, self.sent), |(up, down)| (Some(up), down));
            let answered = Answered { status, sent, received, is_whole: self.is_whole, took };
            log.note(worker, asked, answered, &self.notes);
        }
    }
}
