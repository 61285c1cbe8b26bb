//! What is not tried again in this tick, because the marketplace has just said no to it.
//!
//! A plan is made anew after each round of a tick, from what is known; that an account is broke or a marketplace does not
//! want to be asked is nothing that a plan knows. Without a brake the same write would be refused as often as there are
//! rounds. The next tick begins with the brake released: the back-off between ticks is the scan interval.

use crate::{
    model::{AccountName, HostnodeId, MarketplaceName, RefusalKind, VmName},
    plan::Action,
};
use std::collections::BTreeSet;

/// What was refused in this tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brake {
    /// Nothing at all is written there.
    marketplaces: BTreeSet<MarketplaceName>,
    /// Nothing that costs is written there.
    broke: BTreeSet<MarketplaceName>,
    /// Nothing is rented on these machines: of what one plan wanted there, what came first took the last that was free, and
    /// each further refusal would count as another failure of the machine. All marketplaces of an account rent the same ones.
    full: BTreeSet<(AccountName, HostnodeId)>,
    /// Nothing that costs is done with these.
    instances: BTreeSet<VmName>,
    /// These are not deleted or stopped.
    kept: BTreeSet<VmName>,
}

impl Brake {
    /// Takes note of a refusal.
    pub fn refused(&mut self, action: &Action, kind: RefusalKind) {
        let (marketplace, instance) = about(action);
        match kind {
            RefusalKind::Unauthorized | RefusalKind::Throttled | RefusalKind::Unreachable => {
                self.marketplaces.insert(marketplace.clone());
            }
            RefusalKind::Broke => {
                self.broke.insert(marketplace.clone());
            }
            RefusalKind::NoCapacity | RefusalKind::BidTooLow => self.full.extend(rents(action)),
            RefusalKind::Gone | RefusalKind::Refused | RefusalKind::Malformed => {}
        }
        // A bid that is refused must not keep its VM from being let go.
        let refused = if costs(action) { &mut self.instances } else { &mut self.kept };
        refused.extend(instance.cloned());
    }

    /// Takes note of something that cannot be said in a marketplace's language, so that nothing was sent: of a VM that is
    /// there, it is not tried again; of a new one, no host there is to blame, and the next would be refused the same.
    pub fn unsaid(&mut self, action: &Action) {
        match about(action) {
            (marketplace, None) => drop(self.broke.insert(marketplace.clone())),
            (_, Some(_)) => self.refused(action, RefusalKind::Refused),
        }
    }

    /// Takes note of a marketplace that let us wait in vain, for an answer or for leave to write: whatever else is written there waits as well, or
    /// the other marketplaces would wait for it.
    pub fn hung(&mut self, marketplace: &MarketplaceName) {
        self.marketplaces.insert(marketplace.clone());
    }

    /// Whether an action has to wait for the next tick.
    pub fn stops(&self, action: &Action) -> bool {
        let (marketplace, instance) = about(action);
        let (costs, refused) = if costs(action) { (true, &self.instances) } else { (false, &self.kept) };
        self.marketplaces.contains(marketplace)
            || (costs && self.broke.contains(marketplace))
            || rents(action).is_some_and(|machine| self.full.contains(&machine))
            || instance.is_some_and(|name| refused.contains(name))
    }
}

const fn costs(action: &Action) -> bool {
    match action {
        Action::Deploy(_) | Action::Rebid { .. } | Action::Start { .. } => true,
        Action::Ask { .. } | Action::Look { .. } | Action::Stop { .. } | Action::Delete { .. } => false,
    }
}

/// The machine on which something new is rented.
fn rents(action: &Action) -> Option<(AccountName, HostnodeId)> {
    match action {
        Action::Deploy(deploy) => Some((deploy.account.clone(), deploy.hostnode.clone())),
        Action::Ask { .. }
        | Action::Look { .. }
        | Action::Rebid { .. }
        | Action::Start { .. }
        | Action::Stop { .. }
        | Action::Delete { .. } => None,
    }
}

/// Where an action is, and with which VM of ours it deals.
fn about(action: &Action) -> (&MarketplaceName, Option<&VmName>) {
    match action {
        Action::Ask { marketplace, .. } | Action::Look { marketplace, .. } => (marketplace, None),
        Action::Deploy(deploy) => (&deploy.marketplace, None),
        Action::Rebid { subject, .. }
        | Action::Start { subject, .. }
        | Action::Stop { subject, .. }
        | Action::Delete { subject, .. } => (&subject.marketplace, Some(&subject.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::sample::status, model::reason::Teardown};

    fn actions() -> Vec<Action> {
        status().plan.unwrap().into_value().actions
    }

    fn deploy() -> Action {
        actions().into_iter().find(|action| matches!(action, Action::Deploy(_))).unwrap()
    }

    fn delete() -> Action {
        let subject = actions().into_iter().find_map(|action| match action {
            Action::Rebid { subject, .. } | Action::Start { subject, .. } | Action::Delete { subject, .. } => {
                Some(subject)
            }
            Action::Ask { .. } | Action::Look { .. } | Action::Deploy(_) | Action::Stop { .. } => None,
        });
        Action::Delete { subject: subject.unwrap(), reason: Teardown::Target, why: String::new() }
    }

    #[track_caller]
    fn check(refused: &Action, kind: RefusalKind, stops: [bool; 2]) {
        let mut brake = Brake::default();
        brake.refused(refused, kind);
        assert_eq!([brake.stops(&deploy()), brake.stops(&delete())], stops, "{kind}");
    }

    #[test]
    fn nothing_is_stopped_before_something_was_refused() {
        assert!(!Brake::default().stops(&deploy()));
    }

    #[test]
    fn a_marketplace_that_does_not_want_us_is_left_alone() {
        for kind in [RefusalKind::Unauthorized, RefusalKind::Throttled, RefusalKind::Unreachable] {
            check(&deploy(), kind, [true, true]);
        }
    }

    #[test]
    fn without_money_only_what_costs_is_stopped() {
        check(&deploy(), RefusalKind::Broke, [true, false]);
    }

    #[test]
    fn what_cannot_be_said_is_not_tried_again_and_keeps_nothing_from_being_let_go() {
        let mut brake = Brake::default();
        brake.unsaid(&deploy());
        assert_eq!([brake.stops(&deploy()), brake.stops(&delete())], [true, false]);
        let Action::Delete { subject, reason, why } = delete() else { unreachable!() };
        let stop = Action::Stop { subject, reason, why };
        let mut brake = Brake::default();
        brake.unsaid(&stop);
        assert_eq!([brake.stops(&stop), brake.stops(&deploy())], [true, false]);
    }

    #[test]
    fn a_host_that_is_full_is_asked_for_no_more_and_stops_nothing_elsewhere() {
        check(&deploy(), RefusalKind::NoCapacity, [true, false]);
        check(&deploy(), RefusalKind::BidTooLow, [true, false]);
        let mut brake = Brake::default();
        brake.refused(&deploy(), RefusalKind::NoCapacity);
        let Action::Deploy(mut otherwise) = deploy() else { unreachable!() };
        otherwise.marketplace = "other-api".parse().unwrap();
        assert!(brake.stops(&Action::Deploy(otherwise.clone())), "it is the same machine");
        otherwise.hostnode = "another".parse().unwrap();
        assert!(!brake.stops(&Action::Deploy(otherwise)));
    }

    #[test]
    fn an_instance_is_not_tried_twice() {
        check(&delete(), RefusalKind::Refused, [false, true]);
    }

    #[test]
    fn a_refused_bid_does_not_keep_its_instance_from_being_let_go() {
        let Action::Delete { subject, .. } = delete() else { unreachable!() };
        let start = Action::Start { subject, why: String::new() };
        let mut brake = Brake::default();
        brake.refused(&start, RefusalKind::NoCapacity);
        assert_eq!([brake.stops(&start), brake.stops(&delete())], [true, false]);
    }
}
