//! What a function gets to call the API with: a service-account token, and for commands and snap-kit
//! actions an actor token, which names who gave the order. Both are signed and stateless, limited to
//! one snap-in, valid for 30 minutes (spec §2.2). The master key in use signs them; those that an
//! older one has signed are read for as long as that is at hand, so that a function that runs while
//! the key is changed does not lose its way back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::master_key::mac;
use super::master_keys::MasterKeys;
use crate::model::actor::Actor;
use crate::model::event::Cause;
use crate::model::id::{RunId, ServiceAccountId, SnapInId};

/// What all of them start with.
const PREFIX: &str = "mst_";
/// How long they live.
const LIFETIME_MS: u64 = 30 * 60 * 1000;

/// What a token says about who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceClaims {
    /// The identity.
    pub service_account: ServiceAccountId,
    /// The snap-in that it is limited to.
    pub snap_in: SnapInId,
    /// The run that it was made for, and where in a chain of causes that stands.
    pub run: RunId,
    /// The cause of the run.
    pub cause: Cause,
    /// On whose order the run is, in a token that acts for him.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Which call of a hook it was made for, when that may report its outcome later: a hook that is
    /// called again has the same run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_call: Option<u64>,
    /// Until when it is valid, milliseconds of the Unix epoch.
    pub expires_ms: u64,
}

/// The run that a token is made for, and what it may reach.
#[derive(Clone, Copy, Debug)]
pub struct TokenRun {
    /// The identity.
    pub service_account: ServiceAccountId,
    /// The snap-in that the token is limited to.
    pub snap_in: SnapInId,
    /// The run itself.
    pub run: RunId,
    /// Where in a chain of causes it stands.
    pub cause: Cause,
}

impl TokenRun {
    fn claims(&self, now_ms: u64) -> ServiceClaims {
        let TokenRun { service_account, snap_in, run, cause } = *self;
        let expires_ms = now_ms + LIFETIME_MS;
        let (actor, hook_call) = (None, None);
        ServiceClaims { service_account, snap_in, run, cause, actor, hook_call, expires_ms }
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceTokenError {
    /// It was not made by this host, or was changed.
    #[error("this is no valid token of this host")]
    Invalid,
    /// It was valid once.
    #[error("the token has expired: tokens of functions live for 30 minutes")]
    Expired,
}

/// Makes and reads the tokens of functions.
#[derive(Clone)]
pub struct ServiceTokens {
    keys: MasterKeys,
}

impl ServiceTokens {
    /// How long a token is good for.
    pub const LIFETIME: Duration = Duration::from_millis(LIFETIME_MS);

    /// With the host's master keys.
    pub fn new(keys: &MasterKeys) -> ServiceTokens {
        ServiceTokens { keys: keys.clone() }
    }

    /// Whether a text looks like one of ours, so that a bad one gets an answer of its own.
    pub fn looks_like_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// A token for one run.
    pub fn issue(&self, run: &TokenRun, now_ms: u64) -> String {
        self.sign(&run.claims(now_ms))
    }

    /// A token for one call of a hook that may report its outcome later.
    pub fn issue_for_hook(&self, hook_call: u64, run: &TokenRun, now_ms: u64) -> String {
        self.sign(&ServiceClaims { hook_call: Some(hook_call), ..run.claims(now_ms) })
    }

    /// A token for one run that acts for whoever ordered it.
    pub fn issue_for(&self, actor: Actor, run: &TokenRun, now_ms: u64) -> String {
        self.sign(&ServiceClaims { actor: Some(actor), ..run.claims(now_ms) })
    }

    /// A token that opens nothing: it says what a request of the daemon to itself is caused by.
    pub fn issue_for_cause(&self, cause: Cause, now_ms: u64) -> String {
        self.issue(
            &TokenRun {
                service_account: ServiceAccountId(0),
                snap_in: SnapInId(0),
                run: cause.run.unwrap_or(RunId(0)),
                cause,
            },
            now_ms,
        )
    }

    fn sign(&self, claims: &ServiceClaims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims are plain data");
        let tag = mac(self.keys.ring().current.tokens.as_slice(), &claims);
        format!("{PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(tag))
    }

    /// What a token says, if it is genuine and has not expired.
    pub fn read(&self, token: &str, now_ms: u64) -> Result<ServiceClaims, ServiceTokenError> {
        let invalid = ServiceTokenError::Invalid;
        let (claims, tag) =
            token.strip_prefix(PREFIX).and_then(|it| it.split_once('.')).ok_or(invalid)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| invalid)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| invalid)?;
        let is_ours = self.keys.ring().all().any(|key| {
            let mut expected = Hmac::<Sha256>::new_from_slice(key.tokens.as_slice())
                .expect("HMAC takes keys of any length");
            expected.update(&claims);
            // In constant time.
            expected.verify_slice(&tag).is_ok()
        });
        if !is_ours {
            return Err(invalid);
        }
        let claims: ServiceClaims = serde_json::from_slice(&claims).map_err(|_| invalid)?;
        if claims.expires_ms <= now_ms {
            return Err(ServiceTokenError::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: TokenRun = TokenRun {
        service_account: ServiceAccountId(1),
        snap_in: SnapInId(2),
        run: RunId(3),
        cause: Cause { run: None, hops: 0 },
    };

    #[test]
    fn only_genuine_and_fresh_tokens_are_read() {
        let state = tempfile::tempdir().expect("tempdir");
        let tokens = ServiceTokens::new(&MasterKeys::load(None, state.path()).expect("made"));
        let cause = Cause { run: None, hops: 3 };
        let token = tokens.issue(&TokenRun { cause, ..RUN }, 1000);
        let claims = tokens.read(&token, 1000).expect("fresh");
        assert_eq!((claims.snap_in, claims.cause), (SnapInId(2), cause));
        let later = 1000 + LIFETIME_MS;
        assert_eq!(tokens.read(&token, later), Err(ServiceTokenError::Expired));

        let other = tempfile::tempdir().expect("tempdir");
        let others = ServiceTokens::new(&MasterKeys::load(None, other.path()).expect("made"));
        assert_eq!(others.read(&token, 1000), Err(ServiceTokenError::Invalid));
        for broken in ["", "mst_", "mst_.", &token[..token.len() - 1], &token.replace("mst_", "")] {
            assert_eq!(tokens.read(broken, 1000), Err(ServiceTokenError::Invalid), "{broken}");
        }
    }

    #[test]
    fn a_token_for_a_person_says_who_and_cannot_be_made_of_the_other() {
        let state = tempfile::tempdir().expect("tempdir");
        let tokens = ServiceTokens::new(&MasterKeys::load(None, state.path()).expect("made"));
        let actor = Actor { user: crate::model::id::UserId(7), name: "token:ada".to_owned() };
        let token = tokens.issue_for(actor.clone(), &RUN, 1000);
        assert!(ServiceTokens::looks_like_one(&token));
        let claims = tokens.read(&token, 1000).expect("fresh");
        assert_eq!((claims.actor, claims.snap_in), (Some(actor), RUN.snap_in));
        let late = tokens.read(&token, 1000 + LIFETIME_MS);
        assert_eq!(late, Err(ServiceTokenError::Expired));

        // Its tag is of what it says: neither half goes with that of another token.
        let plain = tokens.issue(&RUN, 1000);
        assert_eq!(tokens.read(&plain, 1000).expect("fresh").actor, None);
        let tag = plain.split_once('.').expect("two halves").1;
        let forged = format!("{}.{tag}", token.split_once('.').expect("two halves").0);
        assert_eq!(tokens.read(&forged, 1000), Err(ServiceTokenError::Invalid));
    }

    #[test]
    fn a_token_outlives_a_change_of_keys_until_the_old_one_is_forgotten() {
        let state = tempfile::tempdir().expect("tempdir");
        let keys = MasterKeys::load(None, state.path()).expect("made");
        let tokens = ServiceTokens::new(&keys);
        let issue = || tokens.issue(&RUN, 1000);
        let before = issue();
        keys.renew().expect("written");
        let after = issue();
        let (_, old) = keys.ids();
        keys.retire(&old).expect("written");
        tokens.read(&before, 1000).expect("its key is still known");
        keys.forget_retired();
        assert_eq!(tokens.read(&before, 1000), Err(ServiceTokenError::Invalid));
        tokens.read(&after, 1000).expect("the key in use");
    }
}
