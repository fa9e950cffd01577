//! Renewing access tokens: on use when they are due, or when somebody asks; one attempt at a time for
//! each keyring, whoever wants it.
//!
//! Invariant: tokens that a server has given are on the disk before anybody gets to use them, because
//! the ones before them may be void from then on.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::authorize::oauth2_of;
use super::standing::Standing;
use super::verify;
use super::{KeyringError, Keyrings, Located};
use crate::connections::oauth::{self, Grant, Life, Refusal, RefusalKind};
use crate::connections::secret::{KeyringSecret, Tokens};
use crate::connections::types;
use crate::model::id::KeyringId;
use crate::model::keyring::{KeyringOwner, KeyringState};
use crate::store::{KeyringRecord, StoreError};

/// How long the store may refuse new tokens before they are given up.
const STORE_PATIENCE: Duration = Duration::from_secs(30);
/// Why a keyring of a version of before is left alone.
const NOT_DECLARED: &str = "the present version of the snap-in does not declare it as it is";
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// The attempts of all keyrings.
#[derive(Default)]
pub(super) struct Attempts {
    places: Mutex<HashMap<KeyringId, Arc<Place>>>,
    /// How many are being made.
    under_way: watch::Sender<usize>,
}

/// While it is there, an attempt is under way.
struct UnderWay(watch::Sender<usize>);

/// The attempts of one keyring.
#[derive(Default)]
struct Place {
    /// How many have ended: whoever finds more than when he came shares what came of the last.
    ended: AtomicU64,
    /// Held while one is made.
    past: tokio::sync::Mutex<Past>,
}

/// What came of the attempts so far, since one succeeded.
#[derive(Default)]
struct Past {
    failures: u32,
    failure: Option<KeyringError>,
    not_before: Option<Instant>,
}

/// Why somebody wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It is due. After a failure there is a pause.
    Due,
    /// Somebody asked, who does not want to wait for the end of a pause.
    Asked,
}

impl Attempts {
    fn place(&self, id: KeyringId) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(id).or_default().clone()
    }

    /// One is being made until the guard is dropped.
    fn begin(&self) -> UnderWay {
        self.under_way.send_modify(|it| *it += 1);
        UnderWay(self.under_way.clone())
    }

    /// Nothing of before counts for a keyring that was set anew or removed.
    pub(super) fn forget(&self, id: KeyringId) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|it| *it = it.saturating_sub(1));
    }
}

/// The life of the access token, as far as it is known.
pub(super) fn life(record: &KeyringRecord) -> Option<Life> {
    record.expires_ms.map(|expires_ms| Life { given_ms: record.changed_ms, expires_ms })
}

impl Keyrings {
    /// The tokens of a keyring, renewed when they are due. While the old one is good, a renewal that
    /// may work later is no error.
    pub(super) async fn fresh(
        &self,
        id: KeyringId,
        record: &KeyringRecord,
        secret: KeyringSecret,
    ) -> Result<KeyringSecret, KeyringError> {
        let Some(life) = life(record) else { return Ok(secret) };
        let now_ms = self.0.parts.clock.now_ms();
        let wanted = if record.refreshable { life.due_ms() } else { life.expires_ms };
        if now_ms < wanted {
            return Ok(secret);
        }
        let standing = self.standing(record)?;
        if standing == Standing::Kept {
            let name = record.owner.name().to_owned();
            return match life.is_good(now_ms) {
                true => Ok(secret),
                false => Err(KeyringError::NotRenewed { name, reason: NOT_DECLARED.to_owned() }),
            };
        }
        match self.renewed(id, record.generation, Occasion::Due).await {
            Ok((_, renewed)) => Ok(renewed),
            Err(_) if life.is_good(self.0.parts.clock.now_ms()) => Ok(secret),
            Err(error) => {
                if standing == Standing::Needed && matches!(error, KeyringError::NotRenewed { .. })
                {
                    self.set_waiting(&record.owner, id, true);
                }
                Err(error)
            }
        }
    }

    /// Renews the access tokens among `bindings` that an attempt which began at `since_ms` was called
    /// with, whether or not they are due: a function has found that one is of no use. What the snap-in can do without may
    /// fail; the rest is an error, because the function would only find the same again.
    pub async fn renew_older(
        &self,
        bindings: &BTreeMap<String, KeyringId>,
        since_ms: u64,
    ) -> Result<(), KeyringError> {
        for id in bindings.values() {
            let Some(record) = self.0.parts.store.read(|tables| tables.keyring(*id))? else {
                continue;
            };
            // Somebody else may have renewed it since: of many runs that failed, one has to.
            let is_old = record.refreshable
                && record.state == KeyringState::Ready
                && record.changed_ms < since_ms;
            if !is_old || self.standing(&record)? == Standing::Kept {
                continue;
            }
            match self.renewed(*id, record.generation, Occasion::Asked).await {
                Ok(_) => {}
                Err(problem) if self.can_do_without(&record, &problem)? => {
                    tracing::debug!(keyring = %id, %problem, "a keyring was not renewed");
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    /// Renews the access token now, whether or not it is due.
    pub async fn refresh(&self, owner: KeyringOwner) -> Result<KeyringRecord, KeyringError> {
        let located = self.locate(owner)?;
        let Some((id, record)) = located.found else {
            return Err(KeyringError::NotSet(located.owner.name().to_owned()));
        };
        if self.standing(&record)? == Standing::Kept {
            let name = located.owner.name().to_owned();
            return Err(KeyringError::NotRenewed { name, reason: NOT_DECLARED.to_owned() });
        }
        let connection = types::find(&located.version.manifest, &record.type_id)?;
        oauth2_of(&connection)?;
        self.renewed(id, record.generation, Occasion::Asked).await.map(|(record, _)| record)
    }

    /// Renews the tokens that somebody saw as `seen`, unless somebody else has by then. It goes on
    /// when the caller does not wait for it.
    pub(super) async fn renewed(
        &self,
        id: KeyringId,
        seen: u64,
        occasion: Occasion,
    ) -> Result<(KeyringRecord, KeyringSecret), KeyringError> {
        let this = self.clone();
        let place = self.0.attempts.place(id);
        let ended = place.ended.load(Ordering::SeqCst);
        let under_way = self.0.attempts.begin();
        let attempt = self.0.parts.runtime.spawn(async move {
            let _under_way = under_way;
            let mut past = place.past.lock().await;
            let Some((record, envelope)) =
                this.0.parts.store.read(|tables| tables.keyring_with_envelope(id))?
            else {
                return Err(KeyringError::Gone);
            };
            if record.generation != seen && record.state == KeyringState::Ready {
                let secret = this.open(id, &envelope)?;
                return Ok((record, secret));
            }
            let is_shared = place.ended.load(Ordering::SeqCst) != ended;
            let pauses =
                occasion == Occasion::Due && past.not_before.is_some_and(|it| Instant::now() < it);
            if let Some(failure) = past.failure.as_ref().filter(|_| is_shared || pauses) {
                return Err(failure.clone());
            }
            let _under_way = this.0.attempts.begin();
            let secret = this.open(id, &envelope)?;
            let outcome = this.attempt(id, record, secret, &mut past).await;
            place.ended.fetch_add(1, Ordering::SeqCst);
            outcome
        });
        attempt.await.unwrap_or(Err(KeyringError::Store(StoreError::Unavailable)))
    }

    /// One attempt, and what follows from it.
    async fn attempt(
        &self,
        id: KeyringId,
        record: KeyringRecord,
        secret: KeyringSecret,
        past: &mut Past,
    ) -> Result<(KeyringRecord, KeyringSecret), KeyringError> {
        let name = record.owner.name().to_owned();
        match self.ask_for_tokens(&record, &secret).await {
            Ok(grant) => {
                *past = Past::default();
                self.store_tokens(id, record, secret, grant).await
            }
            Err(refusal) => {
                past.failures += 1;
                let retry_after = match refusal.kind {
                    RefusalKind::Transient { retry_after } => retry_after,
                    RefusalKind::Permanent | RefusalKind::Unclear => None,
                };
                let pause = Duration::from_millis(oauth::pause_ms(past.failures, retry_after));
                past.not_before = Some(Instant::now() + pause);
                let failure = if oauth::is_lost(refusal.kind, past.failures) {
                    self.break_down(id, &record, &refusal.message).await?;
                    KeyringError::Broken { name, reason: refusal.message }
                } else {
                    warn!(
                        keyring = %id,
                        name,
                        reason = refusal.message,
                        next_try_ms = pause.as_millis(),
                        "an access token was not renewed"
                    );
                    KeyringError::NotRenewed { name, reason: refusal.message }
                };
                past.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    async fn ask_for_tokens(
        &self,
        record: &KeyringRecord,
        secret: &KeyringSecret,
    ) -> Result<Grant, Refusal> {
        let permanent = |message: String| Refusal { kind: RefusalKind::Permanent, message };
        // What is wrong here is wrong with the configuration, which somebody may mend at any time.
        let unclear = |error: KeyringError| Refusal {
            kind: RefusalKind::Unclear,
            message: error.to_string(),
        };
        let KeyringSecret::Tokens(Tokens { refresh_token, .. }) = secret else {
            return Err(permanent("it holds no tokens".to_owned()));
        };
        let Some(refresh_token) = refresh_token else {
            let message = "its access token has expired, and there is no refresh token";
            return Err(permanent(message.to_owned()));
        };
        let located = self.locate(record.owner.clone()).map_err(unclear)?;
        // It may have been upgraded since somebody wanted this; a version of later may go back.
        if self.standing(record).map_err(|it| unclear(it.into()))? == Standing::Kept {
            let kind = RefusalKind::Transient { retry_after: None };
            return Err(Refusal { kind, message: NOT_DECLARED.to_owned() });
        }
        let connection = types::find(&located.version.manifest, &record.type_id)
            .map_err(|it| unclear(it.into()))?;
        let oauth2 = oauth2_of(&connection).map_err(unclear)?;
        let client = self.client(located.snap_in.package, &oauth2.client).map_err(unclear)?;
        let organization = record.organization.as_ref().map(|it| it.id.as_str());
        let values = verify::values(secret, record.subdomain.as_deref(), organization)
            .with_client(&client.id, client.secret.as_ref())
            .with_scopes(&record.scopes.join(&oauth2.scope_delimiter));
        let request = oauth::refresh_request(oauth2, &values, &client, refresh_token)
            .map_err(|error| unclear(KeyringError::Request(error.to_string())))?;
        let answer = self.exchange(request).await.map_err(|nothing| Refusal {
            kind: if nothing.is_transient {
                RefusalKind::Transient { retry_after: None }
            } else {
                RefusalKind::Unclear
            },
            message: nothing.message,
        })?;
        let retry_after = answer.retry_after();
        oauth::read_grant(answer.status, retry_after, &answer.body, &values.secrets()).map_err(
            |refusal| Refusal {
                message: format!("{} {}", answer.whereabouts, refusal.message),
                ..refusal
            },
        )
    }

    /// Stores what the server gave. It may have made the tokens of before void, so a store that
    /// fails is asked again for a while.
    async fn store_tokens(
        &self,
        id: KeyringId,
        record: KeyringRecord,
        before: KeyringSecret,
        grant: Grant,
    ) -> Result<(KeyringRecord, KeyringSecret), KeyringError> {
        let Grant { mut tokens, expires_in, scopes } = grant;
        if let (None, KeyringSecret::Tokens(Tokens { refresh_token, .. })) =
            (&tokens.refresh_token, before)
        {
            // A server that gives no new one goes on with the old one (RFC 6749 §6).
            tokens.refresh_token = refresh_token;
        }
        let secret = KeyringSecret::Tokens(tokens);
        let new = KeyringRecord {
            state: KeyringState::Ready,
            expires_ms: self.expiry(expires_in.or(life_seconds(&record))),
            refreshable: super::authorize::is_refreshable(&secret),
            scopes: scopes.unwrap_or_else(|| record.scopes.clone()),
            verified: true,
            ..record
        };
        let deadline = Instant::now() + STORE_PATIENCE;
        loop {
            let (vault, bytes, new) = (self.0.parts.vault.clone(), secret.to_bytes(), new.clone());
            let stored =
                self.0.parts.store.write(move |tables| {
                    tables.renew_keyring(id, &new, &|id| vault.seal(id, &bytes))
                });
            match stored.await {
                Ok(Some(record)) => {
                    self.set_waiting(&record.owner, id, false);
                    self.0.secrets.send_replace(());
                    info!(keyring = %id, name = record.owner.name(), "an access token was renewed");
                    return Ok((record, secret));
                }
                Ok(None) => return Err(KeyringError::Gone),
                Err(error) if Instant::now() < deadline => {
                    warn!(keyring = %id, %error, "renewed tokens cannot be stored yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(error) => {
                    error!(keyring = %id, %error, "renewed tokens could not be stored and are lost");
                    return Err(error.into());
                }
            }
        }
    }

    /// Notes that a keyring is of no use any more, and tells whoever runs the snap-in.
    pub(super) async fn break_down(
        &self,
        id: KeyringId,
        record: &KeyringRecord,
        reason: &str,
    ) -> Result<(), KeyringError> {
        // Nothing starts between here and the moment that the snap-in is in ERROR.
        self.set_waiting(&record.owner, id, true);
        let generation = record.generation;
        let state = KeyringState::Broken { reason: reason.to_owned() };
        let note = self
            .0
            .parts
            .store
            .write(move |tables| tables.note_keyring(id, generation, Some(&state), false));
        let noted = note.await;
        let Ok(Some(record)) = noted else {
            self.set_waiting(&record.owner, id, false);
            return Err(noted.err().map_or(KeyringError::Gone, KeyringError::from));
        };
        warn!(keyring = %id, name = record.owner.name(), reason, "a keyring is broken");
        if let Some(snap_in) = record.owner.snap_in() {
            self.0.parts.contexts.forget(snap_in);
        }
        self.report(&record, reason).await;
        self.set_waiting(&record.owner, id, false);
        Ok(())
    }

    /// Tells whoever runs a snap-in that it cannot function, if it cannot. A person's own keyring is
    /// his alone.
    pub(super) async fn report(&self, record: &KeyringRecord, reason: &str) {
        let KeyringOwner::SnapIn { snap_in, name } = &record.owner else { return };
        let Some(listener) = self.0.broken.get() else { return };
        match self.standing(record) {
            Ok(Standing::Needed) => {}
            Ok(Standing::Optional | Standing::Kept) => return,
            // It is looked at again.
            Err(error) => return warn!(%snap_in, %error, "a broken keyring was not reported"),
        }
        let reason =
            format!("the keyring `{name}` is broken: {reason}; connect it again, or delete it");
        listener.keyring_broken(*snap_in, reason).await;
    }

    /// Waits until no renewal is under way: a daemon that ends in the middle of one may lose tokens
    /// that it was given.
    pub async fn settled(&self) {
        let mut under_way = self.0.attempts.under_way.subscribe();
        // The sender lives as long as this.
        let _ = under_way.wait_for(|it| *it == 0).await;
    }
}

/// For how long the token of before was good, when the server does not say it of the new one.
fn life_seconds(record: &KeyringRecord) -> Option<u64> {
    life(record).map(|it| it.expires_ms.saturating_sub(it.given_ms) / 1000)
}

impl Located {
    /// Whether a person's browser is needed for it.
    pub fn is_connection(&self) -> bool {
        let Some((_, record)) = &self.found else { return false };
        types::find(&self.version.manifest, &record.type_id).is_ok_and(|it| it.is_oauth2())
    }
}
