//! The tables of one transaction, opened on first use: a group commit of events touches four of
//! them, and opening costs.

use std::collections::BTreeSet;

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, Value,
    WriteTransaction,
};

use super::StoreError;
use super::record::{Record, decode, encode};
use super::schema;
use crate::model::id::IdSource;
use crate::random::RandomPool;

macro_rules! tables {
    ($($name:ident: $constant:ident<$key:ty, $value:ty>;)*) => {
        /// The tables of a write transaction, and the source of new ids.
        pub struct WriteTables<'txn> {
            txn: &'txn WriteTransaction,
            ids: &'txn mut IdSource,
            random: &'txn mut RandomPool,
            now_ms: u64,
            /// Event types of the changes that were written down.
            changed: BTreeSet<String>,
            /// Whether something was written that people may have to be told of.
            has_occurrences: bool,
            /// What is wanted of runs, once it was looked at.
            pub(super) wanted_of_runs: Option<super::occurrences::Wanted>,
            /// What the operation that runs now has done.
            operation: Operation,
            $($name: Option<Table<'txn, $key, $value>>,)*
        }

        impl<'txn> WriteTables<'txn> {
            /// No table is opened yet.
            pub(super) fn new(
                txn: &'txn WriteTransaction,
                ids: &'txn mut IdSource,
                random: &'txn mut RandomPool,
                now_ms: u64,
            ) -> WriteTables<'txn> {
                WriteTables {
                    txn,
                    ids,
                    random,
                    now_ms,
                    changed: BTreeSet::new(),
                    has_occurrences: false,
                    wanted_of_runs: None,
                    operation: Operation::default(),
                    $($name: None,)*
                }
            }

            $(
                #[doc = concat!("[`schema::", stringify!($constant), "`].")]
                pub(super) fn $name(&mut self) -> Result<&mut Table<'txn, $key, $value>, StoreError> {
                    if self.$name.is_none() {
                        self.$name = Some(self.txn.open_table(schema::$constant)?);
                    }
                    self.$name.as_mut().ok_or(StoreError::Unavailable)
                }
            )*
        }

        /// Makes every table exist, so that reading one is never an error.
        pub(super) fn create_all(txn: &WriteTransaction) -> Result<(), StoreError> {
            $(txn.open_table(schema::$constant)?;)*
            Ok(())
        }
    };
}

tables! {
    packages: PACKAGES<u128, &'static [u8]>;
    package_slugs: PACKAGE_SLUGS<&'static str, u128>;
    versions: VERSIONS<u128, &'static [u8]>;
    blobs: BLOBS<&'static [u8; 32], u64>;
    blob_chunks: BLOB_CHUNKS<(&'static [u8; 32], u32), &'static [u8]>;
    snap_ins: SNAP_INS<u128, &'static [u8]>;
    snap_in_scopes: SNAP_IN_SCOPES<&'static str, u128>;
    route_generations: ROUTE_GENERATIONS<u128, u64>;
    sources: SOURCES<u128, &'static [u8]>;
    source_tokens: SOURCE_TOKENS<&'static str, u128>;
    source_counts: SOURCE_COUNTS<u128, &'static [u8]>;
    keyrings: KEYRINGS<u128, &'static [u8]>;
    envelopes: ENVELOPES<u128, &'static [u8]>;
    developer_keyrings: DEVELOPER_KEYRINGS<(u128, &'static str), u128>;
    authorizations: AUTHORIZATIONS<&'static [u8; 32], &'static [u8]>;
    users: USERS<u128, &'static [u8]>;
    user_names: USER_NAMES<&'static str, u128>;
    user_settings: USER_SETTINGS<(u128, u128), &'static [u8]>;
    displayed: DISPLAYED<(u128, &'static str), &'static [u8]>;
    tags: TAGS<u128, &'static [u8]>;
    tag_names: TAG_NAMES<&'static str, u128>;
    events: EVENTS<u128, &'static [u8]>;
    dedup: DEDUP<(u128, &'static str), u128>;
    timers: TIMERS<u128, &'static [u8]>;
    recordings: RECORDINGS<u128, &'static [u8]>;
    recorded: RECORDED<(u128, u128), &'static [u8]>;
    scheduled: SCHEDULED<(u128, u64, u128), &'static [u8]>;
    scheduled_keys: SCHEDULED_KEYS<(u128, &'static str), (u64, u128)>;
    scheduled_counts: SCHEDULED_COUNTS<u128, u64>;
    runs_open: RUNS_OPEN<u128, &'static [u8]>;
    runs_done: RUNS_DONE<u128, &'static [u8]>;
    dead_letters: DEAD_LETTERS<u128, ()>;
    outbox: OUTBOX<u128, &'static [u8]>;
    object_types: OBJECT_TYPES<u32, &'static [u8]>;
    objects: OBJECTS<(u32, u128), &'static [u8]>;
    object_index: OBJECT_INDEX<&'static [u8], ()>;
    object_counts: OBJECT_COUNTS<u32, u64>;
    counters: COUNTERS<&'static str, u64>;
    changes: CHANGES<(&'static str, u128), &'static [u8]>;
    cursors: CURSORS<&'static str, u128>;
    views: VIEWS<u128, &'static [u8]>;
    view_names: VIEW_NAMES<&'static str, u128>;
    answers: ANSWERS<&'static [u8; 32], &'static [u8]>;
    artifacts: ARTIFACTS<u128, &'static [u8]>;
    artifact_parents: ARTIFACT_PARENTS<(&'static str, u128), ()>;
    artifact_parts: ARTIFACT_PARTS<(u128, u32), &'static [u8; 32]>;
    artifact_leftovers: ARTIFACT_LEFTOVERS<u128, ()>;
    chunks: CHUNKS<&'static [u8; 32], &'static [u8]>;
    chunk_uses: CHUNK_USES<&'static [u8; 32], (u64, u32)>;
    chunk_totals: CHUNK_TOTALS<&'static str, u64>;
    integrations: INTEGRATIONS<u128, &'static [u8]>;
    integration_names: INTEGRATION_NAMES<(&'static str, &'static str), u128>;
    integration_health: INTEGRATION_HEALTH<u128, &'static [u8]>;
    supplies: SUPPLIES<(u128, &'static str), &'static [u8]>;
    subscriptions: SUBSCRIPTIONS<u128, &'static [u8]>;
    occurrences: OCCURRENCES<u128, &'static [u8]>;
    occurrence_subjects: OCCURRENCE_SUBJECTS<(&'static str, u128), ()>;
    decisions: DECISIONS<u128, &'static [u8]>;
    telling: TELLING<&'static str, &'static [u8]>;
    tellings_open: TELLINGS_OPEN<(u128, u128), &'static [u8]>;
    tellings_done: TELLINGS_DONE<(u128, u128), &'static [u8]>;
    telling_counts: TELLING_COUNTS<u128, (u64, u64)>;
    telling_groups: TELLING_GROUPS<(u128, &'static str), u128>;
    telling_threads: TELLING_THREADS<(u128, &'static str), &'static [u8]>;
    webhooks: WEBHOOKS<u128, &'static [u8]>;
    deliveries_open: DELIVERIES_OPEN<(u128, u128), &'static [u8]>;
    deliveries_done: DELIVERIES_DONE<(u128, u128), &'static [u8]>;
    delivery_counts: DELIVERY_COUNTS<u128, u64>;
    tokens: TOKENS<&'static [u8; 32], &'static [u8]>;
    audit: AUDIT<u128, &'static [u8]>;
    audit_ends: AUDIT_ENDS<u128, u128>;
    audit_anchor: AUDIT_ANCHOR<u8, &'static [u8]>;
    token_uses: TOKEN_USES<&'static [u8; 32], u64>;
    principals: PRINCIPALS<u128, &'static [u8]>;
    group_members: GROUP_MEMBERS<(u128, u128), ()>;
    grants: GRANTS<(u128, u128, u8), u64>;
}

/// The tables of a read transaction: one unchanging picture of the database.
pub struct ReadTables {
    txn: ReadTransaction,
}

impl ReadTables {
    pub(super) fn new(txn: ReadTransaction) -> ReadTables {
        ReadTables { txn }
    }

    /// One of the tables.
    pub(super) fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, StoreError> {
        Ok(self.txn.open_table(table)?)
    }
}

/// What is known of one operation of a transaction.
#[derive(Clone, Copy, Debug, Default)]
struct Operation {
    /// It only looked, and said why it does nothing.
    made_nothing: bool,
    /// The row of the audit log that it wrote.
    audit_row: Option<u64>,
}

impl WriteTables<'_> {
    /// Another operation begins.
    pub(super) fn begin_operation(&mut self) {
        self.operation = Operation::default();
    }

    /// What an operation answers that changed nothing: what it was part of is not carried out with it.
    pub(super) fn made_nothing<A>(&mut self, answer: A) -> Result<A, StoreError> {
        self.operation.made_nothing = true;
        Ok(answer)
    }

    /// Whether it said so.
    pub(super) fn has_made_nothing(&self) -> bool {
        self.operation.made_nothing
    }

    /// It wrote this row of the audit log.
    pub(super) fn note_audit_row(&mut self, seq: u64) {
        self.operation.audit_row = Some(seq);
    }

    /// The row of the audit log that it wrote.
    pub(super) fn audit_row(&self) -> Option<u64> {
        self.operation.audit_row
    }

    /// Milliseconds of the Unix epoch at which the transaction began.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// A change of this type was written down: the bell is rung for it after the commit.
    pub(super) fn ring_for(&mut self, event_type: String) {
        self.changed.insert(event_type);
    }

    /// Something was written that people may have to be told of: its bell is rung after the commit.
    pub(super) fn ring_for_occurrences(&mut self) {
        self.has_occurrences = true;
    }

    /// The event types of all changes, and whether there are occurrences.
    pub(super) fn into_news(self) -> (BTreeSet<String>, bool) {
        (self.changed, self.has_occurrences)
    }

    /// A new id, greater than every id ever given out.
    pub fn new_id(&mut self) -> u128 {
        self.ids.next(self.now_ms, self.random.next_u128())
    }
}

/// Reads the record at `key`.
pub(super) fn get<R: Record>(
    table: &impl ReadableTable<u128, &'static [u8]>,
    key: u128,
) -> Result<Option<R>, StoreError> {
    table.get(key)?.map(|it| decode(it.value())).transpose()
}

/// Writes the record at `key`.
pub(super) fn put<R: Record>(
    table: &mut Table<'_, u128, &'static [u8]>,
    key: u128,
    record: &R,
) -> Result<(), StoreError> {
    table.insert(key, encode(record)?.as_slice())?;
    Ok(())
}

/// One page of a table's rows.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows that were asked for.
    pub rows: Vec<T>,
    /// Where the next page starts; absent at the end. A page may be short and still have a next
    /// one, because the number of rows looked at is bounded too.
    pub next: Option<u128>,
}

/// Which part of a table a page shows.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// Continue from here: the `next` of the last page.
    pub from: Option<u128>,
    /// At most so many rows.
    pub limit: usize,
    /// Newest first.
    pub newest_first: bool,
}

impl PageRequest {
    /// How many rows are looked at for one page, so that a filter that matches little cannot keep
    /// a read transaction open for long.
    const MOST_LOOKED_AT: usize = 20_000;

    /// Reads one page of the rows that `pick` wants.
    pub(super) fn read<T>(
        self,
        table: &impl ReadableTable<u128, &'static [u8]>,
        mut pick: impl FnMut(u128, &[u8]) -> Result<Option<T>, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let range = match (self.from, self.newest_first) {
            (None, _) => table.range(0u128..)?,
            (Some(from), true) => table.range(0..=from)?,
            (Some(from), false) => table.range(from..)?,
        };
        let mut page = Page { rows: Vec::new(), next: None };
        let rows: &mut dyn Iterator<Item = _> =
            if self.newest_first { &mut range.rev() } else { &mut { range } };
        for (looked_at, row) in rows.enumerate() {
            let (key, value) = row?;
            if page.rows.len() == self.limit || looked_at == PageRequest::MOST_LOOKED_AT {
                page.next = Some(key.value());
                break;
            }
            page.rows.extend(pick(key.value(), value.value())?);
        }
        Ok(page)
    }
}
