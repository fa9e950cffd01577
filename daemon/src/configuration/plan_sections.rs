//! The sections of two manifests side by side: what is in one, in the other, or in both and
//! different. One line per section; a new section of manifests needs one here.

use serde::Serialize;
use serde_json::{Value, json};

use super::differences::differences;
use super::plan::{Change, ChangeKind, Section};
use crate::model::manifest::{ConfigurationHandlers, Level, Manifest};

/// What may hold secrets: people write them into the config of a source.
const HIDDEN: [&str; 1] = ["config"];
/// What the name already says.
const IDENTITY: [&str; 2] = ["name", "level"];

/// The sections that have levels: inputs, keyrings, event sources.
const LEVELED: [(Level, [Section; 3]); 2] = [
    (Level::Organization, [Section::Inputs, Section::Keyrings, Section::EventSources]),
    (Level::User, [Section::UserInputs, Section::UserKeyrings, Section::UserEventSources]),
];

/// Every change, section by section: what was there in the order of before, then what is new.
pub(super) fn changes(before: &Manifest, after: &Manifest) -> Vec<Change> {
    // A new field has to be named here, and then compared below.
    let Manifest {
        version: _,
        name: _,
        description: _,
        service_account,
        keyrings: _,
        developer_keyrings: _,
        keyring_types: _,
        inputs: _,
        event_sources: _,
        tags: _,
        functions: _,
        automations: _,
        commands: _,
        snap_kit_actions: _,
        snap_components: _,
        hooks: _,
        configuration_handler: _,
        operations: _,
        imports: _,
        object_types: _,
        views: _,
    } = before;
    let both = [before, after];
    let mut list = Changes::default();
    list.single(Section::Manifest, &texts(before), &texts(after));
    list.single(Section::ServiceAccount, service_account, &after.service_account);
    for (level, [inputs, keyrings, event_sources]) in LEVELED {
        list.section(inputs, both, |it| {
            keyed(it.inputs.iter().filter(|it| it.level == level), |it| it.name.clone())
        });
        list.section(keyrings, both, |it| {
            keyed(it.keyrings.iter().filter(|it| it.level == level), |it| it.name.clone())
        });
        list.section(event_sources, both, |it| {
            keyed(it.event_sources.iter().filter(|it| it.level == level), |it| it.name.clone())
        });
    }
    list.section(Section::DeveloperKeyrings, both, |it| {
        keyed(&it.developer_keyrings, |it| it.name.clone())
    });
    list.section(Section::KeyringTypes, both, |it| keyed(&it.keyring_types, |it| it.id.clone()));
    list.section(Section::Tags, both, |it| keyed(&it.tags, |it| it.name.clone()));
    list.section(Section::Functions, both, |it| keyed(&it.functions, |it| it.name.clone()));
    list.section(Section::Automations, both, |it| keyed(&it.automations, |it| it.name.clone()));
    list.section(Section::Commands, both, |it| {
        keyed(&it.commands, |it| format!("{} {}", it.namespace, it.name))
    });
    list.section(Section::SnapKitActions, both, |it| {
        keyed(&it.snap_kit_actions, |it| it.name.clone())
    });
    list.section(Section::SnapComponents, both, |it| {
        keyed(&it.snap_components, |it| it.name.clone())
    });
    list.section(Section::Hooks, both, |it| {
        keyed(&it.hooks, |it| json!(it.hook_type).as_str().unwrap_or_default().to_owned())
    });
    list.section(Section::ConfigurationHandler, both, |it| handlers(&it.configuration_handler));
    list.section(Section::Operations, both, |it| keyed(&it.operations, |it| it.slug.clone()));
    list.section(Section::Imports, both, |it| keyed(&it.imports, |it| it.slug.clone()));
    list.section(Section::ObjectTypes, both, |it| keyed(&it.object_types, |it| it.name.clone()));
    list.section(Section::Views, both, |it| keyed(&it.views, |it| it.name.clone()));
    list.0
}

/// Things by name, as JSON.
type Keyed = Vec<(String, Value)>;

/// Of two with the same name, which a manifest without errors does not have, the first counts.
fn keyed<'a, T: Serialize + 'a>(
    things: impl IntoIterator<Item = &'a T>,
    key: impl Fn(&T) -> String,
) -> Keyed {
    let mut keyed: Keyed = Vec::new();
    for thing in things {
        let name = key(thing);
        if !keyed.iter().any(|(other, _)| *other == name) {
            keyed.push((name, described(thing)));
        }
    }
    keyed
}

fn described(thing: &impl Serialize) -> Value {
    let mut value = json!(thing);
    if let Value::Object(fields) = &mut value {
        for name in IDENTITY {
            fields.remove(name);
        }
    }
    value
}

fn texts(manifest: &Manifest) -> Option<Value> {
    Some(json!({"title": manifest.name, "description": manifest.description}))
}

fn handlers(handlers: &ConfigurationHandlers) -> Keyed {
    let named =
        [(Level::Organization.key(), &handlers.organization), (Level::User.key(), &handlers.user)];
    named
        .into_iter()
        .filter_map(|(name, it)| Some((name.to_owned(), described(it.as_ref()?))))
        .collect()
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn section(
        &mut self,
        section: Section,
        manifests: [&Manifest; 2],
        keyed: impl Fn(&Manifest) -> Keyed,
    ) {
        let [before, after] = manifests.map(keyed);
        let find = |things: &Keyed, name: &str| {
            things.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
        };
        for (name, value) in &before {
            self.thing(section, name, Some(value), find(&after, name).as_ref());
        }
        for (name, value) in &after {
            if find(&before, name).is_none() {
                self.thing(section, name, None, Some(value));
            }
        }
    }

    fn single(
        &mut self,
        section: Section,
        before: &Option<impl Serialize>,
        after: &Option<impl Serialize>,
    ) {
        let [before, after] =
            [before.as_ref().map(|it| json!(it)), after.as_ref().map(|it| json!(it))];
        self.thing(section, "", before.as_ref(), after.as_ref());
    }

    fn thing(
        &mut self,
        section: Section,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let (kind, summary, differences) = match (before, after) {
            (None, None) => return,
            (Some(before), None) => (ChangeKind::Removed, summary(section, before), Vec::new()),
            (None, Some(after)) => (ChangeKind::Added, summary(section, after), Vec::new()),
            (Some(before), Some(after)) => {
                let differences = differences(before, after, &HIDDEN);
                if differences.is_empty() {
                    return;
                }
                (ChangeKind::Changed, String::new(), differences)
            }
        };
        let name = name.to_owned();
        self.0.push(Change { section, name, kind, summary, differences, notes: Vec::new() });
    }
}

/// The few words that say what kind of thing it is.
fn summary(section: Section, thing: &Value) -> String {
    let text = |key: &str| thing[key].as_str().unwrap_or_default().to_owned();
    let is = |key: &str| thing[key] == Value::Bool(true);
    match section {
        Section::Inputs | Section::UserInputs => {
            let mut words = match thing["base_type"].as_str() {
                Some(base) => format!("array of {base}"),
                None => text("field_type"),
            };
            if is("is_required") {
                words.push_str(", required");
            }
            if let Some(default) = thing.get("default_value") {
                let default = super::suggest::shorten(&default.to_string(), 60);
                words.push_str(&format!(", default {default}"));
            }
            words
        }
        Section::Keyrings | Section::UserKeyrings => {
            let types: Vec<&str> =
                thing["types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let optional = if is("optional") { ", optional" } else { "" };
            format!("{}{optional}", types.join(" or "))
        }
        Section::KeyringTypes => text("kind"),
        Section::EventSources | Section::UserEventSources => text("type"),
        Section::Automations => format!("{} → {}", text("source"), text("function")),
        Section::Hooks | Section::Commands | Section::SnapKitActions | Section::Operations => {
            text("function")
        }
        Section::SnapComponents | Section::ConfigurationHandler => text("initializer"),
        Section::Imports => text("extractor_function"),
        Section::Views => text("object_type"),
        Section::Manifest
        | Section::ServiceAccount
        | Section::DeveloperKeyrings
        | Section::Tags
        | Section::ObjectTypes
        | Section::Functions => String::new(),
    }
}
