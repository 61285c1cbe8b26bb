//! The journal in an SQLite file.
//!
//! Write-ahead log, `synchronous = FULL` (the usual `NORMAL` may lose the last commits at power loss, and the last commit
//! is the intent), one transaction for each append. One daemon per journal: the lock is held on a file of its own beside
//! the state, so that a reader (`history --offline`) never needs it and a crash always frees it.

use super::{Doing, NewRow, Query, Row, Store, StoreError};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params, params_from_iter, types::Value};
use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The schema this code reads and writes.
pub const SCHEMA: u32 = MIGRATIONS.len() as u32;
/// Says that an SQLite file is ours: "SPOT" in ASCII.
const APPLICATION_ID: i32 = 0x5350_4f54;
/// How long to wait for a reader that checkpoints.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Only the owner may read what the daemon knows.
const FILE_MODE: u32 = 0o600;

/// What brings schema `n` to `n + 1`, from nothing on. Never edited once released; only appended to.
const MIGRATIONS: [&str; 2] = [
    "CREATE TABLE schema (version INTEGER NOT NULL) STRICT;
     INSERT INTO schema (version) VALUES (0);
     CREATE TABLE journal (
         sequence INTEGER PRIMARY KEY AUTOINCREMENT,
         at_ms    INTEGER NOT NULL,
         kind     TEXT NOT NULL,
         fleet    TEXT,
         subject  TEXT,
         body     TEXT NOT NULL
     ) STRICT;",
    "CREATE INDEX journal_by_kind ON journal (kind, sequence);
     CREATE INDEX journal_by_fleet ON journal (fleet, sequence) WHERE fleet IS NOT NULL;
     CREATE INDEX journal_by_subject ON journal (subject, sequence) WHERE subject IS NOT NULL;",
];

/// A journal in a file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// `None`: opened read-only, and there is no such file yet.
    connection: Option<Mutex<Connection>>,
    /// Held for as long as this lives; `None` when opened read-only.
    lock: Option<File>,
}

impl SqliteStore {
    /// Opens the state for the one daemon that writes it; makes the file, readable by its owner alone, where there is
    /// none. The folder must exist.
    ///
    /// # Errors
    /// `Locked` while another daemon has it, `TooNew`, or what the file system says.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        create(path).map_err(|error| failed(Doing::Open, path, &error))?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let opening = |error| sqlite_failed(Doing::Open, path, &error);
        connection.pragma_update(None, "journal_mode", "WAL").map_err(opening)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(opening)?;
        migrate(&mut connection, path)?;
        Ok(Self { path: path.to_owned(), connection: Some(Mutex::new(connection)), lock: Some(lock) })
    }

    /// Opens the state to look at it, beside a daemon or without one. Takes no lock and makes nothing: a state that does
    /// not exist yet is empty.
    ///
    /// # Errors
    /// `TooNew`, or what the file system says.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let empty = Self { path: path.to_owned(), connection: None, lock: None };
        match std::fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(empty),
            Err(error) => return Err(failed(Doing::Open, path, &error)),
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        match schema(&connection, path)? {
            0 => Ok(empty),
            found if found > SCHEMA => Err(StoreError::TooNew { found, known: SCHEMA }),
            // All schemas so far have the same columns.
            _ => Ok(Self { connection: Some(Mutex::new(connection)), ..empty }),
        }
    }

    /// Whether a daemon has this state open: for looking, it holds nothing and makes nothing.
    ///
    /// # Errors
    /// What the file system says.
    pub fn is_in_use(path: &Path) -> Result<bool, StoreError> {
        let beside = lock_file(path);
        let file = match File::open(&beside) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(Doing::Open, &beside, &error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(failed(Doing::Open, &beside, &error)),
        }
    }

    fn reader(&self) -> Option<MutexGuard<'_, Connection>> {
        self.connection.as_ref().map(|connection| connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn writer(&self, doing: Doing) -> Result<MutexGuard<'_, Connection>, StoreError> {
        let writer = self.lock.as_ref().and_then(|_| self.reader());
        writer.ok_or_else(|| failed(doing, &self.path, &"it was opened read-only"))
    }
}

/// `<state>.lock`.
fn lock_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Takes the daemon's lock.
fn lock(path: &Path) -> Result<File, StoreError> {
    let beside = lock_file(path);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(&beside);
    let file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            failed(Doing::Open, path, &"its folder does not exist; make it, or mend `state`")
        }
        std::io::ErrorKind::PermissionDenied => {
            failed(Doing::Open, &beside, &format!("{error}; is this the user that the state belongs to?"))
        }
        _ => failed(Doing::Open, &beside, &error),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(Doing::Open, &beside, &error)),
    }
}

/// SQLite would make the file with the process's umask; it holds keys of a kind, so it is made first.
fn create(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path).map(drop)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let opening = |error| sqlite_failed(Doing::Open, path, &error);
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(opening)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(opening)?;
    Ok(connection)
}

/// The file's schema; 0 when it is empty.
fn schema(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    let opening = |error| sqlite_failed(Doing::Open, path, &error);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(opening)?;
    if tables == 0 {
        return Ok(0);
    }
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(opening)?;
    if id != APPLICATION_ID {
        return Err(failed(Doing::Open, path, &"it is a database of another program; use another `state`"));
    }
    connection.query_row("SELECT version FROM schema", [], |row| row.get(0)).map_err(opening)
}

/// Brings the schema up to date, one transaction for each step.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found = schema(connection, path)?;
    if found > SCHEMA {
        return Err(StoreError::TooNew { found, known: SCHEMA });
    }
    let migrating = |error| sqlite_failed(Doing::Migrate, path, &error);
    for (version, step) in (1u32..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(migrating)?;
        change.execute_batch(step).map_err(migrating)?;
        change.pragma_update(None, "application_id", APPLICATION_ID).map_err(migrating)?;
        change.execute("UPDATE schema SET version = ?1", [version]).map_err(migrating)?;
        change.commit().map_err(migrating)?;
    }
    Ok(())
}

fn failed(doing: Doing, path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Failed { doing, detail: format!("{}: {why}", path.display()) }
}

/// What to do about a file that SQLite cannot read.
const DAMAGED: &str = "; the file is damaged: restore it from a backup, or move it away: VMs that run are then strays, and nothing touches them";

/// The fact and the remedy, for what an operator can do something about.
fn sqlite_failed(doing: Doing, path: &Path, error: &rusqlite::Error) -> StoreError {
    let unreadable = matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    );
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; make room, nothing was written",
        Some(ErrorCode::NotADatabase) => "; is `state` the right file? restore it from a backup, or move it away",
        Some(ErrorCode::DatabaseCorrupt) => DAMAGED,
        Some(ErrorCode::ReadOnly) => "; is the folder writable?",
        None if unreadable => DAMAGED,
        // The library's enum grows; what it says is shown as it is.
        _ => "",
    };
    let said = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        error => error.to_string(),
    };
    failed(doing, path, &format!("{said}{remedy}"))
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let sequence: i64 = row.get(0)?;
    Ok(Row {
        sequence: sequence.unsigned_abs(),
        at_ms: row.get(1)?,
        kind: row.get(2)?,
        fleet: row.get(3)?,
        subject: row.get(4)?,
        body: row.get(5)?,
    })
}

const COLUMNS: &str = "sequence, at_ms, kind, fleet, subject, body";

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

impl Store for SqliteStore {
    fn append(&self, rows: &[NewRow]) -> Result<u64, StoreError> {
        let appending = |error| sqlite_failed(Doing::Append, &self.path, &error);
        let mut connection = self.writer(Doing::Append)?;
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(appending)?;
        for NewRow { at_ms, kind, fleet, subject, body } in rows {
            change
                .prepare_cached("INSERT INTO journal (at_ms, kind, fleet, subject, body) VALUES (?1, ?2, ?3, ?4, ?5)")
                .and_then(|mut insert| insert.execute(params![at_ms, kind, fleet, subject, body]))
                .map_err(appending)?;
        }
        let last: i64 = change
            .query_row("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'", [], |row| row.get(0))
            .map_err(appending)?;
        change.commit().map_err(appending)?;
        Ok(last.unsigned_abs())
    }

    fn read(&self, from: u64, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let reading = |error| sqlite_failed(Doing::Read, &self.path, &error);
        let Some(connection) = self.reader() else { return Ok(Vec::new()) };
        let mut select = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM journal WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2"))
            .map_err(reading)?;
        let rows = select.query_map([signed(from), signed(rows_max as u64)], row).map_err(reading)?;
        rows.collect::<Result<_, _>>().map_err(reading)
    }

    fn search(&self, query: &Query, rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let reading = |error| sqlite_failed(Doing::Read, &self.path, &error);
        let Some(connection) = self.reader() else { return Ok(Vec::new()) };
        let Query { kinds, fleet, subject, since_ms, before } = query;
        let mut terms = vec!["TRUE".to_owned()];
        let mut values = Vec::new();
        if !kinds.is_empty() {
            terms.push(format!("kind IN ({})", marks(kinds.len())));
            values.extend(kinds.iter().cloned().map(Value::from));
        }
        for (term, value) in [
            ("fleet = ?", fleet.clone().map(Value::from)),
            ("subject = ?", subject.clone().map(Value::from)),
            ("at_ms >= ?", since_ms.map(Value::from)),
            ("sequence < ?", before.map(|before| Value::from(signed(before)))),
        ] {
            if let Some(value) = value {
                terms.push(term.to_owned());
                values.push(value);
            }
        }
        values.push(Value::from(signed(rows_max as u64)));
        let text =
            format!("SELECT {COLUMNS} FROM journal WHERE {} ORDER BY sequence DESC LIMIT ?", terms.join(" AND "));
        let mut select = connection.prepare(&text).map_err(reading)?;
        let rows = select.query_map(params_from_iter(values), row).map_err(reading)?;
        rows.collect::<Result<_, _>>().map_err(reading)
    }

    fn prune(&self, kinds: &[&str], before_ms: i64) -> Result<u64, StoreError> {
        let pruning = |error| sqlite_failed(Doing::Prune, &self.path, &error);
        let connection = self.writer(Doing::Prune)?;
        let values = kinds.iter().map(|kind| Value::from((*kind).to_owned())).chain([Value::from(before_ms)]);
        let text = format!("DELETE FROM journal WHERE kind IN ({}) AND at_ms < ?", marks(kinds.len()));
        connection.execute(&text, params_from_iter(values)).map(|count| count as u64).map_err(pruning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn new_row(kind: &'static str) -> NewRow {
        NewRow { at_ms: 1, kind, fleet: None, subject: None, body: "{}".into() }
    }

    #[test]
    fn one_daemon_per_journal_and_readers_beside_it() {
        let folder = folder();
        let path = folder.path().join("state.db");
        assert_eq!(SqliteStore::is_in_use(&path), Ok(false));
        let store = SqliteStore::open(&path).unwrap();
        store.append(&[new_row("event")]).unwrap();
        assert_eq!(SqliteStore::is_in_use(&path), Ok(true));
        let refused = SqliteStore::open(&path).unwrap_err();
        assert_eq!(refused, StoreError::Locked(path.display().to_string()));
        assert!(refused.to_string().starts_with("another spotscale runs on this state ("), "{refused}");
        assert_eq!(SqliteStore::open_read_only(&path).unwrap().read(0, 9).unwrap().len(), 1);
        drop(store);
        assert_eq!(SqliteStore::is_in_use(&path), Ok(false));
        SqliteStore::open(&path).unwrap();
    }

    #[test]
    fn only_the_owner_may_read_the_state() {
        let folder = folder();
        let path = folder.path().join("state.db");
        let store = SqliteStore::open(&path).unwrap();
        store.append(&[new_row("event")]).unwrap();
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert!(files.len() >= 3, "state, log and lock");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
    }

    #[test]
    fn a_state_that_does_not_exist_yet_reads_as_empty_and_is_not_made() {
        let folder = folder();
        let path = folder.path().join("state.db");
        let store = SqliteStore::open_read_only(&path).unwrap();
        assert!(store.read(0, 9).unwrap().is_empty());
        assert!(store.search(&Query::default(), 9).unwrap().is_empty());
        let refused = store.append(&[new_row("event")]).unwrap_err().to_string();
        assert_eq!(refused, format!("failed to append to the journal: {}: it was opened read-only", path.display()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_folder_must_exist() {
        let folder = folder();
        let path = folder.path().join("nowhere/state.db");
        let refused = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(
            refused.starts_with("failed to open the state: ") && refused.contains("its folder does not exist"),
            "{refused}"
        );
    }

    #[test]
    fn a_state_of_the_first_schema_is_brought_up_to_date_with_its_rows() {
        let folder = folder();
        let path = folder.path().join("state.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        old.execute_batch(
            "UPDATE schema SET version = 1;
             INSERT INTO journal (at_ms, kind, fleet, subject, body) VALUES (7, 'event', 'train', 'vm', '{}');",
        )
        .unwrap();
        assert_eq!(SqliteStore::open_read_only(&path).unwrap().read(0, 9).unwrap().len(), 1, "as it is");
        drop(old);
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.append(&[new_row("event")]), Ok(2));
        let rows = store.read(0, 9).unwrap();
        assert_eq!((rows[0].at_ms, rows[0].fleet.as_deref()), (7, Some("train")));
        drop(store);
        let file = Connection::open(&path).unwrap();
        let indices: i64 = file
            .query_row("SELECT count(*) FROM sqlite_master WHERE name LIKE 'journal_by_%'", [], |row| row.get(0))
            .unwrap();
        assert_eq!((schema(&file, &path), indices), (Ok(SCHEMA), 3));
    }

    #[test]
    fn a_newer_state_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("state.db");
        drop(SqliteStore::open(&path).unwrap());
        Connection::open(&path).unwrap().execute_batch("UPDATE schema SET version = 99").unwrap();
        let too_new = StoreError::TooNew { found: 99, known: SCHEMA };
        assert_eq!(SqliteStore::open(&path).unwrap_err(), too_new);
        assert_eq!(SqliteStore::open_read_only(&path).unwrap_err(), too_new);
        assert!(too_new.to_string().contains("install the newer spotscale again"));
    }

    #[test]
    fn what_is_no_state_of_ours_is_refused_and_left_as_it_was() {
        let folder = folder();
        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "dear diary, ".repeat(100)).unwrap();
        let refused = SqliteStore::open(&text).unwrap_err().to_string();
        assert!(refused.contains("file is not a database; is `state` the right file?"), "{refused}");
        assert!(std::fs::read_to_string(&text).unwrap().starts_with("dear diary"));

        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE things (x)").unwrap();
        let refused = SqliteStore::open(&other).unwrap_err().to_string();
        assert!(refused.contains("a database of another program"), "{refused}");
    }

    #[test]
    fn a_damaged_file_says_what_to_do() {
        let folder = folder();
        let path = folder.path().join("state.db");
        let store = SqliteStore::open(&path).unwrap();
        for _ in 0..50 {
            store.append(&[NewRow { body: "x".repeat(3_000), ..new_row("event") }]).unwrap();
        }
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let store = SqliteStore::open(&path).unwrap();
        let refused = store.read(0, 100).unwrap_err().to_string();
        assert!(refused.contains("; the file is damaged: restore it from a backup, or move it away"), "{refused}");
    }

    #[test]
    fn a_full_disk_writes_nothing_and_says_so() {
        let folder = folder();
        let store = SqliteStore::open(&folder.path().join("state.db")).unwrap();
        store.append(&[new_row("event")]).unwrap();
        let pages: i64 = {
            let connection = store.reader().unwrap();
            let pages = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            connection.pragma_update(None, "max_page_count", pages).unwrap();
            pages
        };
        let big = NewRow { body: "x".repeat(50_000), ..new_row("event") };
        let refused = store.append(&[new_row("event"), big.clone()]).unwrap_err().to_string();
        assert!(refused.starts_with("failed to append to the journal: "), "{refused}");
        assert!(refused.ends_with("database or disk is full; make room, nothing was written"), "{refused}");
        assert_eq!(store.read(0, 9).unwrap().len(), 1);
        store.reader().unwrap().pragma_update(None, "max_page_count", pages + 100).unwrap();
        assert_eq!(store.append(&[big]), Ok(2));
    }
}
