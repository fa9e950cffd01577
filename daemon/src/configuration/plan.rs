//! What an upgrade from one manifest to another does to a snap-in: shown before it is done, and
//! followed when it is. A rollback is an upgrade too.
//!
//! Nothing that was configured is deleted: what the new manifest has no place for is kept, and takes
//! effect again when a version that has the place comes back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::differences::Difference;
use super::readiness::{Configured, Missing, MissingKind, fits, in_shell, missing, wrong_type};
use super::{inputs, plan_sections};
use crate::model::manifest::{EventSource, Input, Keyring, Level, Manifest};

/// Everything that changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// What is added, removed and changed, by section.
    pub changes: Vec<Change>,
    /// What becomes of the event sources of the organization and their trigger URLs.
    pub sources: Sources,
    /// What has to be set before the snap-in can be activated again.
    pub missing: Vec<Missing>,
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// Where it stands in the manifest.
    pub section: Section,
    /// Its name there; empty for what there is one of.
    pub name: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// What kind of thing it is, such as `text, required`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Which of its fields differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What follows for what has been configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What happened to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

/// A part of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the manifest's key")]
pub enum Section {
    Manifest,
    ServiceAccount,
    Inputs,
    UserInputs,
    Keyrings,
    UserKeyrings,
    DeveloperKeyrings,
    KeyringTypes,
    EventSources,
    UserEventSources,
    Tags,
    Functions,
    Automations,
    Commands,
    SnapKitActions,
    SnapComponents,
    Hooks,
    ConfigurationHandler,
    Operations,
    Imports,
    ObjectTypes,
    Views,
}

impl Section {
    /// One thing of it, for people.
    pub fn thing(self) -> &'static str {
        match self {
            Section::Manifest => "manifest",
            Section::ServiceAccount => "service account",
            Section::Inputs => "input",
            Section::UserInputs => "user input",
            Section::Keyrings => "keyring",
            Section::UserKeyrings => "user keyring",
            Section::DeveloperKeyrings => "developer keyring",
            Section::KeyringTypes => "keyring type",
            Section::EventSources => "event source",
            Section::UserEventSources => "user event source",
            Section::Tags => "tag",
            Section::Functions => "function",
            Section::Automations => "automation",
            Section::Commands => "command",
            Section::SnapKitActions => "snap-kit action",
            Section::SnapComponents => "snap component",
            Section::Hooks => "hook",
            Section::ConfigurationHandler => "configuration handler",
            Section::Operations => "operation",
            Section::Imports => "import",
            Section::ObjectTypes => "object type",
            Section::Views => "view",
        }
    }
}

/// What becomes of event sources, by name. The same holds for the sources of each user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sources {
    /// Stay, with their trigger URLs.
    pub kept: Vec<String>,
    /// Are opened again, with the trigger URLs that they had in an earlier version.
    pub restored: Vec<String>,
    /// Get new trigger URLs.
    pub new: Vec<String>,
    /// Are closed; kept for a rollback.
    pub closed: Vec<String>,
}

/// A source that is closed since an upgrade, and kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DetachedSource {
    /// Name in the manifest that it was of.
    pub name: String,
    /// The plugin's type.
    pub kind: String,
}

impl Sources {
    /// What becomes of the sources of one level. A source that is of another type now is another
    /// source: whoever sends to its old trigger URL would not be understood.
    pub fn of(
        before: &Manifest,
        after: &Manifest,
        level: Level,
        detached: &BTreeSet<DetachedSource>,
    ) -> Sources {
        let mut sources = Sources::default();
        let is_in = |manifest: &Manifest, it: &EventSource| {
            let found = source(manifest, level, &it.name);
            found.is_some_and(|found| found.kind == it.kind)
        };
        for it in after.event_sources.iter().filter(|it| it.level == level) {
            let former = DetachedSource { name: it.name.clone(), kind: it.kind.clone() };
            let list = if is_in(before, it) {
                &mut sources.kept
            } else if detached.contains(&former) {
                &mut sources.restored
            } else {
                &mut sources.new
            };
            list.push(it.name.clone());
        }
        let before_of_level = before.event_sources.iter().filter(|it| it.level == level);
        let closed = before_of_level.filter(|it| !is_in(after, it)).map(|it| it.name.clone());
        sources.closed.extend(closed);
        sources
    }
}

fn source<'a>(manifest: &'a Manifest, level: Level, name: &str) -> Option<&'a EventSource> {
    manifest.event_sources.iter().find(|it| it.level == level && it.name == name)
}

/// The plan of an upgrade of a snap-in that is configured so.
pub fn plan(
    before: &Manifest,
    after: &Manifest,
    configured: Configured<'_>,
    detached: &BTreeSet<DetachedSource>,
) -> Plan {
    let sources = Sources::of(before, after, Level::Organization, detached);
    let mut changes = plan_sections::changes(before, after);
    for change in &mut changes {
        change.notes = notes(change, before, after, configured, &sources);
    }
    let mut missing = missing(after, configured);
    for it in missing.iter_mut().filter(|it| it.kind == MissingKind::Input) {
        // The version before would refuse a value of an input that it does not know, or for which
        // it has other rules.
        if before.input(Level::Organization, &it.name) != after.input(Level::Organization, &it.name)
        {
            it.command = upgrade_with(configured.snap_in, "VERSION", &it.name);
        }
    }
    Plan { changes, sources, missing }
}

/// The command that gives a value of an input together with the upgrade.
pub fn upgrade_with(snap_in: &str, to: &str, input: &str) -> String {
    let value = in_shell(&format!("{input}=VALUE"));
    format!("mortise snap-in upgrade {snap_in} {} --set {value}", in_shell(to))
}

impl Plan {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// For people: a line for each change, beginning with `+`, `-` or `~`, and one beginning with
    /// `!` for each thing that is missing.
    pub fn lines(&self) -> Vec<String> {
        let changes = self.changes.iter().map(Change::line);
        let missing = self.missing.iter().map(|it| format!("! {}", it.line()));
        changes.chain(missing).collect()
    }
}

impl Change {
    /// For people.
    pub fn line(&self) -> String {
        let sign = match self.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
        };
        let mut line = format!("{sign} {}", self.section.thing());
        if !self.name.is_empty() {
            line.push_str(&format!(" `{}`", self.name));
        }
        if !self.summary.is_empty() {
            line.push_str(&format!(" ({})", self.summary));
        }
        let differences = self.differences.iter().map(Difference::line);
        let details: Vec<String> = differences.chain(self.notes.iter().cloned()).collect();
        if !details.is_empty() {
            line.push_str(": ");
            line.push_str(&details.join("; "));
        }
        line
    }
}

fn notes(
    change: &Change,
    before: &Manifest,
    after: &Manifest,
    configured: Configured<'_>,
    sources: &Sources,
) -> Vec<String> {
    let name = change.name.as_str();
    let note = match change.section {
        Section::Inputs => {
            let value = configured.inputs.get(name);
            let level = Level::Organization;
            input_note(before.input(level, name), after.input(level, name), value)
        }
        Section::Keyrings => keyring_note(after.keyring(name), name, configured),
        Section::EventSources => source_note(name, change.kind, sources),
        Section::UserInputs => match change.kind {
            ChangeKind::Added => None,
            ChangeKind::Removed => Some("values of users are kept for a rollback".to_owned()),
            ChangeKind::Changed => {
                Some("values of users that are not right any more count as unset".to_owned())
            }
        },
        Section::UserKeyrings => match change.kind {
            ChangeKind::Removed => Some("secrets of users are kept for a rollback".to_owned()),
            ChangeKind::Added | ChangeKind::Changed => None,
        },
        Section::UserEventSources => {
            let has_other_type = change.differences.iter().any(|it| it.field == "type");
            match change.kind {
                ChangeKind::Added => {
                    Some("opens for every user who has enabled the snap-in".to_owned())
                }
                ChangeKind::Removed => {
                    Some("trigger URLs are closed, and kept for a rollback".to_owned())
                }
                ChangeKind::Changed if has_other_type => Some(
                    "every user gets a new trigger URL; the old ones are closed, and kept for a \
                     rollback"
                        .to_owned(),
                ),
                ChangeKind::Changed => Some("trigger URLs stay".to_owned()),
            }
        }
        Section::Tags => match change.kind {
            ChangeKind::Removed => Some("the tag itself stays".to_owned()),
            ChangeKind::Added | ChangeKind::Changed => None,
        },
        Section::ObjectTypes => match change.kind {
            ChangeKind::Removed => Some("the type and its objects stay".to_owned()),
            ChangeKind::Changed => Some("all its objects are checked first".to_owned()),
            ChangeKind::Added => None,
        },
        Section::Manifest
        | Section::ServiceAccount
        | Section::DeveloperKeyrings
        | Section::KeyringTypes
        | Section::Functions
        | Section::Automations
        | Section::Commands
        | Section::SnapKitActions
        | Section::SnapComponents
        | Section::Hooks
        | Section::ConfigurationHandler
        | Section::Operations
        | Section::Imports
        | Section::Views => None,
    };
    note.into_iter().collect()
}

/// What becomes of the value that was set.
fn input_note(
    before: Option<&Input>,
    after: Option<&Input>,
    value: Option<&Value>,
) -> Option<String> {
    let value = value?;
    let Some(after) = after else {
        return Some("its value is kept for a rollback".to_owned());
    };
    let was_in_effect = before.is_some_and(|it| inputs::wrong(it, value).is_empty());
    match (inputs::wrong(after, value).first(), was_in_effect) {
        (None, true) => Some("its value stays".to_owned()),
        (None, false) => Some("the value that it had before takes effect again".to_owned()),
        (Some(_), false) => None,
        (Some(problem), true) => {
            let instead = match &after.default_value {
                Some(default) => format!("the default {default} takes effect"),
                None => "it counts as unset".to_owned(),
            };
            Some(format!(
                "its value is not right any more ({}): {instead}, and the value is kept for a \
                 rollback",
                problem.message
            ))
        }
    }
}

fn keyring_note(after: Option<&Keyring>, name: &str, configured: Configured<'_>) -> Option<String> {
    let bound = configured.keyrings.get(name)?;
    match after.filter(|it| it.level == Level::Organization) {
        None => Some("its secret is kept for a rollback".to_owned()),
        Some(after) if !fits(after, &bound.type_id) => Some(wrong_type(after, bound)),
        Some(_) => Some("its secret stays".to_owned()),
    }
}

fn source_note(name: &str, kind: ChangeKind, sources: &Sources) -> Option<String> {
    let is_in = |list: &[String]| list.iter().any(|it| it == name);
    let closes = "the old one is closed, and kept for a rollback";
    let note = match kind {
        ChangeKind::Removed => "its trigger URL is closed, and kept for a rollback".to_owned(),
        ChangeKind::Added if is_in(&sources.restored) => {
            "has the trigger URL again that it had before".to_owned()
        }
        ChangeKind::Added => "gets a trigger URL".to_owned(),
        ChangeKind::Changed if is_in(&sources.kept) => "its trigger URL stays".to_owned(),
        ChangeKind::Changed if is_in(&sources.restored) => {
            format!("has the trigger URL again that it had before; {closes}")
        }
        ChangeKind::Changed => format!("gets a new trigger URL; {closes}"),
    };
    Some(note)
}
