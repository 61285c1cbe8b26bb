//! How remembered moments move when the wall clock was set.
//!
//! What the journal holds is dated by the machine's clock, and much of it is waited for: the grace before a name is given up,
//! the window in which a lost deploy may still turn up, a hostnode's cooldown, which list is newer than which write. A clock
//! that was set forwards by an hour would end all these waits at once; one that was set back would make a list of now older
//! than everything that it ought to show, so that what is gone is never seen to go, and what turns up late is not seen to
//! be late. So a tick that finds the clock set says so in the journal, and the moments of all that is not over move with it.
//!
//! A moment never comes to lie after the one at which the clock was found set, and never moves back by more than that: whoever
//! errs here waits too long, and never too short. What an operator said by the calendar (`--until`, a protection) stays.

use super::holding::{Delete, Holding, LateVm, Past, Refused};
use crate::model::{
    Timestamp,
    time::{after, before, elapsed},
};
use std::time::Duration;

/// What ended so long before the clock was set is over, and stays where it was.
const OVER: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A clock that was found set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// By so much it was set forwards; nothing: back.
    forwards: Duration,
    /// What it showed just before it was found set: no moment lies later, and every list from now on does.
    latest: Timestamp,
}

impl Moved {
    /// By so much forwards, so that it shows this now.
    pub(super) fn new(forwards: Duration, now: Timestamp) -> Self {
        Self { forwards, latest: before(now, Duration::from_millis(1)) }
    }

    /// Where a moment lies by the clock as it is now.
    pub(super) fn moved(self, moment: Timestamp) -> Timestamp {
        after(moment, self.forwards).min(self.latest)
    }

    pub(super) fn shift(self, moment: &mut Timestamp) {
        *moment = self.moved(*moment);
    }

    fn shift_any(self, moment: &mut Option<Timestamp>) {
        if let Some(moment) = moment {
            self.shift(moment);
        }
    }

    fn shift_delete(self, delete: &mut Option<Delete>, refused: &mut Option<Refused>) {
        if let Some(Delete { at, sent_at, acked_at, reason: _, before: _ }) = delete {
            self.shift(at);
            self.shift(sent_at);
            self.shift_any(acked_at);
        }
        if let Some(Refused { at, reason: _, times: _ }) = refused {
            self.shift(at);
        }
    }

    pub(super) fn shift_holding(self, holding: &mut Holding) {
        let Holding {
            intended_at,
            held_since,
            since,
            running_since,
            unanswered_write_at,
            rebid_accepted_at,
            start_intended_at,
            starting_since,
            rebid_refused_at,
            stopped_at,
            stop_refused,
            delete,
            delete_refused,
            intent: _,
            phase: _,
            id: _,
            was_listed: _,
            quoted: _,
            address: _,
            ports: _,
            bid: _,
            agreed: _,
            standing: _,
            rebid: _,
            protection: _,
        } = holding;
        self.shift(intended_at);
        self.shift(since);
        for moment in [
            held_since,
            running_since,
            unanswered_write_at,
            rebid_accepted_at,
            start_intended_at,
            starting_since,
            rebid_refused_at,
            stopped_at,
        ] {
            self.shift_any(moment);
        }
        if let Some((at, _)) = stop_refused {
            self.shift(at);
        }
        self.shift_delete(delete, delete_refused);
    }

    pub(super) fn shift_late(self, late: &mut LateVm) {
        let LateVm { at, delete, delete_refused, fleet: _, marketplace: _, account: _, gpus: _, rate: _ } = late;
        self.shift(at);
        self.shift_delete(delete, delete_refused);
    }

    /// What is over long since stays.
    pub(super) fn shift_past(self, past: &mut Past) {
        let Past { holding, at, closed: _, turned_up: _ } = past;
        let was_now = before(self.latest, self.forwards);
        if elapsed(*at, was_now) < OVER {
            self.shift(at);
            self.shift_holding(holding);
        }
    }
}
