//! What keys of calls promise: a key with the change or neither, also after a power cut.

use serde_json::{Map, json};

use super::database::BackendLocation;
use super::faults::FaultyDisk;
use super::*;
use crate::model::audit::{AuditEvent, AuditedCall};
use crate::model::id::PackageId;

const NOW: u64 = 1_800_000_000_000;
const CALL: [u8; 32] = [7; 32];

fn open(disk: &FaultyDisk) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), NOW)
}

fn ticket(is_ahead: bool) -> Arc<KeyTicket> {
    KeyTicket::new(CALL, "body".to_owned(), "all".to_owned(), is_ahead)
}

fn progress(store: &Store) -> Option<CallProgress> {
    store.read(|it| it.answer(&CALL, NOW)).expect("readable").map(|it| it.progress)
}

fn call() -> AuditedCall {
    AuditedCall {
        call: "packages.create".to_owned(),
        who: "user:ada".to_owned(),
        principal: None,
        token: None,
        run: None,
        peer: "10.0.0.1".to_owned(),
        target: None,
        also: Vec::new(),
        request: Map::new(),
    }
}

fn package(store: &Store, slug: &'static str) -> Answer<Result<PackageId, PackageId>> {
    let record = PackageRecord {
        slug: slug.to_owned(),
        description: String::new(),
        created_ms: NOW,
        created_by: String::new(),
    };
    store.write(move |it| it.create_package(&record))
}

#[tokio::test]
async fn the_change_of_a_call_takes_its_key_along() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let (key, audit) = (ticket(false), AuditTicket::new(call()));
    let work = async {
        package(&store, "a").await.expect("written").expect("a new one");
        // Killed here.
        let after = open(&disk.after_power_cut());
        assert_eq!(progress(&after), Some(CallProgress::Done { audit: Some(1) }));
    };
    keyed(key.clone(), audited(audit, work)).await;
    assert!(key.is_stored());
    let answered = key.answered("{}".to_owned(), NOW);
    store.write(move |it| it.remember_answer(&CALL, &answered)).await.expect("written");
    assert_eq!(progress(&store), Some(CallProgress::Answered("{}".to_owned())));
    store.write(|it| it.forget_answer(&CALL)).await.expect("written");
    assert_eq!(progress(&store), None);
}

#[tokio::test]
async fn what_changes_nothing_takes_no_key_along() {
    let store = open(&FaultyDisk::new());
    package(&store, "taken").await.expect("written").expect("a new one");
    let (key, audit) = (ticket(false), AuditTicket::new(call()));
    let work = async {
        package(&store, "taken").await.expect("written").expect_err("it is taken");
        assert_eq!((progress(&store), key.is_stored(), audit.begun()), (None, false, None));
        let failed = store.write(|_| Err::<(), _>(StoreError::corrupt("it fails")));
        failed.await.expect_err("it fails");
        assert_eq!(progress(&store), None);
        // How a call ended is no part of it.
        let (call, begun) = (call(), None);
        let ended =
            AuditEvent::Done { call, begun, status: 200, code: None, before: None, after: None };
        store.write(move |it| it.append_audit(&ended)).await.expect("written");
        assert_eq!(progress(&store), None);
        package(&store, "free").await.expect("written").expect("a new one");
    };
    keyed(key.clone(), audited(audit.clone(), work)).await;
    assert_eq!(progress(&store), Some(CallProgress::Done { audit: audit.begun() }));
}

#[tokio::test]
async fn what_another_task_does_is_stored_before_it_begins() {
    let store = open(&FaultyDisk::new());
    let event = AuditEvent::Begun { call: call() };
    let work = async { store.write(move |it| it.append_audit(&event)).await.expect("written") };
    let row = keyed(ticket(true), work).await;
    assert_eq!(progress(&store), Some(CallProgress::Begun { audit: Some(row) }));
}

#[tokio::test]
async fn an_answer_of_an_older_daemon_is_read() {
    let store = open(&FaultyDisk::new());
    let old = json!({ "body_hash": "body", "answered_ms": NOW, "answer": "{}" }).to_string();
    let row = [b"\x01", old.as_bytes()].concat();
    let write = store.write(move |it| {
        it.answers()?.insert(&CALL, row.as_slice())?;
        Ok(())
    });
    write.await.expect("written");
    assert_eq!(progress(&store), Some(CallProgress::Answered("{}".to_owned())));
}
