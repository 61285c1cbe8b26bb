//! What is promised, and what is told of a promise that was not kept.

use std::fmt;

labels! {
    /// What is promised.
    pub enum Promise {
        /// A name is deployed once.
        OneVmPerName = "one_vm_per_name",
        /// Every VM of ours that was ever made or let go has a durable intent.
        IntentFirst = "intent_first",
        /// What is not ours is neither stopped nor deleted.
        NobodyElses = "nobody_elses",
        /// A fleet costs no more than its ceiling.
        FleetRate = "fleet_rate",
        /// All fleets together cost no more than theirs.
        AllRates = "all_rates",
        /// A fleet counts at least what it costs.
        Counted = "counted",
        /// No VM of a fleet is forgotten.
        NothingLost = "nothing_lost",
        /// A fleet has no more GPUs than are wanted.
        Gpus = "gpus",
        /// Who only watches, is paused or torn down rents nothing.
        Frozen = "frozen",
        /// What is rented leaves the account its floor and its runway.
        Floor = "floor",
        /// No UTC day costs more than its budget.
        Budget = "budget",
        /// What is there is given up only after the grace, and after two lists that lacked it and nothing else of ours.
        GivenUp = "given_up",
        /// Nothing is rented, and nothing is let go for the target's sake, while no list shows what is ours.
        Blind = "blind",
        /// What is deployed by bid was asked for at that very bid less than a minute ago.
        Asked = "asked",
        /// While VMs go for the target's sake enough others run.
        Serving = "serving",
        /// A protected VM goes only for money, for safety, or by the operator.
        Protected = "protected",
        /// An edit comes into force, or waits for the operator if it would tear down too much; then it binds what is started.
        EditHeld = "edit_held",
        /// The operator's levers are in force until they end.
        Levers = "levers",
        /// What is rented is what the policy wants, where it wants it, at no more than it says.
        Wanted = "wanted",
        /// Nothing is rented on a marketplace that is closed, nor on a machine that has just failed.
        Closed = "closed",
        /// What goes for money's sake goes because money is short.
        Short = "short",
        /// Every write is named by a decision in the history.
        Explained = "explained",
        /// What turns up late is let go.
        Reaped = "reaped",
        /// What is billed more than was agreed is let go.
        Overbilled = "overbilled",
        /// The simulated world itself is possible.
        World = "world",
        /// The daemon's own checker refuses none of its plans.
        OwnChecker = "own_checker",
        /// One situation, one plan.
        Pure = "pure",
        /// A fleet that has what it wants is left as it is.
        Rest = "rest",
        /// What runs is not let go because it is believed lost.
        Absence = "absence",
        /// The journal comes to what the daemon remembers, and read twice to the same.
        Replay = "replay",
        /// A VM is moved only back to spot, once for each slot.
        Moves = "moves",
        /// Once faults stop, memory and worlds agree: one VM for each name, and none that is not known.
        Agreement = "agreement",
        /// Once faults stop, every fleet comes to have what it wants, unless the market or money forbid.
        Liveness = "liveness",
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub promise: Promise,
    /// How, with the figures.
    pub detail: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.detail)
    }
}
