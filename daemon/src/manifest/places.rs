//! Where in the manifest's text something stands, for problems that are found after the parse.
//!
//! Owns the way from a path of the parsed manifest, such as
//! `event_sources.organization[0].config.policy`, to a line and column of the file, also where the
//! file wrote it elsewhere (version 1 keys, flat lists). It must never fail: an unknown path gives
//! the nearest place that is known.

use std::collections::HashMap;

use super::node::{Kind, Layout, Node, Place};
use super::problem::{Problem, Severity};

/// The places of one parsed manifest.
#[derive(Clone, Debug, Default)]
pub struct Places {
    root: Option<Node>,
    /// From a path in the version 2 shape to the path in the file, where they differ.
    moved: HashMap<String, String>,
}

impl Places {
    pub(super) fn new(root: Option<Node>, moved: HashMap<String, String>) -> Places {
        Places { root, moved }
    }

    /// The line and column of a value, or of a position (line and column, from 1) in its text.
    ///
    /// In a literal block (`|`) and in text of one line the position is exact. In folded or escaped
    /// text it is the value's own; [`Places::problem`] then says the inner position in words.
    pub fn locate(&self, path: &str, inner: Option<(u32, u32)>) -> (u32, u32) {
        self.find(path, inner).0
    }

    /// A problem at a value, or at a position in its text.
    pub fn problem(
        &self,
        severity: Severity,
        path: &str,
        inner: Option<(u32, u32)>,
        message: &str,
    ) -> Problem {
        let ((line, column), exact) = self.find(path, inner);
        let message = match inner {
            Some((inner_line, inner_column)) if !exact => {
                format!("{message} (line {inner_line}, column {inner_column} of the text)")
            }
            Some(_) | None => message.to_owned(),
        };
        let path = self.moved_path(path);
        Problem { severity, file: None, line, column, path, message, allowed: Vec::new() }
    }

    fn find(&self, path: &str, inner: Option<(u32, u32)>) -> ((u32, u32), bool) {
        let Some(root) = &self.root else {
            return ((Place::START.line, Place::START.column), inner.is_none());
        };
        let path = self.moved_path(path);
        let (node, is_whole) = below(root, &path);
        if !is_whole {
            return ((node.place.line, node.place.column), inner.is_none());
        }
        let own = (node.place.line, node.place.column);
        let (Some((line, column)), Kind::Scalar(scalar)) = (inner, &node.kind) else {
            return (own, inner.is_none());
        };
        let (below, right) = (line.saturating_sub(1), column.saturating_sub(1));
        match scalar.layout {
            Layout::Block { first_line, indent } => {
                let line = first_line.saturating_add(below);
                ((line, indent.saturating_add(1).saturating_add(right)), true)
            }
            Layout::OneLine { column } if below == 0 => {
                ((own.0, column.saturating_add(right)), true)
            }
            Layout::OneLine { .. } | Layout::Folded => (own, false),
        }
    }

    /// The longest prefix that was moved decides.
    fn moved_path(&self, path: &str) -> String {
        let mut end = path.len();
        loop {
            if let Some(actual) = self.moved.get(&path[..end]) {
                return format!("{actual}{}", &path[end..]);
            }
            match path[..end].rfind(['.', '[']) {
                Some(cut) if cut > 0 => end = cut,
                Some(_) | None => return path.to_owned(),
            }
        }
    }
}

/// The value at a path below another, or the last one on the way to it, and which of the two.
fn below<'n>(root: &'n Node, path: &str) -> (&'n Node, bool) {
    let mut node = root;
    for step in steps(path) {
        let next = match (&node.kind, step) {
            (Kind::List(items), Step::Index(index)) => items.get(index),
            (Kind::Map(_), Step::Key(key)) => node.entry(&key).map(|entry| &entry.value),
            (Kind::Scalar(_) | Kind::List(_) | Kind::Map(_), _) => None,
        };
        let Some(next) = next else { return (node, false) };
        node = next;
    }
    (node, true)
}

/// Where the value at a path below another stands, or the nearest that is there.
pub(super) fn place_below(root: &Node, path: &str) -> Place {
    below(root, path).0.place
}

/// Where the key of such a value stands.
pub(super) fn key_place_below(root: &Node, path: &str) -> Place {
    let mut keys = steps(path);
    let Some(Step::Key(last)) = keys.pop() else { return place_below(root, path) };
    let end = path.rfind(['.', '[']).unwrap_or_default();
    let (above, _) = below(root, &path[..end]);
    above.entry(&last).map_or(above.place, |entry| entry.key_place)
}

/// The path of a member of a mapping.
pub(super) fn member(path: &str, key: &str) -> String {
    let is_word = !key.is_empty()
        && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '<' | '/' | '$'));
    match (path.is_empty(), is_word) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", serde_json::Value::from(key)),
    }
}

/// The path of an item of a list.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

enum Step {
    Key(String),
    Index(usize),
}

/// The steps of a path, up to where it stops being one.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(bracket) = rest.strip_prefix('[') {
            let mut quoted = serde_json::Deserializer::from_str(bracket).into_iter::<String>();
            if let Some(Ok(key)) = quoted.next() {
                steps.push(Step::Key(key));
                rest = bracket[quoted.byte_offset()..].strip_prefix(']').unwrap_or_default();
                continue;
            }
            let Some((index, after)) = bracket.split_once(']') else { break };
            let Ok(index) = index.parse() else { break };
            steps.push(Step::Index(index));
            rest = after;
        } else {
            let word = rest.strip_prefix('.').unwrap_or(rest);
            let end = word.find(['.', '[']).unwrap_or(word.len());
            if end == 0 {
                break;
            }
            steps.push(Step::Key(word[..end].to_owned()));
            rest = &word[end..];
        }
    }
    steps
}
