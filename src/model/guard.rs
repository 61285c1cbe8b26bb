//! The rules on which safety rests, each by name.
//!
//! Every rule below is decided in one place of the house, and that place names it: [`Guard::holds`] around the condition, or
//! [`Guard::is_kept`] where the rule is not a condition. So whoever wonders why a line is there finds what it keeps from
//! happening here, and whoever reads this page finds the line by the word.
//!
//! A rule cannot be left out of a real build: there `holds` is its condition and `is_kept` is true, and nothing else is
//! compiled. In this crate's own unit tests a rule can be left out for as long as a value lives, on one thread. The
//! rehearsal does so with each of them in turn, and shows that the world comes to harm which its checker sees: a rule that
//! can be left out without anybody noticing guards nothing, or nobody looks.

labels! {
    /// A rule on which safety rests.
    pub enum Guard {
        /// A VM that was asked for, and whose asking nobody remembers after a crash.
        DurableIntent = "durable_intent",
        /// A VM that is let go, and of which nobody remembers why after a crash.
        DurableDelete = "durable_delete",
        /// A bid that is raised, and that nobody remembers after a crash.
        DurableRebid = "durable_rebid",
        /// A VM that is started, and of which nobody remembers why after a crash.
        DurableStart = "durable_start",
        /// A VM that is stopped, and of which nobody remembers why after a crash.
        DurableStop = "durable_stop",
        /// The same name for two VMs, because the next one was not counted on from the last.
        FreshName = "fresh_name",
        /// The same name for two VMs, because an older copy of the journal has forgotten what was given since.
        NameThere = "name_there",
        /// The same name for two VMs, whoever drew it: the journal takes none twice.
        NameOnce = "name_once",
        /// Two VMs of one deploy, because a write was sent again.
        SentOnce = "sent_once",
        /// A VM that was made and is taken for refused, because its answer was lost or could not be read.
        InDoubtAnswer = "in_doubt_answer",
        /// Too many GPUs, because a deploy that was not answered may have been made.
        InDoubtGpus = "in_doubt_gpus",
        /// Too much money, because a deploy that was not answered may have been made.
        InDoubtMoney = "in_doubt_money",
        /// Too many GPUs once an outbid VM comes back.
        OutbidGpus = "outbid_gpus",
        /// Too many GPUs, because a VM whose delete was lost is still there.
        LeavingGpus = "leaving_gpus",
        /// Too much money, because a rebid that was not answered may have moved the bid.
        HigherBid = "higher_bid",
        /// Too much money, because a deploy that was given up may have been made.
        ReservedMoney = "reserved_money",
        /// Too much money, because what turned up late costs until it is gone.
        LateMoney = "late_money",
        /// A second VM in the place of one that was only slow to be shown.
        SettleGrace = "settle_grace",
        /// A second VM in the place of one that a single list lacked.
        TwoLists = "two_lists",
        /// A second VM in the place of one that a list lacked because it lacked others too.
        CompleteList = "complete_list",
        /// A VM that is forgotten because lists lack it, though its marketplace knows it by its id.
        GoneById = "gone_by_id",
        /// A VM that is forgotten because a list lacked it, where nothing can be asked by id.
        FiveLists = "five_lists",
        /// A VM that is forgotten because its delete was meant, though nobody acknowledged it.
        DeleteProven = "delete_proven",
        /// A fleet that is lost because a list was suddenly empty.
        EmptyList = "empty_list",
        /// Deciding by a list that could not be read.
        CurrentList = "current_list",
        /// Renting where the newest list could not be read.
        StaleBench = "stale_bench",
        /// Renting by a list of machines that is long out of date.
        StaleMachines = "stale_machines",
        /// Renting where the operator paused it, or where too much was billed too often.
        ClosedMarket = "closed_market",
        /// Renting on a machine on which a deploy has just failed.
        Cooldown = "cooldown",
        /// Renting what costs more than the policy would ever pay.
        PriceCap = "price_cap",
        /// Renting in a country that the policy leaves out.
        Country = "country",
        /// More on one machine than the policy wants there.
        HostShare = "host_share",
        /// More on demand than the policy allows.
        OnDemandMost = "on_demand_most",
        /// Renting where the newest list lacks what is there.
        RentOnComplete = "rent_on_complete",
        /// Letting go for the target's sake where the newest list lacks what is there.
        LetGoOnComplete = "let_go_on_complete",
        /// A VM of somebody else that can be deleted because its name looks like one of ours.
        FleetInName = "fleet_in_name",
        /// A VM of somebody else that is reaped because it has a name that we gave in another account.
        OwnAccount = "own_account",
        /// Too many GPUs beside VMs of ours that a lost journal has forgotten.
        StraysCounted = "strays_counted",
        /// A VM that was given up, turned up, and runs on.
        LateReaped = "late_reaped",
        /// A fleet that costs more than its ceiling.
        FleetCeiling = "fleet_ceiling",
        /// Fleets that together cost more than theirs.
        AllFleetsCeiling = "all_fleets_ceiling",
        /// An account that is rented down below its floor.
        BalanceFloor = "balance_floor",
        /// An account that is at its floor soon after.
        Runway = "runway",
        /// Renting on an account that nobody could read.
        BalanceRead = "balance_read",
        /// Renting on what an account held long ago.
        BalanceAge = "balance_age",
        /// Renting what the rest of the day's budget does not pay.
        DayBudget = "day_budget",
        /// Likewise, of the month's.
        MonthBudget = "month_budget",
        /// A budget that runs out under what was rented earlier.
        BudgetShed = "budget_shed",
        /// Planning on a bid that was accepted long ago.
        QuoteAge = "quote_age",
        /// Sending a bid that was accepted long ago, because its turn came late.
        QuoteAtSend = "quote_at_send",
        /// Paying on for a VM that is billed more than was agreed.
        OverbilledGoes = "overbilled_goes",
        /// Wanting more GPUs than the target.
        TargetWanted = "target_wanted",
        /// Taking more GPUs than the target and the surge.
        TargetAdmitted = "target_admitted",
        /// More replacements at a time than the surge allows.
        SurgeBound = "surge_bound",
        /// Anything that is changed while a fleet only watches.
        Observing = "observing",
        /// Planning for a paused fleet as if it were not.
        PausedPlan = "paused_plan",
        /// Anything that is rented while a fleet is paused or evacuated.
        Paused = "paused",
        /// Too few GPUs that run, because too many were let go at a time.
        MaxUnavailable = "max_unavailable",
        /// Too few GPUs, because all that are of unknown status were given up at a time.
        GivenUpAtOnce = "given_up_at_once",
        /// A fleet that is given up because its marketplace says in other words how VMs stand.
        OtherLanguage = "other_language",
        /// A VM that goes for the target's sake though the operator protects it.
        Protected = "protected",
        /// A fleet that is torn down by a slip of the finger in its policy.
        EditHeld = "edit_held",
        /// Fleets that are torn down by a slip of the finger in `[limits]`.
        LimitsHeld = "limits_held",
        /// Renting beyond what an edit allows, because it is held.
        HeldBinds = "held_binds",
        /// A fleet that goes on renting and letting go though its policy file is gone.
        FileGone = "file_gone",
        /// Money that is spent on what looks fresh because the clock was set back.
        ClockStep = "clock_step",
        /// Too short a wait, or one without end, because the clock by which it began was set since.
        MomentsMove = "moments_move",
        /// Whatever a planner's mistake would do.
        Verified = "verified",
    }
}

#[cfg(not(test))]
impl Guard {
    /// Whether the rule is kept: always.
    #[inline]
    pub const fn is_kept(self) -> bool {
        true
    }

    /// The rule's condition, as it is.
    #[inline]
    pub const fn holds(self, condition: bool) -> bool {
        condition
    }
}

#[cfg(test)]
thread_local! {
    static LEFT_OUT: std::cell::RefCell<std::collections::BTreeSet<Guard>> = const {
        std::cell::RefCell::new(std::collections::BTreeSet::new())
    };
}

#[cfg(test)]
impl Guard {
    /// Whether the rule is kept on this thread.
    pub fn is_kept(self) -> bool {
        LEFT_OUT.with_borrow(|left_out| !left_out.contains(&self))
    }

    /// The rule's condition, or true where the rule is left out on this thread.
    pub fn holds(self, condition: bool) -> bool {
        condition || !self.is_kept()
    }
}

/// These rules are left out on this thread for as long as it lives.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Without;

#[cfg(test)]
impl Without {
    /// Leaves these out, and no others.
    pub fn of(guards: &[Guard]) -> Self {
        LEFT_OUT.set(guards.iter().copied().collect());
        Self
    }
}

#[cfg(test)]
impl Drop for Without {
    fn drop(&mut self) {
        LEFT_OUT.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_left_out_only_as_long_as_somebody_says_so_and_only_on_his_thread() {
        assert!(!Guard::Runway.holds(false) && Guard::Runway.is_kept());
        {
            let _without = Without::of(&[Guard::Runway]);
            assert!(Guard::Runway.holds(false) && !Guard::Runway.is_kept());
            assert!(!Guard::BalanceFloor.holds(false));
            assert!(std::thread::spawn(|| Guard::Runway.is_kept()).join().unwrap());
        }
        assert!(Guard::ALL.iter().all(|guard| guard.is_kept() && !guard.holds(false)));
    }
}
