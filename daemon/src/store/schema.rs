//! The whole schema: every table, its key and its value. Nothing else.
//!
//! Values are records ([`super::record`]): a version byte and JSON, some with a raw tail. Keys of
//! 128 bits are ids, which only grow, so that the large tables are appended to.

use redb::TableDefinition;

/// Version of this schema. A database that is newer is refused, an older one is migrated.
pub const SCHEMA_VERSION: u64 = 1;

/// A table of records by id.
pub type RecordTable = TableDefinition<'static, u128, &'static [u8]>;
/// A unique name and the id it belongs to.
pub type NameTable = TableDefinition<'static, &'static str, u128>;

/// Single values by name: the schema version.
pub const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Packages by id.
pub const PACKAGES: RecordTable = TableDefinition::new("packages");
/// Packages by slug.
pub const PACKAGE_SLUGS: NameTable = TableDefinition::new("package_slugs");
/// Versions by id.
pub const VERSIONS: RecordTable = TableDefinition::new("versions");

/// Size in bytes of each blob, by SHA-256. Written after all of its chunks.
pub const BLOBS: TableDefinition<&[u8; 32], u64> = TableDefinition::new("blobs");
/// Chunks of blobs, at most 256 KiB each.
pub const BLOB_CHUNKS: TableDefinition<(&[u8; 32], u32), &[u8]> =
    TableDefinition::new("blob_chunks");

/// Snap-ins by id.
pub const SNAP_INS: RecordTable = TableDefinition::new("snap_ins");
/// Snap-ins that are not deleted, by scope.
pub const SNAP_IN_SCOPES: NameTable = TableDefinition::new("snap_in_scopes");
/// A number per source that grows whenever what its events lead to changes.
pub const ROUTE_GENERATIONS: TableDefinition<u128, u64> = TableDefinition::new("route_generations");
/// Event sources by id.
pub const SOURCES: RecordTable = TableDefinition::new("sources");
/// Event sources by the secret part of their trigger URL.
pub const SOURCE_TOKENS: NameTable = TableDefinition::new("source_tokens");
/// What became of the inputs of event sources, by id.
pub const SOURCE_COUNTS: RecordTable = TableDefinition::new("source_counts");

/// Keyrings by id; their secrets are in [`ENVELOPES`] under the same id.
pub const KEYRINGS: RecordTable = TableDefinition::new("keyrings");
/// Secrets by the id of their owner: sealed by `secrets`, opaque here.
pub const ENVELOPES: TableDefinition<u128, &[u8]> = TableDefinition::new("envelopes");
/// Keyrings of the developer of a package, by package id and name.
pub const DEVELOPER_KEYRINGS: TableDefinition<(u128, &str), u128> =
    TableDefinition::new("developer_keyrings");

/// Authorizations that somebody was sent to grant, by the SHA-256 of their `state`.
pub const AUTHORIZATIONS: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("authorizations");

/// People by id.
pub const USERS: RecordTable = TableDefinition::new("users");
/// People by name.
pub const USER_NAMES: NameTable = TableDefinition::new("user_names");
/// What a person has set for himself, by snap-in id and user id.
pub const USER_SETTINGS: TableDefinition<(u128, u128), &[u8]> =
    TableDefinition::new("user_settings");

/// Snap-kit bodies that are displayed, by snap-in id and place; the body is the record's tail.
pub const DISPLAYED: TableDefinition<(u128, &str), &[u8]> = TableDefinition::new("displayed");

/// Tags by id.
pub const TAGS: RecordTable = TableDefinition::new("tags");
/// Tags by name.
pub const TAG_NAMES: NameTable = TableDefinition::new("tag_names");

/// Accepted events by id; the payload is the record's tail.
pub const EVENTS: RecordTable = TableDefinition::new("events");
/// The event that was stored for a source and dedup key.
pub const DEDUP: TableDefinition<(u128, &str), u128> = TableDefinition::new("dedup");

/// When sources want to be woken, and their cursors, by source id.
pub const TIMERS: RecordTable = TableDefinition::new("timers");

/// How the recording of requests at sources stands, by source id.
pub const RECORDINGS: RecordTable = TableDefinition::new("recordings");
/// Recorded requests, by source id and their own id; the body is the record's tail.
pub const RECORDED: TableDefinition<(u128, u128), &[u8]> = TableDefinition::new("recorded");
/// Events that are to be published later, by source, time when they are due, and an id of their own;
/// the payload is the record's tail.
pub const SCHEDULED: TableDefinition<(u128, u64, u128), &[u8]> = TableDefinition::new("scheduled");
/// Where in [`SCHEDULED`] the pending event of a source and key is: when it is due, and its id.
pub const SCHEDULED_KEYS: TableDefinition<(u128, &str), (u64, u128)> =
    TableDefinition::new("scheduled_keys");
/// How many events are pending, by source; none for a source without.
pub const SCHEDULED_COUNTS: TableDefinition<u128, u64> = TableDefinition::new("scheduled_counts");

/// Runs that have not ended, by id.
pub const RUNS_OPEN: RecordTable = TableDefinition::new("runs_open");
/// Runs that have ended, by id; result and log are the record's tail.
pub const RUNS_DONE: RecordTable = TableDefinition::new("runs_done");
/// Ended runs that are dead letters.
pub const DEAD_LETTERS: TableDefinition<u128, ()> = TableDefinition::new("dead_letters");

/// Effects of lifecycle changes that have not been carried out yet.
pub const OUTBOX: RecordTable = TableDefinition::new("outbox");

/// Types of objects by their number.
pub const OBJECT_TYPES: TableDefinition<u32, &[u8]> = TableDefinition::new("object_types");
/// Objects by the number of their type and their id; their fields are the record's tail.
pub const OBJECTS: TableDefinition<(u32, u128), &[u8]> = TableDefinition::new("objects");
/// Where objects are by the values of their indexed fields: type, field, value and id as bytes that
/// sort like them (`objects/index.rs`).
pub const OBJECT_INDEX: TableDefinition<&[u8], ()> = TableDefinition::new("object_index");
/// How many objects there are, by the number of their type.
pub const OBJECT_COUNTS: TableDefinition<u32, u64> = TableDefinition::new("object_counts");
/// Numbers that only grow, by name: display ids, the revision of all types.
pub const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

/// Changes of objects by event type and id; the object before and after is the tail.
pub const CHANGES: TableDefinition<(&str, u128), &[u8]> = TableDefinition::new("changes");
/// The last change that each consumer is done with, by its name: for an event source, its id.
pub const CURSORS: TableDefinition<&str, u128> = TableDefinition::new("cursors");
/// Artifacts by id; their bytes are in [`ARTIFACT_PARTS`].
pub const ARTIFACTS: RecordTable = TableDefinition::new("artifacts");
/// Artifacts by what they belong to.
pub const ARTIFACT_PARENTS: TableDefinition<(&str, u128), ()> =
    TableDefinition::new("artifact_parents");
/// The chunks of an artifact's content, by SHA-256, in order.
pub const ARTIFACT_PARTS: TableDefinition<(u128, u32), &[u8; 32]> =
    TableDefinition::new("artifact_parts");
/// Contents that no artifact has any more, until their parts are gone too.
pub const ARTIFACT_LEFTOVERS: TableDefinition<u128, ()> =
    TableDefinition::new("artifact_leftovers");
/// Chunks of artifacts by SHA-256, at most 255 KiB each; equal ones are there once.
pub const CHUNKS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("chunks");
/// How many parts have a chunk, and its size. A chunk that none has is removed with the last.
pub const CHUNK_USES: TableDefinition<&[u8; 32], (u64, u32)> = TableDefinition::new("chunk_uses");
/// Bytes of all chunks, under `bytes`.
pub const CHUNK_TOTALS: TableDefinition<&str, u64> = TableDefinition::new("chunk_totals");

/// Views by id.
pub const VIEWS: RecordTable = TableDefinition::new("views");
/// Views by name.
pub const VIEW_NAMES: NameTable = TableDefinition::new("view_names");
/// Outgoing webhooks by id; their secrets are in [`ENVELOPES`] under the same id.
pub const WEBHOOKS: RecordTable = TableDefinition::new("webhooks");
/// What is to be sent, by webhook and id of the change; the body is the record's tail.
pub const DELIVERIES_OPEN: TableDefinition<(u128, u128), &[u8]> =
    TableDefinition::new("deliveries_open");
/// What was sent or failed, likewise.
pub const DELIVERIES_DONE: TableDefinition<(u128, u128), &[u8]> =
    TableDefinition::new("deliveries_done");
/// How many deliveries are queued, by webhook.
pub const DELIVERY_COUNTS: TableDefinition<u128, u64> = TableDefinition::new("delivery_counts");

/// Integrations by id; their connections are in [`ENVELOPES`] under the same id.
pub const INTEGRATIONS: RecordTable = TableDefinition::new("integrations");
/// Integrations by type and name.
pub const INTEGRATION_NAMES: TableDefinition<(&str, &str), u128> =
    TableDefinition::new("integration_names");
/// How messages get through integrations, by id.
pub const INTEGRATION_HEALTH: RecordTable = TableDefinition::new("integration_health");
/// What integrations serve: integration and prefix of scopes.
pub const SUPPLIES: TableDefinition<(u128, &str), &[u8]> = TableDefinition::new("supplies");
/// Subscriptions by id.
pub const SUBSCRIPTIONS: RecordTable = TableDefinition::new("subscriptions");
/// Occurrences by id; their own members are the record's tail.
pub const OCCURRENCES: RecordTable = TableDefinition::new("occurrences");
/// Occurrences by what they are about.
pub const OCCURRENCE_SUBJECTS: TableDefinition<(&str, u128), ()> =
    TableDefinition::new("occurrence_subjects");
/// Who was told of an occurrence and who was not, by its id.
pub const DECISIONS: RecordTable = TableDefinition::new("decisions");
/// Single values of telling by name: its cursor, what is wanted, the last id of a message.
pub const TELLING: TableDefinition<&str, &[u8]> = TableDefinition::new("telling");
/// Messages to be sent, by integration and id.
pub const TELLINGS_OPEN: TableDefinition<(u128, u128), &[u8]> =
    TableDefinition::new("tellings_open");
/// Messages that were sent or given up, likewise.
pub const TELLINGS_DONE: TableDefinition<(u128, u128), &[u8]> =
    TableDefinition::new("tellings_done");
/// How many messages wait and how many have ended, by integration.
pub const TELLING_COUNTS: TableDefinition<u128, (u64, u64)> =
    TableDefinition::new("telling_counts");
/// The message that gathers occurrences of a kind, by subscription and trigger.
pub const TELLING_GROUPS: TableDefinition<(u128, &str), u128> =
    TableDefinition::new("telling_groups");
/// Conversations at sinks, by integration and work.
pub const TELLING_THREADS: TableDefinition<(u128, &str), &[u8]> =
    TableDefinition::new("telling_threads");

/// API tokens by the SHA-256 of the token.
pub const TOKENS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("tokens");
/// When API tokens were used last, milliseconds of the Unix epoch, by the SHA-256 of the token.
pub const TOKEN_USES: TableDefinition<&[u8; 32], u64> = TableDefinition::new("token_uses");
/// Users, groups and service accounts of the host by id. A user has the id that the person of his name
/// has in [`USERS`].
pub const PRINCIPALS: RecordTable = TableDefinition::new("principals");
/// Who is in which group, by the ids of both.
pub const GROUP_MEMBERS: TableDefinition<(u128, u128), ()> = TableDefinition::new("group_members");
/// Since when who has which role: by the id of the integration (0 for the host), that of the
/// principal, and the number of the role; milliseconds of the Unix epoch.
pub const GRANTS: TableDefinition<(u128, u128, u8), u64> = TableDefinition::new("grants");

/// The audit log by its place, which counts from 1: a version byte, the SHA-256 that chains the row to
/// the one before, and its JSON.
pub const AUDIT: TableDefinition<u128, &[u8]> = TableDefinition::new("audit");
/// For rows of the audit log that say that a call began: the one that says how it ended.
pub const AUDIT_ENDS: TableDefinition<u128, u128> = TableDefinition::new("audit_ends");

/// Where the audit log begins when rows before were pruned, under 0.
pub const AUDIT_ANCHOR: TableDefinition<u8, &[u8]> = TableDefinition::new("audit_anchor");

/// Answers to calls with an `Idempotency-Key`, by a hash of caller, call and key.
pub const ANSWERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("answers");

/// Every table whose key is an id, to find the greatest id ever given out.
pub const BY_ID: [RecordTable; 18] = [
    PACKAGES,
    VERSIONS,
    SNAP_INS,
    SOURCES,
    EVENTS,
    RUNS_OPEN,
    RUNS_DONE,
    OUTBOX,
    KEYRINGS,
    USERS,
    TAGS,
    ARTIFACTS,
    VIEWS,
    PRINCIPALS,
    INTEGRATIONS,
    SUBSCRIPTIONS,
    OCCURRENCES,
    WEBHOOKS,
];
