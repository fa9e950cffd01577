//! Users, groups, service accounts, their grants, and API tokens by their hash. The tokens themselves
//! are never stored. Must not decide who may change what: a change comes decided, with the generation
//! of the picture that it was decided on.

use redb::ReadableTable;
use sha2::{Digest, Sha256};

use super::record::{Record, decode, encode};
use super::tables::{ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::access::{
    AccessChange, Grant, HostRole, IntegrationRole, PrincipalId, PrincipalKind, StoredAccess,
    StoredPrincipal, StoredToken, TokenHash,
};
use crate::model::id::{GroupId, IntegrationId};

/// The counter that grows with every change of access.
const GENERATION: &str = "access generation";
/// Where grants on the host stand among those on integrations: no id is 0.
const HOST: u128 = 0;

impl Record for StoredPrincipal {
    const NAME: &'static str = "principal";
}
impl Record for StoredToken {
    const NAME: &'static str = "token";
}

/// What a token is found by.
pub fn hash_of_token(token: &str) -> TokenHash {
    // A token is 256 random bits: nothing slower than one hash is needed to keep it secret.
    Sha256::digest(token).into()
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessOutcome {
    /// It is stored; the id of somebody new.
    Done(Option<PrincipalId>),
    /// Something changed since it was decided: decide anew.
    Stale,
}

const fn place(grant: Grant) -> (u128, u8) {
    match grant {
        Grant::Host(role) => (HOST, role.number()),
        Grant::Integration(id, role) => (id.0, role.number()),
    }
}

fn grant_at(integration: u128, number: u8) -> Option<Grant> {
    if integration == HOST {
        return HostRole::of_number(number).map(Grant::Host);
    }
    let role = IntegrationRole::of_number(number)?;
    Some(Grant::Integration(IntegrationId(integration), role))
}

impl WriteTables<'_> {
    /// Stores a token by its hash.
    pub fn add_token(&mut self, token: &str, record: &StoredToken) -> Result<(), StoreError> {
        self.tokens()?.insert(&hash_of_token(token), encode(record)?.as_slice())?;
        Ok(())
    }

    /// Notes when a token was used last, if it is still there.
    pub fn note_token_use(&mut self, hash: &TokenHash, now_ms: u64) -> Result<(), StoreError> {
        if self.tokens()?.get(hash)?.is_some() {
            self.token_uses()?.insert(hash, now_ms)?;
        }
        Ok(())
    }

    /// Makes a change that was decided on the picture of `generation`.
    pub fn change_access(
        &mut self,
        generation: u64,
        change: &AccessChange,
    ) -> Result<AccessOutcome, StoreError> {
        let present = self.counters()?.get(GENERATION)?.map_or(0, |it| it.value());
        if present != generation {
            return self.made_nothing(AccessOutcome::Stale);
        }
        self.counters()?.insert(GENERATION, generation + 1)?;
        let now_ms = self.now_ms();
        let mut made = None;
        match change {
            AccessChange::Create(new) => made = Some(self.create_principal(new)?),
            AccessChange::Describe(id, description) => {
                if let Some(known) = get::<StoredPrincipal>(self.principals()?, id.number())? {
                    let changed = StoredPrincipal { description: description.clone(), ..known };
                    put(self.principals()?, id.number(), &changed)?;
                }
            }
            AccessChange::Delete(id) => self.delete_principal(*id)?,
            AccessChange::Join { group, member } => {
                self.group_members()?.insert((group.0, member.number()), ())?;
            }
            AccessChange::Leave { group, member } => {
                self.group_members()?.remove((group.0, member.number()))?;
            }
            AccessChange::Grant { to, grant } => {
                let (on, role) = place(*grant);
                let key = (on, to.number(), role);
                if self.grants()?.get(key)?.is_none() {
                    self.grants()?.insert(key, now_ms)?;
                }
            }
            AccessChange::Revoke { from, grant } => {
                let (on, role) = place(*grant);
                self.grants()?.remove((on, from.number(), role))?;
            }
            AccessChange::AddToken(hash, token) => {
                self.tokens()?.insert(hash, encode(&**token)?.as_slice())?;
            }
            AccessChange::RemoveToken(hash) => {
                self.tokens()?.remove(hash)?;
                self.token_uses()?.remove(hash)?;
            }
        }
        Ok(AccessOutcome::Done(made))
    }

    /// Whoever makes an integration owns it: nobody has to be able to grant that. Part of the transaction
    /// that makes it.
    pub(super) fn own_integration(
        &mut self,
        owner: PrincipalId,
        integration: IntegrationId,
    ) -> Result<(), StoreError> {
        // Somebody who was deleted a moment ago must not leave a grant behind.
        if self.principals()?.get(owner.number())?.is_none() {
            return Ok(());
        }
        let (on, role) = place(Grant::Integration(integration, IntegrationRole::Owner));
        let now_ms = self.now_ms();
        self.grants()?.insert((on, owner.number(), role), now_ms)?;
        self.access_changed()
    }

    /// Nobody has a role of an integration any more. Part of the transaction that deletes it.
    pub(super) fn forget_grants_on(
        &mut self,
        integration: IntegrationId,
    ) -> Result<(), StoreError> {
        let rows = (integration.0, 0, 0)..=(integration.0, u128::MAX, u8::MAX);
        self.grants()?.retain_in(rows, |_, _| false)?;
        self.access_changed()
    }

    fn access_changed(&mut self) -> Result<(), StoreError> {
        let present = self.counters()?.get(GENERATION)?.map_or(0, |it| it.value());
        self.counters()?.insert(GENERATION, present + 1)?;
        Ok(())
    }

    fn create_principal(&mut self, new: &StoredPrincipal) -> Result<PrincipalId, StoreError> {
        let number = match new.kind {
            // Snap-ins may know him already, by his name.
            PrincipalKind::User => self.user_by_name_or_new(&new.name)?.0,
            PrincipalKind::Group | PrincipalKind::ServiceAccount => self.new_id(),
        };
        put(self.principals()?, number, new)?;
        Ok(new.kind.id(number))
    }

    fn delete_principal(&mut self, id: PrincipalId) -> Result<(), StoreError> {
        let number = id.number();
        self.principals()?.remove(number)?;
        self.grants()?.retain(|(_, principal, _), _| principal != number)?;
        self.group_members()?.retain(|(group, member), ()| group != number && member != number)?;
        let mut gone = Vec::new();
        for row in self.tokens()?.iter()? {
            let (hash, value) = row?;
            if decode::<StoredToken>(value.value())?.principal == Some(id) {
                gone.push(*hash.value());
            }
        }
        for hash in gone {
            self.tokens()?.remove(&hash)?;
            self.token_uses()?.remove(&hash)?;
        }
        Ok(())
    }
}

impl ReadTables {
    /// Whether no token was ever made: the first start.
    pub fn has_no_tokens(&self) -> Result<bool, StoreError> {
        Ok(self.table(schema::TOKENS)?.first()?.is_none())
    }

    /// Whether there is an integration.
    pub fn has_integration(&self, id: IntegrationId) -> Result<bool, StoreError> {
        Ok(self.table(schema::INTEGRATIONS)?.get(id.0)?.is_some())
    }

    /// Everything that is known of who may do what.
    pub fn access(&self) -> Result<StoredAccess, StoreError> {
        let generation = self.table(schema::COUNTERS)?.get(GENERATION)?.map_or(0, |it| it.value());
        let mut access = StoredAccess { generation, ..StoredAccess::default() };
        for row in self.table(schema::PRINCIPALS)?.iter()? {
            let (number, value) = row?;
            let principal: StoredPrincipal = decode(value.value())?;
            access.principals.push((principal.kind.id(number.value()), principal));
        }
        for row in self.table(schema::GROUP_MEMBERS)?.iter()? {
            let (group, member) = row?.0.value();
            access.members.push((GroupId(group), member));
        }
        for row in self.table(schema::GRANTS)?.iter()? {
            let (key, since) = row?;
            let (on, principal, role) = key.value();
            let grant = grant_at(on, role).ok_or_else(|| {
                StoreError::corrupt(format!("a grant of the unknown role number {role}"))
            })?;
            access.grants.push((principal, grant, since.value()));
        }
        let uses = self.table(schema::TOKEN_USES)?;
        for row in self.table(schema::TOKENS)?.iter()? {
            let (hash, value) = row?;
            let used_ms = uses.get(hash.value())?.map(|it| it.value());
            access.tokens.push((*hash.value(), decode(value.value())?, used_ms));
        }
        Ok(access)
    }
}
