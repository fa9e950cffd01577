//! Text to a tree of nodes: the only file that knows the YAML parser.
//!
//! Owns the syntax stance (one document, text keys, no duplicate keys, core schema tags only, `<<`
//! merges) and the bounds. It must never know a manifest key. Aliases are counted as what they
//! stand for but shared in memory, so a "billion laughs" is refused after a few steps and without
//! being expanded; the parser is pulled event by event, so nothing recurses over the input.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::node::{Core, Entry, Kind, Layout, Node, Place, Scalar};
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

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Fatal> {
        let place = place_of(span);
        let bytes = text.len();
        self.count(1, bytes, place)?;
        let text: Arc<str> = text.into();
        let plain = style == ScalarStyle::Plain && tag.is_none();
        if let Some(slot) = self.waiting_for_key() {
            return slot.take_key(text, plain, place);
        }
        let mut core = match style {
            ScalarStyle::Plain => scalar::resolve(&text),
            _ => Core::Text,
        };
        if let Some(tag) = tag {
            core = self.tagged(tag, &text, core, place);
        }
        if plain && scalar::is_old_octal(&text) {
            let message = format!(
                "{} is a decimal number here (YAML 1.2); write `0o…` for octal or quote it",
                quoted(&text)
            );
            self.problems.warn(place, "", message);
        }
        let layout = self.layout(&text, style, anchor > 0 || tag.is_some(), span);
        let node = Node { place, kind: Kind::Scalar(Scalar { text, layout, plain, core }) };
        let (nodes_before, bytes_before) = (self.nodes - 1, self.bytes - bytes);
        self.complete(node, anchor, 1, nodes_before, bytes_before)
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

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, place: Place) {
        let Some(tag) = tag else { return };
        if !(tag.is_yaml_core_schema() && tag.suffix == expected) {
            self.refuse_tag(tag, place);
        }
    }

    fn tagged(&mut self, tag: &Tag, text: &str, core: Core, place: Place) -> Core {
        if tag.handle.is_empty() && tag.suffix == "!" {
            return Core::Text;
        }
        if !tag.is_yaml_core_schema() {
            self.refuse_tag(tag, place);
            return Core::Text;
        }
        let resolved = if core == Core::Text { scalar::resolve(text) } else { core };
        match (tag.suffix.as_str(), resolved) {
            ("str", _) => Core::Text,
            ("null", Core::Null)
            | ("bool", Core::Bool(_))
            | ("int", Core::Int(_) | Core::UInt(_))
            | ("float", Core::Float(_)) => resolved,
            ("float", Core::Int(_) | Core::UInt(_)) => text.parse().map_or(resolved, Core::Float),
            ("null" | "bool" | "int" | "float", _) => {
                let message = format!("{} is no `!!{}`", quoted(text), tag.suffix);
                self.problems.error(place, "", message);
                Core::Text
            }
            _ => {
                self.refuse_tag(tag, place);
                Core::Text
            }
        }
    }

    fn refuse_tag(&mut self, tag: &Tag, place: Place) {
        let name =
            if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        let message = format!("the tag {} is not supported here", quoted(&name));
        let allowed = ["!!str", "!!int", "!!float", "!!bool", "!!null", "!!seq", "!!map"];
        self.problems.error_allowing(place, "", message, allowed);
    }

    fn layout(&self, text: &str, style: ScalarStyle, has_properties: bool, span: Span) -> Layout {
        let place = place_of(span);
        match style {
            ScalarStyle::Literal => {
                let blank = text.chars().take_while(|c| *c == '\n').count();
                if !has_properties {
                    // The span starts at the first character that is not blank.
                    let first_line = place.line.saturating_sub(narrow(blank));
                    return Layout::Block { first_line, indent: place.column - 1 };
                }
                // With a tag or an anchor it starts there, in the line of the `|`.
                let first_line = place.line + 1;
                let line = self.lines.get(place.line as usize + blank).copied().unwrap_or_default();
                let indent = narrow(line.chars().take_while(|c| *c == ' ').count());
                Layout::Block { first_line, indent }
            }
            ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                let quote = usize::from(style != ScalarStyle::Plain);
                let one_line = span.start.line() == span.end.line();
                if one_line && !has_properties && span.len() == text.chars().count() + 2 * quote {
                    Layout::OneLine { column: place.column + narrow(quote) }
                } else {
                    Layout::Folded
                }
            }
            ScalarStyle::Folded => Layout::Folded,
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

fn place_of(span: Span) -> Place {
    Place { line: narrow(span.start.line().max(1)), column: narrow(span.start.col() + 1) }
}

/// The text is at most [`MAX_BYTES`] long, so its lines and columns fit.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
