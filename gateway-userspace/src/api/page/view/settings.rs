//! The file, the program, the interfaces: what everything else comes from.

use maud::{Markup, html};

use super::{
    Glance,
    addresses::ago,
    text::{Tone, grouped},
};
use crate::{
    dataplane::XdpMode,
    status::{Interface, Outcome, Status},
};

pub(super) fn section(status: &Status, glance: &Glance<'_>) -> Markup {
    let apply = &status.configuration.last_apply;
    let tone = match apply.outcome {
        Outcome::Refused | Outcome::RolledBack => Tone::Bad,
        Outcome::Watched => Tone::Odd,
        Outcome::NothingToDo | Outcome::Applied => Tone::Good,
    };
    html! {
        section aria-labelledby="configuration" {
            h2 #configuration { "Configuration" }
            dl.facts {
                dt { "File" } dd { span.mono { (status.configuration.file) } }
                dt { "Last apply" }
                dd {
                    span.word.(tone.class()) { (apply.outcome.word()) }
                    span.note { (ago(apply.time, glance.now)) " by " (apply.by) ", generation " (status.generation) }
                    @if let Some(error) = &apply.error { pre.error tabindex="0" { (error) } }
                }
                @for interface in &status.interfaces { dt { "Interface" } dd { (carrier(interface)) } }
                dt { "Program" }
                dd { "number " (status.program.id) ", tag " span.mono { (status.program.tag) } ", gateway " (status.version) }
                @if status.windows.buckets > 0 {
                    dt { "Moving" }
                    dd { (grouped(status.windows.buckets.into())) " of 65,537 buckets may have flows of an earlier owner" }
                }
                @if let Some(csrf) = glance.viewer.csrf().filter(|_| glance.viewer.may_change()) {
                    dt { "Take up the file" }
                    dd {
                        form.apply method="post" action="/apply" {
                            input type="hidden" name="csrf" value=(csrf);
                            button { "Apply" }
                            label { input type="checkbox" name="confirm" value="yes"; " and keep it whatever becomes of the instances" }
                        }
                        p.note { "Without the tick the new state is watched for 30 s, and taken back if no instance is healthy." }
                    }
                }
            }
        }
    }
}

fn carrier(interface: &Interface) -> Markup {
    let (tone, word) = match (interface.present, interface.carrier) {
        (false, _) => (Tone::Bad, "gone"),
        (true, false) => (Tone::Bad, "down"),
        (true, true) => (Tone::Good, "up"),
    };
    let xdp = match interface.xdp {
        XdpMode::Native => "native XDP",
        XdpMode::Generic => "generic XDP, several times slower",
    };
    html! { span.mono { (interface.name) } " " span.word.(tone.class()) { (word) } span.note { (xdp) } }
}
