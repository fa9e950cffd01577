//! Tests of keyrings and authorizations as they are stored: a record, its envelope and its binding
//! are there together or not at all.

use proptest::prelude::*;

use super::*;
use crate::model::keyring::ExternalOrganization;
use crate::model::manifest::Manifest;
use crate::store::testing::{in_memory, install};
use crate::store::{AuthorizationRecord, Store};

fn record(owner: KeyringOwner) -> KeyringRecord {
    KeyringRecord {
        owner,
        type_id: "snap_in_secret".to_owned(),
        state: KeyringState::Ready,
        subdomain: Some("acme".to_owned()),
        organization: Some(ExternalOrganization { id: "7".to_owned(), name: None }),
        expires_ms: None,
        refreshable: false,
        scopes: Vec::new(),
        verified: true,
        fields: vec!["token".to_owned()],
        generation: 0,
        created_ms: 0,
        changed_ms: 0,
        set_ms: 0,
        changed_by: "test".to_owned(),
    }
}

fn own(snap_in: SnapInId, name: &str) -> KeyringOwner {
    KeyringOwner::SnapIn { snap_in, name: name.to_owned() }
}

fn seal(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

async fn set(store: &Store, owner: KeyringOwner) -> Option<KeyringId> {
    let new = record(owner);
    let setting = store.write(move |tables| tables.set_keyring(&new, None, &seal));
    match setting.await.expect("written") {
        KeyringSetting::Set(id, _) => Some(id),
        KeyringSetting::NoSuchOwner | KeyringSetting::NotNow(_) | KeyringSetting::OtherVersion => {
            None
        }
    }
}

/// What is stored belongs together: every envelope to a keyring, every keyring to a name.
fn assert_whole(store: &Store, expected: usize) {
    let all = PageRequest { from: None, limit: usize::MAX, newest_first: false };
    let (rows, envelopes) = store
        .read(|tables| Ok((tables.list_keyrings(all, |_| true)?.rows, tables.envelopes(0, 1000)?)))
        .expect("read");
    assert_eq!((rows.len(), envelopes.len()), (expected, expected));
    for ((id, record), (owner, envelope)) in rows.into_iter().zip(envelopes) {
        assert_eq!((id.0, seal(id.0)), (owner, envelope));
        let bound = store.read(|tables| tables.keyring_of(&record.owner)).expect("read");
        assert_eq!(bound, Some(id));
    }
}

#[tokio::test]
async fn a_keyring_keeps_its_id_and_goes_with_its_owner() {
    let store = in_memory(1_000);
    let snap_in = install(&store, Manifest::default(), "none", 0, 0).await;
    let user = store.write(|tables| tables.user_by_name_or_new("anna")).await.expect("a user");
    let package = store.read(|tables| tables.snap_in(snap_in)).expect("read").expect("it").package;
    let revision = || {
        let found = store.read(|tables| tables.snap_in(snap_in)).expect("read");
        found.expect("it is there").revision
    };
    let first = set(&store, own(snap_in, "a")).await.expect("set");
    assert_eq!(revision(), 1);
    assert_eq!(set(&store, own(snap_in, "a")).await, Some(first));
    let of_user = KeyringOwner::User { snap_in, user, name: "a".to_owned() };
    set(&store, of_user.clone()).await.expect("set");
    assert_eq!(revision(), 2, "a person's own is not the snap-in's configuration");
    let of_developer = KeyringOwner::Developer { package, name: "a".to_owned() };
    set(&store, of_developer.clone()).await.expect("set");
    assert_whole(&store, 3);

    let removed = store.write(move |tables| tables.remove_keyring(&of_user)).await;
    assert!(matches!(removed, Ok(KeyringRemoval::Removed(_))));
    assert_whole(&store, 2);
    let nobody = KeyringOwner::Developer { package: PackageId(7), name: "a".to_owned() };
    assert_eq!(set(&store, nobody).await, None);
    let again = own(snap_in, "b");
    let other = record(again.clone());
    let version = Some(VersionId(7));
    let setting = store.write(move |tables| tables.set_keyring(&other, version, &seal)).await;
    assert!(matches!(setting, Ok(KeyringSetting::OtherVersion)));
    set(&store, KeyringOwner::User { snap_in, user, name: "b".to_owned() }).await.expect("set");
    begin(&store, again, "state", 10_000).await;

    let event = crate::lifecycle::snap_in::Event::Delete { force: false };
    let nothing = serde_json::Map::new();
    let deleted = store.write(move |tables| tables.step_snap_in(snap_in, &event, None, &nothing));
    deleted.await.expect("written");
    assert_whole(&store, 1);
    assert_eq!(set(&store, own(snap_in, "a")).await, None);
    let left = store.read(|tables| tables.keyring_of(&of_developer)).expect("read");
    assert!(left.is_some(), "the developer's is the package's");
}

#[tokio::test]
async fn what_was_made_of_an_older_secret_is_not_stored() {
    let store = in_memory(1_000);
    let snap_in = install(&store, Manifest::default(), "none", 0, 0).await;
    let id = set(&store, own(snap_in, "a")).await.expect("set");
    let old = store.read(|tables| tables.keyring(id)).expect("read").expect("it is there");
    let renew = |record: &KeyringRecord| {
        let new = record.clone();
        store.write(move |tables| tables.renew_keyring(id, &new, &seal))
    };
    let renewed = renew(&old).await.expect("written").expect("it is the same secret");
    assert_eq!(renewed.generation, old.generation + 1);
    assert!(renew(&old).await.expect("written").is_none(), "somebody renewed it");
    let broken = KeyringState::Broken { reason: "gone".to_owned() };
    let generation = old.generation;
    let note = |generation| {
        let broken = broken.clone();
        store.write(move |tables| tables.note_keyring(id, generation, Some(&broken), false))
    };
    assert!(note(generation).await.expect("written").is_none());
    let noted = note(renewed.generation).await.expect("written").expect("it is this one");
    assert_eq!((noted.state, noted.verified), (broken.clone(), false));
    let generation = noted.generation;
    let note = store.write(move |tables| tables.note_keyring(id, generation, None, true));
    let noted = note.await.expect("written").expect("it is this one");
    assert_eq!((noted.state, noted.verified), (broken.clone(), true), "it stays broken");
    set(&store, own(snap_in, "a")).await.expect("set");
    assert!(renew(&renewed).await.expect("written").is_none(), "somebody set it anew");
}

async fn begin(store: &Store, owner: KeyringOwner, state: &'static str, expires_ms: u64) {
    let new = AuthorizationRecord {
        owner,
        version: VersionId(1),
        is_for_upgrade: false,
        type_id: "t".to_owned(),
        subdomain: None,
        organization: None,
        scopes: vec!["s".to_owned()],
        redirect_uri: "http://x/keyrings.authorize".to_owned(),
        envelope: KeyringId(0),
        expires_ms,
        begun_by: "test".to_owned(),
    };
    let begun = store.write(move |tables| tables.begin_authorization(state, &new, &seal));
    begun.await.expect("written");
}

async fn take(store: &Store, state: &'static str) -> Option<AuthorizationRecord> {
    let taken = store.write(move |tables| tables.take_authorization(state));
    taken.await.expect("written").map(|it| {
        assert_eq!(it.sealed, seal(it.record.envelope.0));
        it.record
    })
}

#[tokio::test]
async fn a_state_is_good_once_and_for_a_while() {
    let store = in_memory(1_000);
    let owner = own(SnapInId(1), "a");
    begin(&store, owner.clone(), "one", 1_001).await;
    let awaited = |at| store.read(|tables| tables.authorization_of(&owner, at)).expect("read");
    assert!(awaited(1_000).is_some() && awaited(1_001).is_none());
    assert_eq!(take(&store, "other").await, None);
    assert_eq!(take(&store, "one").await.expect("it is good").owner, owner);
    assert_eq!(take(&store, "one").await, None, "it was used");

    begin(&store, owner.clone(), "late", 1_000).await;
    assert_eq!(take(&store, "late").await, None, "it is over");
    begin(&store, owner.clone(), "first", 9_000).await;
    begin(&store, own(SnapInId(1), "b"), "of another", 9_000).await;
    begin(&store, owner.clone(), "second", 9_000).await;
    assert_eq!(take(&store, "first").await, None, "another was begun for the same keyring");
    assert!(take(&store, "second").await.is_some() && take(&store, "of another").await.is_some());
    let left = store.read(|tables| tables.envelopes(0, 10)).expect("read");
    assert!(left.is_empty(), "no sealed half is left behind");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is set, renewed and removed in whatever order.
    #[test]
    fn parts_stay_together(steps in proptest::collection::vec((0u8..4, 0usize..3, 0u8..3), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let store = in_memory(1_000);
            let snap_in = install(&store, Manifest::default(), "none", 0, 0).await;
            let package = store.read(|it| it.snap_in(snap_in)).expect("read").expect("it").package;
            let mut present = std::collections::BTreeSet::new();
            for (step, name, level) in steps {
                let text = ["a", "b", "c"][name].to_owned();
                let owner = match level {
                    0 => KeyringOwner::SnapIn { snap_in, name: text },
                    1 => KeyringOwner::User { snap_in, user: UserId(9), name: text },
                    _ => KeyringOwner::Developer { package, name: text },
                };
                let id = store.read(|tables| tables.keyring_of(&owner)).expect("read");
                match (step, id) {
                    (0 | 1, _) => {
                        set(&store, owner).await.expect("set");
                        present.insert((name, level));
                    }
                    (2, Some(id)) => {
                        let found = store.read(|tables| tables.keyring(id)).expect("read");
                        let found = found.expect("it is bound");
                        let write =
                            store.write(move |tables| tables.renew_keyring(id, &found, &seal));
                        assert!(write.await.expect("written").is_some());
                    }
                    (2, None) => {}
                    _ => {
                        let write = store.write(move |tables| tables.remove_keyring(&owner));
                        let removed = matches!(write.await, Ok(KeyringRemoval::Removed(_)));
                        assert_eq!(removed, present.remove(&(name, level)));
                    }
                }
                assert_whole(&store, present.len());
            }
        });
    }
}
