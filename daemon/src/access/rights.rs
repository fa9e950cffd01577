//! The one table of rights: what each is called, and who has it. A right without a line here does not
//! compile, and neither does a route without a right.

use crate::model::access::{HostRole, IntegrationRole};

/// What the functions of a snap-in may do: with what is their own snap-in's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForFunctions {
    /// Nothing of it.
    No,
    /// Whoever the function works for.
    Yes,
    /// Only for somebody who gave the order, with what is his own.
    WhenOrdered,
}

/// Who has a right.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The right.
    pub right: Right,
    /// Its name in documents.
    pub name: &'static str,
    /// Roles of the host that have it.
    pub host: &'static [HostRole],
    /// Roles of an integration that have it for that one.
    pub integration: &'static [IntegrationRole],
    /// Whether a token has it that is limited to a prefix of scopes.
    pub scoped: bool,
    /// Whether functions of snap-ins have it.
    pub functions: ForFunctions,
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident = $text:literal: [$($host:ident)*] [$($own:ident)*] $scoped:ident $functions:ident;)*) => {
        /// What a route needs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Right { $($(#[$doc])* $name,)* }

        /// Every right, in the order of [`Right`].
        pub const TABLE: &[Rule] = &[$(Rule {
            right: Right::$name,
            name: $text,
            host: &[$(HostRole::$host),*],
            integration: &[$(IntegrationRole::$own),*],
            scoped: scoped!($scoped),
            functions: functions!($functions),
        }),*];

        impl Right {
            /// Its line of the table.
            pub const fn rule(self) -> &'static Rule {
                &TABLE[self as usize]
            }
        }
    };
}

macro_rules! scoped {
    (scoped) => {
        true
    };
    (whole) => {
        false
    };
}

macro_rules! functions {
    (functions) => {
        ForFunctions::Yes
    };
    (ordered) => {
        ForFunctions::WhenOrdered
    };
    (people) => {
        ForFunctions::No
    };
}

// The columns: roles of the host; roles of one integration, for that one; whether a token has it that
// is limited to a prefix of scopes (`scoped`: for what is under it), or only one for the `whole` host;
// and whether functions of snap-ins have it, for what is their own (`ordered`: only on somebody's
// order; `people`: not at all).
//
// Packages, keys, tokens, objects and artifacts are the whole host's: who has a part of it may look at
// the first, because that is what he installs, and at nothing else of them. Which objects a function
// reaches is for the grants of its snap-in to say, and of artifacts it has those that it brought.
rights! {
    /// Know who one is.
    BeKnown = "known":
        [Owner Contributor Reader IdentityAccessManager IntegrationCreator IntegrationContributor IntegrationReader]
        [Owner Contributor Reader IdentityAccessManager] scoped functions;
    /// See packages and versions.
    ReadPackages = "packages.read": [Owner Contributor Reader] [] scoped people;
    /// Create and delete packages and versions.
    WritePackages = "packages.write": [Owner Contributor] [] whole people;
    /// See snap-ins and their sources.
    ReadSnapIns = "snap-ins.read": [Owner Contributor Reader] [] scoped functions;
    /// Install, activate, deactivate and delete snap-ins; pause their sources.
    WriteSnapIns = "snap-ins.write": [Owner Contributor] [] scoped people;
    /// Change inputs of snap-ins.
    ConfigureSnapIns = "snap-ins.configure": [Owner Contributor] [] scoped functions;
    /// Enable snap-ins for oneself, and set what is one's own in them.
    UseSnapIns = "snap-ins.use": [Owner Contributor] [] scoped ordered;
    /// See what users have set in a snap-in, secrets included.
    ReadUserResources = "snap-ins.resources": [Owner] [] scoped functions;
    /// Publish events to a source by hand.
    PublishEvents = "events.publish": [Owner Contributor] [] scoped functions;
    /// See events.
    ReadEvents = "events.read": [Owner Contributor Reader] [] scoped people;
    /// See runs and their logs.
    ReadRuns = "runs.read": [Owner Contributor Reader] [] scoped people;
    /// Retry, cancel, replay and purge runs; call functions.
    WriteRuns = "runs.write": [Owner Contributor] [] scoped people;
    /// See artifacts and read them.
    ReadArtifacts = "artifacts.read": [Owner Contributor Reader] [] whole functions;
    /// Bring, attach and delete artifacts.
    WriteArtifacts = "artifacts.write": [Owner Contributor] [] whole functions;
    /// Change the master key.
    WriteSecrets = "secrets.write": [Owner] [] whole people;
    /// See how the daemon is.
    ReadSystem = "system.read": [Owner Contributor Reader] [] scoped people;
    /// See objects and their types.
    ReadObjects = "objects.read": [Owner Contributor Reader] [] whole functions;
    /// Make, change and delete objects.
    WriteObjects = "objects.write": [Owner Contributor] [] whole functions;
    /// Make, change and delete types of objects.
    WriteObjectTypes = "object-types.write": [Owner Contributor] [] whole people;
    /// See outgoing webhooks and their deliveries.
    ReadWebhooks = "webhooks.read": [Owner Contributor Reader] [] whole people;
    /// Make, change and delete outgoing webhooks; deliver again.
    WriteWebhooks = "webhooks.write": [Owner Contributor] [] whole people;
    /// See integrations, what they are supplied to and who subscribes.
    ReadIntegrations = "integrations.read":
        [Owner Contributor Reader IntegrationContributor IntegrationReader]
        [Owner Contributor Reader] whole people;
    /// List those integrations that one may see, also when there are none.
    ListIntegrations = "integrations.list":
        [Owner Contributor Reader IntegrationCreator IntegrationContributor IntegrationReader]
        [Owner Contributor Reader] whole people;
    /// Make integrations.
    CreateIntegrations = "integrations.create":
        [Owner Contributor IntegrationCreator] [] whole people;
    /// Change, test and delete integrations, supplies and subscriptions.
    WriteIntegrations = "integrations.write":
        [Owner Contributor IntegrationContributor] [Owner Contributor] whole people;
    /// Say who may do what with an integration.
    GrantIntegrations = "integrations.grant":
        [Owner IdentityAccessManager] [Owner IdentityAccessManager] whole people;
    /// See occurrences, and why whom they were told to; and let an integration hear of them, which is
    /// what a supply and a subscription do. A single integration gives nobody that right: who has one
    /// would have all that happens sent to himself.
    ReadOccurrences = "occurrences.read":
        [Owner Contributor Reader IntegrationContributor] [] scoped people;
    /// Publish occurrences and report milestones.
    PublishOccurrences = "occurrences.publish": [Owner Contributor] [] scoped functions;
    /// Make, see and delete one's own API tokens, of no more power than one has.
    OwnTokens = "tokens.own":
        [Owner Contributor Reader IdentityAccessManager IntegrationCreator IntegrationContributor IntegrationReader]
        [Owner Contributor Reader IdentityAccessManager] whole people;
    /// See users, groups, service accounts, their tokens and roles.
    ReadPrincipals = "principals.read": [Owner IdentityAccessManager] [] whole people;
    /// Make and delete users, groups, service accounts and their tokens; grant roles.
    ManagePrincipals = "principals.manage": [Owner IdentityAccessManager] [] whole people;
    /// Read the audit log.
    ReadAudit = "audit.read": [Owner IdentityAccessManager] [] whole people;
}

impl Right {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        self.rule().name
    }

    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// Several rights.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RightSet(u64);

impl RightSet {
    /// None.
    pub const NONE: RightSet = RightSet(0);

    /// Those for which `pick` says so.
    fn those(pick: impl Fn(&Rule) -> bool) -> RightSet {
        TABLE.iter().filter(|it| pick(it)).fold(RightSet::NONE, |all, it| all.with(it.right))
    }

    /// Those of a role of the host.
    pub fn of_host(role: HostRole) -> RightSet {
        RightSet::those(|it| it.host.contains(&role))
    }

    /// Those of a role of an integration, for that one.
    pub fn of_integration(role: IntegrationRole) -> RightSet {
        RightSet::those(|it| it.integration.contains(&role))
    }

    /// Those that a token can have that is limited to a prefix of scopes.
    pub fn scoped() -> RightSet {
        RightSet::those(|it| it.scoped)
    }

    /// Those that are about single integrations.
    pub fn about_integrations() -> RightSet {
        RightSet::those(|it| !it.integration.is_empty())
    }

    /// Those of several roles of the host.
    pub fn of_roles<'a>(roles: impl IntoIterator<Item = &'a HostRole>) -> RightSet {
        roles.into_iter().fold(RightSet::NONE, |all, it| all.and(RightSet::of_host(*it)))
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, right: Right) -> RightSet {
        RightSet(self.0 | right.bit())
    }

    /// All of both.
    #[must_use]
    pub const fn and(self, more: RightSet) -> RightSet {
        RightSet(self.0 | more.0)
    }

    /// What both have.
    #[must_use]
    pub const fn within(self, bounds: RightSet) -> RightSet {
        RightSet(self.0 & bounds.0)
    }

    /// Whether this one is among them.
    pub const fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Whether all of those are among them.
    pub const fn covers(self, others: RightSet) -> bool {
        others.0 & !self.0 == 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first of those that are not among these.
    pub fn first_missing(self, wanted: RightSet) -> Option<Right> {
        TABLE.iter().map(|it| it.right).find(|it| wanted.has(*it) && !self.has(*it))
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        TABLE.iter().map(|it| it.right).filter(move |it| self.has(*it))
    }
}

impl std::fmt::Debug for RightSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(Right::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_rights() {
        assert!(TABLE.len() <= 64, "the set has 64 places");
        for (at, rule) in TABLE.iter().enumerate() {
            assert_eq!(rule.right as usize, at);
            assert_eq!(rule.right.rule().name, rule.name);
        }
        let mut names: Vec<_> = TABLE.iter().map(|it| it.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn owners_have_every_right_and_others_less() {
        let owner = RightSet::of_host(HostRole::Owner);
        assert!(TABLE.iter().all(|it| owner.has(it.right)));
        for role in &HostRole::ALL[1..] {
            let rights = RightSet::of_host(*role);
            assert!(owner.covers(rights) && !rights.covers(owner), "{role}");
            // Only who has this may make others more powerful.
            let manages = *role == HostRole::IdentityAccessManager;
            assert_eq!(rights.has(Right::ManagePrincipals), manages, "{role}");
        }
        let contributor = RightSet::of_host(HostRole::Contributor);
        assert!(contributor.covers(RightSet::of_host(HostRole::Reader)));
        // A manager changes who may do what, and nothing else.
        let manager = RightSet::of_host(HostRole::IdentityAccessManager);
        assert_eq!(manager.first_missing(contributor), Some(Right::ReadPackages));
    }

    #[test]
    fn sets_are_sets() {
        let both = RightSet::NONE.with(Right::ReadRuns).with(Right::WriteRuns);
        let one = RightSet::NONE.with(Right::ReadRuns);
        assert!(both.covers(one) && !one.covers(both) && both.within(one) == one);
        assert_eq!(one.and(both), both);
        assert_eq!(one.first_missing(both), Some(Right::WriteRuns));
        assert_eq!(format!("{one:?}"), r#"{"runs.read"}"#);
    }
}
