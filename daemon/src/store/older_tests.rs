//! A database that the daemon wrote before functions had runtimes of their own: every row as it was
//! written then, byte for byte. What was added since has to be read as absent.

use redb::{Database, TableDefinition};
use serde_json::{Value, json};

use super::database::BackendLocation;
use super::faults::FaultyDisk;
use super::schema::{META, RUNS_DONE, RUNS_OPEN, TOKENS, VERSIONS};
use super::{FinishedAttempt, Settled, hash_of_token, testing};
use crate::lifecycle::run::RetryPolicy;
use crate::model::display::DisplayPlace;
use crate::model::id::{AutomationId, EventId, PackageId, RunId, SnapInId, VersionId};
use crate::model::manifest::Runtime;
use crate::model::run::{AttemptOutcome, RunOutput, RunState, RunTrigger};

const NOW: u64 = 1_800_000_000_000;

fn row(record: &Value) -> Vec<u8> {
    [b"\x01", record.to_string().as_bytes()].concat()
}

fn row_with_tail(record: &Value, tail: &str) -> Vec<u8> {
    let record = record.to_string();
    let length = u32::try_from(record.len()).expect("short").to_le_bytes();
    [b"\x01", &length[..], record.as_bytes(), tail.as_bytes()].concat()
}

fn version() -> Value {
    json!({
        "package": PackageId(1).to_string(),
        "number": 3,
        "content_hash": "ab",
        "manifest_text": "version: \"2\"\n",
        "manifest": {
            "version": "2",
            "keyrings": [{ "level": "organization", "name": "k", "types": ["snap_in_secret"], "optional": false }],
            "functions": [{ "name": "f" }, { "name": "g", "runtime": "auto" }],
            "operations": [{
                "name": "O", "slug": "o", "function": "f",
                "keyrings": [{ "level": "organization", "name": "own", "types": ["slack"], "optional": true }],
            }],
        },
        "code": null,
        "warnings": ["one"],
        "created_ms": 5,
        "created_by": "token:admin",
    })
}

fn run(state: &str, trigger: &Value, attempts: &Value) -> Value {
    json!({
        "snap_in": SnapInId(7).to_string(),
        "version": VersionId(2).to_string(),
        "function": "f",
        "trigger": trigger,
        "state": state,
        "created_ms": 10,
        "attempts": attempts,
        "forgiven": 0,
        "cause": { "hops": 1 },
    })
}

fn put(database: &Database, table: TableDefinition<'_, u128, &[u8]>, id: u128, row: &[u8]) {
    let txn = database.begin_write().expect("a transaction");
    txn.open_table(table).expect("a table").insert(id, row).expect("room");
    txn.commit().expect("room");
}

/// What the daemon of then left behind. It had no table of what is displayed.
fn written_then() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let database = Database::builder().create_with_backend(disk.clone()).expect("a new database");
    let txn = database.begin_write().expect("a transaction");
    txn.open_table(META).expect("a table").insert("schema_version", 1).expect("room");
    txn.commit().expect("room");
    put(&database, VERSIONS, 2, &row(&version()));
    let automation = json!({ "automation": {
        "automation": AutomationId(8).to_string(), "event": EventId(9).to_string(),
    } });
    let started = json!([{ "started_ms": 11 }]);
    put(&database, RUNS_OPEN, 20, &row_with_tail(&run("running", &automation, &started), ""));
    let error = json!({ "kind": "thrown", "message": "no", "retry": true });
    let failed = json!([{ "started_ms": 11, "ended_ms": 12, "outcome": { "failed": error } }]);
    let output = r#"{"result":{"a":1},"logs":[{"level":"info","at_ms":11,"message":"hello"}]}"#;
    put(&database, RUNS_DONE, 21, &row_with_tail(&run("failed", &json!("call"), &failed), output));
    let done = json!([{ "started_ms": 11, "ended_ms": 12, "outcome": "succeeded" }]);
    let hook = json!({ "hook": { "hook": "activate" } });
    put(&database, RUNS_DONE, 22, &row_with_tail(&run("succeeded", &hook, &done), ""));
    let txn = database.begin_write().expect("a transaction");
    let mut tokens = txn.open_table(TOKENS).expect("a table");
    for (token, record) in [
        ("first", json!({ "name": "admin", "created_ms": 5 })),
        (
            "second",
            json!({ "name": "ci", "created_ms": 6, "scope": "prod", "created_by": "uid:0" }),
        ),
    ] {
        tokens.insert(&hash_of_token(token), row(&record).as_slice()).expect("room");
    }
    drop(tokens);
    txn.commit().expect("room");
    disk
}

#[tokio::test]
async fn a_database_of_before_opens_and_is_read() {
    let disk = written_then();
    let store = testing::open(Box::new(BackendLocation(move || disk.clone())), NOW);
    let version = store.read(|it| it.version(VersionId(2))).expect("readable").expect("there");
    assert_eq!((version.number, version.created_by.as_str()), (3, "token:admin"));
    assert_eq!((version.files, version.testing_url), (None, None));
    assert!(version.runtimes.is_empty());
    assert_eq!(version.manifest.functions[1].runtime, Runtime::Auto);
    // It was made when operations' keyrings were not the snap-in's yet, and stays what it was.
    assert_eq!(version.manifest.keyrings.len(), 1);
    assert!(version.manifest.keyrings[0].operations.is_empty());

    let (head, output) = store.read(|it| it.run(RunId(21))).expect("readable").expect("there");
    assert_eq!((head.state, &head.trigger), (RunState::Failed, &RunTrigger::Call));
    let Some(AttemptOutcome::Failed(error)) = &head.attempts[0].outcome else { panic!("{head:?}") };
    assert!(error.retry && !error.refresh);
    assert_eq!(output.result.expect("one").get(), r#"{"a":1}"#);
    assert_eq!((output.logs.len(), output.requests.len()), (1, 0));
    let (head, output) = store.read(|it| it.run(RunId(22))).expect("readable").expect("there");
    assert_eq!(head.trigger, RunTrigger::Hook { hook: "activate".to_owned() });
    assert!(output.result.is_none() && output.logs.is_empty());

    // Tokens are the host's own; what they may do is said in `access/`.
    let access = store.read(|it| it.access()).expect("readable");
    let token = |text| {
        let found = access.tokens.iter().find(|it| it.0 == hash_of_token(text));
        found.expect("there").1.clone()
    };
    let (first, second) = (token("first"), token("second"));
    assert_eq!((first.principal, first.roles, first.expires_ms), (None, None, None));
    assert_eq!(second.scope, "prod".parse().ok());

    // The one that was cut off is found, and goes on.
    let open = store.read(|it| it.open_runs()).expect("readable");
    assert_eq!(open.iter().map(|it| it.id).collect::<Vec<_>>(), [RunId(20)]);
    assert_eq!(open[0].head.cause.hops, 1);
    let end = FinishedAttempt {
        run: RunId(20),
        outcome: AttemptOutcome::Interrupted { reason: "the daemon stopped".to_owned() },
        output: RunOutput::default(),
        policy: RetryPolicy { max_retries: 0, min_interval_ms: 0 },
    };
    let settled = store.write(move |it| it.finish_attempt(&end)).await.expect("written");
    assert!(matches!(settled, Settled::Again { .. }), "{settled:?}");
    // What was added is there to be used.
    let page = DisplayPlace::ConfigurationPage { user: None };
    assert!(store.read(|it| it.displayed(SnapInId(7), &page)).expect("readable").is_none());
}
