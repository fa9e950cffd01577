//! Giving connections up, and trying what is stored.

use std::time::Duration;

use futures_util::StreamExt;

use super::authorize::oauth2_of;
use super::verify;
use super::{KeyringError, Keyrings, Located, Prepared};
use crate::connections::oauth;
use crate::connections::secret::{KeyringSecret, Tokens};
use crate::connections::types;
use crate::connections::verification::answered;
use crate::model::id::SnapInId;
use crate::model::keyring::{KeyringOwner, KeyringState};
use crate::store::{KeyringRecord, PageRequest};

/// How many connections of a snap-in are given up at the same time.
const AT_ONCE: usize = 8;
/// How long that may hold up its deletion.
const PATIENCE: Duration = Duration::from_secs(30);

impl Keyrings {
    /// Tries what is stored at the external system; answers what that has against it. Whether it
    /// was confirmed is noted, and nothing else changes.
    pub async fn verify(&self, owner: KeyringOwner) -> Result<Option<String>, KeyringError> {
        let located = self.locate(owner)?;
        let name = || located.owner.name().to_owned();
        let Some((id, record, secret)) = self.whole(&located)? else {
            return Err(KeyringError::NotSet(name()));
        };
        let connection = types::find(&located.version.manifest, &record.type_id)?;
        if connection.token_verification.is_none() && connection.organization_data.is_none() {
            return Err(KeyringError::NothingToAsk(format!(
                "the keyring type `{}` does not say how a secret is tried",
                record.type_id
            )));
        }
        let (secret, generation) = match self.fresh(id, &record, secret).await {
            Ok(secret) => (secret, self.generation(id)?.unwrap_or(record.generation)),
            Err(KeyringError::Broken { reason, .. }) => return Ok(Some(reason)),
            Err(error) => return Err(error),
        };
        let organization = record.organization.as_ref().map(|it| it.id.as_str());
        let values = verify::values(&secret, record.subdomain.as_deref(), organization);
        let values = self.with_client(values, &connection, located.snap_in.package)?;
        let tried = match self.find_organization(&connection, &values, None, organization).await {
            Ok(_) => self.try_secret(&connection, &values).await.map(|_| ()),
            // It is good for several, and for one of them it was set.
            Err(KeyringError::Organization(_)) => Ok(()),
            Err(error) => Err(error),
        };
        let problem = match tried {
            Ok(()) => None,
            Err(KeyringError::Rejected(said)) => Some(said),
            Err(error) => return Err(error),
        };
        let verified = problem.is_none();
        let store = &self.0.parts.store;
        let note = store.write(move |tables| tables.note_keyring(id, generation, None, verified));
        note.await?;
        Ok(problem)
    }

    /// Gives a connection up at the external system. The keyring stays, broken, so that whatever
    /// uses it says why it does not work; the tokens are gone.
    pub async fn revoke(&self, owner: KeyringOwner, by: &str) -> Result<(), KeyringError> {
        let located = self.locate(owner)?;
        let Some((id, record, _)) = self.whole(&located)? else {
            return Err(KeyringError::NotSet(located.owner.name().to_owned()));
        };
        let is_done = self.give_up(&located).await?;
        if !is_done {
            return Err(KeyringError::NothingToAsk(format!(
                "the keyring type `{}` does not say how access is given up: delete the keyring, and \
                 withdraw access at the external system",
                record.type_id
            )));
        }
        let nothing = Tokens { access_token: String::new().into(), refresh_token: None };
        let bytes = KeyringSecret::Tokens(nothing).to_bytes();
        let new = KeyringRecord { expires_ms: None, refreshable: false, ..record };
        let vault = self.0.parts.vault.clone();
        let emptied = self
            .0
            .parts
            .store
            .write(move |tables| tables.renew_keyring(id, &new, &|id| vault.seal(id, &bytes)));
        let Some(record) = emptied.await? else { return Err(KeyringError::Gone) };
        self.0.attempts.forget(id);
        let reason = format!("access was given up by {by}");
        self.break_down(id, &record, &reason).await
    }

    /// Gives tokens up as the type says; answers whether it says how.
    pub(super) async fn give_up(&self, located: &Located) -> Result<bool, KeyringError> {
        let Some((_, record, secret)) = self.whole(located)? else { return Ok(false) };
        self.give_up_tokens(located, &record, &secret).await
    }

    async fn give_up_tokens(
        &self,
        located: &Located,
        record: &KeyringRecord,
        secret: &KeyringSecret,
    ) -> Result<bool, KeyringError> {
        let KeyringSecret::Tokens(tokens) = secret else { return Ok(false) };
        let connection = types::find(&located.version.manifest, &record.type_id)?;
        let oauth2 = oauth2_of(&connection)?;
        let client = self.client(located.snap_in.package, &oauth2.client)?;
        let organization = record.organization.as_ref().map(|it| it.id.as_str());
        let values = verify::values(secret, record.subdomain.as_deref(), organization)
            .with_client(&client.id, client.secret.as_ref());
        let Some(request) = oauth::revoke_request(oauth2, &values, &client, tokens) else {
            return Ok(false);
        };
        let request = request.map_err(|error| KeyringError::Request(error.to_string()))?;
        let answer = self.exchange(request).await.map_err(|nothing| {
            if nothing.is_transient {
                KeyringError::Unreachable(nothing.message)
            } else {
                KeyringError::Request(nothing.message)
            }
        })?;
        let said = answered(answer.status, &answer.body, &values.secrets());
        match answer.status {
            200..300 => Ok(true),
            408 | 425 | 429 | 500.. => {
                Err(KeyringError::Unreachable(format!("{} {said}", answer.whereabouts)))
            }
            _ => Err(KeyringError::Rejected(format!("{} {said}", answer.whereabouts))),
        }
    }

    /// Gives tokens up that were granted and are not stored after all: nobody else knows them.
    pub async fn discard(&self, granted: Prepared) {
        let Prepared { record, secret, .. } = granted;
        let name = record.owner.name();
        let outcome = match self.locate(record.owner.clone()) {
            Ok(located) => match self.whole(&located) {
                // What failed came after it was stored.
                Ok(Some((_, _, stored))) if stored == secret => return,
                Ok(_) => self.give_up_tokens(&located, &record, &secret).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(true) => tracing::info!(name, "access that was granted in vain was given up"),
            Ok(false) => tracing::warn!(
                name,
                "access was granted in vain, and the keyring type does not say how it is given up"
            ),
            Err(error) => {
                tracing::warn!(name, %error, "access that was granted in vain was not given up");
            }
        }
    }

    /// Gives up every connection of a snap-in that is being deleted, also those of its users.
    pub async fn give_up_all(&self, snap_in: SnapInId) {
        let mut owners = Vec::new();
        let mut from = None;
        loop {
            let page = PageRequest { from, limit: usize::MAX, newest_first: false };
            let found = self.0.parts.store.read(|tables| {
                tables.list_keyrings(page, |it| it.owner.snap_in() == Some(snap_in))
            });
            let Ok(page) = found else { return };
            owners.extend(page.rows.into_iter().map(|(_, record)| record.owner));
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        let all = futures_util::stream::iter(&owners)
            .for_each_concurrent(AT_ONCE, |owner| self.give_up_if_possible(owner));
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!(%snap_in, "not every connection of a deleted snap-in was given up in time");
        }
    }

    /// As [`Keyrings::give_up`] before something is deleted, which nothing here can hold up.
    pub(super) async fn give_up_if_possible(&self, owner: &KeyringOwner) {
        let Ok(located) = self.locate(owner.clone()) else { return };
        let is_broken = located
            .found
            .as_ref()
            .is_some_and(|(_, it)| matches!(it.state, KeyringState::Broken { .. }));
        if !located.is_connection() || is_broken {
            return;
        }
        if let Err(error) = self.give_up(&located).await {
            tracing::warn!(
                name = owner.name(),
                %error,
                "a connection is deleted that could not be given up at the external system"
            );
        }
    }
}
