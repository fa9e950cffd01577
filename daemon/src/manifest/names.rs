//! The names that a manifest gives and uses.
//!
//! Owns the rules for names, their uniqueness and the check that every use has its definition (and
//! that what should be used is). It must never read the tree.
//!
//! Names that are looked up together share one space: event sources of both levels (an automation
//! names its source by name alone), keyrings of both levels and the developer's (a function sees
//! them in one object).

use std::collections::{HashMap, HashSet};

use super::fields::{Fields, Reader, unknown};
use super::node::Place;
use super::problem::{Problems, quoted};

const MAX_NAME: usize = 200;

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Space {
    Function,
    Source,
    Keyring,
    KeyringType,
    OrganizationInput,
    UserInput,
    Automation,
    Command,
    Action,
    Component,
    Hook,
    Operation,
    Import,
    Tag,
    View,
}

/// How a name may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRule {
    /// A function: also a folder and a key of the code.
    Code,
    /// What configuration and code refer to: anything but slashes, which separate scopes.
    Label,
    /// What only people read.
    Title,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    defined: HashMap<Space, HashMap<String, (Place, String)>>,
    used: Vec<Use>,
    /// Keyrings that each user has one of.
    personal: HashSet<String>,
}

/// What a use by name asks of its definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// That there is one.
    Declared,
    /// Like `Declared`, and that it is not each user's own.
    Shared,
    /// That there is one, here or at the host, which may know more than the manifest.
    Known,
}

#[derive(Debug)]
struct Use {
    need: Need,
    space: Space,
    name: String,
    place: Place,
    path: String,
}

impl Space {
    fn thing(self) -> &'static str {
        match self {
            Space::Function => "function",
            Space::Source => "event source",
            Space::Keyring => "keyring",
            Space::KeyringType => "keyring type",
            Space::OrganizationInput | Space::UserInput => "input",
            Space::Automation => "automation",
            Space::Command => "command",
            Space::Action => "snap-kit action",
            Space::Component => "snap component",
            Space::Hook => "hook",
            Space::Operation => "operation",
            Space::Import => "import",
            Space::Tag => "tag",
            Space::View => "view",
        }
    }
}

impl Fields<'_> {
    /// The required name of what this mapping declares.
    pub(super) fn name(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        rule: NameRule,
        space: Space,
    ) -> String {
        let name = self.shared_name(r, key, rule, space);
        if !name.is_empty() {
            define(r, space, &name, self.value_place(key), &self.path_of(key));
        }
        name
    }

    /// Like [`Fields::name`], of what may be declared again elsewhere.
    pub(super) fn shared_name(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        rule: NameRule,
        space: Space,
    ) -> String {
        let what = format!("every {} needs one", space.thing());
        let Some(name) = self.required_text(r, key, &what) else { return String::new() };
        if let Some(message) = objection(&name, rule) {
            r.problems.error(self.value_place(key), &self.path_of(key), message);
        }
        name
    }

    /// The required name of something that the manifest declares elsewhere.
    pub(super) fn reference(&mut self, r: &mut Reader, key: &'static str, space: Space) -> String {
        let what = format!("the name of the {} belongs here", space.thing());
        let Some(name) = self.required_text(r, key, &what) else { return String::new() };
        let need = match space {
            Space::KeyringType | Space::Keyring => Need::Known,
            _ => Need::Declared,
        };
        use_name(r, need, space, &name, self.value_place(key), self.path_of(key));
        name
    }

    pub(super) fn optional_reference(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        space: Space,
    ) -> Option<String> {
        self.get(key)?;
        Some(self.reference(r, key, space))
    }
}

impl Names {
    /// Where a name was first declared.
    pub(super) fn first(&self, space: Space, name: &str) -> Option<(Place, &str)> {
        let (place, path) = self.defined.get(&space)?.get(name)?;
        Some((*place, path))
    }
}

/// Notes a name, and complains when it is taken.
pub(super) fn define(r: &mut Reader, space: Space, name: &str, place: Place, path: &str) {
    let names = r.names.defined.entry(space).or_default();
    if let Some((first, first_path)) = names.get(name) {
        let message = format!(
            "the {} {} is already declared in line {}, column {} ({first_path})",
            space.thing(),
            quoted(name),
            first.line,
            first.column
        );
        r.problems.error(place, path, message);
        return;
    }
    names.insert(name.to_owned(), (place, path.to_owned()));
}

/// Notes that a keyring is each user's own.
pub(super) fn mark_personal(r: &mut Reader, name: &str) {
    r.names.personal.insert(name.to_owned());
}

pub(super) fn use_name(
    r: &mut Reader,
    need: Need,
    space: Space,
    name: &str,
    place: Place,
    path: String,
) {
    r.names.used.push(Use { need, space, name: name.to_owned(), place, path });
}

/// What only the whole manifest can tell.
pub(super) fn check(names: &Names, problems: &mut Problems) {
    check_uses(names, problems);
    check_unused(names, problems);
}

/// Every use must have its definition.
fn check_uses(names: &Names, problems: &mut Problems) {
    let nothing = HashMap::new();
    for used in &names.used {
        if problems.is_full() {
            return;
        }
        let defined = names.defined.get(&used.space).unwrap_or(&nothing);
        let is_denied = |name: &str| used.need == Need::Shared && names.personal.contains(name);
        if is_denied(&used.name) {
            let message = format!(
                "the {} {} is each user's own, and this belongs to the organization",
                used.space.thing(),
                quoted(&used.name)
            );
            problems.error(used.place, &used.path, message);
            continue;
        }
        if defined.contains_key(&used.name) {
            continue;
        }
        let mut allowed: Vec<&str> =
            defined.keys().map(String::as_str).filter(|name| !is_denied(name)).collect();
        allowed.sort_unstable();
        let message = unknown(used.space.thing(), &used.name, allowed.iter().copied());
        let Use { place, path, .. } = used;
        match used.need {
            Need::Known => problems.warn_allowing(*place, path, message, allowed),
            Need::Declared | Need::Shared => {
                problems.error_allowing(*place, path, message, allowed);
            }
        }
    }
}

/// Functions that nothing calls and sources that nothing listens to are probably left over.
fn check_unused(names: &Names, problems: &mut Problems) {
    for (space, consequence) in [
        (Space::Function, "nothing in this manifest calls it"),
        (Space::Source, "no automation listens to it"),
    ] {
        let used: HashSet<&str> = names
            .used
            .iter()
            .filter(|used| used.space == space)
            .map(|used| used.name.as_str())
            .collect();
        let mut unused: Vec<_> = names.defined.get(&space).into_iter().flatten().collect();
        unused.retain(|(name, _)| !used.contains(name.as_str()));
        unused.sort_by_key(|(_, (place, _))| *place);
        for (name, (place, path)) in unused {
            let message =
                format!("the {} {} is unused: {consequence}", space.thing(), quoted(name));
            problems.warn(*place, path, message);
        }
    }
}

/// What is wrong with a name, if anything.
fn objection(name: &str, rule: NameRule) -> Option<String> {
    let shown = quoted(name);
    if name.chars().count() > MAX_NAME {
        return Some(format!("{shown} is too long; at most {MAX_NAME} characters are allowed"));
    }
    if name.chars().any(char::is_control) {
        return Some(format!("{shown} holds a control character or a line break"));
    }
    if name != name.trim() {
        return Some(format!("{shown} starts or ends with a space"));
    }
    match rule {
        NameRule::Title => None,
        NameRule::Label if name.contains(['/', '\\']) => {
            Some(format!("{shown} holds a slash, which names of this kind may not"))
        }
        NameRule::Label => None,
        NameRule::Code => {
            let is_sound =
                name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$'))
                    && !name.starts_with(['-', '.']);
            (!is_sound).then(|| {
                format!(
                    "{shown} cannot be a function: letters, digits, `_`, `-`, `$` and `.` are \
                     allowed, the first neither `-` nor `.`"
                )
            })
        }
    }
}
