//! Everybody with his roles and tokens, and what that amounts to: one immutable picture, so that a
//! request looks a hash up and has its answer. Must never hold a token, only hashes of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rights::{Right, RightSet};
use crate::model::access::{
    AccessChange, Grant, HostRole, PrincipalId, PrincipalKind, StoredAccess, StoredPrincipal,
    StoredToken, TokenHash,
};
use crate::model::id::{GroupId, IntegrationId};

/// A user, group or service account.
pub type KnownPrincipal = Arc<StoredPrincipal>;

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// On the host as a whole.
    pub host: RightSet,
    /// With single integrations.
    pub integrations: Arc<BTreeMap<IntegrationId, RightSet>>,
}

impl Powers {
    /// Those of roles of the host.
    pub fn of_roles<'a>(roles: impl IntoIterator<Item = &'a HostRole>) -> Powers {
        Powers { host: RightSet::of_roles(roles), integrations: Arc::default() }
    }

    /// What is left of them within the rights of roles.
    #[must_use]
    pub fn within(&self, bounds: RightSet) -> Powers {
        let integrations = if self.integrations.is_empty() {
            self.integrations.clone()
        } else {
            let each = self.integrations.iter();
            Arc::new(each.map(|(id, rights)| (*id, rights.within(bounds))).collect())
        };
        Powers { host: self.host.within(bounds), integrations }
    }

    /// What somebody may do with one integration.
    pub fn on(&self, integration: IntegrationId) -> RightSet {
        let own = self.integrations.get(&integration).copied().unwrap_or_default();
        self.host.within(RightSet::about_integrations()).and(own)
    }

    /// Whether it is everything.
    pub fn are_all(&self) -> bool {
        self.host.covers(RightSet::of_host(HostRole::Owner))
    }

    /// The first right of those powers that is not in these, and the integration that it is on.
    pub fn first_missing(&self, wanted: &Powers) -> Option<(Right, Option<IntegrationId>)> {
        if let Some(right) = self.host.first_missing(wanted.host) {
            return Some((right, None));
        }
        wanted.integrations.iter().find_map(|(id, rights)| {
            let right = self.on(*id).first_missing(*rights)?;
            Some((right, Some(*id)))
        })
    }
}

/// A token.
#[derive(Debug)]
pub struct KnownToken {
    /// Its hash.
    pub hash: TokenHash,
    /// What is stored of it.
    pub about: StoredToken,
    /// When it was used last, as far as that is written down; 0 for never.
    used_ms: AtomicU64,
}

impl KnownToken {
    /// Whether it is of no use any more.
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.about.expires_ms.is_some_and(|it| it <= now_ms)
    }

    /// When it was used last, to the minute or so.
    pub fn used_ms(&self) -> Option<u64> {
        Some(self.used_ms.load(Ordering::Relaxed)).filter(|it| *it != 0)
    }

    /// Notes that it is used; says whether that is to be written down: once in `every_ms`, whoever
    /// asks how often.
    pub fn note_use(&self, now_ms: u64, every_ms: u64) -> bool {
        let last = self.used_ms.load(Ordering::Relaxed);
        now_ms >= last.saturating_add(every_ms)
            && self
                .used_ms
                .compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Everybody.
#[derive(Clone, Debug, Default)]
pub struct State {
    generation: u64,
    principals: BTreeMap<u128, KnownPrincipal>,
    names: HashMap<(PrincipalKind, String), u128>,
    members: BTreeSet<(u128, u128)>,
    /// The other way round.
    groups: BTreeSet<(u128, u128)>,
    grants: BTreeMap<(u128, Grant), u64>,
    tokens: HashMap<TokenHash, Arc<KnownToken>>,
    tokens_of: BTreeMap<Option<u128>, BTreeMap<String, TokenHash>>,
    /// Of users and service accounts: their own, and those of their groups.
    powers: HashMap<u128, Powers>,
}

impl State {
    /// As it is stored.
    pub fn of(stored: StoredAccess) -> State {
        let mut state = State { generation: stored.generation, ..State::default() };
        for (id, principal) in stored.principals {
            state.put(id, principal);
        }
        for (group, member) in stored.members {
            state.join(group.0, member);
        }
        for (principal, grant, since_ms) in stored.grants {
            state.grants.insert((principal, grant), since_ms);
        }
        for (hash, token, used_ms) in stored.tokens {
            state.put_token(hash, token, used_ms.unwrap_or_default());
        }
        state.resolve();
        state
    }

    /// As it is after a change. `made` is the id of somebody new.
    #[must_use]
    pub fn after(&self, change: &AccessChange, made: Option<PrincipalId>, now_ms: u64) -> State {
        let mut state = self.clone();
        state.generation += 1;
        match change {
            AccessChange::Create(principal) => {
                if let Some(id) = made {
                    state.put(id, principal.clone());
                }
            }
            AccessChange::Describe(id, description) => {
                if let Some(known) = self.principals.get(&id.number()) {
                    let changed =
                        StoredPrincipal { description: description.clone(), ..(**known).clone() };
                    state.principals.insert(id.number(), Arc::new(changed));
                }
            }
            AccessChange::Delete(id) => state.forget(*id),
            AccessChange::Join { group, member } => state.join(group.0, member.number()),
            AccessChange::Leave { group, member } => {
                state.members.remove(&(group.0, member.number()));
                state.groups.remove(&(member.number(), group.0));
            }
            AccessChange::Grant { to, grant } => {
                state.grants.entry((to.number(), *grant)).or_insert(now_ms);
            }
            AccessChange::Revoke { from, grant } => {
                state.grants.remove(&(from.number(), *grant));
            }
            AccessChange::AddToken(hash, token) => state.put_token(*hash, (**token).clone(), 0),
            AccessChange::RemoveToken(hash) => state.drop_token(hash),
        }
        state.resolve();
        state
    }

    fn put(&mut self, id: PrincipalId, principal: StoredPrincipal) {
        self.names.insert((principal.kind, principal.name.clone()), id.number());
        self.principals.insert(id.number(), Arc::new(principal));
    }

    fn join(&mut self, group: u128, member: u128) {
        self.members.insert((group, member));
        self.groups.insert((member, group));
    }

    fn put_token(&mut self, hash: TokenHash, about: StoredToken, used_ms: u64) {
        let owner = about.principal.map(PrincipalId::number);
        self.tokens_of.entry(owner).or_default().insert(about.name.clone(), hash);
        let used_ms = AtomicU64::new(used_ms);
        self.tokens.insert(hash, Arc::new(KnownToken { hash, about, used_ms }));
    }

    fn drop_token(&mut self, hash: &TokenHash) {
        let Some(token) = self.tokens.remove(hash) else { return };
        let owner = token.about.principal.map(PrincipalId::number);
        if let Some(names) = self.tokens_of.get_mut(&owner) {
            names.remove(&token.about.name);
        }
    }

    fn forget(&mut self, id: PrincipalId) {
        let number = id.number();
        if let Some(gone) = self.principals.remove(&number) {
            self.names.remove(&(gone.kind, gone.name.clone()));
        }
        self.grants.retain(|(principal, _), _| *principal != number);
        self.members.retain(|(group, member)| *group != number && *member != number);
        self.groups.retain(|(member, group)| *group != number && *member != number);
        let tokens = self.tokens_of.remove(&Some(number)).unwrap_or_default();
        for hash in tokens.values() {
            self.tokens.remove(hash);
        }
    }

    /// What everybody may do, by his own grants and those of his groups.
    fn resolve(&mut self) {
        type Collected = (RightSet, BTreeMap<IntegrationId, RightSet>);
        let mut collected: HashMap<u128, Collected> = HashMap::new();
        let mut add = |who: u128, grant: Grant| {
            let (host, integrations) = collected.entry(who).or_default();
            match grant {
                Grant::Host(role) => *host = host.and(RightSet::of_host(role)),
                Grant::Integration(id, role) => {
                    let rights = integrations.entry(id).or_default();
                    *rights = rights.and(RightSet::of_integration(role));
                }
            }
        };
        for (principal, grant) in self.grants.keys() {
            add(*principal, *grant);
            for (_, member) in self.members.range((*principal, 0)..=(*principal, u128::MAX)) {
                add(*member, *grant);
            }
        }
        let powers = collected.into_iter().map(|(who, (host, integrations))| {
            (who, Powers { host, integrations: Arc::new(integrations) })
        });
        self.powers = powers.collect();
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A principal.
    pub fn principal(&self, id: PrincipalId) -> Option<&KnownPrincipal> {
        self.principals.get(&id.number()).filter(|it| it.kind == id.kind())
    }

    /// The principal of a kind with a name.
    pub fn named(&self, kind: PrincipalKind, name: &str) -> Option<PrincipalId> {
        self.names.get(&(kind, name.to_owned())).map(|number| kind.id(*number))
    }

    /// The principals of a kind, oldest first, from a number on.
    pub fn of_kind(
        &self,
        kind: PrincipalKind,
        from: u128,
    ) -> impl Iterator<Item = (PrincipalId, &KnownPrincipal)> {
        let rows = self.principals.range(from..);
        rows.filter(move |(_, it)| it.kind == kind).map(move |(id, it)| (kind.id(*id), it))
    }

    /// What a principal may do: by himself, and by his groups.
    pub fn powers_of(&self, id: PrincipalId) -> Powers {
        self.powers.get(&id.number()).cloned().unwrap_or_default()
    }

    /// What was granted to a principal himself, and when.
    pub fn grants_of(&self, id: PrincipalId) -> impl Iterator<Item = (Grant, u64)> {
        let all = self.grants.range(grants_of_one(id.number()));
        all.map(|((_, grant), since)| (*grant, *since))
    }

    /// Every grant: to whom, what, since when.
    pub fn grants(&self) -> impl Iterator<Item = (PrincipalId, Grant, u64)> {
        self.grants.iter().filter_map(|((number, grant), since)| {
            let known = self.principals.get(number)?;
            Some((known.kind.id(*number), *grant, *since))
        })
    }

    /// Whether somebody has a grant himself.
    pub fn has_grant(&self, id: PrincipalId, grant: Grant) -> bool {
        self.grants.contains_key(&(id.number(), grant))
    }

    /// Who is in a group.
    pub fn members_of(&self, group: GroupId) -> impl Iterator<Item = PrincipalId> {
        let rows = self.members.range((group.0, 0)..=(group.0, u128::MAX));
        rows.filter_map(|(_, member)| Some(self.principals.get(member)?.kind.id(*member)))
    }

    /// The groups that somebody is in.
    pub fn groups_of(&self, member: PrincipalId) -> impl Iterator<Item = GroupId> {
        let rows = self.groups.range((member.number(), 0)..=(member.number(), u128::MAX));
        rows.map(|(_, group)| GroupId(*group))
    }

    /// Whether somebody is in a group.
    pub fn is_member(&self, group: GroupId, member: PrincipalId) -> bool {
        self.members.contains(&(group.0, member.number()))
    }

    /// The token of a hash.
    pub fn token(&self, hash: &TokenHash) -> Option<&Arc<KnownToken>> {
        self.tokens.get(hash)
    }

    /// The token of a name, of a principal or of the host's own.
    pub fn token_named(&self, owner: Option<PrincipalId>, name: &str) -> Option<&Arc<KnownToken>> {
        let hash = self.tokens_of.get(&owner.map(PrincipalId::number))?.get(name)?;
        self.tokens.get(hash)
    }

    /// The tokens of a principal, or the host's own, by name.
    pub fn tokens_of(&self, owner: Option<PrincipalId>) -> impl Iterator<Item = &Arc<KnownToken>> {
        let names = self.tokens_of.get(&owner.map(PrincipalId::number)).into_iter().flatten();
        names.filter_map(|(_, hash)| self.tokens.get(hash))
    }

    /// Every token.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<KnownToken>> {
        self.tokens_of.values().flatten().filter_map(|(_, hash)| self.tokens.get(hash))
    }

    /// What whoever has a token may do.
    pub fn powers_of_token(&self, token: &StoredToken) -> Powers {
        let all = match token.principal {
            Some(principal) => self.powers_of(principal),
            None => Powers::of_roles(&[HostRole::Owner]),
        };
        let limited = match &token.roles {
            Some(roles) => all.within(RightSet::of_roles(roles)),
            None => all,
        };
        match &token.scope {
            Some(_) => {
                Powers { integrations: Arc::default(), ..limited.within(RightSet::scoped()) }
            }
            None => limited,
        }
    }

    /// Whether somebody is left who may do everything, for good and without being root.
    pub fn has_owner(&self) -> bool {
        let principal_owns = self.powers.iter().any(|(who, powers)| {
            let is_group =
                self.principals.get(who).is_none_or(|it| it.kind == PrincipalKind::Group);
            !is_group && powers.are_all()
        });
        principal_owns
            || self.tokens_of(None).any(|it| {
                it.about.expires_ms.is_none() && self.powers_of_token(&it.about).are_all()
            })
    }
}

/// The least and the greatest key of one principal's grants.
fn grants_of_one(number: u128) -> std::ops::RangeInclusive<(u128, Grant)> {
    use crate::model::access::IntegrationRole;
    let last = IntegrationRole::ALL.iter().copied().max().unwrap_or(IntegrationRole::Owner);
    (number, Grant::Host(HostRole::Owner))
        ..=(number, Grant::Integration(IntegrationId(u128::MAX), last))
}
