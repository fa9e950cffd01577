//! Keyrings that operations declare for themselves, as keyrings of the snap-in.
//!
//! Owns what it means that a name is declared in an operation and elsewhere: one secret is set under
//! one name, so it has to be right for both. It must never read the tree.

use super::fields::Reader;
use super::names::{Space, define};
use super::node::Place;
use super::problem::quoted;
use crate::configuration::readiness::fits;
use crate::model::manifest::{Keyring, Level, Manifest};

/// One of them.
#[derive(Debug)]
pub(super) struct OperationKeyring {
    pub(super) operation: String,
    pub(super) keyring: Keyring,
    pub(super) place: Place,
    pub(super) path: String,
}

/// Adds those that nothing else declares to the snap-in's. They are optional there, because it
/// functions without its operations, and only the functions of those operations get them.
pub(super) fn add(r: &mut Reader, manifest: &mut Manifest) {
    for declared in std::mem::take(&mut r.operation_keyrings) {
        let OperationKeyring { operation, keyring, place, path } = declared;
        if keyring.name.is_empty() {
            continue;
        }
        let known = manifest.keyrings.iter_mut().find(|it| it.name == keyring.name);
        if let Some(known) = known
            && known.level == Level::Organization
        {
            let is_unknown = known.types.is_empty() || keyring.types.is_empty();
            if is_unknown || known.types.iter().any(|it| fits(&keyring, it)) {
                if !known.operations.is_empty() {
                    known.types.retain(|it| fits(&keyring, it));
                    if !known.operations.contains(&operation) {
                        known.operations.push(operation);
                    }
                }
                continue;
            }
            let first = r.names.first(Space::Keyring, &keyring.name);
            let first = first.map(|(place, path)| {
                format!(" in line {}, column {} ({path})", place.line, place.column)
            });
            let message = format!(
                "the keyring {} is of {} here and of {}{}: one secret is set for both, and no \
                 type is right for both",
                quoted(&keyring.name),
                listed(&keyring),
                listed(known),
                first.unwrap_or_default(),
            );
            r.problems.error(place, &path, message);
            continue;
        }
        // A user's, or the developer's, is another one: this complains of it.
        define(r, Space::Keyring, &keyring.name, place, &path);
        if known_elsewhere(manifest, &keyring.name) {
            continue;
        }
        let operations = vec![operation];
        manifest.keyrings.push(Keyring { optional: true, operations, ..keyring });
    }
}

fn known_elsewhere(manifest: &Manifest, name: &str) -> bool {
    manifest.keyring(name).is_some() || manifest.developer_keyring(name).is_some()
}

fn listed(keyring: &Keyring) -> String {
    let types: Vec<String> = keyring.types.iter().map(|it| quoted(it).to_string()).collect();
    types.join(" or ")
}
