//! Reads what else calls functions (commands, snap-kit actions, components, configuration pages,
//! operations, imports) and the tags.

use crate::model::manifest::{
    Command, CommandSurface, ConfigurationHandler, ConfigurationHandlers, Import, Level, Operation,
    SnapComponent, SnapKitAction, Tag,
};

use super::descriptors::descriptor;
use super::fields::{Elsewhere, Fields, Reader};
use super::keyrings::keyring_of_operation;
use super::names::{NameRule, Need, Space, define, use_name};
use super::node::Node;
use super::places::{key_place_below, member, place_below};
use crate::snap_kit::{self, ProblemCode, Severity, Surroundings};

const OPERATION_KEYS: &[Elsewhere] =
    &[(&["default_timeout"], "`execute_options`"), (&["fields"], "`inputs` or `outputs`")];

pub(super) fn tag(r: &mut Reader, node: &Node, path: &str) -> Option<Tag> {
    let mut fields = Fields::open(r, node, path)?;
    let tag = Tag {
        name: fields.name(r, "name", NameRule::Title, Space::Tag),
        description: fields.text(r, "description"),
    };
    fields.finish(r);
    Some(tag)
}

pub(super) fn command(r: &mut Reader, node: &Node, path: &str) -> Option<Command> {
    let mut fields = Fields::open(r, node, path)?;
    fields.knows_elsewhere(&[(&["surface", "object_types"], "an entry of `surfaces`")]);
    let name = fields.required_text(r, "name", "every command needs one").unwrap_or_default();
    let namespace = fields
        .required_text(r, "namespace", "a command is called by namespace and name")
        .unwrap_or_default();
    if !(name.is_empty() || namespace.is_empty()) {
        let full_name = format!("{namespace} {name}");
        let place = fields.value_place("name");
        define(r, Space::Command, &full_name, place, &fields.path_of("name"));
    }
    let surfaces = fields.items(r, "surfaces");
    let command = Command {
        name,
        namespace,
        description: fields.text(r, "description"),
        surfaces: surfaces.iter().filter_map(|(node, path)| surface(r, node, path)).collect(),
        usage_hint: fields.text(r, "usage_hint"),
        function: fields.reference(r, "function", Space::Function),
    };
    fields.finish(r);
    Some(command)
}

fn surface(r: &mut Reader, node: &Node, path: &str) -> Option<CommandSurface> {
    let mut fields = Fields::open(r, node, path)?;
    let surface = CommandSurface {
        surface: fields
            .required_text(r, "surface", "it says where the command can be given")
            .unwrap_or_default(),
        object_types: fields.texts(r, "object_types"),
    };
    fields.finish(r);
    Some(surface)
}

pub(super) fn snap_kit_action(r: &mut Reader, node: &Node, path: &str) -> Option<SnapKitAction> {
    let mut fields = Fields::open(r, node, path)?;
    let action = SnapKitAction {
        name: fields.name(r, "name", NameRule::Label, Space::Action),
        description: fields.text(r, "description"),
        function: fields.reference(r, "function", Space::Function),
    };
    fields.finish(r);
    Some(action)
}

pub(super) fn snap_component(r: &mut Reader, node: &Node, path: &str) -> Option<SnapComponent> {
    let mut fields = Fields::open(r, node, path)?;
    let component = SnapComponent {
        name: fields.name(r, "name", NameRule::Label, Space::Component),
        display_name: fields.text(r, "display_name"),
        description: fields.text(r, "description"),
        surface: fields.text(r, "surface"),
        snap_kit_action_name: fields.optional_reference(r, "snap_kit_action_name", Space::Action),
        initializer: fields.optional_reference(r, "initializer", Space::Function),
        snap_kit_body: fields.json(r, "snap_kit_body"),
    };
    if let (Some(node), Some(body)) = (fields.get("snap_kit_body"), &component.snap_kit_body) {
        check_body(r, node, &fields.path_of("snap_kit_body"), body, &component);
    } else if component.initializer.is_none() {
        let message =
            "has neither an `initializer` nor a `snap_kit_body`: there is nothing to draw";
        r.problems.warn(fields.place, path, message);
    }
    fields.finish(r);
    Some(component)
}

/// A body that no function makes, which is therefore right or wrong once and for all.
fn check_body(
    r: &mut Reader,
    node: &Node,
    path: &str,
    body: &serde_json::Value,
    component: &SnapComponent,
) {
    let has_handler = component.snap_kit_action_name.is_some();
    let surroundings = Surroundings { actions: None, has_handler };
    for problem in snap_kit::check(body, surroundings).problems {
        let is_key = problem.code == ProblemCode::UnknownProperty;
        let find = if is_key { key_place_below } else { place_below };
        let place = find(node, &problem.path);
        let path = match problem.path.as_str() {
            "" => path.to_owned(),
            inner if inner.starts_with('[') => format!("{path}{inner}"),
            inner => format!("{path}.{inner}"),
        };
        let allowed = problem.allowed.iter().map(String::as_str);
        match problem.severity {
            Severity::Error => r.problems.error_allowing(place, &path, problem.message, allowed),
            Severity::Warning => r.problems.warn_allowing(place, &path, problem.message, allowed),
        }
    }
    if let Some(name) = body.get("snap_in_action_name").and_then(serde_json::Value::as_str) {
        let place = place_below(node, "snap_in_action_name");
        let path = member(path, "snap_in_action_name");
        use_name(r, Need::Known, Space::Action, name, place, path);
    }
}

pub(super) fn configuration_handler(r: &mut Reader, top: &mut Fields<'_>) -> ConfigurationHandlers {
    let Some(mut levels) = top.fields(r, "configuration_handler") else {
        return ConfigurationHandlers::default();
    };
    let mut read = |level: Level| {
        let mut fields = levels.fields(r, level.key())?;
        let handler = ConfigurationHandler {
            initializer: fields.reference(r, "initializer", Space::Function),
            snap_kit_action_name: fields.optional_reference(
                r,
                "snap_kit_action_name",
                Space::Action,
            ),
        };
        fields.finish(r);
        Some(handler)
    };
    let handlers =
        ConfigurationHandlers { organization: read(Level::Organization), user: read(Level::User) };
    levels.finish(r);
    handlers
}

pub(super) fn operation(r: &mut Reader, node: &Node, path: &str) -> Option<Operation> {
    let mut fields = Fields::open(r, node, path)?;
    fields.knows_elsewhere(OPERATION_KEYS);
    let name = fields.required_text(r, "name", "every operation needs one").unwrap_or_default();
    let slug_key = if fields.get("slug").is_some() { "slug" } else { "name" };
    let slug = fields.text(r, "slug").unwrap_or_else(|| name.clone());
    if !slug.is_empty() {
        let place = fields.value_place(slug_key);
        define(r, Space::Operation, &slug, place, &fields.path_of(slug_key));
    }
    let keyrings = fields.items(r, "keyrings");
    let keyrings = keyrings
        .iter()
        .filter_map(|(node, path)| keyring_of_operation(r, node, path, &slug))
        .collect();
    let operation = Operation {
        name,
        slug,
        display_name: fields.text(r, "display_name"),
        description: fields.text(r, "description"),
        function: fields.reference(r, "function", Space::Function),
        operation_type: fields.choice(r, "type", &[("action", "action")]).map(str::to_owned),
        keyrings,
        input_fields: field_descriptors(r, &mut fields, "inputs"),
        output_fields: field_descriptors(r, &mut fields, "outputs"),
        default_timeout_seconds: default_timeout(r, &mut fields),
    };
    fields.finish(r);
    Some(operation)
}

/// `inputs.fields` and `outputs.fields`.
fn field_descriptors(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    key: &'static str,
) -> Vec<serde_json::Value> {
    let Some(mut ports) = fields.fields(r, key) else { return Vec::new() };
    let items = ports.items(r, "fields");
    ports.finish(r);
    items.iter().filter_map(|(node, path)| descriptor(r, node, path)).collect()
}

fn default_timeout(r: &mut Reader, fields: &mut Fields<'_>) -> Option<u32> {
    let mut options = fields.fields(r, "execute_options")?;
    let timeout = options.number(r, "default_timeout", 1..=86_400);
    options.finish(r);
    timeout
}

pub(super) fn import(r: &mut Reader, node: &Node, path: &str) -> Option<Import> {
    let mut fields = Fields::open(r, node, path)?;
    let import = Import {
        slug: fields.name(r, "slug", NameRule::Label, Space::Import),
        display_name: fields.text(r, "display_name"),
        description: fields.text(r, "description"),
        extractor_function: fields.reference(r, "extractor_function", Space::Function),
        loader_function: fields.optional_reference(r, "loader_function", Space::Function),
        allowed_connection_types: fields.texts(r, "allowed_connection_types"),
        capabilities: fields.texts(r, "capabilities"),
    };
    fields.finish(r);
    Some(import)
}
