//! Every guard left out in turn, and the checker must see it.
//!
//! For each [`Guard`] there is a scene in which it matters. Played with every guard kept, nothing is found. Then it is played
//! again for each of the guard's trials, with the guards left out that the trial names: what the checker finds then is named
//! too. Three things can follow from leaving one guard out:
//!
//! * a promise is broken in the world;
//! * the plan's own checker stands behind it and refuses the plan, and the world holds (`own_checker`): then it is left out
//!   as well, and the world must come to harm;
//! * another guard stands behind it, and nothing is found: then that one is left out as well.
//!
//! The table of it is kept in the documents, and held there: `SPOTSCALE_BLESS=1` writes it anew.

mod doubt;
mod fleets;
mod lists;
mod money;
mod play;

use super::check::{Breach, Promise};
use crate::model::{Guard, guard::Without};
use play::Play;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

type Played = Pin<Box<dyn Future<Output = Play>>>;
/// What is left out, and what is found then; `None`: nothing, since another guard stands behind.
type Trial = (&'static [Guard], Option<Promise>);

/// The scene in which a guard matters. A guard without a scene does not compile.
fn scene(guard: Guard) -> Played {
    match guard {
        Guard::DurableIntent | Guard::SentOnce => Box::pin(doubt::a_vm_is_rented()),
        Guard::FreshName | Guard::NameOnce => Box::pin(doubt::a_fleet_grows()),
        Guard::NameThere => Box::pin(doubt::the_journal_is_an_older_copy()),
        Guard::InDoubtAnswer | Guard::InDoubtGpus | Guard::InDoubtMoney => Box::pin(doubt::a_deploy_is_not_answered()),
        Guard::OutbidGpus => Box::pin(doubt::a_vm_is_outbid()),
        Guard::DurableDelete => Box::pin(doubt::a_vm_is_deleted()),
        Guard::HigherBid | Guard::DurableRebid => Box::pin(doubt::a_rebid_is_not_answered()),
        Guard::LeavingGpus => Box::pin(doubt::a_delete_is_lost()),
        Guard::ReservedMoney | Guard::LateReaped => Box::pin(doubt::it_is_shown_within_the_late_window()),
        Guard::LateMoney => Box::pin(doubt::what_is_late_cannot_be_deleted_at_first()),
        Guard::SettleGrace => Box::pin(doubt::it_is_shown_within_the_grace()),
        Guard::TwoLists => Box::pin(doubt::a_restart_after_the_grace()),
        Guard::CompleteList => Box::pin(doubt::it_is_hidden_behind_lists_that_lack_others_too()),
        Guard::DeleteProven => Box::pin(doubt::a_delete_is_lost_and_the_vm_hidden()),
        Guard::DurableStart | Guard::DurableStop => Box::pin(doubt::a_vm_is_stopped_and_started_again()),
        Guard::FiveLists => Box::pin(lists::a_vm_that_nobody_can_ask_about_is_hidden()),
        Guard::StaleMachines => Box::pin(lists::more_is_wanted_while_machines_are_not_listed()),
        Guard::ClosedMarket => Box::pin(fleets::a_marketplace_is_paused()),
        Guard::Cooldown => Box::pin(fleets::a_machine_refuses()),
        Guard::GivenUpAtOnce => Box::pin(fleets::a_machine_is_offline()),
        Guard::OtherLanguage => Box::pin(lists::a_marketplace_speaks_otherwise()),
        Guard::PriceCap => Box::pin(money::everything_costs_more_than_the_policy_pays()),
        Guard::Country => Box::pin(fleets::only_elsewhere()),
        Guard::HostShare => Box::pin(fleets::few_on_one_machine()),
        Guard::OnDemandMost => Box::pin(fleets::few_on_demand()),
        Guard::MonthBudget => Box::pin(money::a_small_budget_for_the_month()),
        Guard::GoneById => Box::pin(lists::lists_show_half()),
        Guard::EmptyList => Box::pin(lists::lists_are_empty()),
        Guard::CurrentList | Guard::StaleBench => Box::pin(lists::more_is_wanted_while_lists_fail()),
        Guard::RentOnComplete => Box::pin(lists::more_is_wanted_while_lists_show_half()),
        Guard::LetGoOnComplete => Box::pin(lists::less_is_wanted_while_lists_show_half()),
        Guard::FleetInName => Box::pin(lists::the_operator_names_a_look_alike()),
        Guard::OwnAccount => Box::pin(lists::a_namesake_in_another_account()),
        Guard::StraysCounted => Box::pin(lists::the_journal_is_lost()),
        Guard::FleetCeiling | Guard::Verified => Box::pin(money::the_ceiling_is_too_low_for_the_target()),
        Guard::AllFleetsCeiling => Box::pin(money::the_ceiling_of_all_is_too_low()),
        Guard::BalanceFloor | Guard::Runway => Box::pin(money::little_is_left_above_the_floor()),
        Guard::BalanceRead => Box::pin(money::nobody_can_read_the_balance()),
        Guard::BalanceAge => Box::pin(money::the_balance_goes_unseen()),
        Guard::ClockStep => Box::pin(money::the_balance_goes_unseen_and_the_clock_is_set_back()),
        Guard::MomentsMove => Box::pin(doubt::it_is_shown_within_the_grace_and_the_clock_is_set()),
        Guard::DayBudget | Guard::BudgetShed => Box::pin(money::a_small_budget()),
        Guard::QuoteAge => Box::pin(money::more_is_wanted_a_while_later()),
        Guard::QuoteAtSend => Box::pin(money::turns_come_late()),
        Guard::OverbilledGoes => Box::pin(money::a_vm_is_billed_more()),
        Guard::PausedPlan | Guard::Paused => Box::pin(money::a_fleet_is_paused()),
        Guard::TargetWanted | Guard::TargetAdmitted => Box::pin(fleets::a_target_is_reached()),
        Guard::SurgeBound => Box::pin(fleets::fallbacks_are_replaced()),
        Guard::Observing => Box::pin(fleets::a_fleet_watches()),
        Guard::MaxUnavailable => Box::pin(fleets::the_ones_that_do_not_run_are_protected()),
        Guard::Protected => Box::pin(fleets::the_youngest_is_protected()),
        Guard::EditHeld => Box::pin(fleets::a_slip_of_the_finger()),
        Guard::LimitsHeld => Box::pin(money::a_slip_of_the_finger_in_the_limits()),
        Guard::HeldBinds => Box::pin(money::a_lower_ceiling_is_held()),
        Guard::FileGone => Box::pin(fleets::the_policy_file_is_gone()),
    }
}

/// What is left out in the guard's scene, and what must be found.
fn trials(guard: Guard) -> &'static [Trial] {
    use Guard::*;
    use Promise as P;
    match guard {
        DurableIntent => &[(&[DurableIntent], Some(P::IntentFirst))],
        DurableDelete => &[(&[DurableDelete], Some(P::IntentFirst))],
        DurableRebid => &[(&[DurableRebid], Some(P::Counted))],
        DurableStart => &[(&[DurableStart], Some(P::IntentFirst))],
        DurableStop => &[(&[DurableStop], Some(P::IntentFirst))],
        FiveLists => &[(&[FiveLists], Some(P::NothingLost))],
        StaleMachines => &[(&[StaleMachines], Some(P::Blind))],
        ClosedMarket => &[(&[ClosedMarket], Some(P::Closed))],
        Cooldown => &[(&[Cooldown], Some(P::Closed))],
        GivenUpAtOnce => &[(&[GivenUpAtOnce], Some(P::Serving))],
        OtherLanguage => &[(&[OtherLanguage], Some(P::Absence))],
        PriceCap => &[(&[PriceCap], Some(P::OwnChecker)), (&[PriceCap, Verified], Some(P::Wanted))],
        Country => &[(&[Country], Some(P::OwnChecker)), (&[Country, Verified], Some(P::Wanted))],
        HostShare => &[(&[HostShare], Some(P::OwnChecker)), (&[HostShare, Verified], Some(P::Wanted))],
        OnDemandMost => &[(&[OnDemandMost], Some(P::OwnChecker)), (&[OnDemandMost, Verified], Some(P::Wanted))],
        MonthBudget => &[
            (&[MonthBudget], Some(P::OwnChecker)),
            (&[MonthBudget, Verified], None),
            (&[MonthBudget, Verified, BudgetShed], Some(P::Budget)),
        ],
        FreshName => &[
            (&[FreshName], Some(P::OwnChecker)),
            (&[FreshName, Verified], None),
            (&[FreshName, Verified, NameOnce], Some(P::OneVmPerName)),
        ],
        NameOnce => &[(&[NameOnce], None), (&[NameOnce, FreshName, Verified], Some(P::OneVmPerName))],
        NameThere => &[(&[NameThere], Some(P::OwnChecker)), (&[NameThere, Verified], Some(P::OneVmPerName))],
        SentOnce => &[(&[SentOnce], Some(P::NothingLost))],
        InDoubtAnswer => &[(&[InDoubtAnswer], Some(P::NothingLost))],
        InDoubtGpus => &[(&[InDoubtGpus], Some(P::Gpus))],
        InDoubtMoney => &[(&[InDoubtMoney], Some(P::Counted))],
        OutbidGpus => &[(&[OutbidGpus], Some(P::Gpus))],
        LeavingGpus => &[(&[LeavingGpus], Some(P::Gpus))],
        HigherBid => &[(&[HigherBid], Some(P::Counted))],
        ReservedMoney => &[(&[ReservedMoney], Some(P::Counted))],
        LateMoney => &[(&[LateMoney], Some(P::Counted))],
        SettleGrace => &[(&[SettleGrace], Some(P::GivenUp))],
        TwoLists => &[(&[TwoLists], Some(P::GivenUp))],
        CompleteList => &[(&[CompleteList], Some(P::GivenUp))],
        GoneById => &[(&[GoneById], Some(P::NothingLost))],
        DeleteProven => &[(&[DeleteProven], None), (&[DeleteProven, CompleteList], Some(P::NothingLost))],
        EmptyList => &[(&[EmptyList], None), (&[EmptyList, LetGoOnComplete, Verified], Some(P::Blind))],
        CurrentList => &[(&[CurrentList], None), (&[CurrentList, StaleBench], Some(P::Blind))],
        StaleBench => &[(&[StaleBench], None), (&[StaleBench, CurrentList], Some(P::Blind))],
        RentOnComplete => &[(&[RentOnComplete], Some(P::OwnChecker)), (&[RentOnComplete, Verified], Some(P::Blind))],
        LetGoOnComplete => &[(&[LetGoOnComplete], Some(P::OwnChecker)), (&[LetGoOnComplete, Verified], Some(P::Blind))],
        FleetInName => &[(&[FleetInName], Some(P::NobodyElses))],
        OwnAccount => &[(&[OwnAccount], Some(P::NobodyElses))],
        StraysCounted => &[(&[StraysCounted], Some(P::OwnChecker)), (&[StraysCounted, Verified], Some(P::Gpus))],
        LateReaped => &[(&[LateReaped], Some(P::Reaped))],
        FleetCeiling => &[(&[FleetCeiling], Some(P::OwnChecker)), (&[FleetCeiling, Verified], Some(P::FleetRate))],
        AllFleetsCeiling => {
            &[(&[AllFleetsCeiling], Some(P::OwnChecker)), (&[AllFleetsCeiling, Verified], Some(P::AllRates))]
        }
        BalanceFloor => &[(&[BalanceFloor], Some(P::OwnChecker)), (&[BalanceFloor, Verified], Some(P::Floor))],
        Runway => &[(&[Runway], Some(P::OwnChecker)), (&[Runway, Verified], Some(P::Floor))],
        BalanceRead => &[(&[BalanceRead], Some(P::OwnChecker)), (&[BalanceRead, Verified], Some(P::Floor))],
        BalanceAge => &[(&[BalanceAge], Some(P::OwnChecker)), (&[BalanceAge, Verified], Some(P::Floor))],
        DayBudget => &[
            (&[DayBudget], Some(P::OwnChecker)),
            (&[DayBudget, Verified], None),
            (&[DayBudget, Verified, BudgetShed], Some(P::Budget)),
        ],
        BudgetShed => &[(&[BudgetShed], Some(P::Budget))],
        QuoteAge => &[
            (&[QuoteAge], Some(P::OwnChecker)),
            (&[QuoteAge, Verified], None),
            (&[QuoteAge, Verified, QuoteAtSend], Some(P::Asked)),
        ],
        QuoteAtSend => &[(&[QuoteAtSend], Some(P::Asked))],
        OverbilledGoes => &[(&[OverbilledGoes], Some(P::Overbilled))],
        TargetWanted => &[
            (&[TargetWanted], None),
            (&[TargetWanted, TargetAdmitted], Some(P::OwnChecker)),
            (&[TargetWanted, TargetAdmitted, Verified], Some(P::Gpus)),
        ],
        TargetAdmitted => &[(&[TargetAdmitted], None), (&[TargetAdmitted, TargetWanted, Verified], Some(P::Gpus))],
        SurgeBound => &[
            (&[SurgeBound], None),
            (&[SurgeBound, TargetAdmitted], Some(P::OwnChecker)),
            (&[SurgeBound, TargetAdmitted, Verified], Some(P::Gpus)),
        ],
        Observing => &[(&[Observing], Some(P::Frozen))],
        PausedPlan => &[
            (&[PausedPlan], None),
            (&[PausedPlan, Paused], Some(P::OwnChecker)),
            (&[PausedPlan, Paused, Verified], Some(P::Frozen)),
        ],
        Paused => &[(&[Paused], None), (&[Paused, PausedPlan, Verified], Some(P::Frozen))],
        MaxUnavailable => &[(&[MaxUnavailable], Some(P::Serving))],
        Protected => &[(&[Protected], Some(P::OwnChecker)), (&[Protected, Verified], Some(P::Protected))],
        EditHeld => &[(&[EditHeld], Some(P::EditHeld))],
        LimitsHeld => &[(&[LimitsHeld], Some(P::EditHeld))],
        HeldBinds => &[(&[HeldBinds], Some(P::EditHeld))],
        FileGone => &[(&[FileGone], Some(P::Frozen))],
        ClockStep => &[(&[ClockStep], Some(P::Floor))],
        MomentsMove => &[(&[MomentsMove], Some(P::GivenUp))],
        Verified => &[(&[Verified], None), (&[Verified, FleetCeiling], Some(P::FleetRate))],
    }
}

/// Plays a guard's scene with some left out.
fn play(guard: Guard, left_out: &[Guard]) -> Play {
    let _without = Without::of(left_out);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(scene(guard))
}

/// What a guard is for, as it is documented.
fn purpose(guard: Guard) -> &'static str {
    let source = include_str!("../model/guard.rs");
    let declared = format!("        {guard:?} = ");
    let mut told = "";
    for line in source.lines() {
        if line.starts_with(&declared) {
            return told;
        }
        told = line.trim_start().strip_prefix("/// ").unwrap_or_default();
    }
    panic!("{guard:?} is not declared")
}

/// What is found with some left out: the cells of the table, or what is wrong.
fn tried(guard: Guard, (left_out, expected): &Trial) -> Result<String, String> {
    let played = play(guard, left_out);
    let names: Vec<String> = left_out.iter().map(|guard| format!("`{guard}`")).collect();
    let names = names.join(", ");
    let first = played.found.iter().find(|(_, breach)| Some(breach.promise) == *expected);
    // What the plan's own checker refuses does no harm.
    let refused = |(_, breach): &(u64, Breach)| breach.promise == Promise::OwnChecker;
    match (expected, first) {
        (None, _) if played.found.is_empty() => Ok(format!("{names} | nothing: another stands behind it | ")),
        (Some(Promise::OwnChecker), Some((tick, _))) if played.found.iter().all(refused) => {
            Ok(format!("{names} | `own_checker`: the plan is refused, the world holds | {tick}"))
        }
        (Some(promise), Some((tick, _))) if *promise != Promise::OwnChecker => {
            Ok(format!("{names} | `{promise}` | {tick}"))
        }
        (_, _) => {
            let found = played.found.iter().take(9).map(|(tick, breach)| format!("  tick {tick}: {breach}\n"));
            let (found, blocked) = (found.collect::<String>(), played.blocked().join("; "));
            Err(format!("{guard} without {names}: expected {expected:?}, found\n{found}  blocked: {blocked}\n"))
        }
    }
}

/// A guard's lines of the table, and what is wrong.
fn judged(guard: Guard) -> (String, Vec<String>) {
    let (mut lines, mut wrong) = (String::new(), Vec::new());
    let whole = play(guard, &[]);
    if let Some((tick, breach)) = whole.found.first() {
        wrong.push(format!("{guard}: with every guard kept, at tick {tick}: {breach}\n"));
    }
    for (at, trial) in trials(guard).iter().enumerate() {
        let first = if at == 0 { format!("`{guard}` | {}", purpose(guard)) } else { " | ".to_owned() };
        match tried(guard, trial) {
            Ok(cells) => writeln!(lines, "| {first} | {cells} |").expect("a text takes all"),
            Err(told) => wrong.push(told),
        }
    }
    (lines, wrong)
}

/// All guards, a few side by side.
fn judge_all() -> (String, Vec<String>) {
    let (next, judged_all) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(guard) = Guard::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = judged(*guard);
                    judged_all.lock().unwrap().insert(*guard, one);
                }
            });
        }
    });
    let mut table = TABLE_HEAD.to_owned();
    let mut all_wrong = Vec::new();
    for (lines, wrong) in judged_all.into_inner().unwrap().into_values() {
        table.push_str(&lines);
        all_wrong.extend(wrong);
    }
    (table, all_wrong)
}

/// Played at a time.
const SIDE_BY_SIDE: usize = 4;
const TABLE_HEAD: &str =
    "| guard | what it keeps from happening | left out | caught by | at tick |\n|---|---|---|---|---|\n";
/// The table stands between these in the document.
const MARKS: [&str; 2] = ["<!-- the guards: begin -->\n", "<!-- the guards: end -->\n"];

/// Whether the document is rewritten: whoever builds this test says so, for nothing here reads the environment.
const BLESSES: bool = option_env!("SPOTSCALE_BLESS").is_some();

#[test]
#[expect(clippy::print_stdout, reason = "a test shows its table to whoever wants to see it")]
fn the_checker_catches_every_guard_that_is_left_out() {
    let (table, wrong) = judge_all();
    println!("{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rehearsal.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let [begin, end] = MARKS;
    let (before, rest) = document.split_once(begin).expect("the document has a place for the table");
    let (held, after) = rest.split_once(end).expect("the document's table has an end");
    if BLESSES {
        std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert!(held == table, "{} has another table; SPOTSCALE_BLESS=1 writes this one:\n{table}", path.display());
}

#[test]
fn what_one_api_of_an_account_shows_does_not_excuse_the_other() {
    let played = |left_out: &[Guard]| {
        let _without = Without::of(left_out);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(lists::one_of_two_apis_does_not_list()).found
    };
    assert_eq!(played(&[]), []);
    let found = played(&[Guard::StaleBench, Guard::CurrentList]);
    assert!(found.iter().any(|(_, breach)| breach.promise == Promise::Blind), "{found:?}");
}

#[test]
fn every_guard_has_a_purpose_and_is_left_out_in_its_own_trials() {
    for guard in Guard::ALL {
        assert!(purpose(*guard).ends_with('.'), "{guard}");
        let trials = trials(*guard);
        assert!(trials.iter().all(|(left_out, _)| left_out.contains(guard)), "{guard}");
        let is_seen = |(_, found): &Trial| found.is_some_and(|promise| promise != Promise::OwnChecker);
        assert!(trials.iter().any(is_seen), "{guard}: the world must come to harm");
    }
}
