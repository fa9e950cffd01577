//! SQLite with the same objects: one table with columns that are indexed as the daemon's fields are, the
//! rest as JSON, and a row in a table of changes for every write. WAL with `synchronous = FULL`: every
//! commit is on the disk, as the daemon's are.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};
use serde_json::Value;
use tokio::time::Instant;

use crate::Failure;
use crate::objects::{Kind, Numbers, PAGE, fields};

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS jobs (
  id INTEGER PRIMARY KEY, version INTEGER NOT NULL, modified INTEGER NOT NULL,
  created_by TEXT NOT NULL, modified_by TEXT NOT NULL,
  state TEXT, rank INTEGER, owner TEXT, fields TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_modified ON jobs (modified, id);
CREATE INDEX IF NOT EXISTS by_creator ON jobs (created_by, id);
CREATE INDEX IF NOT EXISTS by_modifier ON jobs (modified_by, id);
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, id);
CREATE INDEX IF NOT EXISTS by_rank ON jobs (rank, id);
CREATE INDEX IF NOT EXISTS by_owner ON jobs (owner, id);
CREATE TABLE IF NOT EXISTS changes (seq INTEGER PRIMARY KEY, old TEXT, new TEXT);
";
/// Objects of one transaction while they are filled in.
const CHUNK: u64 = 5_000;

/// Fills a database to `level` and measures everything; writes with one and with as many in a transaction
/// as there are connections.
pub(crate) fn measure(
    directory: &Path,
    level: u64,
    owners: &[String],
    connections: &[usize],
    time: Duration,
) -> Result<Vec<(Kind, usize, f64)>, Failure> {
    let mut database = Connection::open(directory.join("objects.sqlite"))?;
    database.execute_batch(SCHEMA)?;
    let mut bench = Bench { numbers: Numbers::new(), owners, clock: 0 };
    let there: i64 = database.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))?;
    let mut count = u64::try_from(there)?;
    while count < level {
        let some = CHUNK.min(level - count);
        let transaction = database.transaction()?;
        for _ in 0..some {
            bench.write(&transaction, Kind::Create, count)?;
        }
        transaction.commit()?;
        count += some;
    }
    // What every SQLite is told now and then, and plans by.
    database.execute_batch("ANALYZE")?;
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        let mut groups = connections.to_vec();
        if kind.writes() {
            groups.insert(0, 1);
        }
        groups.dedup();
        let mut rate = None;
        for group in groups {
            let done = match (kind.writes(), rate) {
                (true, _) => {
                    let most = if kind == Kind::Create { (level / 2).max(500) } else { u64::MAX };
                    bench.writes(&mut database, kind, group, level, time, most)?
                }
                // Reads are the same whatever the number.
                (false, Some(rate)) => rate,
                (false, None) => bench.reads(&database, kind, level, time)?,
            };
            rate = Some(done);
            figures.push((kind, group, done));
        }
    }
    Ok(figures)
}

struct Bench<'a> {
    numbers: Numbers,
    owners: &'a [String],
    clock: i64,
}

impl Bench<'_> {
    fn owner(&mut self) -> String {
        let place = usize::try_from(self.numbers.next(self.owners.len() as u64));
        self.owners.get(place.unwrap_or_default()).cloned().unwrap_or_default()
    }

    fn writes(
        &mut self,
        database: &mut Connection,
        kind: Kind,
        group: usize,
        level: u64,
        time: Duration,
        most: u64,
    ) -> Result<f64, Failure> {
        let began = Instant::now();
        let mut done = 0u64;
        while began.elapsed() < time && done < most {
            let transaction = database.transaction()?;
            for _ in 0..group {
                self.write(&transaction, kind, level)?;
            }
            transaction.commit()?;
            done += group as u64;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    }

    fn write(&mut self, on: &Transaction<'_>, kind: Kind, level: u64) -> Result<(), Failure> {
        self.clock += 1;
        let mut change = on.prepare_cached("INSERT INTO changes (old, new) VALUES (?, ?)")?;
        if kind == Kind::Create {
            let owner = self.owner();
            let fields = fields(&mut self.numbers, &owner);
            let text = fields.to_string();
            on.prepare_cached(
                "INSERT INTO jobs (version, modified, created_by, modified_by, state, rank, owner, \
                 fields) VALUES (1, ?, 'token:admin', 'token:admin', ?, ?, ?, ?)",
            )?
            .execute(params![
                self.clock,
                fields["state"].as_str(),
                fields["rank"].as_i64(),
                owner,
                text
            ])?;
            change.execute(params![None::<String>, text])?;
            return Ok(());
        }
        let id = i64::try_from(self.numbers.next(level) + 1)?;
        let rank = self.numbers.rank();
        let old: String = on
            .prepare_cached("SELECT fields FROM jobs WHERE id = ?")?
            .query_row([id], |row| row.get(0))?;
        let mut new: Value = serde_json::from_str(&old)?;
        new["rank"] = rank.into();
        let new = new.to_string();
        on.prepare_cached(
            "UPDATE jobs SET version = version + 1, modified = ?, modified_by = 'token:admin', \
             rank = ?, fields = ? WHERE id = ?",
        )?
        .execute(params![self.clock, i64::try_from(rank)?, new, id])?;
        change.execute(params![old, new])?;
        Ok(())
    }

    fn reads(
        &mut self,
        database: &Connection,
        kind: Kind,
        level: u64,
        time: Duration,
    ) -> Result<f64, Failure> {
        let began = Instant::now();
        let mut done = 0u64;
        let mut bytes = 0usize;
        while began.elapsed() < time {
            bytes += self.read(database, kind, level)?;
            done += 1;
        }
        // What was read is used, so that it is not left out.
        std::hint::black_box(bytes);
        Ok(done as f64 / began.elapsed().as_secs_f64())
    }

    fn read(&mut self, database: &Connection, kind: Kind, level: u64) -> Result<usize, Failure> {
        let page = PAGE;
        let text = match kind {
            Kind::Create | Kind::Update => return Ok(0),
            Kind::Get => "SELECT id, version, modified, created_by, modified_by, fields FROM jobs \
                          WHERE id = ?"
                .to_owned(),
            Kind::ListRare => format!(
                "SELECT id, version, modified, created_by, modified_by, fields FROM jobs \
                 WHERE owner = ? ORDER BY id DESC LIMIT {page}"
            ),
            Kind::ListFrequent => format!(
                "SELECT id, version, modified, created_by, modified_by, fields FROM jobs \
                 WHERE state = ? ORDER BY modified DESC, id DESC LIMIT {page}"
            ),
            Kind::ListTwo => format!(
                "SELECT id, version, modified, created_by, modified_by, fields FROM jobs \
                 WHERE state = ? AND rank >= ? ORDER BY rank, id LIMIT {page}"
            ),
        };
        let mut statement = database.prepare_cached(&text)?;
        let mut rows = match kind {
            Kind::Create | Kind::Update => return Ok(0),
            Kind::Get => statement.query(params![i64::try_from(self.numbers.next(level) + 1)?])?,
            Kind::ListRare => statement.query(params![self.owner()])?,
            Kind::ListFrequent => statement.query(params![self.numbers.state()])?,
            Kind::ListTwo => {
                let state = self.numbers.state();
                statement.query(params![state, i64::try_from(self.numbers.rank())?])?
            }
        };
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            bytes += row.get_ref(5)?.as_str()?.len();
        }
        Ok(bytes)
    }
}
