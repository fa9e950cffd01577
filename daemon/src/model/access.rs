//! Who may be somebody on this host, and which roles there are: plain data. What a role allows is in
//! `access/`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::{GroupId, HostAccountId, IntegrationId, UserId, parts_of};
use super::scope::ScopePrefix;

macro_rules! roles {
    ($(#[$outer:meta])* $kind:ident, $what:literal { $($(#[$doc:meta])* $name:ident = $text:literal, $number:literal;)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $($(#[$doc])* $name,)* }

        impl $kind {
            /// All of them.
            pub const ALL: &[$kind] = &[$($kind::$name),*];
            /// What all of them are called.
            pub const NAMES: &[&str] = &[$($text),*];

            /// Its name in calls and settings.
            pub const fn name(self) -> &'static str {
                match self { $($kind::$name => $text,)* }
            }

            /// Its number in the database, which never changes.
            pub const fn number(self) -> u8 {
                match self { $($kind::$name => $number,)* }
            }

            /// The role of a number.
            pub fn of_number(number: u8) -> Option<$kind> {
                $kind::ALL.iter().copied().find(|it| it.number() == number)
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = UnknownRole;

            fn from_str(text: &str) -> Result<$kind, UnknownRole> {
                $kind::ALL.iter().copied().find(|it| it.name() == text).ok_or_else(|| UnknownRole {
                    text: text.chars().take(64).collect(),
                    what: $what,
                    known: $kind::NAMES.join(", "),
                })
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$kind, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A text that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no role {what}: there are {known}")]
pub struct UnknownRole {
    text: String,
    what: &'static str,
    known: String,
}

roles! {
    /// What somebody may do on the host.
    HostRole, "of the host" {
        /// Everything.
        Owner = "owner", 1;
        /// All but who may do what, the master key, and the audit log.
        Contributor = "contributor", 2;
        /// Look at what is not secret.
        Reader = "reader", 3;
        /// Who there is and who may do what.
        IdentityAccessManager = "identity-access-manager", 4;
        /// Make integrations, and have those that he made.
        IntegrationCreator = "integration-creator", 5;
        /// Change every integration.
        IntegrationContributor = "integration-contributor", 6;
        /// See every integration.
        IntegrationReader = "integration-reader", 7;
    }
}

roles! {
    /// What somebody may do with one integration.
    IntegrationRole, "of an integration" {
        /// Everything with it.
        Owner = "owner", 1;
        /// Change it.
        Contributor = "contributor", 2;
        /// See it.
        Reader = "reader", 3;
        /// Say who may do what with it.
        IdentityAccessManager = "identity-access-manager", 4;
    }
}

/// Of which kind a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// Several of the others.
    Group,
    /// A program.
    ServiceAccount,
}

impl PrincipalKind {
    /// All of them.
    pub const ALL: [PrincipalKind; 3] =
        [PrincipalKind::User, PrincipalKind::Group, PrincipalKind::ServiceAccount];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            PrincipalKind::User => "user",
            PrincipalKind::Group => "group",
            PrincipalKind::ServiceAccount => "service account",
        }
    }

    /// What stands before its name where it could be of another kind too.
    pub const fn prefix(self) -> &'static str {
        match self {
            PrincipalKind::User => "user",
            PrincipalKind::Group => "group",
            PrincipalKind::ServiceAccount => "service-account",
        }
    }

    /// The id of one of this kind.
    pub const fn id(self, number: u128) -> PrincipalId {
        match self {
            PrincipalKind::User => PrincipalId::User(UserId(number)),
            PrincipalKind::Group => PrincipalId::Group(GroupId(number)),
            PrincipalKind::ServiceAccount => PrincipalId::ServiceAccount(HostAccountId(number)),
        }
    }
}

/// A user, a group or a service account of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalId {
    /// A person.
    User(UserId),
    /// Several of the others.
    Group(GroupId),
    /// A program.
    ServiceAccount(HostAccountId),
}

impl PrincipalId {
    /// Of which kind it is.
    pub const fn kind(self) -> PrincipalKind {
        match self {
            PrincipalId::User(_) => PrincipalKind::User,
            PrincipalId::Group(_) => PrincipalKind::Group,
            PrincipalId::ServiceAccount(_) => PrincipalKind::ServiceAccount,
        }
    }

    /// Without its kind.
    pub const fn number(self) -> u128 {
        match self {
            PrincipalId::User(id) => id.0,
            PrincipalId::Group(id) => id.0,
            PrincipalId::ServiceAccount(id) => id.0,
        }
    }

    /// The principal of a text in the form of an id, if it is one.
    pub fn parse(text: &str) -> Option<PrincipalId> {
        let (prefix, number) = parts_of(text)?;
        let kind = match prefix {
            UserId::PREFIX => PrincipalKind::User,
            GroupId::PREFIX => PrincipalKind::Group,
            HostAccountId::PREFIX => PrincipalKind::ServiceAccount,
            _ => return None,
        };
        Some(kind.id(number))
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrincipalId::User(id) => id.fmt(f),
            PrincipalId::Group(id) => id.fmt(f),
            PrincipalId::ServiceAccount(id) => id.fmt(f),
        }
    }
}

impl Serialize for PrincipalId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrincipalId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<PrincipalId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        PrincipalId::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no id of a user, group or account"))
        })
    }
}

/// A role, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// On the host.
    Host(HostRole),
    /// On one integration.
    Integration(IntegrationId, IntegrationRole),
}

impl Grant {
    /// The integration that it is on.
    pub const fn integration(self) -> Option<IntegrationId> {
        match self {
            Grant::Host(_) => None,
            Grant::Integration(id, _) => Some(id),
        }
    }

    /// The name of its role.
    pub const fn role(self) -> &'static str {
        match self {
            Grant::Host(role) => role.name(),
            Grant::Integration(_, role) => role.name(),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Host(role) => write!(f, "the role `{role}`"),
            Grant::Integration(id, role) => write!(f, "the role `{role}` of the integration {id}"),
        }
    }
}

/// A user, group or service account as it is stored; its grants and members are rows of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredPrincipal {
    /// Of which kind it is.
    pub kind: PrincipalKind,
    /// Unique among those of its kind.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// Name of the principal that made it.
    pub created_by: String,
}

/// An API token as it is stored, by its hash; the token itself is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredToken {
    /// For people; unique among those of its principal.
    pub name: String,
    /// When it was made, milliseconds of the Unix epoch.
    pub created_ms: u64,
    /// What it is limited to; absent: the whole host.
    #[serde(default)]
    pub scope: Option<ScopePrefix>,
    /// Name of the principal that made it; absent for the first.
    #[serde(default)]
    pub created_by: Option<String>,
    /// Whose it is; absent: the host's own, as all were before there were principals.
    #[serde(default)]
    pub principal: Option<PrincipalId>,
    /// The roles that it is limited to; absent: all that its principal has, or for one of the host's
    /// own, those of an owner.
    #[serde(default)]
    pub roles: Option<BTreeSet<HostRole>>,
    /// From when on it is of no use, milliseconds of the Unix epoch; absent: never.
    #[serde(default)]
    pub expires_ms: Option<u64>,
}

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// A change of who there is and who may do what. Each is one transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum AccessChange {
    /// Somebody new.
    Create(StoredPrincipal),
    /// He is described otherwise.
    Describe(PrincipalId, String),
    /// He is gone, with his tokens, grants and memberships.
    Delete(PrincipalId),
    /// Somebody is in a group.
    Join {
        /// The group.
        group: GroupId,
        /// A user or service account.
        member: PrincipalId,
    },
    /// He is not any more.
    Leave {
        /// The group.
        group: GroupId,
        /// A user or service account.
        member: PrincipalId,
    },
    /// Somebody has a role.
    Grant {
        /// Who.
        to: PrincipalId,
        /// Which, and on what.
        grant: Grant,
    },
    /// He has not any more.
    Revoke {
        /// Who.
        from: PrincipalId,
        /// Which, and on what.
        grant: Grant,
    },
    /// A new token.
    AddToken(TokenHash, Box<StoredToken>),
    /// A token is of no use any more.
    RemoveToken(TokenHash),
}

/// Everything that is stored of who may do what.
#[derive(Clone, Debug, Default)]
pub struct StoredAccess {
    /// Grows with every change.
    pub generation: u64,
    /// Users, groups and service accounts.
    pub principals: Vec<(PrincipalId, StoredPrincipal)>,
    /// Groups and who is in them, by number.
    pub members: Vec<(GroupId, u128)>,
    /// Who has which role since when, by number.
    pub grants: Vec<(u128, Grant, u64)>,
    /// Tokens by their hash, and when they were used last.
    pub tokens: Vec<(TokenHash, StoredToken, Option<u64>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_names_and_numbers_of_their_own() {
        for role in HostRole::ALL {
            assert_eq!(role.name().parse::<HostRole>(), Ok(*role));
            assert_eq!(HostRole::of_number(role.number()), Some(*role));
        }
        for role in IntegrationRole::ALL {
            assert_eq!(role.name().parse::<IntegrationRole>(), Ok(*role));
            assert_eq!(IntegrationRole::of_number(role.number()), Some(*role));
        }
        let error = "admin".parse::<HostRole>().expect_err("none").to_string();
        assert!(error.contains("owner, contributor"), "{error}");
    }

    #[test]
    fn ids_say_of_which_kind_they_are() {
        for kind in PrincipalKind::ALL {
            let id = kind.id(77);
            assert_eq!(PrincipalId::parse(&id.to_string()), Some(id));
            assert_eq!((id.kind(), id.number()), (kind, 77));
        }
        assert_eq!(PrincipalId::parse("snp_00000000000000000000000001"), None);
    }
}
