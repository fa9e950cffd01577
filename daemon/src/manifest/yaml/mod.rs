//! Text to a tree of nodes: the only folder that knows the YAML parser.
//!
//! Owns the syntax stance (one document, text keys, no duplicate keys, core schema tags only, `<<`
//! merges) and the bounds. It must never know a manifest key. Aliases are counted as what they
//! stand for but shared in memory, so a "billion laughs" is refused after a few steps and without
//! being expanded; the parser is pulled event by event, so nothing recurses over the input.

mod scalars;

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScanError};

use self::scalars::{narrow, place_of};
use super::node::{Core, Entry, Kind, Node, Place};
use super::problem::{Problems, quoted};
use super::scalar;
use super::{MAX_BYTES, MAX_DEPTH, MAX_NODES};

/// Text that aliases may repeat, all in all.
const MAX_EXPANDED_BYTES: usize = 4 * MAX_BYTES;

/// The tree, or nothing after a problem that leaves no tree to look at.
pub(super) fn load(text: &str, problems: &mut Problems) -> Option<Node> {
    if text.len() > MAX_BYTES {
        let message =
            format!("the manifest has {} bytes; at most {MAX_BYTES} are allowed", text.len());
        problems.error(Place::START, "", message);
        return None;
    }
    let mut loader = Loader {
        lines: text.split('\n').collect(),
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        bytes: 0,
        root: None,
        problems,
    };
    match loader.run(Parser::new_from_str(text)) {
        Ok(()) => {
            if loader.root.is_none() {
                loader.problems.error(Place::START, "", "the manifest is empty");
            }
            loader.root
        }
        Err(Fatal { place, message }) => {
            problems.error(place, "", message);
            None
        }
    }
}

/// Why loading had to stop.
struct Fatal {
    place: Place,
    message: String,
}

struct Loader<'t, 'p> {
    lines: Vec<&'t str>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    /// Nodes and bytes of text so far, with aliases counted as what they stand for.
    nodes: usize,
    bytes: usize,
    root: Option<Node>,
    problems: &'p mut Problems,
}

/// A list or mapping that is not complete yet.
struct Frame {
    place: Place,
    anchor: usize,
    height: usize,
    nodes_before: usize,
    bytes_before: usize,
    collection: Collection,
}

enum Collection {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<Arc<str>, Place>, key: Option<Key>, merges: Vec<Node> },
}

/// A key that waits for its value.
enum Key {
    Ordinary(Arc<str>, Place),
    /// A second one of the same name: its value is read and dropped.
    Duplicate,
    Merge,
}

/// What an anchor stands for, with what an alias to it costs.
struct Anchored {
    node: Node,
    height: usize,
    nodes: usize,
    bytes: usize,
}

impl Loader<'_, '_> {
    fn run<'i, I>(&mut self, mut events: Parser<'i, I>) -> Result<(), Fatal>
    where
        I: saphyr_parser::Input,
    {
        let mut documents = 0;
        while let Some(event) = events.next_event() {
            let (event, span) = event.map_err(|error| self.syntax_error(&error))?;
            let place = place_of(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let message = "a second YAML document starts here; \
                                       a manifest is one document";
                        return Err(Fatal { place, message: message.to_owned() });
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), span)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.check_tag(tag.as_deref(), "seq", place);
                    self.open(place, anchor, Collection::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.check_tag(tag.as_deref(), "map", place);
                    let collection = Collection::Map {
                        entries: Vec::new(),
                        seen: HashMap::new(),
                        key: None,
                        merges: Vec::new(),
                    };
                    self.open(place, anchor, collection)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Alias(anchor) => self.alias(anchor, place)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, place: Place, anchor: usize, collection: Collection) -> Result<(), Fatal> {
        if self.waiting_for_key().is_some() {
            let message = "a key must be text, not a list or a mapping".to_owned();
            return Err(Fatal { place, message });
        }
        if self.stack.len() >= MAX_DEPTH {
            let message = format!("nested too deep; at most {MAX_DEPTH} levels are allowed");
            return Err(Fatal { place, message });
        }
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        self.count(1, 0, place)?;
        self.stack.push(Frame { place, anchor, height: 1, nodes_before, bytes_before, collection });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fatal> {
        let frame = self.stack.pop().expect("the parser ends only what it started");
        let kind = match frame.collection {
            Collection::List(items) => Kind::List(Arc::new(items)),
            Collection::Map { mut entries, mut seen, merges, .. } => {
                for merge in &merges {
                    self.merge(merge, &mut entries, &mut seen);
                }
                Kind::Map(Arc::new(entries))
            }
        };
        let node = Node { place: frame.place, kind };
        self.complete(node, frame.anchor, frame.height, frame.nodes_before, frame.bytes_before)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Fatal> {
        if self.waiting_for_key().is_some() {
            let message = "an alias cannot be a key; write the key out".to_owned();
            return Err(Fatal { place, message });
        }
        let Some(target) = self.anchors.get(&anchor) else {
            let message = "an alias to a key, or inside of what it stands for".to_owned();
            return Err(Fatal { place, message });
        };
        let (node, height) = (target.node.clone(), target.height);
        let (nodes, bytes) = (target.nodes, target.bytes);
        if self.stack.len() + height > MAX_DEPTH {
            let message = format!("nested too deep; at most {MAX_DEPTH} levels are allowed");
            return Err(Fatal { place, message });
        }
        self.count(nodes, bytes, place)?;
        let (nodes_before, bytes_before) = (self.nodes - nodes, self.bytes - bytes);
        self.complete(node, 0, height, nodes_before, bytes_before)
    }

    /// Hands a finished node to its parent and remembers it when it has an anchor.
    fn complete(
        &mut self,
        node: Node,
        anchor: usize,
        height: usize,
        nodes_before: usize,
        bytes_before: usize,
    ) -> Result<(), Fatal> {
        if anchor > 0 {
            let nodes = self.nodes - nodes_before;
            let bytes = self.bytes - bytes_before;
            self.anchors.insert(anchor, Anchored { node: node.clone(), height, nodes, bytes });
        }
        let Some(parent) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.height = parent.height.max(height + 1);
        match &mut parent.collection {
            Collection::List(items) => items.push(node),
            Collection::Map { entries, key, merges, .. } => match key.take() {
                Some(Key::Ordinary(key, key_place)) => {
                    entries.push(Entry { key, key_place, value: node });
                }
                Some(Key::Merge) => merges.push(node),
                Some(Key::Duplicate) | None => {}
            },
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, bytes: usize, place: Place) -> Result<(), Fatal> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > MAX_NODES {
            let message =
                format!("too many values, aliases counted; at most {MAX_NODES} are allowed");
            return Err(Fatal { place, message });
        }
        if self.bytes > MAX_EXPANDED_BYTES {
            let message = format!(
                "too much text, aliases counted; at most {MAX_EXPANDED_BYTES} bytes are allowed"
            );
            return Err(Fatal { place, message });
        }
        Ok(())
    }

    fn waiting_for_key(&mut self) -> Option<KeySlot<'_>> {
        match &mut self.stack.last_mut()?.collection {
            Collection::Map { key: key @ None, seen, .. } => {
                Some(KeySlot { key, seen, problems: self.problems })
            }
            Collection::Map { .. } | Collection::List(_) => None,
        }
    }

    /// `<<`: what the mapping does not say itself is taken over; of several, the first one wins.
    fn merge(
        &mut self,
        from: &Node,
        entries: &mut Vec<Entry>,
        seen: &mut HashMap<Arc<str>, Place>,
    ) {
        let sources: &[Node] = match &from.kind {
            Kind::List(items) => items,
            Kind::Map(_) | Kind::Scalar(_) => std::slice::from_ref(from),
        };
        for source in sources {
            let Kind::Map(added) = &source.kind else {
                let message =
                    format!("`<<` merges a mapping or a list of them, not {}", source.describe());
                self.problems.error(source.place, "", message);
                continue;
            };
            for entry in added.iter() {
                if !seen.contains_key(&entry.key) {
                    seen.insert(Arc::clone(&entry.key), entry.key_place);
                    entries.push(entry.clone());
                }
            }
        }
    }

    fn syntax_error(&self, error: &ScanError) -> Fatal {
        let marker = error.marker();
        let place = Place { line: narrow(marker.line().max(1)), column: narrow(marker.col() + 1) };
        let line = self.lines.get(place.line as usize - 1).copied().unwrap_or_default();
        let indented_by_tab = line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
        let hint = if indented_by_tab || error.info().contains("tab") {
            "; YAML is indented with spaces, never with tabs"
        } else if error.info().contains("mapping values are not allowed") {
            "; text with `: ` in it must be quoted, and keys of one mapping must align"
        } else {
            ""
        };
        Fatal { place, message: format!("invalid YAML: {}{hint}", error.info()) }
    }
}

/// The place for a key in the mapping that is being read.
struct KeySlot<'a> {
    key: &'a mut Option<Key>,
    seen: &'a mut HashMap<Arc<str>, Place>,
    problems: &'a mut Problems,
}

impl KeySlot<'_> {
    fn take_key(self, text: Arc<str>, plain: bool, place: Place) -> Result<(), Fatal> {
        if plain && scalar::resolve(&text) == Core::Null {
            return Err(Fatal { place, message: "a key must be text, not nothing".to_owned() });
        }
        if let Some(first) = self.seen.get(&text) {
            let message = format!(
                "the key {} is here twice; the first is in line {}, column {}",
                quoted(&text),
                first.line,
                first.column
            );
            self.problems.error(place, "", message);
            *self.key = Some(Key::Duplicate);
            return Ok(());
        }
        self.seen.insert(Arc::clone(&text), place);
        *self.key =
            Some(if plain && &*text == "<<" { Key::Merge } else { Key::Ordinary(text, place) });
        Ok(())
    }
}
