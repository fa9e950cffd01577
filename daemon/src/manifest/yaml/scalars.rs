//! Scalars and tags: what a text is, and how its lines lie in the file.

use std::sync::Arc;

use saphyr_parser::{ScalarStyle, Span, Tag};

use super::super::node::{Core, Kind, Layout, Node, Place, Scalar};
use super::super::problem::quoted;
use super::super::scalar;
use super::{Fatal, Loader};

impl Loader<'_, '_> {
    pub(super) fn scalar(
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

    pub(super) fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, place: Place) {
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
}

pub(super) fn place_of(span: Span) -> Place {
    Place { line: narrow(span.start.line().max(1)), column: narrow(span.start.col() + 1) }
}

/// The text is at most `MAX_BYTES` long, so its lines and columns fit.
pub(super) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
