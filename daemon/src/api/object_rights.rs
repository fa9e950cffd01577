//! Which objects a caller may reach. Owners of the host all of them; the functions of a snap-in those
//! of the types that its own version declares, and of those that its manifest asks for under
//! `service_account.scopes.self`, which whoever installed it has agreed to.

use std::collections::HashSet;
use std::sync::Arc;

use super::Api;
use super::error::{ApiError, Code};
use super::rights::{Caller, Reach};
use crate::engine::objects::{KnownType, Sight};
use crate::model::id::SnapInId;
use crate::model::manifest::Manifest;

/// What somebody wants with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Read,
    Write,
}

/// What a caller may reach.
pub(super) enum Granted {
    All,
    By(Arc<crate::engine::contexts::VersionContext>),
}

impl Granted {
    /// Refuses what is not granted, with the scope that would be needed.
    pub(super) fn check(&self, kind: &KnownType, wish: Wish) -> Result<(), ApiError> {
        let name = &kind.current().name;
        let version = match self {
            Granted::All => return Ok(()),
            Granted::By(version) => version,
        };
        if grants(&version.manifest, name, wish) {
            return Ok(());
        }
        let verb = match wish {
            Wish::Read => "read",
            Wish::Write => "write",
        };
        let message = format!(
            "the service account of this snap-in lacks the scope `{name}:{verb}`: its manifest \
             neither asks for it under service_account.scopes.self nor declares the type"
        );
        Err(ApiError::new(Code::Forbidden, message).with("scope", format!("{name}:{verb}").into()))
    }

    /// Of which types objects are seen where others refer to them.
    pub(super) fn sight(&self, api: &Api) -> Sight {
        let version = match self {
            Granted::All => return Sight::All,
            Granted::By(version) => version,
        };
        let catalog = api.objects.catalog();
        let seen = catalog.types().iter();
        let seen = seen.filter(|it| grants(&version.manifest, &it.current().name, Wish::Read));
        Sight::Types(seen.map(|it| it.number).collect::<HashSet<_>>())
    }

    /// Whether a type may be looked at: one of whose objects something is granted.
    pub(super) fn shows(&self, kind: &KnownType) -> bool {
        match self {
            Granted::All => true,
            Granted::By(version) => grants(&version.manifest, &kind.current().name, Wish::Read),
        }
    }
}

/// What a caller was granted.
pub(super) fn granted(api: &Api, caller: &Caller) -> Result<Granted, ApiError> {
    match &caller.reach {
        Reach::All => Ok(Granted::All),
        Reach::SnapIn(id) => granted_to(api, *id),
        // Tokens for a prefix of scopes, or for integrations, have no right to objects.
        Reach::Under(_) | Reach::Integrations(_) => {
            Err(ApiError::new(Code::Forbidden, "this token has no right to objects"))
        }
    }
}

fn granted_to(api: &Api, id: SnapInId) -> Result<Granted, ApiError> {
    let record = api.services.store.read(|tables| tables.snap_in(id))?;
    let version = match record {
        Some(record) => api.services.contexts.version(record.version)?,
        None => None,
    };
    version
        .map(Granted::By)
        .ok_or_else(|| ApiError::new(Code::Forbidden, "the snap-in of this token is gone"))
}

/// Who may write a type's objects sees them, because answers show them.
fn grants(manifest: &Manifest, name: &str, wish: Wish) -> bool {
    if manifest.object_types.iter().any(|it| it.name == name) {
        return true;
    }
    let asked = manifest.service_account.iter().flat_map(|it| &it.scopes.own);
    asked.filter_map(|it| it.scope.split_once(':')).any(|(of, verb)| {
        of == name
            && match wish {
                Wish::Read => ["read", "write", "all"].contains(&verb),
                Wish::Write => ["write", "all"].contains(&verb),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::{RequestedScope, ServiceAccount};

    #[test]
    fn grants_are_what_the_manifest_asks_for() {
        let mut manifest = Manifest::default();
        let mut account = ServiceAccount::default();
        for scope in ["work:read", "tag:write", "part:all", "odd", "group:"] {
            let scope = scope.to_owned();
            account.scopes.own.push(RequestedScope { scope, ..RequestedScope::default() });
        }
        manifest.service_account = Some(account);
        for (name, may_read, may_write) in [
            ("work", true, false),
            ("tag", true, true),
            ("part", true, true),
            ("odd", false, false),
            ("group", false, false),
            ("account", false, false),
        ] {
            assert_eq!(grants(&manifest, name, Wish::Read), may_read, "{name}");
            assert_eq!(grants(&manifest, name, Wish::Write), may_write, "{name}");
        }
    }
}
