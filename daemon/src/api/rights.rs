//! Who calls, and what he may do. Every route names the right that it needs; `access/rights.rs` is the
//! table of who has it.
//!
//! There are principals of the host by their tokens or by the Unix socket, and the functions of
//! snap-ins, which may do a few things to their own snap-in and nothing else: for themselves by their
//! service account, or for whoever ordered them. The second is not the power of that person: a snap-in
//! may do what it was granted, whoever gives it orders.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::access::change::Authority;
use crate::access::rights::{ForFunctions, RightSet};
use crate::model::access::{PrincipalId, TokenHash};
use crate::model::actor::Actor;
use crate::model::event::Cause;
use crate::model::id::{IntegrationId, ServiceAccountId, SnapInId};
use crate::model::scope::ScopePrefix;

pub use crate::access::{Powers, Right};

/// Somebody of the host: a token, or a peer of the Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCaller {
    /// For the record: `user:ada`, `service-account:ci`, `token:admin`, `uid:0`.
    pub name: String,
    /// Who it is to snap-ins: a user by his plain name.
    pub person: String,
    /// The principal, if it is one.
    pub principal: Option<PrincipalId>,
    /// The name of the token that was sent.
    pub token: Option<String>,
    /// Its hash: another may get its name.
    pub token_hash: Option<TokenHash>,
    /// What he may do.
    pub powers: Powers,
    /// What the token is limited to.
    pub scope: Option<ScopePrefix>,
    /// Until when the token is good.
    pub expires_ms: Option<u64>,
    /// Whether the token is limited to some roles.
    pub is_limited: bool,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Somebody of the host.
    Host(Arc<HostCaller>),
    /// A function of a snap-in, by its service-account token.
    ServiceAccount {
        /// The identity.
        id: ServiceAccountId,
        /// The snap-in that it is limited to.
        snap_in: SnapInId,
    },
    /// A function of a snap-in, for the person who gave it a command or pressed its button.
    Actor {
        /// The person.
        actor: Actor,
        /// The identity of the snap-in.
        id: ServiceAccountId,
        /// The snap-in that it is limited to.
        snap_in: SnapInId,
    },
}

/// The kind of [`Reach::All`].
const ALL: &str = "all";

/// On what a right is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// The snap-ins under this prefix, and what belongs to none.
    Under(ScopePrefix),
    /// Only this snap-in.
    SnapIn(SnapInId),
    /// Only these integrations.
    Integrations(Arc<BTreeSet<IntegrationId>>),
}

impl Reach {
    /// Whether an integration is within it.
    pub fn has_integration(&self, id: IntegrationId) -> bool {
        match self {
            Reach::All => true,
            Reach::Integrations(these) => these.contains(&id),
            Reach::Under(_) | Reach::SnapIn(_) => false,
        }
    }

    /// What it is, for comparing.
    pub fn kind(&self) -> String {
        match self {
            Reach::All => ALL.to_owned(),
            Reach::Under(scope) => format!("under {scope}"),
            Reach::SnapIn(id) => id.to_string(),
            // Which is not compared: it grows with each one that he makes.
            Reach::Integrations(_) => "integrations".to_owned(),
        }
    }

    /// Whether there is something within one of that kind that is not within this one.
    pub fn is_less_than(&self, kind: &str) -> bool {
        *self != Reach::All && self.kind() != kind
    }

    /// Whether it is all that happens under a prefix, or on the whole host when there is none.
    pub fn covers(&self, scope: Option<&ScopePrefix>) -> bool {
        match self {
            Reach::All => true,
            Reach::Under(own) => scope.is_some_and(|it| own.covers(it)),
            Reach::SnapIn(_) | Reach::Integrations(_) => false,
        }
    }
}

/// A caller who may make the call, as far as its route goes.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// On what.
    pub reach: Reach,
    /// What caused the call, when a run did.
    pub cause: Cause,
    /// Which call of a hook that run was, when it was one that reports its outcome.
    pub hook_call: Option<u64>,
    /// What he calls this call, so that a repetition is known as one.
    pub idempotency_key: Option<String>,
}

impl HostCaller {
    fn reach(&self, right: Right) -> Option<Reach> {
        let has = match right {
            Right::BeKnown => true,
            // Whoever is somebody has tokens, also when all that he may do is with one integration.
            Right::OwnTokens => {
                self.scope.is_none() && (self.principal.is_some() || self.powers.host.has(right))
            }
            other => self.powers.host.has(other),
        };
        match (&self.scope, has) {
            (Some(scope), true) => Some(Reach::Under(scope.clone())),
            (None, true) => Some(Reach::All),
            (_, false) => {
                let rights = self.powers.integrations.iter();
                let these: BTreeSet<_> =
                    rights.filter(|(_, it)| it.has(right)).map(|(id, _)| *id).collect();
                (!these.is_empty()).then(|| Reach::Integrations(Arc::new(these)))
            }
        }
    }
}

impl Principal {
    /// On what this principal has a right, if on anything.
    pub fn reach(&self, right: Right) -> Option<Reach> {
        let (snap_in, is_ordered) = match self {
            Principal::Host(caller) => return caller.reach(right),
            Principal::ServiceAccount { snap_in, .. } => (*snap_in, false),
            Principal::Actor { snap_in, .. } => (*snap_in, true),
        };
        let has = match right.rule().functions {
            ForFunctions::Yes => true,
            ForFunctions::WhenOrdered => is_ordered,
            ForFunctions::No => false,
        };
        has.then_some(Reach::SnapIn(snap_in))
    }

    /// For records and logs.
    pub fn name(&self) -> String {
        match self {
            Principal::Host(caller) => caller.name.clone(),
            Principal::ServiceAccount { id, .. } => id.to_string(),
            // It is not that person who did it.
            Principal::Actor { actor, id, .. } => format!("{id} for {}", actor.name),
        }
    }

    /// What tells him from everybody else who ever was or will be: names are given anew. Whoever comes
    /// with a token that is limited is somebody else than with one that is not.
    pub fn identity(&self) -> String {
        match self {
            Principal::Host(caller) => {
                let token = caller.token_hash.map(hex::encode).unwrap_or_default();
                match (caller.principal, caller.is_limited) {
                    (Some(id), false) => id.to_string(),
                    (Some(id), true) => format!("{id} by {token}"),
                    (None, _) => format!("{} by {token}", caller.name),
                }
            }
            Principal::ServiceAccount { id, .. } => id.to_string(),
            Principal::Actor { actor, id, .. } => format!("{id} for {}", actor.user),
        }
    }

    /// The name of the person that it is, as snap-ins know him.
    pub fn person(&self) -> String {
        match self {
            Principal::Host(caller) => caller.person.clone(),
            Principal::Actor { actor, .. } => actor.name.clone(),
            Principal::ServiceAccount { .. } => self.name(),
        }
    }

    /// Somebody of the host, rather than a function of a snap-in.
    pub fn of_host(&self) -> Option<&HostCaller> {
        match self {
            Principal::Host(caller) => Some(caller),
            Principal::ServiceAccount { .. } | Principal::Actor { .. } => None,
        }
    }

    /// As whom he changes who may do what: functions change nothing of that.
    pub fn authority(&self) -> Authority {
        match self.of_host() {
            Some(caller) => Authority {
                powers: caller.powers.clone(),
                principal: caller.principal,
                expires_ms: caller.expires_ms,
                is_limited: caller.is_limited,
            },
            None => Authority {
                powers: Powers { host: RightSet::NONE, integrations: Arc::default() },
                principal: None,
                expires_ms: None,
                is_limited: true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_covers_what_is_under_it() {
        let prefix = |it: &str| it.parse::<ScopePrefix>().expect("a prefix");
        let under = Reach::Under(prefix("prod/pay"));
        for (scope, is_covered) in [
            (Some("prod/pay"), true),
            (Some("prod/pay/sync"), true),
            (Some("prod/payments"), false),
            (Some("prod/payments/sync"), false),
            (Some("prod"), false),
            (Some("test/pay"), false),
            (None, false),
        ] {
            let scope = scope.map(prefix);
            assert_eq!(under.covers(scope.as_ref()), is_covered, "{scope:?}");
            assert!(Reach::All.covers(scope.as_ref()));
            assert!(!Reach::Integrations(Arc::default()).covers(scope.as_ref()));
        }
    }
}
