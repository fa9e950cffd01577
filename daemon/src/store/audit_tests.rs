//! What the audit log promises: a row with the change or neither, and a chain that shows where it was
//! tampered with.

use redb::{ReadableDatabase, ReadableTable};
use serde_json::Map;

use super::database::BackendLocation;
use super::faults::FaultyDisk;
use super::*;
use crate::model::audit::{AuditEvent, AuditFilter, AuditRow, AuditedCall, RefusedCalls};

const DAY: u64 = 24 * 60 * 60 * 1000;
const NOW: u64 = 1_800_000_000_000;

fn call(name: &str) -> AuditedCall {
    AuditedCall {
        call: name.to_owned(),
        who: "user:ada".to_owned(),
        principal: None,
        token: None,
        run: None,
        peer: "10.0.0.1".to_owned(),
        target: Some("it".to_owned()),
        also: Vec::new(),
        request: Map::new(),
    }
}

fn open(disk: &FaultyDisk) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), NOW)
}

fn rows(store: &Store) -> Vec<AuditRow> {
    let all = store.read(|it| it.export_audit(1, usize::MAX)).expect("readable");
    all.iter().map(|it| serde_json::from_str(&it.json).expect("a row")).collect()
}

async fn done(store: &Store, name: &str, begun: Option<u64>) -> u64 {
    let call = call(name);
    let event =
        AuditEvent::Done { call, begun, status: 200, code: None, before: None, after: None };
    store.write(move |it| it.append_audit(&event)).await.expect("written")
}

#[tokio::test]
async fn the_first_write_of_a_call_takes_its_row_along() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let ticket = AuditTicket::new(call("tags.make"));
    let work = async {
        store.write(|it| it.user_by_name_or_new("ada")).await.expect("written");
        store.write(|it| it.user_by_name_or_new("bob")).await.expect("written");
    };
    audited(ticket.clone(), work).await;
    assert_eq!(ticket.begun(), Some(1));
    // What nobody asked for has none.
    store.write(|it| it.user_by_name_or_new("eve")).await.expect("written");
    assert_eq!(rows(&store).len(), 1);
    // After a power cut there are both.
    let after = open(&disk.after_power_cut());
    assert_eq!(rows(&after), rows(&store));
    assert!(after.read(|it| it.user_by_name("ada")).expect("readable").is_some());
}

#[tokio::test]
async fn a_write_that_fails_leaves_no_row_and_the_next_one_has_it() {
    let store = open(&FaultyDisk::new());
    let ticket = AuditTicket::new(call("tags.make"));
    let work = async {
        let failed = store.write(|it| {
            it.user_by_name_or_new("ada")?;
            Err::<(), _>(StoreError::corrupt("it fails"))
        });
        failed.await.expect_err("it fails");
        assert!(rows(&store).is_empty());
        store.write(|it| it.user_by_name_or_new("bob")).await.expect("written");
    };
    audited(ticket.clone(), work).await;
    assert_eq!((ticket.begun(), rows(&store).len()), (Some(1), 1));
}

#[tokio::test]
async fn lists_show_each_call_once() {
    let store = open(&FaultyDisk::new());
    let begin = |name: &'static str| {
        let event = AuditEvent::Begun { call: call(name) };
        store.write(move |it| it.append_audit(&event))
    };
    let first = begin("snap-ins.activate").await.expect("written");
    begin("snap-ins.delete").await.expect("written");
    done(&store, "snap-ins.activate", Some(first)).await;
    let refused = RefusedCalls {
        call: "keys.rotate".to_owned(),
        who: String::new(),
        peer: "10.0.0.9".to_owned(),
        status: 401,
        times: 7,
        first_ms: NOW,
        last_ms: NOW,
    };
    let event = AuditEvent::Refused(refused);
    store.write(move |it| it.append_audit(&event)).await.expect("written");
    let list = |filter: AuditFilter| {
        let page = PageRequest { from: None, limit: 10, newest_first: true };
        let page = store.read(|it| it.list_audit(&filter, page)).expect("readable");
        page.rows.iter().map(|it| it.seq).collect::<Vec<_>>()
    };
    assert_eq!(list(AuditFilter::default()), [4, 3, 2], "the one that began has ended");
    let one = |call: &str| AuditFilter { call: Some(call.to_owned()), ..AuditFilter::default() };
    assert_eq!(list(one("snap-ins.")), [3, 2]);
    assert_eq!(list(one("snap-ins.delete")), [2]);
    assert_eq!(list(AuditFilter { refused: Some(true), ..AuditFilter::default() }), [4]);
    assert!(list(AuditFilter { until_ms: Some(NOW), ..AuditFilter::default() }).is_empty());
}

#[tokio::test]
async fn a_chain_says_where_it_was_broken() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    for _ in 0..10 {
        done(&store, "snap-ins.update", None).await;
    }
    let verify = |store: &Store, from| store.read(|it| it.verify_audit(from, 4)).expect("readable");
    let mut from = 1;
    let mut checked = 0;
    loop {
        let found = verify(&store, from);
        assert_eq!(found.broken, None);
        checked += found.checked;
        from = found.last.0 + 1;
        if !found.has_more {
            break;
        }
    }
    assert_eq!(checked, 10);
    drop(store);

    type Tamper = fn(&mut redb::Table<'_, u128, &'static [u8]>);
    let cases: [(Tamper, u64, &str); 4] = [
        (
            |table| {
                let row = table.get(3).expect("readable").expect("there").value().to_vec();
                let text = String::from_utf8_lossy(&row[33..]).replace("ada", "eve");
                let forged = [&row[..33], text.as_bytes()].concat();
                table.insert(3, forged.as_slice()).expect("room");
            },
            3,
            "does not go with its hash",
        ),
        (
            |table| {
                // Somebody who also makes the hash anew breaks the next one.
                let row = table.get(3).expect("readable").expect("there").value().to_vec();
                let before = table.get(2).expect("readable").expect("there").value().to_vec();
                let before: [u8; 32] = before[1..33].try_into().expect("a hash");
                let text = String::from_utf8_lossy(&row[33..]).replace("ada", "eve");
                let hash = audit_hash(&before, text.as_bytes());
                let forged = [&[1][..], &hash, text.as_bytes()].concat();
                table.insert(3, forged.as_slice()).expect("room");
            },
            4,
            "does not go with its hash",
        ),
        (
            |table| {
                table.remove(2).expect("there");
            },
            2,
            "missing",
        ),
        (
            |table| {
                table.insert(1, &b"\x01short"[..]).expect("room");
            },
            1,
            "cannot be read",
        ),
    ];
    for (tamper, place, what) in cases {
        let copy = disk.after_power_cut();
        let database =
            redb::Database::builder().create_with_backend(copy.clone()).expect("it opens");
        let txn = database.begin_write().expect("a transaction");
        tamper(&mut txn.open_table(schema::AUDIT).expect("a table"));
        txn.commit().expect("room");
        database.begin_read().expect("readable");
        drop(database);
        let broken = open(&copy).read(|it| it.verify_audit(1, 100)).expect("readable").broken;
        let broken = broken.expect("it was tampered with");
        assert_eq!(broken.seq, place, "{broken:?}");
        assert!(broken.what.contains(what), "{broken:?}");
    }
}

/// A log with a row a day.
async fn a_row_a_day(disk: &FaultyDisk, days: u64) {
    for day in 0..days {
        let disk = disk.clone();
        let store = testing::open(Box::new(BackendLocation(move || disk.clone())), NOW + day * DAY);
        done(&store, "snap-ins.update", None).await;
    }
}

fn open_at(disk: &FaultyDisk, now_ms: u64) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), now_ms)
}

#[tokio::test]
async fn what_is_left_after_pruning_is_a_chain_that_says_where_it_begins() {
    let disk = FaultyDisk::new();
    a_row_a_day(&disk, 10).await;
    let store = open_at(&disk, NOW + 10 * DAY);
    let fourth = store.read(|it| it.audit_hash_of(4)).expect("readable").expect("there");
    let prune = |most| store.write(move |it| it.prune_audit(NOW + 4 * DAY, most));
    // In steps, between which it is a chain too.
    assert_eq!(prune(3).await.expect("written"), AuditPruned::More);
    let verify = |from| store.read(|it| it.verify_audit(from, 100)).expect("readable");
    assert_eq!((verify(1).broken, verify(1).checked), (None, 7));
    assert_eq!(prune(3).await.expect("written"), AuditPruned::All);
    let anchor = store.read(|it| it.audit_anchor()).expect("readable").expect("there");
    assert_eq!((anchor.seq, anchor.hash, anchor.at_ms), (4, fourth, NOW + 3 * DAY));
    // Six rows are left, and the one that says that four were pruned.
    let found = verify(1);
    assert_eq!((found.broken, found.checked, found.last.0), (None, 7, 11));
    assert_eq!(verify(3).checked, 7, "a place that is gone: from where it begins");
    assert_eq!(verify(7).checked, 5);
    let said = rows(&store).pop().expect("a row").event;
    let AuditEvent::Done { call, after: Some(after), .. } = said else { panic!("{said:?}") };
    assert_eq!(
        (call.call.as_str(), &after["rows"], &after["last_seq"]),
        ("audit.prune", &4.into(), &4.into())
    );
    // Nothing to do is no row.
    assert_eq!(prune(3).await.expect("written"), AuditPruned::All);
    assert_eq!(rows(&store).len(), 7);
    // However old it is, the newest row stays, and the next one is chained to it.
    assert_eq!(
        store.write(|it| it.prune_audit(u64::MAX, 100)).await.expect("written"),
        AuditPruned::All
    );
    assert_eq!(rows(&store).iter().map(|it| it.seq).collect::<Vec<_>>(), [11, 12]);
    assert_eq!((verify(1).broken, verify(1).checked), (None, 2));
}

#[tokio::test]
async fn pruning_hides_nothing_that_was_tampered_with() {
    let disk = FaultyDisk::new();
    a_row_a_day(&disk, 10).await;
    let store = open_at(&disk, NOW + 10 * DAY);
    store.write(|it| it.prune_audit(NOW + 4 * DAY, 100)).await.expect("written");
    drop(store);
    let change = |place: u128, with: Option<&str>| {
        let copy = disk.after_power_cut();
        let database =
            redb::Database::builder().create_with_backend(copy.clone()).expect("it opens");
        let txn = database.begin_write().expect("a transaction");
        {
            let mut table = txn.open_table(schema::AUDIT).expect("a table");
            let row = table.remove(place).expect("readable").expect("there").value().to_vec();
            if let Some(name) = with {
                let text = String::from_utf8_lossy(&row[33..]).replace("ada", name);
                let forged = [&row[..33], text.as_bytes()].concat();
                table.insert(place, forged.as_slice()).expect("room");
            }
        }
        txn.commit().expect("room");
        drop(database);
        open_at(&copy, NOW + 20 * DAY)
    };
    for (place, with) in [(5, None), (5, Some("eve")), (7, None), (7, Some("eve"))] {
        let store = change(place, with);
        let broken = store.read(|it| it.verify_audit(1, 100)).expect("readable").broken;
        let place = u64::try_from(place).expect("small");
        assert_eq!(broken.map(|it| it.seq), Some(place), "{with:?}");
        // It is evidence: it stays where it is, and so does what follows.
        let pruned = store.write(|it| it.prune_audit(u64::MAX, 100)).await.expect("written");
        assert_eq!(pruned, AuditPruned::Broken(place));
        let broken = store.read(|it| it.verify_audit(1, 100)).expect("readable").broken;
        assert_eq!(broken.map(|it| it.seq), Some(place), "{with:?}");
    }
}
