//! Gives secrets a new master key while everything runs.
//!
//! There is no record of a rotation: it is under way as long as the key file holds more than one key
//! or an envelope names an old one, so that a start after kill -9 goes on wherever it was. A new key
//! is in the file before it is used; envelopes are sealed again outside of the writer, which takes
//! each only if its owner has not got another one meanwhile; an old key leaves the file when no
//! envelope names it. In memory it stays for half an hour more, for as long as tokens that it signed
//! are good: a function that is running must not lose its way back. A restart ends functions anyway.
//!
//! Invariant: nothing that was sealed with a key can still be on its way to the store when that key
//! leaves the file. Secrets are sealed inside the operation that stores them, which the writer runs
//! one after another: what it takes up after the new key is in use is sealed with that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::key_check::count;
use crate::secrets::{KeyError, KeyHome, KeyId, MasterKeys, ServiceTokens, Vault, VaultError};
use crate::store::{Store, StoreError};

/// Envelopes in one transaction, so that it delays nobody.
const CHUNK: usize = 256;
/// After which a step that failed (a full disk, say) is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Why a rotation did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The key cannot be changed; nothing has changed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The new key is in use, and what comes of it cannot be read at the moment.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How things stand with the master keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Where the keys are.
    pub home: KeyHome,
    /// The key in use first, each with how many secrets are sealed with it.
    pub keys: Vec<(KeyId, u64)>,
    /// What is still to be done.
    pub state: RotationState,
    /// Owners of secrets that cannot be opened.
    pub damaged: Vec<u128>,
    /// Why it does not go on at the moment.
    pub problem: Option<String>,
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationState {
    /// There is one key, and all is sealed with it.
    Settled,
    /// Secrets are being sealed again.
    Sealing {
        /// So many are still under old keys.
        left: u64,
    },
    /// Nothing is sealed with old keys, and who provides the credential may take them out.
    Removable,
    /// All that is still sealed with old keys cannot be opened.
    Stuck,
}

/// Keeps the secrets under the key in use. Clones are handles to the same.
#[derive(Clone)]
pub struct KeyKeeper(Arc<Keeper>);

struct Keeper {
    store: Arc<Store>,
    keys: MasterKeys,
    vault: Vault,
    /// Something may be to do.
    wake: Notify,
    progress: watch::Sender<Progress>,
    /// For how long a key that has left the file is kept in memory, and until when.
    grace: Duration,
    forget_at: Mutex<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// The key that all that can be opened is sealed with; none as long as that is not known.
    settled_with: Option<KeyId>,
    damaged: Vec<u128>,
    problem: Option<String>,
}

impl KeyKeeper {
    /// Starts on `runtime`: ends the rotation that was under way, if there was one.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        store: Arc<Store>,
        keys: MasterKeys,
    ) -> KeyKeeper {
        KeyKeeper::start_with(runtime, store, keys, ServiceTokens::LIFETIME)
    }

    fn start_with(
        runtime: &tokio::runtime::Handle,
        store: Arc<Store>,
        keys: MasterKeys,
        grace: Duration,
    ) -> KeyKeeper {
        let keeper = KeyKeeper(Arc::new(Keeper {
            store,
            vault: Vault::new(&keys),
            keys,
            wake: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
            grace,
            forget_at: Mutex::new(Instant::now() + grace),
        }));
        runtime.spawn(keeper.clone().keep());
        keeper
    }

    /// Makes a new key, uses it from now on, and waits up to `patience` until all secrets are sealed
    /// with it. That goes on all the same when the caller does not wait.
    pub async fn rotate(&self, patience: Duration) -> Result<KeyStatus, RotationError> {
        let keys = self.0.keys.clone();
        let key = blocking(move || keys.renew()).await??;
        *self.forget_at() = Instant::now() + self.0.grace;
        info!(%key, "a new master key is in use; all secrets are sealed again");
        self.0.wake.notify_one();
        let mut progress = self.0.progress.subscribe();
        // Whether it has ended or not is in the answer.
        let _ =
            tokio::time::timeout(patience, progress.wait_for(|it| it.settled_with == Some(key)))
                .await;
        Ok(self.status().await?)
    }

    /// How things stand.
    pub async fn status(&self) -> Result<KeyStatus, StoreError> {
        let store = self.0.store.clone();
        let sealed = blocking(move || count(&store)).await??;
        let (current, old) = self.0.keys.ids();
        let number = |id| sealed.get(&Some(id)).copied().unwrap_or_default();
        let keys: Vec<(KeyId, u64)> =
            std::iter::once(current).chain(old).map(|id| (id, number(id))).collect();
        let progress = self.0.progress.borrow().clone();
        let home = self.0.keys.home().clone();
        let state = state_of(&home, &keys, progress.settled_with != Some(current));
        let Progress { damaged, problem, .. } = progress;
        Ok(KeyStatus { home, keys, state, damaged, problem })
    }

    async fn keep(self) {
        loop {
            let next = match self.settle().await {
                Ok(next) => {
                    self.0.progress.send_modify(|it| it.problem = None);
                    next
                }
                Err(error) => {
                    warn!(%error, "the change of the master key does not go on, and is tried again");
                    self.0.progress.send_modify(|it| it.problem = Some(error.to_string()));
                    Some(Instant::now() + TRY_AGAIN)
                }
            };
            let pause = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = pause => {}
            }
        }
    }

    /// Does what can be done by now, and says when there will be more.
    async fn settle(&self) -> Result<Option<Instant>, RotationError> {
        let (current, old) = self.0.keys.ids();
        if !old.is_empty() {
            // What was taken up before the new key came into use is on the disk after this.
            self.0.store.write(|_| Ok(())).await?;
            self.seal_all_again().await?;
        }
        if self.0.keys.ids().0 != current {
            return Ok(Some(Instant::now()));
        }
        if matches!(self.0.keys.home(), KeyHome::File(_)) && !old.is_empty() {
            self.retire_unused(old).await?;
        }
        self.0.progress.send_modify(|it| it.settled_with = Some(current));
        if !self.0.keys.has_retired() {
            return Ok(None);
        }
        let forget_at = *self.forget_at();
        if Instant::now() < forget_at {
            return Ok(Some(forget_at));
        }
        // The last occasion to save what somebody stored late against the rule.
        self.seal_all_again().await?;
        self.0.keys.forget_retired();
        Ok(None)
    }

    /// Seals every envelope again that is under an old key, until there is none.
    async fn seal_all_again(&self) -> Result<(), RotationError> {
        let mut total = 0;
        loop {
            let (sealed, damaged) = self.seal_pass().await?;
            total += sealed;
            if sealed > 0 {
                continue;
            }
            if total > 0 {
                info!(secrets = total, "all secrets are sealed with the master key in use");
            }
            if !damaged.is_empty() {
                error!(secrets = damaged.len(), "some secrets cannot be opened: set them anew");
            }
            self.0.progress.send_modify(|it| it.damaged = damaged);
            return Ok(());
        }
    }

    /// Goes once through all envelopes; how many were under old keys, and who has a damaged one.
    async fn seal_pass(&self) -> Result<(usize, Vec<u128>), RotationError> {
        let (mut sealed, mut damaged) = (0, Vec::new());
        let mut from = Some(0);
        while let Some(at) = from {
            let (store, vault) = (self.0.store.clone(), self.0.vault.clone());
            let chunk = blocking(move || prepare(&store, &vault, at)).await??;
            damaged.extend(chunk.damaged);
            from = chunk.next;
            if chunk.again.is_empty() {
                continue;
            }
            sealed += chunk.again.len();
            let again = chunk.again;
            self.0
                .store
                .write(move |tables| {
                    for (owner, before, after) in &again {
                        // A secret that was set or deleted meanwhile stays as it is now.
                        tables.replace_envelope(*owner, before, after)?;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok((sealed, damaged))
    }

    /// Takes those of the old keys out of the file that no envelope names.
    async fn retire_unused(&self, old: Vec<KeyId>) -> Result<(), RotationError> {
        let (store, keys) = (self.0.store.clone(), self.0.keys.clone());
        let gone = blocking(move || -> Result<Vec<KeyId>, RotationError> {
            let sealed = count(&store)?;
            let unused: Vec<KeyId> =
                old.into_iter().filter(|it| !sealed.contains_key(&Some(*it))).collect();
            if !unused.is_empty() {
                keys.retire(&unused)?;
            }
            Ok(unused)
        })
        .await??;
        for key in gone {
            info!(%key, "an old master key is not needed any more and has left the key file");
        }
        Ok(())
    }

    fn forget_at(&self) -> MutexGuard<'_, Instant> {
        self.0.forget_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state_of(home: &KeyHome, keys: &[(KeyId, u64)], sealing: bool) -> RotationState {
    let old = keys.get(1..).unwrap_or_default();
    let left = old.iter().map(|(_, number)| number).sum();
    match (home, old.is_empty(), left) {
        (_, true, _) => RotationState::Settled,
        // The file is about to be written without them.
        (KeyHome::File(_), false, 0) => RotationState::Sealing { left },
        (KeyHome::Credential(_), false, 0) => RotationState::Removable,
        (_, false, 1..) if sealing => RotationState::Sealing { left },
        (_, false, 1..) => RotationState::Stuck,
    }
}

struct Chunk {
    /// Owner, the envelope that he has, and the one that he is to have.
    again: Vec<(u128, Vec<u8>, Vec<u8>)>,
    damaged: Vec<u128>,
    next: Option<u128>,
}

fn prepare(store: &Store, vault: &Vault, from: u128) -> Result<Chunk, StoreError> {
    let envelopes = store.read(|tables| tables.envelopes(from, CHUNK))?;
    let next = match envelopes.last() {
        Some((owner, _)) if envelopes.len() == CHUNK => owner.checked_add(1),
        Some(_) | None => None,
    };
    let mut chunk = Chunk { again: Vec::new(), damaged: Vec::new(), next };
    for (owner, envelope) in envelopes {
        match vault.seal_again(owner, &envelope) {
            Ok(Some(again)) => chunk.again.push((owner, envelope, again)),
            Ok(None) => {}
            Err(VaultError::Damaged | VaultError::OtherKey) => chunk.damaged.push(owner),
        }
    }
    Ok(chunk)
}

/// Files, ciphers and long looks at the store are kept away from threads that serve others.
async fn blocking<A: Send + 'static>(
    work: impl FnOnce() -> A + Send + 'static,
) -> Result<A, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Panicked(error.to_string()))
}

#[cfg(test)]
#[path = "key_rotation_tests.rs"]
mod tests;
