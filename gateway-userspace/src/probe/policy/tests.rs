use proptest::prelude::*;

use super::*;

fn names(count: usize) -> Vec<InstanceName> {
    (1..=count).map(|n| InstanceName(format!("gw-{n}"))).collect()
}

/// Healthy, of weight 100, to be varied.
fn members(names: &[InstanceName]) -> Vec<Member<'_>> {
    let member = |name| Member {
        name,
        weight: 100,
        admin_state: AdminState::Auto,
        verdict: Verdict::Up,
        gone: false,
        joining: false,
        returned: None,
    };
    names.iter().map(member).collect()
}

fn shares(decision: &Decision) -> Vec<u16> {
    decision.shares.values().copied().collect()
}

fn decide_now(members: &[Member<'_>], probe: &Probe) -> Decision {
    decide(members, probe, Instant::now())
}

#[test]
fn r83_auto_follows_the_probe_up_does_not_and_down_never_serves() {
    let names = names(6);
    let mut members = members(&names);
    let states = [AdminState::Auto, AdminState::Up, AdminState::Down];
    for (place, member) in members.iter_mut().enumerate() {
        member.admin_state = states[place % 3];
        member.verdict = if place < 3 { Verdict::Up } else { Verdict::Down };
    }
    assert_eq!(shares(&decide_now(&members, &Probe::default())), [100, 100, 0, 0, 100, 0]);
}

#[test]
fn until_the_first_verdict_an_instance_serves_unless_it_joins_others() {
    let names = names(2);
    let mut members = members(&names);
    members[1].verdict = Verdict::Unknown;
    assert_eq!(shares(&decide_now(&members, &Probe::default())), [100, 100]);
    members[1].joining = true;
    assert_eq!(shares(&decide_now(&members, &Probe::default())), [100, 0]);
    members[0].verdict = Verdict::Down;
    assert_eq!(shares(&decide_now(&members, &Probe::default())), [0, 100], "there is nobody else");
}

#[test]
fn r82_flows_are_kept_reset_or_by_presence() {
    let names = names(4);
    let mut members = members(&names);
    // Up; down and there; down and gone; the same, but an administrator says that it is up.
    members[1].verdict = Verdict::Down;
    for member in &mut members[2..] {
        (member.verdict, member.gone) = (Verdict::Down, true);
    }
    members[3].admin_state = AdminState::Up;
    for (on_down, expected) in
        [(OnDown::Keep, &[][..]), (OnDown::Reset, &["gw-2", "gw-3"]), (OnDown::Auto, &["gw-3"])]
    {
        let decision = decide_now(&members, &Probe { on_down, ..Probe::default() });
        let gone: Vec<_> = decision.gone.iter().map(|name| name.0.as_str()).collect();
        assert_eq!(gone, expected, "{on_down:?}");
    }
}

#[test]
fn r82_all_down_is_refused_or_all_up() {
    let names = names(3);
    let mut members = members(&names);
    for member in &mut members {
        (member.verdict, member.gone) = (Verdict::Down, true);
    }
    let refuse = decide_now(&members, &Probe::default());
    assert_eq!((shares(&refuse), refuse.belief), (vec![0, 0, 0], Belief::Refused));
    assert_eq!(refuse.gone.len(), 3);
    let all_up = decide_now(&members, &Probe { all_down: AllDown::AllUp, ..Probe::default() });
    assert_eq!((shares(&all_up), all_up.belief), (vec![100; 3], Belief::AllUp));
    assert!(all_up.gone.is_empty(), "who counts as up is not reset");
    members[0].admin_state = AdminState::Up;
    let one = decide_now(&members, &Probe { all_down: AllDown::AllUp, ..Probe::default() });
    assert_eq!((shares(&one), one.belief), (vec![100, 0, 0], Belief::Probes));
    members[0].admin_state = AdminState::Down;
    let others = decide_now(&members, &Probe { all_down: AllDown::AllUp, ..Probe::default() });
    assert_eq!(shares(&others), [0, 100, 100], "who is drained stays so");
}

#[test]
fn in_a_panic_nobody_is_taken_out() {
    let names = names(5);
    let mut members = members(&names);
    members[4].admin_state = AdminState::Down;
    let probe = Probe { panic: 50, on_down: OnDown::Reset, ..Probe::default() };
    for member in &mut members[..2] {
        member.verdict = Verdict::Down;
    }
    let half = decide_now(&members, &probe);
    assert_eq!((shares(&half), half.gone.len()), (vec![0, 0, 100, 100, 0], 2), "half of four is not more");
    members[2].verdict = Verdict::Down;
    let most = decide_now(&members, &probe);
    assert_eq!(most.belief, Belief::Panic { down: 3, probed: 4 });
    assert_eq!((shares(&most), most.gone.len()), (vec![100, 100, 100, 100, 0], 0));
    members[3].verdict = Verdict::Down;
    assert_eq!(shares(&decide_now(&members, &probe)), [100, 100, 100, 100, 0], "whatever `all_down` says");
}

#[test]
fn a_returning_instance_comes_to_its_weight_in_steps() {
    let names = names(2);
    let mut members = members(&names);
    let probe = Probe { slow_start: Duration::from_secs(7), ..Probe::default() };
    let returned = Instant::now();
    members[1].returned = Some(returned);
    let mut seen = Vec::new();
    let mut now = returned;
    loop {
        let decision = decide(&members, &probe, now);
        seen.push(decision.shares[&names[1]]);
        assert_eq!(decision.shares[&names[0]], 100);
        let Some(next) = decision.next_step else { break };
        let just_before = decide(&members, &probe, next - Duration::from_nanos(1));
        assert_eq!(just_before.shares, decision.shares);
        now = next;
    }
    assert_eq!(seen, [12, 25, 37, 50, 62, 75, 87, 100]);
    assert_eq!(now, returned + probe.slow_start);
}

#[test]
fn a_small_weight_has_steps_too() {
    let names = names(2);
    let mut members = members(&names);
    members[0].weight = 2;
    members[1].weight = 1;
    members[1].returned = Some(Instant::now());
    let probe = Probe { slow_start: Duration::from_secs(3_600), ..Probe::default() };
    assert_eq!(shares(&decide_now(&members, &probe)), [16, 1]);
}

prop_compose! {
    fn some_members()(
        each in prop::collection::vec((1u16.., 0u8..3, 0u8..3, any::<bool>(), any::<bool>(), prop::option::of(0u64..100)), 0..12),
    ) -> Vec<(u16, AdminState, Verdict, bool, bool, Option<u64>)> {
        each.into_iter().map(|(weight, admin, verdict, gone, joining, returned)| {
            let admin = [AdminState::Auto, AdminState::Up, AdminState::Down][usize::from(admin)];
            let verdict = [Verdict::Unknown, Verdict::Up, Verdict::Down][usize::from(verdict)];
            (weight, admin, verdict, gone && verdict == Verdict::Down, joining, returned)
        }).collect()
    }
}

proptest! {
    #[test]
    fn r82_r83_what_always_holds(
        each in some_members(),
        panic in 1u8..=100,
        policy in (0u8..3, any::<bool>()),
        elapsed in 0u64..200,
    ) {
        let names = names(each.len());
        let start = Instant::now();
        let mut list = members(&names);
        for (member, (weight, admin, verdict, gone, joining, returned)) in list.iter_mut().zip(&each) {
            *member = Member {
                weight: *weight, admin_state: *admin, verdict: *verdict, gone: *gone, joining: *joining,
                returned: returned.map(|at| start + Duration::from_secs(at)), ..*member
            };
        }
        let probe = Probe {
            panic,
            on_down: [OnDown::Keep, OnDown::Reset, OnDown::Auto][usize::from(policy.0)],
            all_down: if policy.1 { AllDown::AllUp } else { AllDown::Refuse },
            slow_start: Duration::from_secs(50),
            ..Probe::default()
        };
        let now = start + Duration::from_secs(elapsed);
        let decision = decide(&list, &probe, now);
        prop_assert_eq!(decision.shares.len(), list.len());
        for member in &list {
            let share = decision.shares[member.name];
            let gone = decision.gone.contains(member.name);
            prop_assert!(share == 0 || !gone, "who gets new flows is not reset");
            match member.admin_state {
                AdminState::Down => prop_assert_eq!(share, 0),
                AdminState::Up => prop_assert!(share > 0 && !gone),
                AdminState::Auto if member.verdict == Verdict::Up => prop_assert!(share > 0 && !gone),
                AdminState::Auto => {}
            }
        }
        let candidates = list.iter().any(|member| member.admin_state != AdminState::Down);
        if candidates && decision.serving().count() == 0 {
            prop_assert_eq!(decision.belief, Belief::Refused);
        }
        if matches!(decision.belief, Belief::Panic { .. } | Belief::AllUp) {
            prop_assert!(decision.gone.is_empty() && decision.starting.is_empty());
        }
        prop_assert!(decision.next_step.is_none_or(|next| next > now));
    }
}
