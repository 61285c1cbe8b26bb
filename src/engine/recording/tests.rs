//! The recorder on a store in memory: what it keeps, what it lets go, and what it does when it cannot.

use super::{
    read::{Recorded, walk},
    *,
};
use crate::{
    engine::sample,
    io::store::{MemoryStore, memory::Mishap},
    model::time::after,
    plan,
};
use std::ops::ControlFlow;

/// A recorder, and a market that moves as it is told.
struct Desk {
    store: Arc<MemoryStore>,
    recorder: Recorder,
    situation: Situation,
    ticks: u64,
}

impl Desk {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let recorder = Recorder::open(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        Self { store, recorder, situation: sample::status().situation.unwrap().into_value(), ticks: 0 }
    }

    /// The daemon is started again on the same recording.
    fn restart(&mut self) {
        self.recorder = Recorder::open(Arc::clone(&self.store) as Arc<dyn Store>).unwrap();
    }

    /// So much time goes by and a tick of so many rounds; what it named.
    fn tick(&mut self, lasted: Duration, rounds: usize, decided: bool) -> Result<Vec<u64>, String> {
        self.ticks += 1;
        self.situation.now = after(self.situation.now, lasted);
        for _ in 0..rounds {
            self.situation.now = after(self.situation.now, Duration::from_millis(7));
            self.recorder.note(&self.situation, &plan::plan(&self.situation));
        }
        let tick = format!("d{}", self.ticks);
        self.recorder.close(self.situation.now, &tick, decided)
    }

    fn reprice(&mut self) {
        let market = self.situation.markets.values_mut().next().unwrap();
        let uptime_ppm = market.hostnodes[0].uptime_ppm.unwrap_or(0);
        market.hostnodes[0].uptime_ppm = Some((uptime_ppm + 1) % 1_000_000);
    }

    fn kinds(&self) -> String {
        let rows = self.store.read(0, usize::MAX).unwrap();
        rows.iter().map(|row| row.kind[..1].to_owned()).collect()
    }

    fn walked(&self) -> Vec<Recorded> {
        let mut rows = Vec::new();
        walk(&*self.store, 0, &mut |row| {
            rows.push(row.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
        rows
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_tick_that_decided_keeps_its_rounds_and_another_only_news() {
    let mut desk = Desk::new();
    assert_eq!(desk.tick(MINUTE, 2, true), Ok(vec![2, 3]));
    assert_eq!(desk.tick(MINUTE, 3, false), Ok(vec![]));
    assert_eq!(desk.kinds(), "srr", "time went by, and nothing else");
    desk.reprice();
    assert_eq!(desk.tick(MINUTE, 3, false), Ok(vec![]));
    assert_eq!(desk.tick(MINUTE, 1, true), Ok(vec![5]));
    assert_eq!(desk.kinds(), "srrlr");
    let walked = desk.walked();
    assert_eq!(walked.last().unwrap().scene.situation().as_ref(), Ok(&desk.situation));
    let ticks: Vec<_> = walked.iter().map(|row| (row.tick.as_str(), row.outcome.is_some())).collect();
    assert_eq!(ticks, [("d1", true), ("d1", true), ("d3", false), ("d4", true)]);
}

#[test]
fn what_did_not_change_is_not_written_again() {
    let mut desk = Desk::new();
    desk.tick(MINUTE, 1, true).unwrap();
    desk.reprice();
    desk.tick(MINUTE, 0, false).unwrap();
    desk.tick(MINUTE, 1, false).unwrap();
    let rows = desk.store.read(2, 9).unwrap();
    let (whole, look) = (rows[0].body.len(), rows[1].body.len());
    assert!(look < 200 && whole > 10 * look, "{whole} {look} {}", rows[1].body);
}

#[test]
fn a_segment_begins_with_each_start_and_after_so_many_rows() {
    let mut desk = Desk::new();
    for _ in 0..SEGMENT_ROWS_MAX {
        desk.tick(MINUTE, 1, true).unwrap();
    }
    desk.restart();
    desk.tick(MINUTE, 1, true).unwrap();
    let segments = segments(&*desk.store, 9).unwrap();
    assert_eq!(segments.len(), 3);
    let rows = desk.store.read(0, usize::MAX).unwrap();
    let all: u64 = rows.iter().map(|row| row.body.len() as u64).sum();
    assert_eq!((bytes(&*desk.store), desk.recorder.bytes), (Ok(all), all));
    assert_eq!(reach(&*desk.store).unwrap().unwrap().bytes, all);
    assert_eq!(desk.walked().len() as u64, SEGMENT_ROWS_MAX + 1);
}

#[test]
fn a_row_that_could_not_be_written_begins_a_segment_and_is_told_once() {
    let mut desk = Desk::new();
    desk.tick(MINUTE, 1, true).unwrap();
    for (told, mishap) in [(true, Mishap::Full), (false, Mishap::Full)] {
        desk.store.meet(mishap);
        let outcome = desk.tick(MINUTE, 1, true);
        assert_eq!(outcome.is_err(), told, "{outcome:?}");
    }
    assert_eq!(desk.tick(MINUTE, 1, true), Ok(vec![4]));
    assert_eq!(desk.kinds(), "srsr");
    desk.store.meet(Mishap::Full);
    let told = desk.tick(MINUTE, 1, true).unwrap_err();
    assert!(told.ends_with("the disk is full; make room, nothing was written"), "{told}");
}

#[test]
fn whole_segments_are_let_go_when_they_are_old_and_the_newest_never() {
    let mut desk = Desk::new();
    let day = Duration::from_secs(86_400);
    for _ in 0..3 {
        desk.restart();
        desk.tick(40 * day, 2, true).unwrap();
    }
    assert_eq!(desk.kinds(), "srrsrrsrr");
    let now = desk.situation.now;
    assert_eq!(desk.recorder.prune(now), Ok(0), "the first is 80 days old");
    assert_eq!(desk.recorder.prune(after(now, 11 * day)), Ok(3));
    assert_eq!(desk.recorder.prune(after(now, 900 * day)), Ok(3));
    assert_eq!(desk.kinds(), "srr");
    assert_eq!(desk.walked().len(), 2);
    let oldest = desk.store.read(0, 1).unwrap()[0].at_ms;
    assert_eq!(reach(&*desk.store).unwrap().unwrap().since.as_millisecond(), oldest);
}

#[test]
fn the_oldest_segments_are_let_go_while_there_is_too_much() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.restart();
        desk.tick(MINUTE, 1, true).unwrap();
    }
    // As if all before now had been as much as may be kept, but for what the newest two have.
    let two = segments(&*desk.store, 9).unwrap()[1].1;
    desk.recorder.bytes = BYTES_MAX + two;
    assert_eq!(desk.recorder.prune(desk.situation.now), Ok(2));
    desk.recorder.bytes += 1;
    assert_eq!(desk.recorder.prune(desk.situation.now), Ok(2));
    assert_eq!(desk.kinds(), "sr");
}

#[test]
fn a_row_that_is_missing_ends_what_is_read_of_its_segment() {
    let mut desk = Desk::new();
    desk.tick(MINUTE, 3, true).unwrap();
    desk.restart();
    desk.tick(MINUTE, 1, true).unwrap();
    let rows = desk.store.read(0, usize::MAX).unwrap();
    let torn = MemoryStore::default();
    for row in rows {
        let kind = KINDS.into_iter().find(|kind| *kind == row.kind).unwrap();
        let at_ms = if row.sequence == 3 { 0 } else { row.at_ms };
        torn.append(&[NewRow { at_ms, kind, fleet: None, subject: row.subject, body: row.body }]).unwrap();
    }
    torn.prune(&KINDS, 1).unwrap();
    desk.store = Arc::new(torn);
    let walked: Vec<u64> = desk.walked().iter().map(|row| row.sequence).collect();
    assert_eq!(walked, [2, 6]);
}

#[test]
fn the_recording_is_kept_beside_the_state() {
    assert_eq!(
        beside(Path::new("/var/lib/spotscale/spotscale.db")),
        Path::new("/var/lib/spotscale/spotscale.recording.db")
    );
    assert_eq!(beside(Path::new("state")), Path::new("state.recording.db"));
}
