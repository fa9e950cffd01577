//! Whether somebody may change who may do what. Nobody gives or takes what he has not himself: a
//! manager of identities makes users and groups as he likes, but no owner. And somebody is always left
//! who may do everything.

use super::rights::{Right, RightSet};
use super::state::{Powers, State};
use crate::model::access::{AccessChange, Grant, PrincipalId, PrincipalKind, StoredToken};

pub use crate::model::access::AccessChange as Change;

/// How many users there may be.
pub const MOST_USERS: usize = 10_000;
/// How many groups, and how many service accounts.
pub const MOST_OTHERS: usize = 1_000;
/// How many may be in a group.
pub const MOST_MEMBERS: usize = 1_000;
/// How many grants a principal may have himself.
pub const MOST_GRANTS: usize = 1_000;
/// How many tokens a principal may have.
pub const MOST_TOKENS: usize = 100;
/// How many tokens of its own the host may have.
pub const MOST_OF_HOST: usize = 1_000;
/// The longest name.
pub const LONGEST_NAME: usize = 63;
/// The longest description.
pub const LONGEST_DESCRIPTION: usize = 500;

/// Who wants a change.
#[derive(Clone, Debug)]
pub struct Authority {
    /// What he may do.
    pub powers: Powers,
    /// Who he is, when he is a principal.
    pub principal: Option<PrincipalId>,
    /// Until when, when it is a token that expires.
    pub expires_ms: Option<u64>,
    /// Whether it is a token that is limited to some roles of its principal.
    pub is_limited: bool,
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such principal, as far as the caller may know.
    #[error("there is no {} with this id", .0.kind().name())]
    NoSuchPrincipal(PrincipalId),
    /// There is no such token.
    #[error("there is no such token")]
    NoSuchToken,
    /// Another one of its kind has the name.
    #[error("there is a {} `{name}` already", kind.name())]
    NameTaken {
        /// Of which kind.
        kind: PrincipalKind,
        /// Which name.
        name: String,
    },
    /// Another token of the principal has the name.
    #[error("there is a token `{0}`: delete it, or name another")]
    TokenNameTaken(String),
    /// A name that cannot be one.
    #[error(
        "a name has 1 to {LONGEST_NAME} characters of A-Z, a-z, 0-9 and `-_.@+`, and begins with a \
         letter or digit"
    )]
    BadName,
    /// A description that is too long.
    #[error("a description has at most {LONGEST_DESCRIPTION} characters")]
    LongDescription,
    /// Groups have no groups in them.
    #[error("groups are not nested: only users and service accounts can be in one")]
    Nested,
    /// Groups have no tokens.
    #[error("a group has no tokens: make one for a user or service account that is in it")]
    GroupToken,
    /// He is not in the group.
    #[error("it is not in this group")]
    NotMember,
    /// He has not this role himself.
    #[error("it has not {0} itself; roles that come by a group are taken from the group")]
    NotGranted(Grant),
    /// The caller has not himself what is given or taken.
    #[error(
        "nobody gives or takes what he has not himself: this is about the right `{}`{}",
        right.name(),
        on.as_ref().map(|it| format!(" on {it}")).unwrap_or_default()
    )]
    Beyond {
        /// The first right that he lacks.
        right: Right,
        /// The integration that it is on.
        on: Option<crate::model::id::IntegrationId>,
    },
    /// Nobody would be left.
    #[error(
        "nobody would be left who may do everything: make another owner first (root is always one on \
         the Unix socket)"
    )]
    LastOwner,
    /// There are as many as there may be.
    #[error("there are {0} already, which is the most")]
    TooMany(usize),
    /// The token would be of no use.
    #[error("the token would have expired already")]
    Expired,
    /// A token makes none that outlives it.
    #[error("a token that expires makes none that expires later: say expires_at, before its own")]
    Outlives,
    /// A token that is limited to roles makes none that is not.
    #[error("a token that is limited to roles makes only such tokens: say which roles")]
    Unlimited,
    /// A list of roles that are none.
    #[error("`roles` is empty: such a token could do nothing")]
    NoRoles,
}

/// Whether a text can be the name of a principal or token. No colon: names of callers have one.
pub fn is_name(text: &str) -> bool {
    let inside = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | '@' | '+');
    (1..=LONGEST_NAME).contains(&text.len())
        && text.starts_with(|it: char| it.is_ascii_alphanumeric())
        && text.chars().all(inside)
}

impl State {
    /// Whether `by` may make a change, and it makes sense.
    pub fn check(&self, by: &Authority, change: &Change, now_ms: u64) -> Result<(), Refusal> {
        match change {
            AccessChange::Create(new) => {
                check_text(&new.name, &new.description)?;
                let (kind, name) = (new.kind, new.name.clone());
                if self.named(kind, &name).is_some() {
                    return Err(Refusal::NameTaken { kind, name });
                }
                let most = match kind {
                    PrincipalKind::User => MOST_USERS,
                    PrincipalKind::Group | PrincipalKind::ServiceAccount => MOST_OTHERS,
                };
                bounded(self.of_kind(kind, 0).count(), most)
            }
            AccessChange::Describe(id, description) => {
                self.known(*id)?;
                check_text("x", description)?;
                covers(by, &self.powers_of(*id))
            }
            AccessChange::Delete(id) => {
                self.known(*id)?;
                covers(by, &self.powers_of(*id))?;
                self.keeps_an_owner(change, now_ms)
            }
            AccessChange::Join { group, member } => {
                self.known(PrincipalId::Group(*group))?;
                self.known(*member)?;
                if member.kind() == PrincipalKind::Group {
                    return Err(Refusal::Nested);
                }
                bounded(self.members_of(*group).count(), MOST_MEMBERS)?;
                covers(by, &self.powers_of(PrincipalId::Group(*group)))
            }
            AccessChange::Leave { group, member } => {
                self.known(PrincipalId::Group(*group))?;
                if !self.is_member(*group, *member) {
                    return Err(Refusal::NotMember);
                }
                covers(by, &self.powers_of(PrincipalId::Group(*group)))?;
                self.keeps_an_owner(change, now_ms)
            }
            AccessChange::Grant { to, grant } => {
                self.known(*to)?;
                covers_grant(by, *grant)?;
                bounded(self.grants_of(*to).count(), MOST_GRANTS)
            }
            AccessChange::Revoke { from, grant } => {
                self.known(*from)?;
                covers_grant(by, *grant)?;
                if !self.has_grant(*from, *grant) {
                    return Err(Refusal::NotGranted(*grant));
                }
                self.keeps_an_owner(change, now_ms)
            }
            AccessChange::AddToken(_, token) => self.check_token(by, token, now_ms),
            AccessChange::RemoveToken(hash) => {
                let token = self.token(hash).ok_or(Refusal::NoSuchToken)?;
                // A token of few roles must not take away those of more.
                let is_own = !by.is_limited
                    && token.about.principal.is_some()
                    && token.about.principal == by.principal;
                if !is_own {
                    covers(by, &self.powers_of_token(&token.about))?;
                }
                self.keeps_an_owner(change, now_ms)
            }
        }
    }

    fn check_token(&self, by: &Authority, token: &StoredToken, now_ms: u64) -> Result<(), Refusal> {
        if !is_name(&token.name) {
            return Err(Refusal::BadName);
        }
        if let Some(principal) = token.principal {
            self.known(principal)?;
            if principal.kind() == PrincipalKind::Group {
                return Err(Refusal::GroupToken);
            }
        }
        if token.roles.as_ref().is_some_and(|it| it.is_empty()) {
            return Err(Refusal::NoRoles);
        }
        if token.expires_ms.is_some_and(|it| it <= now_ms) {
            return Err(Refusal::Expired);
        }
        // Otherwise whoever finds a token for a day has one for ever.
        if let Some(own) = by.expires_ms
            && token.expires_ms.is_none_or(|it| it > own)
        {
            return Err(Refusal::Outlives);
        }
        // It would grow with its principal, which this one does not.
        if by.is_limited && token.roles.is_none() {
            return Err(Refusal::Unlimited);
        }
        covers(by, &self.powers_of_token(token))?;
        // It speaks in that one's name, however little it may do: nobody becomes one of more power.
        if let Some(principal) = token.principal.filter(|it| by.principal != Some(*it)) {
            covers(by, &self.powers_of(principal))?;
        }
        if self.token_named(token.principal, &token.name).is_some() {
            return Err(Refusal::TokenNameTaken(token.name.clone()));
        }
        let most = if token.principal.is_some() { MOST_TOKENS } else { MOST_OF_HOST };
        bounded(self.tokens_of(token.principal).count(), most)
    }

    fn known(&self, id: PrincipalId) -> Result<(), Refusal> {
        self.principal(id).map(|_| ()).ok_or(Refusal::NoSuchPrincipal(id))
    }

    fn keeps_an_owner(&self, change: &Change, now_ms: u64) -> Result<(), Refusal> {
        if self.has_owner() && !self.after(change, None, now_ms).has_owner() {
            return Err(Refusal::LastOwner);
        }
        Ok(())
    }
}

fn check_text(name: &str, description: &str) -> Result<(), Refusal> {
    if !is_name(name) {
        return Err(Refusal::BadName);
    }
    if description.chars().nth(LONGEST_DESCRIPTION).is_some() {
        return Err(Refusal::LongDescription);
    }
    Ok(())
}

fn bounded(count: usize, most: usize) -> Result<(), Refusal> {
    if count >= most { Err(Refusal::TooMany(most)) } else { Ok(()) }
}

fn covers(by: &Authority, wanted: &Powers) -> Result<(), Refusal> {
    match by.powers.first_missing(wanted) {
        None => Ok(()),
        Some((right, on)) => Err(Refusal::Beyond { right, on }),
    }
}

fn covers_grant(by: &Authority, grant: Grant) -> Result<(), Refusal> {
    let (has, wanted, on) = match grant {
        Grant::Host(role) => (by.powers.host, RightSet::of_host(role), None),
        Grant::Integration(id, role) => {
            (by.powers.on(id), RightSet::of_integration(role), Some(id))
        }
    };
    match has.first_missing(wanted) {
        None => Ok(()),
        Some(right) => Err(Refusal::Beyond { right, on }),
    }
}
