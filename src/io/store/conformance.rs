//! What every store promises, tried on each of them.

use super::{MemoryStore, NewRow, Query, SqliteStore, Store};
use std::path::PathBuf;

/// How a test opens, crashes and reopens one kind of store.
trait Rig {
    /// The next process.
    fn open(&mut self) -> Box<dyn Store>;
    /// The power goes, with a store open: the next process finds what was durable.
    fn crash(&mut self);
    /// Likewise, and the newest append was torn half way through.
    fn tear(&mut self);
}

struct Memory(MemoryStore);

impl Rig for Memory {
    fn open(&mut self) -> Box<dyn Store> {
        Box::new(self.0.reopen())
    }
    fn crash(&mut self) {
        self.0 = self.0.copied();
    }
    fn tear(&mut self) {
        self.crash();
        self.0.lose_last_append();
    }
}

/// Each crash copies the files as they are, while the old process still has them open, and goes on with the copy.
struct Sqlite {
    folder: tempfile::TempDir,
    crashes: u32,
}

impl Sqlite {
    fn file(&self, tail: &str) -> PathBuf {
        self.folder.path().join(format!("state-{}.db{tail}", self.crashes))
    }

    /// The newest append is the end of the write-ahead log: so many bytes of it are missing.
    fn crash_without(&mut self, bytes_lost: usize) {
        let database = std::fs::read(self.file("")).unwrap();
        let log = std::fs::read(self.file("-wal")).unwrap();
        self.crashes += 1;
        std::fs::write(self.file(""), database).unwrap();
        std::fs::write(self.file("-wal"), &log[..log.len() - bytes_lost]).unwrap();
    }
}

impl Rig for Sqlite {
    fn open(&mut self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(&self.file("")).unwrap())
    }
    fn crash(&mut self) {
        self.crash_without(0);
    }
    fn tear(&mut self) {
        self.crash_without(100);
    }
}

#[track_caller]
fn on_every_store(test: fn(&mut dyn Rig)) {
    test(&mut Memory(MemoryStore::default()));
    test(&mut Sqlite { folder: tempfile::tempdir().unwrap(), crashes: 0 });
}

fn row(kind: &'static str, at_ms: i64, fleet: &str, subject: &str) -> NewRow {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    NewRow { at_ms, kind, fleet: text(fleet), subject: text(subject), body: format!("{{\"{kind}\":{at_ms}}}") }
}

fn event(at_ms: i64) -> NewRow {
    row("event", at_ms, "", "")
}

fn times(store: &dyn Store) -> Vec<i64> {
    store.read(0, 1_000).unwrap().iter().map(|row| row.at_ms).collect()
}

#[test]
fn rows_come_back_as_they_went_in_and_in_order() {
    on_every_store(|rig| {
        let store = rig.open();
        assert_eq!(store.append(&[row("a", 5, "train", "vm-1"), row("b", 3, "", "")]), Ok(2));
        assert_eq!(store.append(&[row("c", -4, "", "ünïcode 'quoted'")]), Ok(3));
        let rows = store.read(0, 10).unwrap();
        let shown: Vec<_> = rows.iter().map(|row| (row.sequence, row.kind.as_str(), row.at_ms)).collect();
        assert_eq!(shown, [(1, "a", 5), (2, "b", 3), (3, "c", -4)]);
        assert_eq!((rows[0].fleet.as_deref(), rows[0].subject.as_deref()), (Some("train"), Some("vm-1")));
        assert_eq!((rows[1].fleet.as_deref(), rows[1].subject.as_deref()), (None, None));
        assert_eq!(rows[2].subject.as_deref(), Some("ünïcode 'quoted'"));
        assert_eq!(rows[2].body, "{\"c\":-4}");
    });
}

#[test]
fn pages_are_bounded_and_begin_where_asked() {
    on_every_store(|rig| {
        let store = rig.open();
        store.append(&(1..=10).map(event).collect::<Vec<_>>()).unwrap();
        let page: Vec<u64> = store.read(4, 3).unwrap().iter().map(|row| row.sequence).collect();
        assert_eq!(page, [4, 5, 6]);
        assert!(store.read(11, 3).unwrap().is_empty());
        assert!(store.read(u64::MAX, 3).unwrap().is_empty());
        assert!(store.read(1, 0).unwrap().is_empty());
    });
}

#[test]
fn an_append_of_nothing_tells_the_last_sequence_number() {
    on_every_store(|rig| {
        let store = rig.open();
        assert_eq!(store.append(&[]), Ok(0));
        store.append(&[event(1), event(2)]).unwrap();
        assert_eq!(store.append(&[]), Ok(2));
    });
}

#[test]
fn what_was_appended_survives_a_reopen_and_a_crash() {
    on_every_store(|rig| {
        let store = rig.open();
        store.append(&[event(1)]).unwrap();
        drop(store);
        let store = rig.open();
        store.append(&[event(2)]).unwrap();
        rig.crash();
        assert_eq!(times(&*rig.open()), [1, 2]);
    });
}

#[test]
fn a_torn_append_is_lost_whole_and_the_next_one_goes_on_from_before_it() {
    on_every_store(|rig| {
        let store = rig.open();
        store.append(&[event(1)]).unwrap();
        store.append(&[event(2)]).unwrap();
        store.append(&(3..=40).map(event).collect::<Vec<_>>()).unwrap();
        rig.tear();
        let store = rig.open();
        assert_eq!(times(&*store), [1, 2]);
        assert_eq!(store.append(&[event(50)]), Ok(3));
    });
}

#[test]
fn a_lost_tail_leaves_a_prefix() {
    on_every_store(|rig| {
        let store = rig.open();
        for at in 1..=4 {
            store.append(&[event(at)]).unwrap();
        }
        rig.tear();
        let store = rig.open();
        assert_eq!(times(&*store), [1, 2, 3]);
        store.append(&[event(9)]).unwrap();
        rig.crash();
        assert_eq!(times(&*rig.open()), [1, 2, 3, 9]);
    });
}

#[test]
fn a_search_is_newest_first_and_every_term_narrows_it() {
    on_every_store(|rig| {
        let store = rig.open();
        store
            .append(&[
                row("decision", 10, "train", "d1"),
                row("event", 20, "train", "vm-1"),
                row("event", 30, "infer", "vm-2"),
                row("decision", 40, "infer", "d2"),
            ])
            .unwrap();
        let found = |query: Query, rows_max| -> Vec<u64> {
            store.search(&query, rows_max).unwrap().iter().map(|row| row.sequence).collect()
        };
        let all = Query::default;
        assert_eq!(found(all(), 9), [4, 3, 2, 1]);
        assert_eq!(found(all(), 2), [4, 3]);
        assert_eq!(found(Query { kinds: vec!["event".into()], ..all() }, 9), [3, 2]);
        assert_eq!(found(Query { kinds: vec!["event".into(), "decision".into()], ..all() }, 9), [4, 3, 2, 1]);
        assert_eq!(found(Query { fleet: Some("train".into()), ..all() }, 9), [2, 1]);
        assert_eq!(found(Query { subject: Some("vm-2".into()), ..all() }, 9), [3]);
        assert_eq!(found(Query { since_ms: Some(30), ..all() }, 9), [4, 3]);
        assert_eq!(found(Query { before: Some(3), ..all() }, 9), [2, 1]);
        let nothing = Query { fleet: Some("train".into()), since_ms: Some(30), ..all() };
        assert!(found(nothing, 9).is_empty());
    });
}

#[test]
fn pruning_takes_only_old_rows_of_the_named_kinds_and_no_number_is_given_twice() {
    on_every_store(|rig| {
        let store = rig.open();
        store.append(&[event(1), row("intent", 1, "", ""), event(5), event(6)]).unwrap();
        assert_eq!(store.prune(&["event"], 6), Ok(2));
        assert_eq!(times(&*store), [1, 6]);
        assert_eq!(store.prune(&["event"], 7), Ok(1));
        assert_eq!(store.prune(&["event"], 7), Ok(0));
        assert_eq!(store.prune(&[], 7), Ok(0));
        drop(store);
        let store = rig.open();
        assert_eq!(store.append(&[event(8)]), Ok(5));
    });
}
