//! The top level of a manifest: which sections there are, and where each dialect keeps them.
//!
//! Owns the keys of the top level and the way from version 1 sections to version 2 ones. It must
//! never look into an entry of a section.

use crate::model::manifest::{Level, Manifest, ManifestVersion};

use super::fields::{Fields, Reader, read_items};
use super::node::{Core, Kind, Node};
use super::places::{item, member};
use super::problem::quoted;
use super::{
    bindings, functions, inputs, keyrings, object_types, operation_keyrings, sources, views,
};

/// A section with its key in version 2 and, where that differs, in version 1.
struct Section {
    key: &'static str,
    old_key: Option<&'static str>,
}

const EVENT_SOURCES: Section = Section { key: "event_sources", old_key: Some("event-sources") };
const INPUTS: Section = Section { key: "inputs", old_key: Some("globals") };
const KEYRINGS: Section = Section { key: "keyrings", old_key: Some("connections") };
const DEVELOPER_KEYRINGS: Section =
    Section { key: "developer_keyrings", old_key: Some("developer_connections") };

/// An entry of a section that has levels.
pub(super) struct Leveled<'n> {
    pub(super) level: Level,
    pub(super) node: &'n Node,
    /// In the file.
    pub(super) path: String,
    /// In the version 2 shape.
    pub(super) canonical: String,
}

/// The manifest as far as it can be read; whether it may be used is for the problems to say.
pub(super) fn read(r: &mut Reader, root: &Node) -> Option<Manifest> {
    if root.is_null() {
        r.problems.error(root.place, "", "the manifest is empty");
        return None;
    }
    let mut top = Fields::open(r, root, "")?;
    let version = read_version(r, &mut top);
    let mut manifest = Manifest {
        version,
        name: top.text(r, "name"),
        description: top.text(r, "description"),
        service_account: keyrings::service_account(r, &mut top),
        event_sources: leveled(r, &mut top, &EVENT_SOURCES, version)
            .iter()
            .filter_map(|entry| sources::read(r, entry))
            .collect(),
        inputs: leveled(r, &mut top, &INPUTS, version)
            .iter()
            .filter_map(|entry| inputs::read(r, entry))
            .collect(),
        keyring_types: each(r, &mut top, "keyring_types", keyrings::keyring_type),
        keyrings: leveled(r, &mut top, &KEYRINGS, version)
            .iter()
            .filter_map(|entry| keyrings::keyring(r, entry))
            .collect(),
        developer_keyrings: flat(r, &mut top, &DEVELOPER_KEYRINGS, version)
            .iter()
            .filter_map(|(node, path)| keyrings::developer_keyring(r, node, path))
            .collect(),
        tags: each(r, &mut top, "tags", bindings::tag),
        functions: each(r, &mut top, "functions", functions::function),
        automations: each(r, &mut top, "automations", functions::automation),
        hooks: each(r, &mut top, "hooks", functions::hook),
        commands: each(r, &mut top, "commands", bindings::command),
        snap_kit_actions: each(r, &mut top, "snap_kit_actions", bindings::snap_kit_action),
        snap_components: each(r, &mut top, "snap_components", bindings::snap_component),
        configuration_handler: bindings::configuration_handler(r, &mut top),
        operations: each(r, &mut top, "operations", bindings::operation),
        imports: each(r, &mut top, "imports", bindings::import),
        object_types: object_types::read(r, &mut top),
        views: each(r, &mut top, "views", views::view),
    };
    top.finish(r);
    operation_keyrings::add(r, &mut manifest);
    Some(manifest)
}

fn read_version(r: &mut Reader, top: &mut Fields<'_>) -> ManifestVersion {
    let allowed = [r#""1""#, r#""2""#];
    let Some(node) = top.get("version") else {
        let message = "the key `version` is missing: it says how the manifest is to be read";
        r.problems.error_allowing(top.place, "version", message, allowed);
        return ManifestVersion::V2;
    };
    let scalar = match &node.kind {
        Kind::Scalar(scalar) => scalar,
        Kind::List(_) | Kind::Map(_) => {
            let message = format!("expected a version, found {}", node.describe());
            r.problems.error_allowing(node.place, "version", message, allowed);
            return ManifestVersion::V2;
        }
    };
    match (&*scalar.text, scalar.core) {
        ("1", _) | (_, Core::Int(1)) => ManifestVersion::V1,
        ("2", _) | (_, Core::Int(2)) => ManifestVersion::V2,
        (text, _) => {
            let message = format!("unknown version {}", quoted(text));
            r.problems.error_allowing(node.place, "version", message, allowed);
            ManifestVersion::V2
        }
    }
}

/// The entries of a section that is a plain list.
fn each<T>(
    r: &mut Reader,
    top: &mut Fields<'_>,
    key: &'static str,
    read: fn(&mut Reader, &Node, &str) -> Option<T>,
) -> Vec<T> {
    let items = top.items(r, key);
    items.iter().filter_map(|(node, path)| read(r, node, path)).collect()
}

/// The entries of a section that is a plain list and has another name in version 1.
fn flat<'n>(
    r: &mut Reader,
    top: &mut Fields<'n>,
    section: &Section,
    version: ManifestVersion,
) -> Vec<(&'n Node, String)> {
    let mut items = top.items(r, section.key);
    if let Some(old_key) = section.old_key {
        let own = items.len();
        items.extend(top.items(r, old_key));
        for (index, (_, path)) in items.iter().enumerate().skip(own) {
            r.moved.insert(item(section.key, index), path.clone());
        }
        warn_of_other_version(r, top, section, section.key, version);
    }
    items
}

/// The entries of a section that has levels, or is a flat list in version 1.
fn leveled<'n>(
    r: &mut Reader,
    top: &mut Fields<'n>,
    section: &Section,
    version: ManifestVersion,
) -> Vec<Leveled<'n>> {
    let mut found = Vec::new();
    for key in [Some(section.key), section.old_key].into_iter().flatten() {
        let Some(node) = top.get(key) else { continue };
        match &node.kind {
            Kind::List(_) => {
                if key == section.key {
                    let message = format!(
                        "a flat list; it was taken as `{key}.organization`, which is the place for it"
                    );
                    r.problems.warn(top.key_place(key), key, message);
                }
                let items = read_items(r, node, key);
                found.extend(
                    items.into_iter().map(|(node, path)| (Level::Organization, node, path)),
                );
            }
            Kind::Map(_) | Kind::Scalar(_) => {
                let Some(mut levels) = Fields::open(r, node, key) else { continue };
                for level in [Level::Organization, Level::User] {
                    let items = levels.items(r, level.key());
                    found.extend(items.into_iter().map(|(node, path)| (level, node, path)));
                }
                levels.finish(r);
            }
        }
    }
    warn_of_other_version(r, top, section, &format!("{}.organization", section.key), version);

    let mut counts = [0; 2];
    let mut entries = Vec::with_capacity(found.len());
    for (level, node, path) in found {
        let count = &mut counts[usize::from(level == Level::User)];
        let canonical = item(&member(section.key, level.key()), *count);
        *count += 1;
        if canonical != path {
            r.moved.insert(canonical.clone(), path.clone());
        }
        entries.push(Leveled { level, node, path, canonical });
    }
    entries
}

fn warn_of_other_version(
    r: &mut Reader,
    top: &mut Fields<'_>,
    section: &Section,
    new_home: &str,
    version: ManifestVersion,
) {
    let Some(old_key) = section.old_key else { return };
    let (wrong, message) = match version {
        ManifestVersion::V2 => {
            (old_key, format!("a key of version 1; version 2 has `{new_home}` for it"))
        }
        ManifestVersion::V1 => {
            (section.key, format!("a key of version 2; version 1 has `{old_key}` for it"))
        }
    };
    if top.get(wrong).is_some() {
        r.problems.warn(top.key_place(wrong), wrong, message);
    }
}
