//! Keyrings: whose they are and what state they are in. A record, its envelope and the binding to
//! its owner change in one transaction, and go with the owner.
//!
//! Secrets arrive sealed: `seal` is a cipher, which takes an id (the envelope is bound to it) and is
//! quick enough for a transaction. It runs in here because only the writer gives out ids, and so
//! that nothing sealed with a key of yesterday is written after that key has been replaced.

use redb::ReadableTable;

use super::record::{decode, encode};
use super::records::{KeyringRecord, PackageRecord, SnapInRecord, UserSettingsRecord};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::id::{KeyringId, PackageId, SnapInId, UserId, VersionId};
use crate::model::keyring::{KeyringOwner, KeyringState};
use crate::model::snap_in::SnapInState;

/// How setting a keyring went.
#[derive(Clone, Debug)]
pub enum KeyringSetting {
    /// It is set, and bound to its owner.
    Set(KeyringId, Box<KeyringRecord>),
    /// There is no such snap-in or package (any more).
    NoSuchOwner,
    /// The snap-in is on its way from one state to another.
    NotNow(SnapInState),
    /// The snap-in is of another version than the keyring was checked against.
    OtherVersion,
}

/// How removing a keyring went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyringRemoval {
    /// It is gone.
    Removed(KeyringId),
    /// There was none.
    NoSuchKeyring,
    /// The snap-in is on its way from one state to another.
    NotNow(SnapInState),
}

/// Where the name of a keyring leads to its id.
enum Binding {
    SnapIn(SnapInId, Box<SnapInRecord>),
    User(SnapInId, UserId, UserSettingsRecord),
    Developer(PackageId),
}

/// What is in the way of a change.
enum Obstacle {
    NoSuchOwner,
    NotNow(SnapInState),
    OtherVersion,
}

impl WriteTables<'_> {
    /// Sets the keyring of `new.owner` in place of the one that it has. Dates and generation are
    /// the store's. `version` is what the snap-in has to be of.
    pub fn set_keyring(
        &mut self,
        new: &KeyringRecord,
        version: Option<VersionId>,
        seal: &dyn Fn(u128) -> Vec<u8>,
    ) -> Result<KeyringSetting, StoreError> {
        let binding = match self.binding(&new.owner, version)? {
            Ok(binding) => binding,
            Err(Obstacle::NoSuchOwner) => return Ok(KeyringSetting::NoSuchOwner),
            Err(Obstacle::NotNow(state)) => return Ok(KeyringSetting::NotNow(state)),
            Err(Obstacle::OtherVersion) => return Ok(KeyringSetting::OtherVersion),
        };
        let name = new.owner.name();
        let present = self.bound(&binding, name)?;
        let (id, before) = match present {
            Some(id) => (id, get::<KeyringRecord>(self.keyrings()?, id.0)?),
            None => (KeyringId(self.new_id()), None),
        };
        let now_ms = self.now_ms();
        let record = KeyringRecord {
            created_ms: before.as_ref().map_or(now_ms, |it| it.created_ms),
            changed_ms: now_ms,
            set_ms: now_ms,
            generation: before.map_or(0, |it| it.generation) + 1,
            ..new.clone()
        };
        put(self.keyrings()?, id.0, &record)?;
        self.put_envelope(id.0, &seal(id.0))?;
        self.bind(binding, name, Some(id))?;
        Ok(KeyringSetting::Set(id, Box::new(record)))
    }

    /// Removes the keyring of an owner, with its secret.
    pub fn remove_keyring(&mut self, owner: &KeyringOwner) -> Result<KeyringRemoval, StoreError> {
        let binding = match self.binding(owner, None)? {
            Ok(binding) => binding,
            Err(Obstacle::NotNow(state)) => return Ok(KeyringRemoval::NotNow(state)),
            Err(Obstacle::NoSuchOwner | Obstacle::OtherVersion) => {
                return Ok(KeyringRemoval::NoSuchKeyring);
            }
        };
        let Some(id) = self.bound(&binding, owner.name())? else {
            return Ok(KeyringRemoval::NoSuchKeyring);
        };
        self.forget_keyring(id)?;
        self.bind(binding, owner.name(), None)?;
        Ok(KeyringRemoval::Removed(id))
    }

    /// Replaces the secret of a keyring by one that was made of it, if it still has that one
    /// (`new.generation`). Answers the record as it is then; nothing when it was replaced or
    /// removed meanwhile.
    pub fn renew_keyring(
        &mut self,
        id: KeyringId,
        new: &KeyringRecord,
        seal: &dyn Fn(u128) -> Vec<u8>,
    ) -> Result<Option<KeyringRecord>, StoreError> {
        let Some(before) = get::<KeyringRecord>(self.keyrings()?, id.0)? else { return Ok(None) };
        if before.generation != new.generation {
            return Ok(None);
        }
        let record = KeyringRecord {
            changed_ms: self.now_ms(),
            generation: before.generation + 1,
            ..new.clone()
        };
        put(self.keyrings()?, id.0, &record)?;
        self.put_envelope(id.0, &seal(id.0))?;
        Ok(Some(record))
    }

    /// Notes what has become known of a keyring whose secret stays as it is: whether it was
    /// confirmed, and its state if that changes. Answers the record as it is then; nothing when its
    /// secret is no longer that of `generation`.
    pub fn note_keyring(
        &mut self,
        id: KeyringId,
        generation: u64,
        state: Option<&KeyringState>,
        verified: bool,
    ) -> Result<Option<KeyringRecord>, StoreError> {
        let Some(mut record) = get::<KeyringRecord>(self.keyrings()?, id.0)? else {
            return Ok(None);
        };
        if record.generation != generation {
            return Ok(None);
        }
        if let Some(state) = state {
            record.state = state.clone();
        }
        record.verified = verified;
        put(self.keyrings()?, id.0, &record)?;
        Ok(Some(record))
    }

    /// Removes all that a deleted snap-in's keyrings were: its own and its users'.
    pub(super) fn forget_keyrings(
        &mut self,
        id: SnapInId,
        record: &SnapInRecord,
    ) -> Result<(), StoreError> {
        for keyring in record.keyrings.values() {
            self.forget_keyring(*keyring)?;
        }
        let mut of_users = Vec::new();
        for row in self.user_settings()?.range((id.0, 0)..=(id.0, u128::MAX))? {
            let settings: UserSettingsRecord = decode(row?.1.value())?;
            of_users.extend(settings.keyrings.into_values());
        }
        for keyring in of_users {
            self.forget_keyring(keyring)?;
        }
        self.forget_authorizations(|it| it.owner.snap_in() == Some(id))
    }

    /// Removes the keyrings of the developer of a package that is deleted.
    pub(super) fn forget_developer_keyrings(&mut self, id: PackageId) -> Result<(), StoreError> {
        let mut found = Vec::new();
        for row in self.developer_keyrings()?.range((id.0, "")..)? {
            let (key, keyring) = row?;
            let (package, name) = key.value();
            if package != id.0 {
                break;
            }
            found.push((name.to_owned(), KeyringId(keyring.value())));
        }
        for (name, keyring) in found {
            self.developer_keyrings()?.remove((id.0, name.as_str()))?;
            self.forget_keyring(keyring)?;
        }
        Ok(())
    }

    fn forget_keyring(&mut self, id: KeyringId) -> Result<(), StoreError> {
        self.keyrings()?.remove(id.0)?;
        self.remove_envelope(id.0)
    }

    fn binding(
        &mut self,
        owner: &KeyringOwner,
        version: Option<VersionId>,
    ) -> Result<Result<Binding, Obstacle>, StoreError> {
        let Some(id) = owner.snap_in() else {
            let KeyringOwner::Developer { package, .. } = owner else {
                return Ok(Err(Obstacle::NoSuchOwner));
            };
            let known = get::<PackageRecord>(self.packages()?, package.0)?.is_some();
            return Ok(if known {
                Ok(Binding::Developer(*package))
            } else {
                Err(Obstacle::NoSuchOwner)
            });
        };
        let Some(snap_in) = get::<SnapInRecord>(self.snap_ins()?, id.0)? else {
            return Ok(Err(Obstacle::NoSuchOwner));
        };
        if snap_in.state == SnapInState::Deleted {
            return Ok(Err(Obstacle::NoSuchOwner));
        }
        if snap_in.state.is_transitory() {
            return Ok(Err(Obstacle::NotNow(snap_in.state)));
        }
        if version.is_some_and(|it| it != snap_in.version) {
            return Ok(Err(Obstacle::OtherVersion));
        }
        let KeyringOwner::User { user, .. } = owner else {
            return Ok(Ok(Binding::SnapIn(id, Box::new(snap_in))));
        };
        let settings = self.user_settings()?.get((id.0, user.0))?;
        let settings = settings.map(|it| decode(it.value())).transpose()?.unwrap_or_default();
        Ok(Ok(Binding::User(id, *user, settings)))
    }

    fn bound(&mut self, binding: &Binding, name: &str) -> Result<Option<KeyringId>, StoreError> {
        Ok(match binding {
            Binding::SnapIn(_, record) => record.keyrings.get(name).copied(),
            Binding::User(_, _, settings) => settings.keyrings.get(name).copied(),
            Binding::Developer(package) => {
                let found = self.developer_keyrings()?.get((package.0, name))?;
                found.map(|it| KeyringId(it.value()))
            }
        })
    }

    fn bind(
        &mut self,
        binding: Binding,
        name: &str,
        keyring: Option<KeyringId>,
    ) -> Result<(), StoreError> {
        match binding {
            Binding::SnapIn(id, mut record) => {
                match keyring {
                    Some(keyring) => record.keyrings.insert(name.to_owned(), keyring),
                    None => record.keyrings.remove(name),
                };
                record.revision += 1;
                put(self.snap_ins()?, id.0, &*record)
            }
            Binding::User(id, user, mut settings) => {
                match keyring {
                    Some(keyring) => settings.keyrings.insert(name.to_owned(), keyring),
                    None => settings.keyrings.remove(name),
                };
                let row = encode(&settings)?;
                self.user_settings()?.insert((id.0, user.0), row.as_slice())?;
                Ok(())
            }
            Binding::Developer(package) => {
                let table = self.developer_keyrings()?;
                match keyring {
                    Some(keyring) => table.insert((package.0, name), keyring.0)?,
                    None => table.remove((package.0, name))?,
                };
                Ok(())
            }
        }
    }
}

impl ReadTables {
    /// A keyring.
    pub fn keyring(&self, id: KeyringId) -> Result<Option<KeyringRecord>, StoreError> {
        get(&self.table(schema::KEYRINGS)?, id.0)
    }

    /// A keyring and its secret, sealed.
    pub fn keyring_with_envelope(
        &self,
        id: KeyringId,
    ) -> Result<Option<(KeyringRecord, Vec<u8>)>, StoreError> {
        let Some(record) = self.keyring(id)? else { return Ok(None) };
        Ok(self.envelope(id.0)?.map(|it| (record, it)))
    }

    /// The id of an owner's keyring.
    pub fn keyring_of(&self, owner: &KeyringOwner) -> Result<Option<KeyringId>, StoreError> {
        Ok(match owner {
            KeyringOwner::SnapIn { snap_in, name } => {
                self.snap_in(*snap_in)?.and_then(|it| it.keyrings.get(name).copied())
            }
            KeyringOwner::User { snap_in, user, name } => {
                self.keyrings_of_user(*snap_in, *user)?.get(name).copied()
            }
            KeyringOwner::Developer { package, name } => self
                .table(schema::DEVELOPER_KEYRINGS)?
                .get((package.0, name.as_str()))?
                .map(|it| KeyringId(it.value())),
        })
    }

    /// What a person has bound to a snap-in for himself, by name.
    pub fn keyrings_of_user(
        &self,
        snap_in: SnapInId,
        user: UserId,
    ) -> Result<std::collections::BTreeMap<String, KeyringId>, StoreError> {
        let settings = self.table(schema::USER_SETTINGS)?.get((snap_in.0, user.0))?;
        let settings: Option<UserSettingsRecord> =
            settings.map(|it| decode(it.value())).transpose()?;
        Ok(settings.map(|it| it.keyrings).unwrap_or_default())
    }

    /// Every keyring of a developer: its package, its name, its id.
    pub fn developer_keyrings(&self) -> Result<Vec<(PackageId, String, KeyringId)>, StoreError> {
        let mut found = Vec::new();
        for row in self.table(schema::DEVELOPER_KEYRINGS)?.iter()? {
            let (key, keyring) = row?;
            let (package, name) = key.value();
            found.push((PackageId(package), name.to_owned(), KeyringId(keyring.value())));
        }
        Ok(found)
    }

    /// Keyrings that `wanted` picks, oldest first.
    pub fn list_keyrings(
        &self,
        page: PageRequest,
        wanted: impl Fn(&KeyringRecord) -> bool,
    ) -> Result<Page<(KeyringId, KeyringRecord)>, StoreError> {
        page.read(&self.table(schema::KEYRINGS)?, |id, value| {
            let record: KeyringRecord = decode(value)?;
            Ok(wanted(&record).then_some((KeyringId(id), record)))
        })
    }
}

#[cfg(test)]
#[path = "keyrings_tests.rs"]
mod tests;
