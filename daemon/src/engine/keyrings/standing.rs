//! What a keyring means to its snap-in at present. A keyring outlives the version that declared it,
//! for a way back: it must not disturb a version that knows nothing of it.

use super::{KeyringError, Keyrings};
use crate::configuration::readiness::fits;
use crate::model::keyring::KeyringOwner;
use crate::model::manifest::{Level, Manifest};
use crate::store::{KeyringRecord, StoreError};

/// What a keyring means to its snap-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The present version does not declare it, or not as one of its type: it is kept as it is.
    Kept,
    /// The snap-in functions without it.
    Optional,
    /// The snap-in does not function without it.
    Needed,
}

/// What a manifest makes of a keyring. Those of developers are no matter of one snap-in.
fn standing(manifest: &Manifest, owner: &KeyringOwner, type_id: &str) -> Standing {
    let level = match owner {
        KeyringOwner::SnapIn { .. } => Level::Organization,
        KeyringOwner::User { .. } => Level::User,
        KeyringOwner::Developer { .. } => return Standing::Needed,
    };
    match manifest.keyring(owner.name()) {
        Some(declared) if declared.level == level && fits(declared, type_id) => {
            if declared.optional { Standing::Optional } else { Standing::Needed }
        }
        Some(_) | None => Standing::Kept,
    }
}

impl Keyrings {
    /// What a keyring means to its snap-in, by the version that this has now.
    pub(super) fn standing(&self, record: &KeyringRecord) -> Result<Standing, StoreError> {
        let Some(id) = record.owner.snap_in() else { return Ok(Standing::Needed) };
        let Some(snap_in) = self.0.parts.store.read(|tables| tables.snap_in(id))? else {
            return Ok(Standing::Kept);
        };
        let version = self.0.parts.contexts.version(snap_in.version)?;
        Ok(version.map_or(Standing::Kept, |version| {
            standing(&version.manifest, &record.owner, &record.type_id)
        }))
    }

    /// Whether a snap-in functions although this is the matter with one of its keyrings.
    pub(super) fn can_do_without(
        &self,
        record: &KeyringRecord,
        problem: &KeyringError,
    ) -> Result<bool, StoreError> {
        let is_of_the_other_side =
            matches!(problem, KeyringError::Broken { .. } | KeyringError::NotRenewed { .. });
        Ok(is_of_the_other_side && self.standing(record)? != Standing::Needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{PackageId, SnapInId, UserId};
    use crate::model::manifest::Keyring;

    fn keyring(name: &str, level: Level, optional: bool, types: &[&str]) -> Keyring {
        Keyring {
            name: name.to_owned(),
            level,
            optional,
            types: types.iter().map(|it| (*it).to_owned()).collect(),
            ..Keyring::default()
        }
    }

    #[test]
    fn a_keyring_means_what_the_present_version_says() {
        let manifest = Manifest {
            keyrings: vec![
                keyring("needed", Level::Organization, false, &["other-side"]),
                keyring("spare", Level::Organization, true, &["other-side"]),
                keyring("plain", Level::Organization, false, &["snap-in-secret"]),
                keyring("mine", Level::User, false, &["other-side"]),
            ],
            ..Manifest::default()
        };
        let of_snap_in =
            |name: &str| KeyringOwner::SnapIn { snap_in: SnapInId(1), name: name.to_owned() };
        let of_user = |name: &str| KeyringOwner::User {
            snap_in: SnapInId(1),
            user: UserId(2),
            name: name.to_owned(),
        };
        let developer = KeyringOwner::Developer { package: PackageId(3), name: "x".to_owned() };
        for (owner, type_id, expected) in [
            (of_snap_in("needed"), "other-side", Standing::Needed),
            (of_snap_in("needed"), "dropped", Standing::Kept),
            (of_snap_in("dropped"), "other-side", Standing::Kept),
            (of_snap_in("spare"), "other-side", Standing::Optional),
            (of_snap_in("plain"), "snap_in_secret", Standing::Needed),
            (of_snap_in("mine"), "other-side", Standing::Kept),
            (of_user("mine"), "other-side", Standing::Needed),
            (of_user("needed"), "other-side", Standing::Kept),
            (developer, "oauth-secret", Standing::Needed),
        ] {
            assert_eq!(standing(&manifest, &owner, type_id), expected, "{owner:?} {type_id}");
        }
    }
}
