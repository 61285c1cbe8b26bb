//! Lists as they were shown, for a marketplace that sometimes shows them again.
//!
//! What is kept are answers, as a cache in front of the marketplace keeps them: of each list as it was asked for, the newest
//! few that differ. What nobody has looked at for long is not in a cache any more: a list is stale by as much as the market
//! lies, and not by as much as nobody looked.

use crate::{
    io::net::{Request, Response},
    model::{Timestamp, time::before},
    settings::Api,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// So many answers are kept of each list.
const KEPT_MAX: usize = 64;

/// An answer is remembered for a moment up to this long after it was last given.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Whose list, and how it was asked for.
type Which = (Api, String, Vec<(String, String)>);

/// An answer, and when it was given first and last.
#[derive(Clone, Debug)]
struct Shown {
    first: Timestamp,
    last: Timestamp,
    answer: Response,
}

/// What was shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Memories(BTreeMap<Which, VecDeque<Shown>>);

fn which(api: Api, request: &Request) -> Which {
    (api, request.path.clone(), request.query.clone())
}

impl Memories {
    /// Keeps an answer.
    pub fn keep(&mut self, api: Api, request: &Request, now: Timestamp, answer: &Response) {
        let kept = self.0.entry(which(api, request)).or_default();
        if let Some(newest) = kept.back_mut().filter(|newest| newest.answer == *answer) {
            newest.last = now;
            return;
        }
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Shown { first: now, last: now, answer: answer.clone() });
    }

    /// What the list was at a moment; `None` where nobody looked shortly before.
    pub fn recall(&self, api: Api, request: &Request, at: Timestamp) -> Option<Response> {
        let kept = self.0.get(&which(api, request))?;
        let shown = kept.iter().rev().find(|shown| shown.first <= at)?;
        (shown.last >= before(at, KEPT_FOR)).then(|| shown.answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_recalled_as_it_was_last_seen_by_then_and_each_way_of_asking_by_itself() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (list, other) = (Request::get("/list"), Request::get("/other"));
        let mut memories = Memories::default();
        for (second, body) in [(10, "a"), (20, "a"), (30, "b")] {
            memories.keep(Api::TensordockV0, &list, at(second), &Response::json(200, body));
        }
        let recalled = |request, second| {
            memories
                .recall(Api::TensordockV0, request, at(second))
                .map(|answer| String::from_utf8(answer.body).unwrap())
        };
        assert_eq!(recalled(&list, 9), None);
        assert_eq!(recalled(&list, 29).as_deref(), Some("a"));
        assert_eq!(recalled(&list, 30).as_deref(), Some("b"));
        assert_eq!(recalled(&list, 90).as_deref(), Some("b"));
        assert_eq!(recalled(&list, 91), None, "nobody has looked for long");
        assert_eq!(recalled(&other, 30), None);
    }
}
