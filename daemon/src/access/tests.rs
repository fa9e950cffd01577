//! Who may give and take what.

use std::collections::BTreeSet;

use super::change::{Authority, Refusal};
use super::rights::Right;
use super::state::{Powers, State};
use crate::model::access::{
    AccessChange, Grant, HostRole, IntegrationRole, PrincipalId, PrincipalKind, StoredAccess,
    StoredPrincipal, StoredToken,
};
use crate::model::id::{GroupId, IntegrationId};

const NOW: u64 = 1_800_000_000_000;
const ADA: PrincipalId = PrincipalKind::User.id(1);
const BOB: PrincipalId = PrincipalKind::User.id(2);
const CI: PrincipalId = PrincipalKind::ServiceAccount.id(3);
const OPS: GroupId = GroupId(4);
const CHAT: IntegrationId = IntegrationId(50);

fn principal(kind: PrincipalKind, name: &str) -> StoredPrincipal {
    StoredPrincipal {
        kind,
        name: name.to_owned(),
        description: String::new(),
        created_ms: NOW,
        created_by: "uid:0".to_owned(),
    }
}

fn token(name: &str, principal: Option<PrincipalId>) -> StoredToken {
    StoredToken {
        name: name.to_owned(),
        created_ms: NOW,
        scope: None,
        created_by: None,
        principal,
        roles: None,
        expires_ms: None,
    }
}

/// Two users, a service account and a group in which Bob is.
fn state(grants: &[(PrincipalId, Grant)]) -> State {
    State::of(StoredAccess {
        generation: 0,
        principals: vec![
            (ADA, principal(PrincipalKind::User, "ada")),
            (BOB, principal(PrincipalKind::User, "bob")),
            (CI, principal(PrincipalKind::ServiceAccount, "ci")),
            (PrincipalId::Group(OPS), principal(PrincipalKind::Group, "ops")),
        ],
        members: vec![(OPS, BOB.number())],
        grants: grants.iter().map(|(who, grant)| (who.number(), *grant, NOW)).collect(),
        tokens: Vec::new(),
    })
}

fn host(role: HostRole) -> Grant {
    Grant::Host(role)
}

fn as_one(state: &State, who: PrincipalId) -> Authority {
    Authority {
        powers: state.powers_of(who),
        principal: Some(who),
        expires_ms: None,
        is_limited: false,
    }
}

fn root() -> Authority {
    let powers = Powers::of_roles(&[HostRole::Owner]);
    Authority { powers, principal: None, expires_ms: None, is_limited: false }
}

#[test]
fn groups_lend_what_they_have_for_as_long_as_one_is_in_them() {
    let group = PrincipalId::Group(OPS);
    let state = state(&[
        (group, host(HostRole::Reader)),
        (group, Grant::Integration(CHAT, IntegrationRole::Contributor)),
    ]);
    let powers = state.powers_of(BOB);
    assert!(powers.host.has(Right::ReadRuns) && !powers.host.has(Right::WriteRuns));
    assert!(powers.on(CHAT).has(Right::WriteIntegrations));
    assert!(!powers.on(IntegrationId(51)).has(Right::WriteIntegrations));
    assert_eq!(state.powers_of(ADA), Powers::default());

    let left = state.after(&AccessChange::Leave { group: OPS, member: BOB }, None, NOW);
    assert_eq!(left.powers_of(BOB), Powers::default());
    let deleted = state.after(&AccessChange::Delete(group), None, NOW);
    assert_eq!(deleted.powers_of(BOB), Powers::default());
}

#[test]
fn nobody_gives_or_takes_what_he_has_not() {
    let state = state(&[
        (ADA, host(HostRole::IdentityAccessManager)),
        (ADA, host(HostRole::Reader)),
        (BOB, host(HostRole::Owner)),
        (PrincipalId::Group(OPS), host(HostRole::Contributor)),
        (CI, Grant::Integration(CHAT, IntegrationRole::Owner)),
    ]);
    let ada = as_one(&state, ADA);
    let may = |change: &AccessChange| state.check(&ada, change, NOW);
    let grant = |to, role| AccessChange::Grant { to, grant: host(role) };
    assert_eq!(may(&grant(CI, HostRole::Reader)), Ok(()));
    assert_eq!(may(&grant(CI, HostRole::IdentityAccessManager)), Ok(()));
    for role in [HostRole::Owner, HostRole::Contributor, HostRole::IntegrationCreator] {
        for to in [ADA, CI] {
            let refused = may(&grant(to, role)).expect_err("beyond hers");
            assert!(matches!(refused, Refusal::Beyond { .. }), "{refused}");
        }
    }
    // Nor by way of a group, a token, or an integration.
    for change in [
        AccessChange::Join { group: OPS, member: ADA },
        AccessChange::Leave { group: OPS, member: BOB },
        AccessChange::AddToken([1; 32], Box::new(token("mine", Some(BOB)))),
        AccessChange::AddToken([1; 32], Box::new(token("mine", Some(CI)))),
        AccessChange::AddToken([1; 32], Box::new(token("mine", None))),
        AccessChange::Grant {
            to: ADA,
            grant: Grant::Integration(CHAT, IntegrationRole::Contributor),
        },
        AccessChange::Revoke { from: BOB, grant: host(HostRole::Owner) },
        AccessChange::Delete(BOB),
        AccessChange::Delete(PrincipalId::Group(OPS)),
        AccessChange::Describe(BOB, "nobody".to_owned()),
    ] {
        let refused = may(&change).expect_err("beyond hers");
        assert!(matches!(refused, Refusal::Beyond { .. }), "{change:?}: {refused}");
    }
    assert_eq!(may(&AccessChange::AddToken([1; 32], Box::new(token("mine", Some(ADA))))), Ok(()));
    // Whoever owns an integration gives roles of it, and of no other.
    let ci = as_one(&state, CI);
    let give = |on| AccessChange::Grant {
        to: ADA,
        grant: Grant::Integration(on, IntegrationRole::Reader),
    };
    assert_eq!(state.check(&ci, &give(CHAT), NOW), Ok(()));
    assert!(state.check(&ci, &give(IntegrationId(51)), NOW).is_err());
}

#[test]
fn the_last_owner_stays() {
    let owner = host(HostRole::Owner);
    let one = state(&[(ADA, owner)]);
    let takes = |state: &State, change: &AccessChange| state.check(&root(), change, NOW);
    let revoke = AccessChange::Revoke { from: ADA, grant: owner };
    assert_eq!(takes(&one, &revoke), Err(Refusal::LastOwner));
    assert_eq!(takes(&one, &AccessChange::Delete(ADA)), Err(Refusal::LastOwner));
    // A second one by way of a group counts; an empty group does not.
    let two = state(&[(ADA, owner), (PrincipalId::Group(OPS), owner)]);
    assert_eq!(takes(&two, &revoke), Ok(()));
    let empty = two.after(&AccessChange::Leave { group: OPS, member: BOB }, None, NOW);
    assert_eq!(takes(&empty, &revoke), Err(Refusal::LastOwner));
    // As does a token of the host's own, unless it expires or is for less.
    let with = |token: StoredToken| {
        one.after(&AccessChange::AddToken([9; 32], Box::new(token)), None, NOW)
    };
    assert_eq!(takes(&with(token("admin", None)), &revoke), Ok(()));
    let expires = StoredToken { expires_ms: Some(NOW + 1), ..token("admin", None) };
    assert_eq!(takes(&with(expires), &revoke), Err(Refusal::LastOwner));
    let scope = "prod".parse().ok();
    let scoped = StoredToken { scope, ..token("admin", None) };
    assert_eq!(takes(&with(scoped), &revoke), Err(Refusal::LastOwner));
    // Where nobody owns anything, nothing is in the way.
    let none = state(&[(ADA, host(HostRole::Reader))]);
    assert_eq!(takes(&none, &AccessChange::Delete(ADA)), Ok(()));
}

#[test]
fn a_token_makes_none_that_is_good_for_more_or_longer() {
    let state = state(&[(ADA, host(HostRole::Contributor))]);
    let reader = BTreeSet::from([HostRole::Reader]);
    let limited = StoredToken { roles: Some(reader.clone()), ..token("small", Some(ADA)) };
    let by = Authority {
        powers: state.powers_of_token(&limited),
        principal: Some(ADA),
        expires_ms: Some(NOW + 1000),
        is_limited: true,
    };
    let make =
        |new: StoredToken| state.check(&by, &AccessChange::AddToken([1; 32], Box::new(new)), NOW);
    let good = StoredToken { expires_ms: Some(NOW + 1000), ..limited.clone() };
    assert_eq!(make(good.clone()), Ok(()));
    assert_eq!(make(limited.clone()), Err(Refusal::Outlives));
    assert_eq!(
        make(StoredToken { expires_ms: Some(NOW + 1001), ..good.clone() }),
        Err(Refusal::Outlives)
    );
    assert_eq!(make(StoredToken { roles: None, ..good.clone() }), Err(Refusal::Unlimited));
    let more = Some(BTreeSet::from([HostRole::Contributor]));
    let refused = make(StoredToken { roles: more, ..good.clone() }).expect_err("it is more");
    assert!(matches!(refused, Refusal::Beyond { .. }), "{refused}");
    assert_eq!(make(StoredToken { expires_ms: Some(NOW), ..good.clone() }), Err(Refusal::Expired));
    let none = Some(BTreeSet::new());
    assert_eq!(make(StoredToken { roles: none, ..good }), Err(Refusal::NoRoles));
    // A role that its principal has not gives it nothing.
    let beyond =
        StoredToken { roles: Some(BTreeSet::from([HostRole::Owner])), ..token("great", Some(ADA)) };
    let powers = state.powers_of_token(&beyond);
    assert!(powers.host.has(Right::WriteRuns) && !powers.host.has(Right::ManagePrincipals));
}

#[test]
fn what_is_wrong_is_said() {
    let state = state(&[(ADA, host(HostRole::Owner))]);
    let ada = as_one(&state, ADA);
    let refused =
        |change: AccessChange| state.check(&ada, &change, NOW).expect_err("it makes no sense");
    for name in ["", "a b", "token:x", "-a", "é", &"x".repeat(64)] {
        let new = principal(PrincipalKind::User, name);
        assert_eq!(refused(AccessChange::Create(new)), Refusal::BadName, "{name}");
    }
    let taken = refused(AccessChange::Create(principal(PrincipalKind::User, "bob")));
    assert!(matches!(taken, Refusal::NameTaken { .. }), "{taken}");
    // One of another kind may have the name.
    let other = AccessChange::Create(principal(PrincipalKind::ServiceAccount, "bob"));
    assert_eq!(state.check(&ada, &other, NOW), Ok(()));
    let group = PrincipalId::Group(OPS);
    assert_eq!(refused(AccessChange::Join { group: OPS, member: group }), Refusal::Nested);
    let group_token = AccessChange::AddToken([1; 32], Box::new(token("x", Some(group))));
    assert_eq!(refused(group_token), Refusal::GroupToken);
    assert_eq!(refused(AccessChange::Leave { group: OPS, member: ADA }), Refusal::NotMember);
    let revoke = AccessChange::Revoke { from: BOB, grant: host(HostRole::Reader) };
    assert_eq!(refused(revoke), Refusal::NotGranted(host(HostRole::Reader)));
    assert_eq!(refused(AccessChange::RemoveToken([7; 32])), Refusal::NoSuchToken);
    let nobody = PrincipalKind::User.id(99);
    assert_eq!(refused(AccessChange::Delete(nobody)), Refusal::NoSuchPrincipal(nobody));
}

#[test]
fn who_is_deleted_has_nothing_any_more() {
    let before = state(&[(ADA, host(HostRole::Owner)), (BOB, host(HostRole::Reader))]);
    let with =
        before.after(&AccessChange::AddToken([5; 32], Box::new(token("x", Some(BOB)))), None, NOW);
    assert!(with.token(&[5; 32]).is_some());
    let gone = with.after(&AccessChange::Delete(BOB), None, NOW);
    assert!(gone.token(&[5; 32]).is_none() && gone.principal(BOB).is_none());
    assert_eq!(gone.named(PrincipalKind::User, "bob"), None);
    assert_eq!(gone.powers_of(BOB), Powers::default());
    assert_eq!((gone.grants_of(BOB).count(), gone.members_of(OPS).count()), (0, 0));
    // Somebody of the same name begins with nothing.
    let new = AccessChange::Create(principal(PrincipalKind::User, "bob"));
    assert_eq!(gone.after(&new, Some(BOB), NOW).powers_of(BOB), Powers::default());
}

#[test]
fn the_use_of_a_token_is_written_down_now_and_then() {
    let state =
        state(&[]).after(&AccessChange::AddToken([5; 32], Box::new(token("x", None))), None, NOW);
    let token = state.token(&[5; 32]).expect("there");
    assert_eq!(token.used_ms(), None);
    assert!(token.note_use(NOW, 60_000) && !token.note_use(NOW + 59_999, 60_000));
    assert!(token.note_use(NOW + 60_000, 60_000));
    assert_eq!(token.used_ms(), Some(NOW + 60_000));
    // A change of something else forgets nothing of it.
    let later = state.after(&AccessChange::Describe(ADA, "x".to_owned()), None, NOW);
    assert_eq!(later.token(&[5; 32]).expect("there").used_ms(), Some(NOW + 60_000));
}

#[test]
fn tokens_of_before_there_were_principals_may_what_they_could() {
    let of_before = |json: &str| serde_json::from_str::<StoredToken>(json).expect("as it was");
    let state = state(&[]);
    let powers = |json| state.powers_of_token(&of_before(json));
    assert!(powers(r#"{"name":"admin","created_ms":5}"#).are_all());
    let scoped = powers(r#"{"name":"ci","created_ms":6,"scope":"prod","created_by":"uid:0"}"#).host;
    assert!(scoped.has(Right::WriteSnapIns) && scoped.has(Right::ReadUserResources));
    assert!(!scoped.has(Right::WritePackages) && !scoped.has(Right::OwnTokens));
}
