//! Migrations: how a database of an older schema becomes one of this program's.
//!
//! Each step runs together with its version bump in one transaction, so that a crash in between
//! leaves the older version, whole. There is no way back, and a newer database is refused.

use redb::{ReadableDatabase, WriteTransaction};

use super::StoreError;
use super::database::Databases;
use super::schema::{META, SCHEMA_VERSION};
use super::tables::create_all;

/// One step: from the schema version that is its place in [`STEPS`], counted from 1, to the next.
type Step = fn(&WriteTransaction) -> Result<(), StoreError>;

/// The steps of this program.
const STEPS: &[Step] = &[];

const VERSION_KEY: &str = "schema_version";

/// Brings the database to [`SCHEMA_VERSION`], and makes a new one.
pub(super) fn migrate(databases: &Databases) -> Result<(), StoreError> {
    run(databases, STEPS, SCHEMA_VERSION)
}

fn run(databases: &Databases, steps: &[Step], target: u64) -> Result<(), StoreError> {
    loop {
        let found = current_version(databases)?;
        match found {
            None => {
                databases.write(|txn| {
                    create_all(txn)?;
                    set_version(txn, target)
                })?;
                return Ok(());
            }
            Some(found) if found > target => {
                return Err(StoreError::TooNew { found, known: target });
            }
            Some(found) if found == target => {
                // A table that this version added without needing a step exists from here on.
                return databases.write(create_all);
            }
            Some(found) => {
                let step =
                    usize::try_from(found - 1).ok().and_then(|it| steps.get(it)).ok_or_else(
                        || StoreError::corrupt(format!("no migration from schema version {found}")),
                    )?;
                tracing::info!(from = found, to = found + 1, "migrating the database");
                databases.write(|txn| {
                    step(txn)?;
                    set_version(txn, found + 1)
                })?;
            }
        }
    }
}

fn current_version(databases: &Databases) -> Result<Option<u64>, StoreError> {
    // Not through ReadTables: in a new database the table does not exist yet.
    databases.with(|database| {
        let txn = database.begin_read()?;
        match txn.open_table(META) {
            Ok(meta) => Ok(meta.get(VERSION_KEY)?.map(|it| it.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

fn set_version(txn: &WriteTransaction, version: u64) -> Result<(), StoreError> {
    txn.open_table(META)?.insert(VERSION_KEY, version)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{ReadableTable, TableDefinition};

    use super::*;
    use crate::store::database::{BackendLocation, Options};

    const MARKS: TableDefinition<u64, u64> = TableDefinition::new("marks");

    fn mark(txn: &WriteTransaction, step: u64) -> Result<(), StoreError> {
        txn.open_table(MARKS)?.insert(step, step)?;
        Ok(())
    }

    fn memory() -> Databases {
        let location = BackendLocation(InMemoryBackend::new);
        Databases::open(Box::new(location), Options { cache_bytes: 1 << 20 }).expect("opens")
    }

    fn marks(databases: &Databases) -> Vec<u64> {
        databases
            .with(|it| {
                let table = it.begin_read()?.open_table(MARKS)?;
                Ok(table.iter()?.map(|row| row.expect("readable").0.value()).collect())
            })
            .expect("readable")
    }

    #[test]
    fn steps_run_once_each_and_in_order() {
        let databases = memory();
        run(&databases, &[], 1).expect("new database");
        let steps: &[Step] = &[|txn| mark(txn, 1), |txn| mark(txn, 2)];
        run(&databases, steps, 3).expect("migrates");
        assert_eq!(marks(&databases), [1, 2]);
        assert_eq!(current_version(&databases).expect("readable"), Some(3));
        run(&databases, &[|_| panic!("ran again"), |_| panic!("ran again")], 3)
            .expect("nothing to do");
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it() {
        let databases = memory();
        run(&databases, &[], 1).expect("new database");
        let steps: &[Step] = &[
            |txn| mark(txn, 1),
            |txn| mark(txn, 2).and(Err(StoreError::corrupt("the step failed"))),
        ];
        run(&databases, steps, 3).expect_err("the second step fails");
        assert_eq!(current_version(&databases).expect("readable"), Some(2));
        assert_eq!(marks(&databases), [1]);
    }

    #[test]
    fn a_newer_database_is_refused_with_both_versions() {
        let databases = memory();
        run(&databases, &[], 7).expect("new database");
        let error = run(&databases, &[], 1).expect_err("it is newer").to_string();
        assert!(error.contains("schema version 7") && error.contains("up to 1"), "{error}");
    }
}
