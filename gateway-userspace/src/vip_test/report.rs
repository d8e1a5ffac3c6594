//! What came of it, for people and programs. Pure.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;

use super::targets::Target;
use crate::{
    control::screen::{Colour, Tone, wrap},
    model::CERTIFICATE_ENDS_SOON,
    published,
};

/// Of the document; grows when a field changes its meaning.
const SCHEMA_VERSION: u32 = 1;
/// Columns of a text.
const WIDTH: usize = 80;
/// Where the notes begin.
const INDENT: usize = 11;

/// What `gateway test --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// 1
    pub schema_version: u32,
    /// Something was tried, and nothing failed.
    pub ok: bool,
    /// Which way connections to each VIP went.
    pub vips: Vec<Vip>,
    /// One for each name, VIP and port.
    pub checks: Vec<Check>,
}

/// Which way connections to a VIP go from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Vip {
    /// The VIP.
    pub address: IpAddr,
    /// Where they lead.
    pub leads: Leads,
    /// By which interface of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// By which router; absent where the VIP is on this host's link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<IpAddr>,
}

/// Where connections to a VIP lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Leads {
    /// Out of this host, to the balancer if all is well.
    Out,
    /// This host has the VIP itself: they stay here, and do not pass the balancer's program.
    Here,
    /// There is no route.
    Nowhere,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Check {
    /// `gateway`, `portal` …
    pub role: String,
    /// As the file has it.
    pub name: String,
    /// What was asked for: of a wildcard a name that it stands for.
    pub host: String,
    /// VIP and port.
    pub at: SocketAddr,
    /// What came of it.
    pub state: State,
    /// Of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Until TCP was connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<f64>,
    /// Of the TLS handshake, which verified name and validity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<f64>,
    /// From the request to the answer's head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<f64>,
    /// Whole days until the certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_days: Option<u64>,
    /// Why, or what is to be known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What came of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Fine,
    /// Not so.
    Failed,
    /// Nobody listens.
    Refused,
    /// It could not be told from this host.
    Unknown,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl Check {
    /// Of a connection that is to be made.
    pub(super) fn of(target: &Target) -> Self {
        Self {
            role: target.role.to_owned(),
            name: target.name.clone(),
            host: target.host.clone(),
            at: target.at,
            state: State::Fine,
            status: None,
            connect_ms: None,
            tls_ms: None,
            answer_ms: None,
            certificate_days: None,
            detail: None,
        }
    }
}

/// A JSON Schema (draft-07) of [`Report`].
pub fn schema() -> serde_json::Value {
    published::schema::<Report>("gateway test")
}

impl Report {
    pub(super) fn new(vips: Vec<Vip>) -> Self {
        Self { schema_version: SCHEMA_VERSION, ok: false, vips, checks: Vec::new() }
    }

    /// On a host that has the VIP and no proxy, that nobody listens says nothing of the service: unknown is not failed.
    pub(super) fn add(&mut self, mut check: Check) {
        let is_here = self.vips.iter().any(|vip| vip.address == check.at.ip() && vip.leads == Leads::Here);
        if check.state == State::Refused && is_here {
            check.state = State::Unknown;
            check.detail = Some("this host has the VIP and no proxy: try it on another host".to_owned());
        }
        self.checks.push(check);
        let is_bad = |check: &Check| matches!(check.state, State::Failed | State::Refused);
        self.ok =
            !self.checks.iter().any(is_bad) && self.checks.iter().any(|check| check.state == State::Fine);
    }

    pub(super) fn render(&self, colour: Colour) -> String {
        let mut text: String = self.vips.iter().map(way).collect();
        let mut name = None;
        for check in &self.checks {
            if name != Some(&check.name) {
                text += &format!("\n{} ({})\n", colour.paint(Tone::Head, &check.name), check.role);
                name = Some(&check.name);
            }
            text += &line(check, colour);
        }
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        let failed = count(State::Failed) + count(State::Refused);
        text + &format!("\n{} fine, {failed} failed, {} unknown\n", count(State::Fine), count(State::Unknown))
    }
}

/// State, status and time of a connection, where to, and what is to be known of it.
fn line(check: &Check, colour: Colour) -> String {
    let tone = match check.state {
        State::Fine => Tone::Good,
        State::Failed | State::Refused => Tone::Bad,
        State::Unknown => Tone::Odd,
    };
    let state = colour.paint(tone, &format!("{:<7}", check.state.word()));
    let status = check.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let total = [check.connect_ms, check.tls_ms, check.answer_ms].into_iter().flatten().sum::<f64>();
    let time = check.connect_ms.map_or_else(|| "-".to_owned(), |_| format!("{total:.0} ms"));
    let mut text = format!("  {state}  {status:<3}  {time:>7}  {}\n", check.at);
    // Below, where a whole sentence has room.
    for part in note(check).iter().flat_map(|note| wrap(note, WIDTH - INDENT)) {
        text += &format!("{:INDENT$}{part}\n", "");
    }
    text
}

fn note(check: &Check) -> Option<String> {
    let soon = check.certificate_days.filter(|days| *days < CERTIFICATE_ENDS_SOON.into());
    let soon = soon.map(|days| format!("its certificate ends in {days} days"));
    let notes: Vec<_> = soon.into_iter().chain(check.detail.clone()).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

fn way(vip: &Vip) -> String {
    let address = vip.address;
    match (vip.leads, &vip.interface, vip.router) {
        (Leads::Here, ..) => {
            format!("{address}: on this host; connections do not pass the balancer's program\n")
        }
        (Leads::Nowhere, ..) => format!("{address}: this host has no route to it\n"),
        (Leads::Out, interface, router) => {
            let interface = interface.as_deref().unwrap_or("an interface that is gone");
            let router = router.map_or_else(String::new, |router| format!(", router {router}"));
            format!("{address}: by {interface}{router}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vip_test::targets::Expects;

    fn report(leads: Leads, states: &[State]) -> Report {
        let address: IpAddr = "10.0.0.5".parse().unwrap();
        let mut report =
            Report::new(vec![Vip { address, leads, interface: Some("eth0".into()), router: None }]);
        for state in states {
            let target = Target {
                role: "gateway",
                name: "*.api.contoso.com".into(),
                host: "gateway-test.api.contoso.com".into(),
                at: SocketAddr::new(address, 443),
                expects: Expects::Answer,
            };
            report.add(Check { state: *state, ..Check::of(&target) });
        }
        report
    }

    #[test]
    fn unknown_is_neither_failed_nor_fine() {
        assert!(report(Leads::Out, &[State::Fine]).ok);
        assert!(!report(Leads::Out, &[State::Fine, State::Failed]).ok);
        assert!(!report(Leads::Out, &[State::Fine, State::Refused]).ok);
        let here = report(Leads::Here, &[State::Refused, State::Refused]);
        assert!(!here.ok, "nothing was shown");
        assert!(here.checks.iter().all(|check| check.state == State::Unknown));
        assert!(report(Leads::Here, &[State::Fine, State::Refused]).ok);
        assert!(!report(Leads::Out, &[]).ok);
    }

    #[test]
    fn r90_it_fits_80_columns_and_says_which_way_it_went() {
        let mut report = report(Leads::Here, &[State::Fine, State::Refused, State::Failed]);
        report.checks[0].certificate_days = Some(20);
        report.checks[1].certificate_days = Some(21);
        let text = report.render(Colour::Off);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("do not pass the balancer's program"), "{text}");
        assert!(
            text.contains("its certificate ends in 20 days")
                && !text.contains("in 21 days")
                && text.ends_with("\n1 fine, 1 failed, 1 unknown\n"),
            "{text}"
        );
    }

    #[test]
    fn r92_the_schema_is_the_one_of_the_code() {
        published::is_up_to_date("test.schema.json", &format!("{:#}\n", schema()), "vip_test");
    }
}
