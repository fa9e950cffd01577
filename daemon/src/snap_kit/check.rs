//! Checking a body against [`schema`](super::schema): everything that is wrong, in one walk.
//!
//! Must never stop at a problem, except where going on would have no end.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::body::Body;
use super::problem::{Findings, Place, Problem, ProblemCode as Code};
use super::schema::{ElementType, Kind, Property, element_type, type_names};
use super::{MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS};
use crate::configuration::suggest::{quoted, unknown};

type Object = Map<String, Value>;

/// What is known where a body is displayed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The snap-kit actions of the manifest; nothing when they are not known yet.
    pub actions: Option<&'a [&'a str]>,
    /// Whether what people press here has an action that it is sent to.
    pub has_handler: bool,
}

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The body; there only when no problem is an error.
    pub body: Option<Body>,
    /// In the order of the body.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// That there is none where one is needed.
    pub fn without_body() -> Checked {
        let mut findings = Findings::default();
        let message = "the function returned no `snap_kit_body`: return \
                       `{snap_kit_body: {body: {snaps: [...]}}}`";
        findings.error(Code::Missing, &Place::TOP, message.to_owned());
        Checked { body: None, problems: findings.into_problems() }
    }

    /// That it cannot even be looked at.
    pub(super) fn refused(code: Code, message: String) -> Checked {
        let mut findings = Findings::default();
        findings.error(code, &Place::TOP, message);
        Checked { body: None, problems: findings.into_problems() }
    }
}

/// Checks what a function or a manifest gives as `snap_kit_body`.
pub fn check(given: &Value, surroundings: Surroundings<'_>) -> Checked {
    let mut size = Counter(0);
    // The counter stops it where the bound is.
    if serde_json::to_writer(&mut size, given).is_err() {
        let message = format!("longer than {} KiB as JSON", MAX_BYTES >> 10);
        return Checked::refused(Code::TooLarge, message);
    }
    let mut walk = Walk { findings: Findings::default(), elements: 0, sends: false };
    let snaps = walk.top(given, surroundings);
    let body = snaps.filter(|_| !walk.findings.has_errors()).map(|it| Body::new(it.clone()));
    Checked { body, problems: walk.findings.into_problems() }
}

/// Counts bytes up to the bound.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        if self.0 > MAX_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Walk {
    findings: Findings,
    /// So many were met.
    elements: usize,
    /// Whether people can do something here that is to be sent to the snap-in.
    sends: bool,
}

/// What may be there once in what is displayed together.
#[derive(Default)]
struct Together<'a> {
    action_ids: HashSet<&'a str>,
    has_focus: bool,
}

impl Walk {
    fn top<'v>(
        &mut self,
        given: &'v Value,
        surroundings: Surroundings<'_>,
    ) -> Option<&'v Vec<Value>> {
        let top = Place::TOP;
        let outer = self.object(given, &top, "`{\"body\": {\"snaps\": [...]}}`")?;
        for key in ["snap_in_id", "snap_in_action_name"] {
            if let Some(value) = present(outer, key)
                && !value.is_string()
            {
                self.wrong_type(&top.member(key), "text", value);
            }
        }
        let named = outer.get("snap_in_action_name").and_then(Value::as_str);
        if let (Some(named), Some(known)) = (named, surroundings.actions)
            && !known.contains(&named)
        {
            let message = unknown("snap-kit action", named, known.iter().copied());
            let place = top.member("snap_in_action_name");
            self.findings.warn_allowing(Code::UnknownAction, &place, message, known);
        }
        // Manifests may leave the level out.
        let is_flat = present(outer, "snaps").is_some() && present(outer, "body").is_none();
        let known: &[&str] = match is_flat {
            true => &["snap_in_id", "snap_in_action_name", "snaps"],
            false => &["snap_in_id", "snap_in_action_name", "body"],
        };
        self.unknown_properties(outer, known, &top);
        let body_place = top.member("body");
        let (inner, place) = if is_flat {
            (outer, top)
        } else {
            let Some(body) = self.needed(outer, "body", &top) else { return None };
            let inner = self.object(body, &body_place, "`{\"snaps\": [...]}`")?;
            self.unknown_properties(inner, &["snaps"], &body_place);
            (inner, body_place)
        };
        let snaps = self.needed(inner, "snaps", &place)?;
        let place = place.member("snaps");
        let snaps = self.list(snaps, &place)?;
        for (index, snap) in snaps.iter().enumerate() {
            let mut together = Together::default();
            self.element(snap, &place.item(index), &[], 1, &mut together);
            if self.is_over() {
                break;
            }
        }
        if self.sends && !surroundings.has_handler && named.is_none() {
            let message = "what people press here is sent to nobody: name a \
                           `snap_kit_action_name` in the manifest"
                .to_owned();
            self.findings.warn(Code::Unhandled, &place, message);
        }
        Some(snaps)
    }

    /// One element of some types, any when none are named.
    fn element<'v>(
        &mut self,
        value: &'v Value,
        place: &Place<'_>,
        allowed: &[&str],
        depth: usize,
        together: &mut Together<'v>,
    ) {
        if !self.count(place) {
            return;
        }
        if depth > MAX_DEPTH {
            let message = format!("elements may lie in one another {MAX_DEPTH} deep");
            self.findings.error(Code::TooDeep, place, message);
            return;
        }
        let Some(element) = self.element_object(value, place, allowed) else { return };
        let Some(name) = self.type_of(element, place, allowed) else { return };
        let Some(kind) = element_type(name) else {
            if !self.findings.is_full() {
                let names = if allowed.is_empty() { type_names() } else { allowed.to_vec() };
                let message = unknown("element", name, type_names());
                let place = place.member("type");
                self.findings.warn_allowing(Code::UnknownType, &place, message, &names);
            }
            return;
        };
        if !allowed.is_empty() && !allowed.contains(&name) && !self.findings.is_full() {
            let message = format!("an element `{name}` has no place here");
            self.findings.warn_allowing(Code::Misplaced, place, message, allowed);
        }
        self.shared(kind, element, place, together);
        for property in kind.properties() {
            let place = place.member(property.name);
            match present(element, property.name) {
                Some(value) => self.property(property, value, &place, depth, together),
                None if property.is_required => {
                    let message = format!("`{name}` needs a `{}`", property.name);
                    self.findings.error(Code::Missing, &place, message);
                }
                None => {}
            }
        }
        self.ranges(kind, element, place);
        self.initial_choices(kind, element, place);
        self.unknown_of_element(kind, element, place);
    }

    /// What concerns all that is displayed together.
    fn shared<'v>(
        &mut self,
        kind: &ElementType,
        element: &'v Object,
        place: &Place<'_>,
        together: &mut Together<'v>,
    ) {
        if kind.is_action() {
            let is_remote = element.get("action_type").is_some_and(|it| it == "remote");
            self.sends |= is_remote || kind.name == "form";
            if let Some(id) = element.get("action_id").and_then(Value::as_str)
                && !together.action_ids.insert(id)
            {
                let message = format!("the action id {} is there already", quoted(id));
                self.findings.warn(Code::Duplicate, &place.member("action_id"), message);
            }
        }
        if element.get("focus_on_load") == Some(&Value::Bool(true)) {
            if together.has_focus {
                let message = "only one element can have the focus".to_owned();
                self.findings.warn(Code::Duplicate, &place.member("focus_on_load"), message);
            }
            together.has_focus = true;
        }
    }

    fn property<'v>(
        &mut self,
        property: &Property,
        value: &'v Value,
        place: &Place<'_>,
        depth: usize,
        together: &mut Together<'v>,
    ) {
        match property.kind {
            Kind::Text => {
                if !value.is_string() {
                    self.wrong_type(place, "text", value);
                }
            }
            Kind::Id => match value.as_str() {
                Some("") => {
                    self.findings.error(Code::Empty, place, "must not be empty".to_owned());
                }
                Some(_) => {}
                None => self.wrong_type(place, "text", value),
            },
            Kind::Scalar => {
                if value.is_array() || value.is_object() {
                    self.wrong_type(place, "text, a number or a boolean", value);
                }
            }
            Kind::Number => {
                if !value.is_number() {
                    self.wrong_type(place, "a number", value);
                }
            }
            Kind::Flag => {
                if !value.is_boolean() {
                    self.wrong_type(place, "a boolean", value);
                }
            }
            Kind::Choice(known) => self.choice(value, place, known),
            Kind::Choices(known) => {
                for (index, item) in self.list(value, place).into_iter().flatten().enumerate() {
                    self.choice(item, &place.item(index), known);
                }
            }
            Kind::Scalars => {
                for (index, item) in self.list(value, place).into_iter().flatten().enumerate() {
                    if !item.is_string() && !item.is_number() {
                        self.wrong_type(&place.item(index), "text", item);
                    }
                }
            }
            Kind::PlainText => self.element(value, place, &["plain_text"], depth + 1, together),
            Kind::Choosable => self.choosable(value, place, depth, together),
            Kind::Choosables => self.choosables(value, place, depth, together),
            Kind::Element(allowed) => self.element(value, place, allowed, depth + 1, together),
            Kind::Elements(allowed) => {
                for (index, item) in self.list(value, place).into_iter().flatten().enumerate() {
                    self.element(item, &place.item(index), allowed, depth + 1, together);
                    if self.is_over() {
                        return;
                    }
                }
            }
            Kind::Columns => self.columns(value, place, depth, together),
            Kind::Rows => self.rows(value, place, depth, together),
        }
    }

    fn choice(&mut self, value: &Value, place: &Place<'_>, known: &[&str]) {
        let Some(text) = value.as_str() else { return self.wrong_type(place, "text", value) };
        if !known.contains(&text) && !self.findings.is_full() {
            let message = unknown("value", text, known.iter().copied());
            self.findings.warn_allowing(Code::UnknownValue, place, message, known);
        }
    }

    /// `{text, value, description?}`.
    fn choosable<'v>(
        &mut self,
        value: &'v Value,
        place: &Place<'_>,
        depth: usize,
        together: &mut Together<'v>,
    ) {
        if !self.count(place) {
            return;
        }
        let Some(option) = self.object(value, place, "an option") else { return };
        for (key, is_required) in [("text", true), ("description", false)] {
            let place = place.member(key);
            match present(option, key) {
                Some(text) => self.element(text, &place, &["plain_text"], depth + 1, together),
                None if is_required => {
                    self.findings.error(Code::Missing, &place, "an option needs a `text`".into());
                }
                None => {}
            }
        }
        match present(option, "value") {
            Some(value) if value.is_array() || value.is_object() => {
                self.wrong_type(&place.member("value"), "text, a number or a boolean", value);
            }
            Some(_) => {}
            None => {
                let message = "an option needs a `value`".to_owned();
                self.findings.error(Code::Missing, &place.member("value"), message);
            }
        }
        self.unknown_properties(option, &["text", "value", "description"], place);
    }

    fn choosables<'v>(
        &mut self,
        value: &'v Value,
        place: &Place<'_>,
        depth: usize,
        together: &mut Together<'v>,
    ) {
        for (index, item) in self.list(value, place).into_iter().flatten().enumerate() {
            self.choosable(item, &place.item(index), depth, together);
            if self.is_over() {
                return;
            }
        }
    }

    /// `[{key, header?}]`.
    fn columns<'v>(
        &mut self,
        value: &'v Value,
        place: &Place<'_>,
        depth: usize,
        together: &mut Together<'v>,
    ) {
        let Some(columns) = self.list(value, place) else { return };
        if columns.is_empty() {
            self.findings.warn(Code::Empty, place, "a table without columns is empty".to_owned());
        }
        for (index, column) in columns.iter().enumerate() {
            let place = place.item(index);
            if !self.count(&place) {
                return;
            }
            let Some(column) = self.object(column, &place, "a column: `{key, header}`") else {
                continue;
            };
            match self.needed(column, "key", &place) {
                Some(Value::String(_)) | None => {}
                Some(other) => self.wrong_type(&place.member("key"), "text", other),
            }
            if let Some(header) = present(column, "header") {
                self.element(header, &place.member("header"), &["plain_text"], depth + 1, together);
            }
            self.unknown_properties(column, &["key", "header"], &place);
        }
    }

    fn rows<'v>(
        &mut self,
        value: &'v Value,
        place: &Place<'_>,
        depth: usize,
        together: &mut Together<'v>,
    ) {
        for (index, row) in self.list(value, place).into_iter().flatten().enumerate() {
            let place = place.item(index);
            let wanted = "a row: an object with a text element for each column's key";
            let Some(row) = self.object(row, &place, wanted) else { continue };
            for (key, cell) in row {
                let allowed = &["plain_text", "rich_text"];
                self.element(cell, &place.member(key), allowed, depth + 1, together);
                if self.is_over() {
                    return;
                }
            }
        }
    }

    fn ranges(&mut self, kind: &ElementType, element: &Object, place: &Place<'_>) {
        for (lower, upper) in kind.ranges {
            let number = |key: &str| element.get(key).and_then(Value::as_f64);
            if let (Some(least), Some(most)) = (number(lower), number(upper))
                && least > most
            {
                let message = format!("{least} is more than the `{upper}`, {most}");
                self.findings.error(Code::WrongRange, &place.member(lower), message);
            }
        }
    }

    fn initial_choices(&mut self, kind: &ElementType, element: &Object, place: &Place<'_>) {
        let Some(options) = element.get("options").and_then(Value::as_array) else { return };
        if kind.property("options").is_none() {
            return;
        }
        if options.is_empty() {
            let message = "there is nothing to choose from".to_owned();
            self.findings.warn(Code::Empty, &place.member("options"), message);
        }
        let values: HashSet<String> = options.iter().map(|it| it["value"].to_string()).collect();
        for property in kind.properties().filter(|it| it.name.starts_with("initial_")) {
            let place = place.member(property.name);
            let chosen = match element.get(property.name) {
                Some(Value::Array(items)) => items.as_slice(),
                Some(one @ Value::Object(_)) => std::slice::from_ref(one),
                Some(_) | None => &[],
            };
            for it in chosen {
                if !values.contains(&it["value"].to_string()) && !self.findings.is_full() {
                    let named = quoted(&it["value"].to_string());
                    let message = format!("the value {named} is none of the options");
                    self.findings.warn(Code::NoSuchOption, &place, message);
                }
            }
        }
    }

    fn unknown_of_element(&mut self, kind: &ElementType, element: &Object, place: &Place<'_>) {
        for key in element.keys() {
            if kind.property(key).is_some() {
                continue;
            }
            if self.findings.is_full() {
                return;
            }
            let known: Vec<&str> = kind.properties().map(|it| it.name).collect();
            let message = unknown("property", key, known.iter().copied());
            let place = place.member(key);
            self.findings.warn_allowing(Code::UnknownProperty, &place, message, &known);
        }
    }

    fn unknown_properties(&mut self, object: &Object, known: &[&str], place: &Place<'_>) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            if self.findings.is_full() {
                return;
            }
            let message = unknown("property", key, known.iter().copied());
            let place = place.member(key);
            self.findings.warn_allowing(Code::UnknownProperty, &place, message, known);
        }
    }

    /// Counts an element; nothing more is looked at once there are too many.
    fn count(&mut self, place: &Place<'_>) -> bool {
        self.elements += 1;
        if self.elements == MAX_ELEMENTS + 1 {
            let message = format!("a body has at most {MAX_ELEMENTS} elements");
            self.findings.error(Code::TooMany, place, message);
        }
        !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.elements > MAX_ELEMENTS
    }

    fn needed<'v>(
        &mut self,
        object: &'v Object,
        key: &str,
        place: &Place<'_>,
    ) -> Option<&'v Value> {
        let found = present(object, key);
        if found.is_none() {
            let message = format!("`{key}` is missing");
            self.findings.error(Code::Missing, &place.member(key), message);
        }
        found
    }

    fn type_of<'v>(
        &mut self,
        element: &'v Object,
        place: &Place<'_>,
        allowed: &[&str],
    ) -> Option<&'v str> {
        let place = place.member("type");
        match present(element, "type") {
            Some(Value::String(name)) => Some(name),
            Some(other) => {
                self.wrong_type(&place, "text", other);
                None
            }
            None => {
                let names = if allowed.is_empty() { type_names() } else { allowed.to_vec() };
                let message = "an element needs a `type`".to_owned();
                self.findings.error_allowing(Code::Missing, &place, message, &names);
                None
            }
        }
    }

    fn element_object<'v>(
        &mut self,
        value: &'v Value,
        place: &Place<'_>,
        allowed: &[&str],
    ) -> Option<&'v Object> {
        let of_text = allowed.first() == Some(&"plain_text");
        let wanted = match allowed {
            _ if of_text => "an element `{\"type\": \"plain_text\", \"text\": ...}`",
            ["button"] => "an element `{\"type\": \"button\", ...}`",
            _ => "an element `{\"type\": ...}`",
        };
        self.object(value, place, wanted)
    }

    fn object<'v>(
        &mut self,
        value: &'v Value,
        place: &Place<'_>,
        wanted: &str,
    ) -> Option<&'v Object> {
        let object = value.as_object();
        if object.is_none() {
            self.wrong_type(place, wanted, value);
        }
        object
    }

    fn list<'v>(&mut self, value: &'v Value, place: &Place<'_>) -> Option<&'v Vec<Value>> {
        let list = value.as_array();
        if list.is_none() {
            self.wrong_type(place, "a list", value);
        }
        list
    }

    fn wrong_type(&mut self, place: &Place<'_>, wanted: &str, found: &Value) {
        let found = match found {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let message = format!("expected {wanted}, found {found}");
        self.findings.error(Code::WrongType, place, message);
    }
}

/// A member that has a value: JavaScript writes null for what it does not have.
fn present<'v>(object: &'v Object, key: &str) -> Option<&'v Value> {
    object.get(key).filter(|it| !it.is_null())
}
