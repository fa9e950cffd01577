//! People, and what each has set for himself in a snap-in: whether he has enabled it, his inputs,
//! his event sources.
//!
//! Invariant: the sources of a person are those of his settings. While he has enabled the snap-in,
//! those that its version declares are in the snap-in's record too, and take events as all of them
//! do; otherwise they are closed and keep their trigger URLs.

use redb::ReadableTable;
use serde_json::{Map, Value};

use super::record::{decode, encode};
use super::records::{SnapInRecord, SourceRecord, UserRecord, UserSettingsRecord, VersionRecord};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::lifecycle::snap_in::{self, Event, Refusal};
use crate::model::id::{SnapInId, SourceId, UserId};
use crate::model::manifest::{EventSource, Level, Manifest};

/// How many event sources of people a snap-in may have: all of them are in its record.
pub const MOST_USER_SOURCES: usize = 10_000;

/// A change of what a person has set for himself.
#[derive(Clone, Debug)]
pub struct UserChange {
    /// Whose.
    pub user: UserId,
    /// Whether he has enabled the snap-in from now on; as before when absent.
    pub enabled: Option<bool>,
    /// Every user input that is set from now on, checked; as before when absent.
    pub inputs: Option<Map<String, Value>>,
}

/// What became of a [`UserChange`].
#[derive(Clone, Debug)]
pub enum UserOutcome {
    /// It is stored.
    Changed {
        /// The person's settings.
        settings: UserSettingsRecord,
        /// The snap-in as it is now.
        record: Box<SnapInRecord>,
        /// Generation of the route of each source of his.
        generations: Vec<(SourceId, u64)>,
    },
    /// The snap-in's state does not allow it.
    Refused(Refusal),
    /// The snap-in has as many sources of people as it may have.
    TooManySources,
    /// There is no such snap-in or version.
    NoSuchSnapIn,
    /// There is no such person.
    NoSuchUser,
}

impl WriteTables<'_> {
    /// The person of a name, made if there is none.
    pub fn user_by_name_or_new(&mut self, name: &str) -> Result<UserId, StoreError> {
        if let Some(known) = self.user_names()?.get(name)? {
            return Ok(UserId(known.value()));
        }
        let record = UserRecord { name: name.to_owned(), created_ms: self.now_ms() };
        let id = UserId(self.new_id());
        put(self.users()?, id.0, &record)?;
        self.user_names()?.insert(name, id.0)?;
        Ok(id)
    }

    /// Changes what a person has set for himself, and brings his sources in line with it.
    pub fn change_user(
        &mut self,
        id: SnapInId,
        change: &UserChange,
    ) -> Result<UserOutcome, StoreError> {
        let Some(mut record) = get::<SnapInRecord>(self.snap_ins()?, id.0)? else {
            return Ok(UserOutcome::NoSuchSnapIn);
        };
        if let Err(refusal) = snap_in::step(&record.state, &Event::Configure) {
            return Ok(UserOutcome::Refused(refusal));
        }
        if get::<UserRecord>(self.users()?, change.user.0)?.is_none() {
            return Ok(UserOutcome::NoSuchUser);
        }
        let Some(version) = get::<VersionRecord>(self.versions()?, record.version.0)? else {
            return Ok(UserOutcome::NoSuchSnapIn);
        };
        let mut settings = self.settings_of(id, change.user)?;
        settings.enabled = change.enabled.unwrap_or(settings.enabled);
        if let Some(inputs) = &change.inputs {
            settings.inputs.clone_from(inputs);
        }
        let (his, mut others): (Vec<SourceId>, Vec<SourceId>) =
            record.sources.iter().partition(|it| settings.sources.values().any(|own| own == *it));
        let organization =
            version.manifest.event_sources.iter().filter(|it| it.level == Level::Organization);
        let of_people = others.len().saturating_sub(organization.count());
        let declared = user_sources(&version.manifest).count();
        if settings.enabled && of_people + declared > MOST_USER_SOURCES {
            return Ok(UserOutcome::TooManySources);
        }
        let open = self.sources_for(id, change.user, &mut settings, &version.manifest)?;
        self.put_settings(id, change.user, &settings)?;
        others.extend(&open);
        if others != record.sources {
            record.sources = others;
            put(self.snap_ins()?, id.0, &record)?;
        }
        let mut generations = Vec::new();
        for source in open.iter().chain(his.iter().filter(|it| !open.contains(it))) {
            // Whoever planned with it as it was must plan again.
            generations.push((*source, self.bump_generation(*source)?));
            let is_open = record.state.sources_open() && open.contains(source);
            self.follow_source(*source, is_open)?;
        }
        Ok(UserOutcome::Changed { settings, record: Box::new(record), generations })
    }

    /// The sources of people under another manifest: everybody who has enabled the snap-in has those
    /// that it declares. Answers all that are to be open, in the order of people.
    pub(super) fn move_user_sources(
        &mut self,
        id: SnapInId,
        manifest: &Manifest,
    ) -> Result<Vec<SourceId>, StoreError> {
        let mut open = Vec::new();
        for (user, mut settings) in self.all_settings(id)? {
            let before = settings.clone();
            open.extend(self.sources_for(id, user, &mut settings, manifest)?);
            if settings != before {
                self.put_settings(id, user, &settings)?;
            }
        }
        Ok(open)
    }

    /// The sources of a person that are to be open under `manifest`, in its order; those that he has
    /// none of yet are made. One of another type is another source.
    fn sources_for(
        &mut self,
        id: SnapInId,
        user: UserId,
        settings: &mut UserSettingsRecord,
        manifest: &Manifest,
    ) -> Result<Vec<SourceId>, StoreError> {
        let mut open = Vec::new();
        if !settings.enabled {
            return Ok(open);
        }
        for declared in user_sources(manifest) {
            let source = match self.known_source(settings, declared)? {
                Some(known) => known,
                None => self.declare_source(id, declared, Some(user))?,
            };
            let before = settings.sources.insert(declared.name.clone(), source);
            settings.detached_sources.retain(|it| *it != source);
            settings.detached_sources.extend(before.filter(|it| *it != source));
            open.push(source);
        }
        Ok(open)
    }

    /// A person's source of this name and type, if he has or had one.
    fn known_source(
        &mut self,
        settings: &UserSettingsRecord,
        declared: &EventSource,
    ) -> Result<Option<SourceId>, StoreError> {
        let present = settings.sources.get(&declared.name).copied();
        let candidates: Vec<SourceId> =
            present.into_iter().chain(settings.detached_sources.iter().copied()).collect();
        for source in candidates {
            let found = get::<SourceRecord>(self.sources()?, source.0)?;
            if found.is_some_and(|it| it.name == declared.name && it.kind == declared.kind) {
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    /// Removes all that people have set in a snap-in that is deleted. Their keyrings go with those
    /// of the snap-in, before.
    pub(super) fn forget_users(&mut self, id: SnapInId) -> Result<(), StoreError> {
        for (user, settings) in self.all_settings(id)? {
            for source in settings.sources.values().chain(&settings.detached_sources) {
                self.forget_source(*source)?;
            }
            self.user_settings()?.remove((id.0, user.0))?;
        }
        Ok(())
    }

    fn all_settings(
        &mut self,
        id: SnapInId,
    ) -> Result<Vec<(UserId, UserSettingsRecord)>, StoreError> {
        let rows = self.user_settings()?.range((id.0, 0)..=(id.0, u128::MAX))?;
        rows.map(|row| {
            let (key, value) = row?;
            Ok((UserId(key.value().1), decode(value.value())?))
        })
        .collect()
    }

    fn settings_of(
        &mut self,
        id: SnapInId,
        user: UserId,
    ) -> Result<UserSettingsRecord, StoreError> {
        let row = self.user_settings()?.get((id.0, user.0))?;
        Ok(row.map(|it| decode(it.value())).transpose()?.unwrap_or_default())
    }

    fn put_settings(
        &mut self,
        id: SnapInId,
        user: UserId,
        settings: &UserSettingsRecord,
    ) -> Result<(), StoreError> {
        self.user_settings()?.insert((id.0, user.0), encode(settings)?.as_slice())?;
        Ok(())
    }
}

fn user_sources(manifest: &Manifest) -> impl Iterator<Item = &EventSource> {
    manifest.event_sources.iter().filter(|it| it.level == Level::User)
}

impl ReadTables {
    /// A person.
    pub fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        get(&self.table(schema::USERS)?, id.0)
    }

    /// The person of a name.
    pub fn user_by_name(&self, name: &str) -> Result<Option<UserId>, StoreError> {
        Ok(self.table(schema::USER_NAMES)?.get(name)?.map(|it| UserId(it.value())))
    }

    /// People, oldest first.
    pub fn list_users(&self, page: PageRequest) -> Result<Page<(UserId, UserRecord)>, StoreError> {
        page.read(&self.table(schema::USERS)?, |id, value| Ok(Some((UserId(id), decode(value)?))))
    }

    /// Every source of the people who use a snap-in, also of those who have disabled it.
    pub fn sources_of_users(&self, snap_in: SnapInId) -> Result<Vec<SourceId>, StoreError> {
        let mut sources = Vec::new();
        let rows = (snap_in.0, 0)..=(snap_in.0, u128::MAX);
        for row in self.table(schema::USER_SETTINGS)?.range(rows)? {
            let settings: UserSettingsRecord = decode(row?.1.value())?;
            sources.extend(settings.sources.into_values());
        }
        Ok(sources)
    }

    /// What a person has set for himself in a snap-in; nothing when he never set anything.
    pub fn user_settings(
        &self,
        snap_in: SnapInId,
        user: UserId,
    ) -> Result<Option<UserSettingsRecord>, StoreError> {
        let row = self.table(schema::USER_SETTINGS)?.get((snap_in.0, user.0))?;
        row.map(|it| decode(it.value())).transpose()
    }

    /// Those who have set something for themselves in a snap-in, in the order in which they were
    /// first heard of; at most `limit`, from the person `from` on.
    pub fn users_of_snap_in(
        &self,
        snap_in: SnapInId,
        from: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<(UserId, UserSettingsRecord)>, StoreError> {
        let first = from.map_or(0, |it| it.0);
        let table = self.table(schema::USER_SETTINGS)?;
        let rows = table.range((snap_in.0, first)..=(snap_in.0, u128::MAX))?;
        rows.take(limit)
            .map(|row| {
                let (key, value) = row?;
                Ok((UserId(key.value().1), decode(value.value())?))
            })
            .collect()
    }
}
