//! Who calls, and what he may do. Every route names the right that it needs; here is who has it.
//!
//! There are owners of the host, holders of tokens for a part of it, and the functions of snap-ins,
//! which may do a few things to their own snap-in and nothing else: for themselves by their service
//! account, or for whoever ordered them. The second is not the power of that person: a snap-in may do
//! what it was granted, whoever gives it orders.

use crate::model::actor::Actor;
use crate::model::event::Cause;
use crate::model::id::{ServiceAccountId, SnapInId};
use crate::model::scope::ScopePrefix;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See packages and versions.
    ReadPackages,
    /// Create and delete packages and versions.
    WritePackages,
    /// See snap-ins and their sources.
    ReadSnapIns,
    /// Install, activate, deactivate and delete snap-ins; pause their sources.
    WriteSnapIns,
    /// Change inputs of snap-ins.
    ConfigureSnapIns,
    /// Enable snap-ins for oneself, and set what is one's own in them.
    UseSnapIns,
    /// See what users have set in a snap-in, secrets included.
    ReadUserResources,
    /// Publish events to a source by hand.
    PublishEvents,
    /// See events.
    ReadEvents,
    /// See runs and their logs.
    ReadRuns,
    /// Retry, cancel, replay and purge runs; call functions.
    WriteRuns,
    /// See artifacts and read them.
    ReadArtifacts,
    /// Bring, attach and delete artifacts.
    WriteArtifacts,
    /// Change the master key.
    WriteSecrets,
    /// See how the daemon is.
    ReadSystem,
    /// Make and delete API tokens.
    ManageTokens,
    /// See objects and their types.
    ReadObjects,
    /// Make, change and delete objects.
    WriteObjects,
    /// Make, change and delete types of objects.
    WriteObjectTypes,
    /// See outgoing webhooks and what they were sent.
    ReadWebhooks,
    /// Make, change and delete outgoing webhooks, and send again.
    WriteWebhooks,
}

impl Right {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Right::ReadPackages => "packages.read",
            Right::WritePackages => "packages.write",
            Right::ReadSnapIns => "snap-ins.read",
            Right::WriteSnapIns => "snap-ins.write",
            Right::ConfigureSnapIns => "snap-ins.configure",
            Right::UseSnapIns => "snap-ins.use",
            Right::ReadUserResources => "snap-ins.resources",
            Right::PublishEvents => "events.publish",
            Right::ReadEvents => "events.read",
            Right::ReadRuns => "runs.read",
            Right::WriteRuns => "runs.write",
            Right::ReadArtifacts => "artifacts.read",
            Right::WriteArtifacts => "artifacts.write",
            Right::WriteSecrets => "secrets.write",
            Right::ReadSystem => "system.read",
            Right::ManageTokens => "tokens.manage",
            Right::ReadObjects => "objects.read",
            Right::WriteObjects => "objects.write",
            Right::WriteObjectTypes => "object-types.write",
            Right::ReadWebhooks => "webhooks.read",
            Right::WriteWebhooks => "webhooks.write",
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// An owner of the host: an API token, or a user on the Unix socket.
    Owner {
        /// For the record.
        name: String,
    },
    /// An API token that is limited to the snap-ins under a prefix of scopes.
    Scoped {
        /// For the record.
        name: String,
        /// The prefix.
        scope: ScopePrefix,
    },
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

/// On what a right is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// The snap-ins under this prefix, and what belongs to none.
    Under(ScopePrefix),
    /// Only this snap-in.
    SnapIn(SnapInId),
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

impl Principal {
    /// On what this principal has a right, if on anything.
    pub fn reach(&self, right: Right) -> Option<Reach> {
        match self {
            Principal::Owner { .. } => Some(Reach::All),
            // Packages, keys and tokens are the whole host's: who has a part of it may look at the
            // first, because that is what he installs, and at nothing else of them.
            Principal::Scoped { scope, .. } => match right {
                Right::ReadPackages
                | Right::ReadSnapIns
                | Right::WriteSnapIns
                | Right::ConfigureSnapIns
                | Right::UseSnapIns
                | Right::ReadUserResources
                | Right::PublishEvents
                | Right::ReadEvents
                | Right::ReadRuns
                | Right::WriteRuns
                | Right::ReadSystem => Some(Reach::Under(scope.clone())),
                // Artifacts and objects belong to no part of the host, whoever's function made them.
                Right::WritePackages
                | Right::ReadArtifacts
                | Right::WriteArtifacts
                | Right::WriteSecrets
                | Right::ManageTokens
                | Right::ReadObjects
                | Right::WriteObjects
                | Right::WriteObjectTypes
                | Right::ReadWebhooks
                | Right::WriteWebhooks => None,
            },
            // Which objects is for the grants of the snap-in to say.
            Principal::ServiceAccount { snap_in, .. } => match right {
                Right::ReadSnapIns
                | Right::ConfigureSnapIns
                | Right::ReadUserResources
                | Right::PublishEvents
                // Those that the snap-in brought.
                | Right::ReadArtifacts
                | Right::WriteArtifacts
                // Which ones is for its grants to say.
                | Right::ReadObjects
                | Right::WriteObjects => Some(Reach::SnapIn(*snap_in)),
                Right::ReadPackages
                | Right::WritePackages
                | Right::WriteSnapIns
                | Right::UseSnapIns
                | Right::ReadEvents
                | Right::ReadRuns
                | Right::WriteRuns
                | Right::WriteSecrets
                | Right::ReadSystem
                | Right::ManageTokens
                | Right::WriteObjectTypes
                | Right::ReadWebhooks
                | Right::WriteWebhooks => None,
            },
            // What the snap-in itself may do, and what is that person's own in it.
            Principal::Actor { snap_in, .. } => match right {
                Right::ReadSnapIns
                | Right::ConfigureSnapIns
                | Right::UseSnapIns
                | Right::ReadUserResources
                | Right::PublishEvents
                // Those that the snap-in brought.
                | Right::ReadArtifacts
                | Right::WriteArtifacts
                // Which ones is for its grants to say.
                | Right::ReadObjects
                | Right::WriteObjects => Some(Reach::SnapIn(*snap_in)),
                Right::ReadPackages
                | Right::WritePackages
                | Right::WriteSnapIns
                | Right::ReadEvents
                | Right::ReadRuns
                | Right::WriteRuns
                | Right::WriteSecrets
                | Right::ReadSystem
                | Right::ManageTokens
                | Right::WriteObjectTypes
                | Right::ReadWebhooks
                | Right::WriteWebhooks => None,
            },
        }
    }

    /// For records and logs.
    pub fn name(&self) -> String {
        match self {
            Principal::Owner { name } | Principal::Scoped { name, .. } => name.clone(),
            Principal::ServiceAccount { id, .. } => id.to_string(),
            // It is not that person who did it.
            Principal::Actor { actor, id, .. } => format!("{id} for {}", actor.name),
        }
    }

    /// The name of the person that it is.
    pub fn person(&self) -> String {
        match self {
            Principal::Actor { actor, .. } => actor.name.clone(),
            Principal::Owner { .. }
            | Principal::Scoped { .. }
            | Principal::ServiceAccount { .. } => self.name(),
        }
    }
}
