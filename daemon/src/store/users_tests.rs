//! People and their sources: over enabling and disabling, other versions, and the end of a snap-in.

use serde_json::{Map, Value, json};

use super::*;
use crate::lifecycle::snap_in::Event;
use crate::model::id::{SnapInId, SourceId, UserId, VersionId};
use crate::model::keyring::{KeyringOwner, KeyringState};
use crate::model::manifest::Manifest;

const NOW: u64 = 1_800_000_000_000;

/// A manifest with these sources: level, name, type.
fn manifest(sources: &[(&str, &str, &str)]) -> Manifest {
    let sources: Vec<Value> = sources
        .iter()
        .map(
            |(level, name, kind)| json!({"level": level, "name": name, "type": kind, "config": {}}),
        )
        .collect();
    let tags = json!([{"name": "seen", "description": "Was seen."}]);
    let all = json!({"version": "2", "event_sources": sources, "tags": tags});
    serde_json::from_value(all).expect("a manifest")
}

const BOTH: [(&str, &str, &str); 3] =
    [("organization", "s", "t"), ("user", "mine", "t"), ("user", "other", "t")];

struct Fixture {
    store: Store,
    snap_in: SnapInId,
}

async fn fixture() -> Fixture {
    let store = testing::in_memory(NOW);
    let snap_in = testing::install(&store, manifest(&BOTH), "t", 1, 0).await;
    Fixture { store, snap_in }
}

impl Fixture {
    async fn user(&self, name: &str) -> UserId {
        let name = name.to_owned();
        self.store.write(move |it| it.user_by_name_or_new(&name)).await.expect("written")
    }

    async fn change(&self, user: UserId, enabled: Option<bool>) -> UserOutcome {
        let (id, change) = (self.snap_in, UserChange { user, enabled, inputs: None });
        self.store.write(move |it| it.change_user(id, &change)).await.expect("written")
    }

    async fn enable(&self, user: UserId) -> UserSettingsRecord {
        match self.change(user, Some(true)).await {
            UserOutcome::Changed { settings, .. } => settings,
            other => panic!("{other:?}"),
        }
    }

    /// Moves it to another version, with these sources.
    async fn move_to(&self, sources: &[(&str, &str, &str)], number: u8) -> VersionId {
        let (id, manifest) = (self.snap_in, manifest(sources));
        let record = self.record();
        let made = self.store.write(move |tables| {
            let new = NewVersion {
                package: record.package,
                content_hash: format!("{number:02}"),
                manifest_text: String::new(),
                manifest: manifest.clone(),
                code: None,
                files: None,
                testing_url: None,
                runtimes: std::collections::BTreeMap::new(),
                warnings: Vec::new(),
                created_by: "test".to_owned(),
            };
            let VersionCreation::Created(version) = tables.create_version(&new)? else {
                panic!("it is new")
            };
            let configuration = Configuration {
                revision: record.revision,
                inputs: Map::new(),
                version: Some(version),
                changed_by: "test".to_owned(),
            };
            let moved = tables.configure_snap_in(id, &configuration)?;
            assert!(matches!(moved, Transition::Moved { .. }), "{moved:?}");
            Ok(version)
        });
        made.await.expect("written")
    }

    fn record(&self) -> SnapInRecord {
        self.store.read(|it| it.snap_in(self.snap_in)).expect("read").expect("there")
    }

    fn settings(&self, user: UserId) -> UserSettingsRecord {
        let read = self.store.read(|it| it.user_settings(self.snap_in, user));
        read.expect("read").expect("there")
    }

    fn token(&self, source: SourceId) -> String {
        self.store.read(|it| it.source(source)).expect("read").expect("there").token
    }

    /// Names of the sources that are in the snap-in's record, with whose they are.
    fn open(&self) -> Vec<(String, Option<UserId>)> {
        let named = self.record().sources.into_iter().map(|id| {
            let it = self.store.read(|it| it.source(id)).expect("read").expect("there");
            (it.name, it.user)
        });
        named.collect()
    }
}

#[tokio::test]
async fn people_are_found_by_name_or_made() {
    let it = fixture().await;
    let ada = it.user("ada").await;
    assert_eq!(it.user("ada").await, ada);
    let bob = it.user("bob").await;
    assert_ne!(bob, ada);
    let page = PageRequest { from: None, limit: 10, newest_first: false };
    let all = it.store.read(|tables| tables.list_users(page)).expect("read").rows;
    let names: Vec<&str> = all.iter().map(|(_, it)| it.name.as_str()).collect();
    assert_eq!(names, ["ada", "bob"]);
    assert_eq!(it.store.read(|tables| tables.user_by_name("bob")).expect("read"), Some(bob));
    assert_eq!(it.store.read(|tables| tables.user_by_name("eve")).expect("read"), None);
}

#[tokio::test]
async fn sources_open_for_those_who_want_them_and_keep_their_urls() {
    let it = fixture().await;
    let (ada, bob) = (it.user("ada").await, it.user("bob").await);
    let first = it.enable(ada).await;
    it.enable(bob).await;
    let s = |name: &str, user: Option<UserId>| (name.to_owned(), user);
    let whole = [
        s("s", None),
        s("mine", Some(ada)),
        s("other", Some(ada)),
        s("mine", Some(bob)),
        s("other", Some(bob)),
    ];
    assert_eq!(it.open(), whole);
    assert_eq!(it.enable(ada).await, first, "asking again changes nothing");
    assert_eq!(it.open().len(), whole.len());

    let mine = first.sources["mine"];
    let token = it.token(mine);
    let generation = it.store.read(|tables| tables.route_generation(mine)).expect("read");
    let UserOutcome::Changed { settings, generations, .. } = it.change(ada, Some(false)).await
    else {
        panic!("it can be disabled")
    };
    assert!(!settings.enabled && settings.sources == first.sources);
    assert!(generations.iter().any(|(source, now)| *source == mine && *now > generation));
    assert_eq!(it.open(), [s("s", None), s("mine", Some(bob)), s("other", Some(bob))]);

    assert_eq!(it.enable(ada).await.sources, first.sources);
    assert_eq!(it.token(mine), token, "the URL is the same again");
}

#[tokio::test]
async fn another_version_brings_and_takes_sources_of_everybody_who_has_enabled_it() {
    let it = fixture().await;
    let (ada, bob) = (it.user("ada").await, it.user("bob").await);
    let first = it.enable(ada).await;
    it.enable(bob).await;
    it.change(bob, Some(false)).await;
    let bobs = it.settings(bob);

    it.move_to(&[("organization", "s", "t"), ("user", "mine", "u"), ("user", "new", "t")], 1).await;
    let second = it.settings(ada);
    assert_ne!(second.sources["mine"], first.sources["mine"], "of another type: another source");
    assert_eq!(second.sources["other"], first.sources["other"], "kept, though not declared");
    assert_eq!(second.detached_sources, [first.sources["mine"]]);
    let open: Vec<SourceId> = it.record().sources[1..].to_vec();
    assert_eq!(open, [second.sources["mine"], second.sources["new"]]);
    assert!(it.record().detached_sources.is_empty(), "those are the organization's");
    assert_eq!(it.settings(bob), bobs, "who has disabled it gets nothing");

    it.move_to(&BOTH, 2).await;
    let third = it.settings(ada);
    assert_eq!(third.sources["mine"], first.sources["mine"], "back where it was");
    assert_eq!(third.detached_sources, [second.sources["mine"]]);
    assert_eq!(it.record().sources[1..], [first.sources["mine"], first.sources["other"]]);
    it.enable(bob).await;
    assert_eq!(it.settings(bob).sources, bobs.sources);
}

#[tokio::test]
async fn values_are_stored_and_states_that_change_refuse() {
    let it = fixture().await;
    let ada = it.user("ada").await;
    let inputs = json!({"limit": 3}).as_object().expect("an object").clone();
    let change = UserChange { user: ada, enabled: None, inputs: Some(inputs.clone()) };
    let id = it.snap_in;
    it.store.write(move |tables| tables.change_user(id, &change)).await.expect("written");
    let settings = it.settings(ada);
    assert!(!settings.enabled && settings.inputs == inputs && settings.sources.is_empty());
    assert_eq!(it.enable(ada).await.inputs, inputs);

    let step =
        it.store.write(move |tables| tables.step_snap_in(id, &Event::Activate, None, &Map::new()));
    assert!(matches!(step.await, Ok(Transition::Moved { .. })));
    assert!(matches!(it.change(ada, Some(false)).await, UserOutcome::Refused(_)));
    let nobody = UserId(1);
    assert!(matches!(it.change(nobody, Some(true)).await, UserOutcome::Refused(_)));
}

#[tokio::test]
async fn nothing_of_people_outlives_the_snap_in() {
    let it = fixture().await;
    let (ada, bob) = (it.user("ada").await, it.user("bob").await);
    it.enable(ada).await;
    it.enable(bob).await;
    it.move_to(&[("user", "mine", "u")], 1).await;
    it.change(bob, Some(false)).await;
    let owner = KeyringOwner::User { snap_in: it.snap_in, user: ada, name: "k".to_owned() };
    let keyring = KeyringRecord {
        owner,
        type_id: "snap_in_secret".to_owned(),
        state: KeyringState::Ready,
        subdomain: None,
        organization: None,
        expires_ms: None,
        refreshable: false,
        scopes: Vec::new(),
        verified: false,
        fields: Vec::new(),
        generation: 0,
        created_ms: 0,
        changed_ms: 0,
        set_ms: 0,
        changed_by: "test".to_owned(),
    };
    let set = it.store.write(move |tables| tables.set_keyring(&keyring, None, &|_| vec![1, 2, 3]));
    let Ok(KeyringSetting::Set(keyring, _)) = set.await else { panic!("it can be set") };
    let of = |user| {
        let settings = it.settings(user);
        settings.sources.values().chain(&settings.detached_sources).copied().collect::<Vec<_>>()
    };
    let sources: Vec<SourceId> =
        of(ada).into_iter().chain(of(bob)).chain(it.record().sources).collect();
    assert!(sources.len() >= 6, "{sources:?}");
    let tokens: Vec<String> = sources.iter().map(|source| it.token(*source)).collect();

    let id = it.snap_in;
    let deleted = it.store.write(move |tables| {
        let event = Event::Delete { force: false };
        tables.step_snap_in(id, &event, None, &Map::new())
    });
    assert!(matches!(deleted.await, Ok(Transition::Moved { .. })));
    it.store
        .read(|tables| {
            for source in &sources {
                assert_eq!(tables.source(*source)?, None);
            }
            let names = tables.table(schema::SOURCE_TOKENS)?;
            for token in &tokens {
                assert!(names.get(token.as_str())?.is_none());
            }
            assert!(tables.keyring(keyring)?.is_none());
            assert!(tables.envelope(keyring.0)?.is_none());
            assert!(tables.users_of_snap_in(id, None, 10)?.is_empty());
            assert!(tables.user(ada)?.is_some(), "a person is more than one snap-in's user");
            Ok(())
        })
        .expect("read");
}

#[tokio::test]
async fn tags_are_made_once_and_stay() {
    let it = fixture().await;
    let tag = it.record().tags["seen"];
    let read = it.store.read(|tables| tables.tag(tag)).expect("read").expect("there");
    assert_eq!((read.name.as_str(), read.description.as_deref()), ("seen", Some("Was seen.")));
    let again = it.store.write(|tables| {
        let same = tables.tag_by_name_or_new("seen", Some("Another text."))?;
        let plain = tables.tag_by_name_or_new("plain", None)?;
        assert_eq!(tables.tag_by_name_or_new("plain", Some("Late."))?, plain);
        Ok((same, plain))
    });
    let (same, plain) = again.await.expect("written");
    assert_eq!(same, tag);
    let page = PageRequest { from: None, limit: 10, newest_first: false };
    let all = it.store.read(|tables| tables.list_tags(page, |_| true)).expect("read").rows;
    let shown: Vec<_> = all.iter().map(|(id, it)| (*id, it.description.as_deref())).collect();
    assert_eq!(shown, [(tag, Some("Was seen.")), (plain, Some("Late."))]);
    assert_eq!(it.store.read(|tables| tables.tag_by_name("plain")).expect("read"), Some(plain));

    it.move_to(&BOTH, 1).await;
    assert_eq!(it.record().tags["seen"], tag);
}
