//! Reading a mapping of the tree into typed values, key by key.
//!
//! Owns what every section has in common: missing keys, wrong types, unknown keys with their nearest
//! spelling, bounds on lists. It never stops at a problem: it reports it and hands back a stand-in,
//! so that one parse finds everything. It must never know a section.
//!
//! An empty value (`keyrings:` with nothing after it) counts as absent everywhere, because real
//! manifests have them.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::MAX_ITEMS;
use super::names::Names;
use super::node::{Core, Entry, Kind, Node, Place};
use super::operation_keyrings::OperationKeyring;
use super::places::{item, member};
use super::problem::{Problems, quoted};
use super::scalar;

pub(super) use crate::configuration::suggest::unknown;

/// What a parse gathers on its way through the tree.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Problems,
    pub(super) names: Names,
    /// Gathered until all other keyrings are known.
    pub(super) operation_keyrings: Vec<OperationKeyring>,
    /// See `Places`.
    pub(super) moved: HashMap<String, String>,
    #[cfg(test)]
    pub(super) trace: super::trace::Trace,
}

/// One mapping that is being read. Invariant: ends with [`Fields::finish`], which reports the keys
/// that nobody asked for.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
    pub(super) place: Place,
    pub(super) path: String,
    asked: Vec<&'static str>,
    elsewhere: &'static [Elsewhere],
}

/// Keys that are often written one level too high or too low, and where they belong.
pub(super) type Elsewhere = (&'static [&'static str], &'static str);

impl<'n> Fields<'n> {
    pub(super) fn open(r: &mut Reader, node: &'n Node, path: &str) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            let message = format!("expected a mapping, found {}", node.describe());
            r.problems.error(node.place, path, message);
            return None;
        };
        let path = path.to_owned();
        Some(Fields { entries, place: node.place, path, asked: Vec::new(), elsewhere: &[] })
    }

    /// Keys that do nothing here, and of which the author is told where they do.
    pub(super) fn knows_elsewhere(&mut self, elsewhere: &'static [Elsewhere]) {
        self.elsewhere = elsewhere;
    }

    /// The value of a key, if there is one that is not empty.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let entry = self.entries.iter().find(|entry| &*entry.key == key)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// Whether a key has a value, without accounting for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| &*entry.key == key && !entry.value.is_null())
    }

    pub(super) fn value_place(&self, key: &str) -> Place {
        let entry = self.entries.iter().find(|entry| &*entry.key == key);
        entry.map_or(self.place, |entry| entry.value.place)
    }

    /// Where a key stands, which is where to complain about its being there at all.
    pub(super) fn key_place(&self, key: &str) -> Place {
        let entry = self.entries.iter().find(|entry| &*entry.key == key);
        entry.map_or(self.place, |entry| entry.key_place)
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        member(&self.path, key)
    }

    pub(super) fn missing(&self, r: &mut Reader, key: &str, what: &str) {
        let message = format!("the key `{key}` is missing: {what}");
        r.problems.error(self.place, &self.path_of(key), message);
    }

    pub(super) fn text(&mut self, r: &mut Reader, key: &'static str) -> Option<String> {
        let node = self.get(key)?;
        read_text(r, node, &self.path_of(key))
    }

    /// `what` says what it is for, after "is missing: ".
    pub(super) fn required_text(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        what: &str,
    ) -> Option<String> {
        let Some(node) = self.get(key) else {
            self.missing(r, key, what);
            return None;
        };
        let path = self.path_of(key);
        let text = read_text(r, node, &path)?;
        if text.trim().is_empty() {
            r.problems.error(node.place, &path, format!("must not be empty: {what}"));
            return None;
        }
        Some(text)
    }

    pub(super) fn flag(&mut self, r: &mut Reader, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        read_flag(r, node, &self.path_of(key))
    }

    pub(super) fn number(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let node = self.get(key)?;
        let number = match &node.kind {
            Kind::Scalar(scalar) => match scalar.core {
                Core::Int(number) => u32::try_from(number).ok(),
                _ => None,
            },
            Kind::List(_) | Kind::Map(_) => None,
        };
        if let Some(number) = number
            && range.contains(&number)
        {
            return Some(number);
        }
        let message = format!("expected a whole number from {} to {}", range.start(), range.end());
        r.problems.error(node.place, &self.path_of(key), message);
        None
    }

    /// One of a fixed set of words, whatever their case.
    pub(super) fn choice<T: Copy>(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let node = self.get(key)?;
        let path = self.path_of(key);
        let text = read_text(r, node, &path)?;
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text));
        #[cfg(test)]
        r.trace.values(&path, choices.iter().map(|(name, _)| *name), found.map(|(name, _)| *name));
        if found.is_none() {
            let names = || choices.iter().map(|(name, _)| *name);
            let message = unknown("value", &text, names());
            r.problems.error_allowing(node.place, &path, message, names());
        }
        found.map(|(_, value)| *value)
    }

    /// The items of a list with their paths.
    pub(super) fn items(&mut self, r: &mut Reader, key: &'static str) -> Vec<(&'n Node, String)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        read_items(r, node, &self.path_of(key))
    }

    /// A list of texts that are not empty.
    pub(super) fn texts(&mut self, r: &mut Reader, key: &'static str) -> Vec<String> {
        let items = self.items(r, key);
        items.iter().filter_map(|(node, path)| read_word(r, node, path)).collect()
    }

    /// A value without a shape of its own.
    pub(super) fn json(&mut self, r: &mut Reader, key: &'static str) -> Option<serde_json::Value> {
        let node = self.get(key)?;
        read_json(r, node, &self.path_of(key))
    }

    /// A nested mapping.
    pub(super) fn fields(&mut self, r: &mut Reader, key: &'static str) -> Option<Fields<'n>> {
        let node = self.get(key)?;
        Fields::open(r, node, &self.path_of(key))
    }

    /// The keys that nobody asked for, which are then accounted for.
    pub(super) fn others(&mut self, r: &mut Reader) -> Vec<&'n Entry> {
        let asked = std::mem::take(&mut self.asked);
        #[cfg(test)]
        r.trace.keys(&self.path, &asked, self.entries);
        #[cfg(not(test))]
        let _ = r;
        let others = self.entries.iter().filter(|entry| !asked.contains(&&*entry.key)).collect();
        self.entries = &[];
        others
    }

    /// Warns about every key that nobody asked for.
    pub(super) fn finish(mut self, r: &mut Reader) {
        let known = self.asked.clone();
        for entry in self.others(r) {
            if r.problems.is_full() {
                return;
            }
            let home = self.elsewhere.iter().find(|(keys, _)| keys.contains(&&*entry.key));
            if let Some((_, home)) = home {
                let message =
                    format!("does nothing here: {} belongs into {home}", quoted(&entry.key));
                r.problems.warn(entry.key_place, &self.path_of(&entry.key), message);
                continue;
            }
            let message = unknown("key", &entry.key, known.iter().copied());
            let path = self.path_of(&entry.key);
            r.problems.warn_allowing(entry.key_place, &path, message, known.iter().copied());
        }
    }
}

pub(super) fn read_text(r: &mut Reader, node: &Node, path: &str) -> Option<String> {
    let Kind::Scalar(scalar) = &node.kind else {
        let message = format!("expected text, found {}", node.describe());
        r.problems.error(node.place, path, message);
        return None;
    };
    match scalar.core {
        Core::Text => {}
        Core::Null => return Some(String::new()),
        Core::Bool(_) | Core::Int(_) | Core::UInt(_) | Core::Float(_) => {
            let message = format!(
                "{} is {} to YAML and was taken as text; quote it",
                quoted(&scalar.text),
                node.describe()
            );
            r.problems.warn(node.place, path, message);
        }
    }
    Some(scalar.text.as_ref().to_owned())
}

/// Text that must not be empty, as an item of a list.
pub(super) fn read_word(r: &mut Reader, node: &Node, path: &str) -> Option<String> {
    let text = read_text(r, node, path)?;
    if text.trim().is_empty() {
        r.problems.error(node.place, path, "must not be empty");
        return None;
    }
    Some(text)
}

pub(super) fn read_flag(r: &mut Reader, node: &Node, path: &str) -> Option<bool> {
    if let Kind::Scalar(scalar) = &node.kind {
        if let Core::Bool(value) = scalar.core {
            return Some(value);
        }
        if let Some(value) = scalar::old_boolean(&scalar.text)
            && scalar.plain
        {
            let message = format!(
                "{} is text in YAML 1.2 and was taken as `{value}`; write `{value}`",
                quoted(&scalar.text)
            );
            r.problems.warn(node.place, path, message);
            return Some(value);
        }
    }
    let message = format!("expected a boolean, found {}", node.describe());
    r.problems.error_allowing(node.place, path, message, ["true", "false"]);
    None
}

pub(super) fn read_json(r: &mut Reader, node: &Node, path: &str) -> Option<serde_json::Value> {
    node.to_json()
        .map_err(|place| r.problems.error(place, path, "infinity and NaN have no form in JSON"))
        .ok()
}

/// The items of a list with their paths, up to the bound.
pub(super) fn read_items<'n>(
    r: &mut Reader,
    node: &'n Node,
    path: &str,
) -> Vec<(&'n Node, String)> {
    let Kind::List(items) = &node.kind else {
        let message = format!("expected a list, found {}", node.describe());
        r.problems.error(node.place, path, message);
        return Vec::new();
    };
    if items.len() > MAX_ITEMS {
        let message = format!("has {} entries; at most {MAX_ITEMS} are allowed", items.len());
        r.problems.error(node.place, path, message);
    }
    let items = items.iter().take(MAX_ITEMS).enumerate();
    items.map(|(index, node)| (node, item(path, index))).collect()
}
