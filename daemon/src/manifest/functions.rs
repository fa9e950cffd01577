//! Reads functions, and what calls them on events: automations and hooks.

use std::collections::HashSet;

use crate::model::manifest::{Automation, Function, Hook, HookType, RetryPolicy, Runtime};

use super::fields::{Elsewhere, Fields, Reader, read_word};
use super::names::{NameRule, Space, define};
use super::node::Node;
use super::problem::quoted;

const RUNTIMES: [(&str, Runtime); 5] = [
    ("auto", Runtime::Auto),
    ("quickjs", Runtime::Quickjs),
    ("node", Runtime::Node),
    ("process", Runtime::Process),
    ("remote", Runtime::Remote),
];

const HOOK_TYPES: [(&str, HookType); 4] = [
    ("validate", HookType::Validate),
    ("activate", HookType::Activate),
    ("deactivate", HookType::Deactivate),
    ("update", HookType::Update),
];

const DAY: u32 = 86_400;

const RETRY_KEYS: &[&str] = &["max_retries", "min_interval"];
const OWN_KEYS: &[&str] = &[
    "supports_synchronization",
    "timeout_seconds",
    "max_concurrency",
    "memory_mb",
    "fresh_context",
    "entry_point",
];
const FROM_FUNCTION: &[Elsewhere] = &[(RETRY_KEYS, "`config.runtime` of the function")];
const FROM_CONFIG: &[Elsewhere] =
    &[(RETRY_KEYS, "`runtime` in here"), (OWN_KEYS, "the function itself, beside `config`")];
const FROM_RUNTIME: &[Elsewhere] = &[(OWN_KEYS, "the function itself, beside `config`")];

pub(super) fn function(r: &mut Reader, node: &Node, path: &str) -> Option<Function> {
    let mut fields = Fields::open(r, node, path)?;
    fields.knows_elsewhere(FROM_FUNCTION);
    let function = Function {
        name: fields.name(r, "name", NameRule::Code, Space::Function),
        description: fields.text(r, "description"),
        supports_synchronization: fields.flag(r, "supports_synchronization").unwrap_or_default(),
        retry: retry_policy(r, &mut fields),
        runtime: fields.choice(r, "runtime", &RUNTIMES).unwrap_or_default(),
        timeout_seconds: fields.number(r, "timeout_seconds", 1..=DAY),
        max_concurrency: fields.number(r, "max_concurrency", 1..=10_000),
        memory_mb: fields.number(r, "memory_mb", 8..=65_536),
        fresh_context: fields.flag(r, "fresh_context").unwrap_or_default(),
        entry_point: fields.text(r, "entry_point"),
    };
    fields.finish(r);
    Some(function)
}

/// `config.runtime` of a function.
fn retry_policy(r: &mut Reader, fields: &mut Fields<'_>) -> RetryPolicy {
    let Some(mut config) = fields.fields(r, "config") else { return RetryPolicy::default() };
    let mut policy = RetryPolicy::default();
    config.knows_elsewhere(FROM_CONFIG);
    if let Some(mut runtime) = config.fields(r, "runtime") {
        runtime.knows_elsewhere(FROM_RUNTIME);
        policy.max_retries = runtime.number(r, "max_retries", 0..=1000);
        policy.min_interval = runtime.number(r, "min_interval", 0..=DAY);
        runtime.finish(r);
    }
    config.finish(r);
    policy
}

pub(super) fn automation(r: &mut Reader, node: &Node, path: &str) -> Option<Automation> {
    let mut fields = Fields::open(r, node, path)?;
    let automation = Automation {
        name: fields.name(r, "name", NameRule::Title, Space::Automation),
        description: fields.text(r, "description"),
        source: fields.reference(r, "source", Space::Source),
        event_types: event_types(r, &mut fields),
        function: fields.reference(r, "function", Space::Function),
    };
    fields.finish(r);
    Some(automation)
}

fn event_types(r: &mut Reader, fields: &mut Fields<'_>) -> Vec<String> {
    const WHAT: &str = "an automation runs only on the event types that it lists";
    let Some(node) = fields.get("event_types") else {
        fields.missing(r, "event_types", WHAT);
        return Vec::new();
    };
    let items = fields.items(r, "event_types");
    if items.is_empty() && matches!(&node.kind, super::node::Kind::List(_)) {
        let message = format!("must not be empty: {WHAT}");
        r.problems.error(node.place, &fields.path_of("event_types"), message);
    }
    let mut event_types = Vec::new();
    let mut seen = HashSet::new();
    for (node, path) in items {
        let Some(event_type) = read_word(r, node, &path) else { continue };
        if event_type.contains(|c: char| c.is_control() || c.is_whitespace()) {
            let message = format!("{} holds a space; an event type has none", quoted(&event_type));
            r.problems.error(node.place, &path, message);
        }
        if seen.insert(event_type.clone()) {
            event_types.push(event_type);
        } else {
            r.problems.warn(node.place, &path, format!("{} is here twice", quoted(&event_type)));
        }
    }
    event_types
}

pub(super) fn hook(r: &mut Reader, node: &Node, path: &str) -> Option<Hook> {
    let mut fields = Fields::open(r, node, path)?;
    let hook_type = fields.choice(r, "type", &HOOK_TYPES);
    if fields.get("type").is_none() {
        let path = fields.path_of("type");
        let message = "the key `type` is missing: it says when the hook is called";
        let names = HOOK_TYPES.iter().map(|(name, _)| *name);
        r.problems.error_allowing(fields.place, &path, message, names);
    }
    if let Some((name, _)) = HOOK_TYPES.iter().find(|(_, known)| Some(*known) == hook_type) {
        define(r, Space::Hook, name, fields.value_place("type"), &fields.path_of("type"));
    }
    let function = fields.reference(r, "function", Space::Function);
    fields.finish(r);
    hook_type.map(|hook_type| Hook { hook_type, function })
}
