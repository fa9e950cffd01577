//! Keyrings at work: setting them, and handing their secrets to functions.
//!
//! Decisions are in `connections`; here are the store, the vault and the requests to external
//! systems. A secret leaves this folder in three ways only: sealed, in a request to the system that
//! it belongs to, or as a [`ResolvedKeyring`] for a function. Errors never hold one.

mod authorize;
mod change;
mod error;
mod exchange;
mod jq;
mod keep_fresh;
mod refresh;
mod registration;
mod revoke;
mod source_config;
mod standing;
mod verify;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

pub use authorize::{Awaited, Begun, ConnectRequest, Granted, Return};
pub use change::{Prepared, SetRequest};
pub use error::KeyringError;
pub use source_config::{FilledConfig, Masks, Stamp};

use authorize::Returning;
use refresh::Attempts;
use waiting::Waiting;

use super::contexts::{Contexts, VersionContext};
use crate::clock::Clock;
use crate::connections::secret::KeyringSecret;
use crate::connections::types::{self, ConnectionType};
use crate::egress::Egress;
use crate::model::id::{KeyringId, PackageId, SnapInId, VersionId};
use crate::model::keyring::{KeyringOwner, KeyringState};
use crate::model::manifest::{Keyring, Level};
use crate::model::snap_in::SnapInState;
use crate::secrets::Vault;
use crate::store::{KeyringRecord, SnapInRecord, Store, StoreError};

/// All keyrings of the host.
#[derive(Clone)]
pub struct Keyrings(Arc<Inner>);

/// What [`Keyrings`] needs.
pub struct Parts {
    /// Records and envelopes.
    pub store: Arc<Store>,
    /// Manifests.
    pub contexts: Arc<Contexts>,
    /// Opens and seals.
    pub vault: Arc<Vault>,
    /// The way to external systems.
    pub egress: Arc<Egress>,
    /// Threads for that, which go on whoever stops waiting.
    pub runtime: tokio::runtime::Handle,
    /// Wall time.
    pub clock: Clock,
    /// Where external systems send people back to.
    pub redirect_uri: String,
    /// How the daemon is reached from outside, without a slash at its end.
    pub public_url: String,
}

struct Inner {
    parts: Parts,
    /// Which packages have keyrings of their developers: few have, and every call of a function asks.
    developer: RwLock<HashMap<PackageId, BTreeMap<String, KeyringId>>>,
    attempts: Attempts,
    returning: Returning,
    waiting: Waiting,
    /// Rung when a keyring was set.
    changed: Notify,
    /// Changes whenever a secret does.
    secrets: watch::Sender<()>,
    broken: OnceLock<Arc<dyn HearBroken>>,
}

/// Is told of snap-ins that cannot function because of a keyring.
pub trait HearBroken: Send + Sync + 'static {
    /// A keyring is of no use any more; `reason` is for people.
    fn keyring_broken(&self, snap_in: SnapInId, reason: String) -> BoxFuture<'static, ()>;
    /// A keyring cannot be used at the moment, or all can be used again.
    fn keyrings_wait(&self, snap_in: SnapInId, wait: bool);
}

/// A secret on its way to a function.
#[derive(Clone)]
pub struct ResolvedKeyring {
    /// Name in the manifest.
    pub name: String,
    /// The keyring.
    pub id: KeyringId,
    /// A plain secret, the JSON text of fields, what a transform made of them, or an access token.
    pub secret: Zeroizing<String>,
}

/// A keyring that a snap-in declares or has, with what is known of it.
pub struct Located {
    /// Whose it is.
    pub owner: KeyringOwner,
    /// As the manifest declares it; absent when only a version of before did.
    pub declared: Option<Keyring>,
    /// The keyring, if it was set.
    pub found: Option<(KeyringId, KeyringRecord)>,
    /// Until when somebody who was sent to grant access is awaited, milliseconds of the Unix epoch.
    pub awaited_until_ms: Option<u64>,
    version: Arc<VersionContext>,
    snap_in: SnapInRecord,
}

impl Located {
    /// The types that it may be of, in the manifest's order; those that cannot be used say why.
    pub fn types(&self) -> Vec<Result<ConnectionType, types::TypeError>> {
        let ids = self.declared.iter().flat_map(|it| &it.types);
        ids.map(|id| types::find(&self.version.manifest, id)).collect()
    }
}

impl Keyrings {
    /// Reads which packages have keyrings of their developers.
    pub fn new(parts: Parts) -> Result<Keyrings, StoreError> {
        let keyrings = Keyrings(Arc::new(Inner {
            parts,
            developer: RwLock::default(),
            attempts: Attempts::default(),
            returning: Returning::default(),
            waiting: Waiting::default(),
            changed: Notify::new(),
            secrets: watch::Sender::new(()),
            broken: OnceLock::new(),
        }));
        keyrings.read_developer_keyrings()?;
        Ok(keyrings)
    }

    /// Says who is told of broken keyrings; later calls change nothing.
    pub fn tell(&self, listener: Arc<dyn HearBroken>) {
        let _already_set = self.0.broken.set(listener);
    }

    /// What functions of a snap-in get: the secrets of its `bindings` by name, and those of the
    /// developer of its package.
    pub async fn resolve(
        &self,
        bindings: &BTreeMap<String, KeyringId>,
        package: PackageId,
    ) -> Result<Vec<ResolvedKeyring>, KeyringError> {
        let (usable, mut problems) = self.usable(bindings, package).await?;
        match problems.is_empty() {
            true => Ok(usable),
            false => Err(problems.swap_remove(0)),
        }
    }

    /// Like [`Keyrings::resolve`], with what can be used, and what is wrong with the others: for
    /// hooks that must run although a connection is broken. A token that could not be refreshed
    /// counts as usable until it expires. What is wrong with keyrings that the snap-in can do
    /// without is not among it.
    pub async fn usable(
        &self,
        bindings: &BTreeMap<String, KeyringId>,
        package: PackageId,
    ) -> Result<(Vec<ResolvedKeyring>, Vec<KeyringError>), StoreError> {
        let developer = self.developer_keyrings(package);
        if bindings.is_empty() && developer.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let stored = self.0.parts.store.read(|tables| {
            let mut stored = Vec::with_capacity(bindings.len() + developer.len());
            for (name, id) in bindings.iter().chain(&developer) {
                if let Some((record, envelope)) = tables.keyring_with_envelope(*id)? {
                    stored.push((name.clone(), *id, record, envelope));
                }
            }
            Ok(stored)
        })?;
        let mut usable = Vec::with_capacity(stored.len());
        let mut problems = Vec::new();
        for (name, id, record, envelope) in stored {
            match self.secret_of(id, &record, &envelope).await {
                Ok(secret) => {
                    let secret = secret.for_functions().clone().into_inner();
                    usable.push(ResolvedKeyring { name, id, secret });
                }
                Err(problem) if self.can_do_without(&record, &problem)? => {
                    tracing::debug!(keyring = %id, name, %problem, "a keyring is left out");
                }
                Err(problem) => problems.push(problem),
            }
        }
        Ok((usable, problems))
    }

    async fn secret_of(
        &self,
        id: KeyringId,
        record: &KeyringRecord,
        envelope: &[u8],
    ) -> Result<KeyringSecret, KeyringError> {
        if let KeyringState::Broken { reason } = &record.state {
            let name = record.owner.name().to_owned();
            return Err(KeyringError::Broken { name, reason: reason.clone() });
        }
        let secret = self.open(id, envelope)?;
        self.fresh(id, record, secret).await
    }

    fn open(&self, id: KeyringId, envelope: &[u8]) -> Result<KeyringSecret, KeyringError> {
        let opened = self.0.parts.vault.open(id.0, envelope)?;
        KeyringSecret::from_bytes(&opened).ok_or(KeyringError::Vault(
            // What opens was sealed by this program: only another one's form can be unreadable.
            crate::secrets::VaultError::Damaged,
        ))
    }

    fn developer_keyrings(&self, package: PackageId) -> BTreeMap<String, KeyringId> {
        let all = self.0.developer.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&package).cloned().unwrap_or_default()
    }

    fn read_developer_keyrings(&self) -> Result<(), StoreError> {
        // Read under the lock, so that an older picture never replaces a newer one.
        let mut all = self.0.developer.write().unwrap_or_else(PoisonError::into_inner);
        let mut found: HashMap<PackageId, BTreeMap<String, KeyringId>> = HashMap::new();
        for (package, name, id) in self.0.parts.store.read(|tables| tables.developer_keyrings())? {
            found.entry(package).or_default().insert(name, id);
        }
        *all = found;
        Ok(())
    }

    /// The keyring that an owner of a snap-in has or may have.
    pub fn locate(&self, owner: KeyringOwner) -> Result<Located, KeyringError> {
        self.locate_for(owner, None)
    }

    /// The same, as `version` of the snap-in's package declares it: for an upgrade.
    pub fn locate_for(
        &self,
        owner: KeyringOwner,
        version: Option<VersionId>,
    ) -> Result<Located, KeyringError> {
        let Some(id) = owner.snap_in() else { return Err(no_such_keyring(&owner)) };
        let snap_in = self.0.parts.store.read(|tables| tables.snap_in(id))?;
        let snap_in = snap_in.ok_or(KeyringError::NoSuchSnapIn(id))?;
        let version = self.version_for(id, &snap_in, version)?;
        self.locate_in(owner, &snap_in, &version)
    }

    /// A version of the snap-in's package, the present one when none is named.
    pub fn version_for(
        &self,
        id: SnapInId,
        snap_in: &SnapInRecord,
        version: Option<VersionId>,
    ) -> Result<Arc<VersionContext>, KeyringError> {
        let Some(other) = version else { return self.version_of(id, snap_in) };
        let of_package = self.0.parts.store.read(|tables| {
            Ok(tables.version(other)?.is_some_and(|it| it.package == snap_in.package))
        })?;
        let found = if of_package { self.0.parts.contexts.version(other)? } else { None };
        found.ok_or(KeyringError::NoSuchVersion(other))
    }

    /// Refuses to set, for another version, what would take a secret away from an active snap-in
    /// that goes on with the present one.
    fn refuse_if_in_use(
        &self,
        located: &Located,
        connection: &ConnectionType,
    ) -> Result<(), KeyringError> {
        let (owner, snap_in) = (&located.owner, &located.snap_in);
        let Some(id) = owner.snap_in() else { return Ok(()) };
        let present = self.version_of(id, snap_in)?;
        if Arc::ptr_eq(&present, &located.version) || snap_in.state != SnapInState::Active {
            return Ok(());
        }
        let level = located.declared.as_ref().map(|it| it.level);
        let used = present.manifest.keyring(owner.name()).filter(|it| Some(it.level) == level);
        let Some(used) = used else { return Ok(()) };
        let is_plain = |id: &str| types::PLAIN.contains(&id);
        let is_same = used.types.iter().any(|it| {
            types::find(&present.manifest, it).is_ok_and(|found| found == *connection)
                || (is_plain(it) && is_plain(&connection.id))
        });
        if is_same {
            return Ok(());
        }
        let message = format!(
            "the present version uses the keyring `{}` as another type while the snap-in is \
             ACTIVE: deactivate it, upgrade it, and set the keyring then",
            owner.name()
        );
        Err(KeyringError::WrongType { message, allowed: used.types.clone() })
    }

    /// Every keyring that a snap-in declares or has, those of users for `user`.
    pub fn list(
        &self,
        id: SnapInId,
        user: Option<crate::model::id::UserId>,
    ) -> Result<Vec<Located>, KeyringError> {
        let read = self.0.parts.store.read(|tables| {
            let of_user = user.map(|user| tables.keyrings_of_user(id, user)).transpose()?;
            Ok((tables.snap_in(id)?, of_user.unwrap_or_default()))
        })?;
        let (Some(snap_in), of_user) = read else { return Err(KeyringError::NoSuchSnapIn(id)) };
        let version = self.version_of(id, &snap_in)?;
        let owner = |level: Level, name: &str| {
            let name = name.to_owned();
            match (level, user) {
                (Level::User, Some(user)) => Some(KeyringOwner::User { snap_in: id, user, name }),
                (Level::User, None) => None,
                (Level::Organization, _) => Some(KeyringOwner::SnapIn { snap_in: id, name }),
            }
        };
        let mut owners: Vec<KeyringOwner> =
            version.manifest.keyrings.iter().filter_map(|it| owner(it.level, &it.name)).collect();
        // What a version of before declared is kept for a way back.
        let bound = snap_in.keyrings.keys().map(|name| (Level::Organization, name));
        for (level, name) in bound.chain(of_user.keys().map(|name| (Level::User, name))) {
            if version.manifest.keyring(name).is_none() {
                owners.extend(owner(level, name));
            }
        }
        owners.into_iter().map(|owner| self.locate_in(owner, &snap_in, &version)).collect()
    }

    fn version_of(
        &self,
        id: SnapInId,
        snap_in: &SnapInRecord,
    ) -> Result<Arc<VersionContext>, KeyringError> {
        let version = self.0.parts.contexts.version(snap_in.version)?;
        version.ok_or(KeyringError::NoSuchSnapIn(id))
    }

    fn locate_in(
        &self,
        owner: KeyringOwner,
        snap_in: &SnapInRecord,
        version: &Arc<VersionContext>,
    ) -> Result<Located, KeyringError> {
        let level = match &owner {
            KeyringOwner::SnapIn { .. } => Level::Organization,
            KeyringOwner::User { .. } => Level::User,
            KeyringOwner::Developer { .. } => return Err(no_such_keyring(&owner)),
        };
        let declared = version.manifest.keyring(owner.name()).filter(|it| it.level == level);
        let now_ms = self.0.parts.clock.now_ms();
        let (found, awaited) = self.0.parts.store.read(|tables| {
            let awaited = tables.authorization_of(&owner, now_ms)?.map(|it| it.expires_ms);
            let Some(id) = tables.keyring_of(&owner)? else { return Ok((None, awaited)) };
            Ok((tables.keyring(id)?.map(|it| (id, it)), awaited))
        })?;
        if declared.is_none() && found.is_none() {
            let at_level = version.manifest.keyrings.iter().filter(|it| it.level == level);
            return Err(KeyringError::NoSuchKeyring {
                name: owner.name().to_owned(),
                declared: at_level.map(|it| it.name.clone()).collect(),
            });
        }
        Ok(Located {
            declared: declared.cloned(),
            found,
            awaited_until_ms: awaited.or(self.0.returning.until_ms(&owner)),
            version: version.clone(),
            snap_in: snap_in.clone(),
            owner,
        })
    }
}

fn no_such_keyring(owner: &KeyringOwner) -> KeyringError {
    KeyringError::NoSuchKeyring { name: owner.name().to_owned(), declared: Vec::new() }
}
