//! How an object is shown: references as the objects that they lead to, in short; people and service
//! accounts likewise.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::{Catalog, KnownType, Objects};
use crate::model::id::{ServiceAccountId, text_of};
use crate::model::object::{ObjectKey, StoredObject, TypeNumber};
use crate::objects::document::document;
use crate::objects::path;
use crate::store::{ReadTables, StoreError};

/// Of which types the reader may see objects: references to others stay ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Of all.
    All,
    /// Of these.
    Types(HashSet<TypeNumber>),
}

impl Sight {
    fn has(&self, kind: TypeNumber) -> bool {
        match self {
            Sight::All => true,
            Sight::Types(types) => types.contains(&kind),
        }
    }
}

impl Objects {
    /// An object as it is shown.
    pub fn show(
        &self,
        kind: &KnownType,
        object: &StoredObject,
        sight: &Sight,
    ) -> Result<Value, StoreError> {
        let catalog = self.catalog();
        self.0.store.read(|tables| Shower::new(tables, &catalog, sight).object(kind, object))
    }

    /// An object as it is shown, from a document with ids, as changes have it. What it refers to is
    /// shown as it is now.
    pub fn show_document(
        &self,
        name: &str,
        document: &[u8],
        sight: &Sight,
    ) -> Result<Value, StoreError> {
        let catalog = self.catalog();
        let document = serde_json::from_slice(document)
            .map_err(|error| StoreError::corrupt(format!("an unreadable document: {error}")))?;
        self.0.store.read(|tables| {
            let mut shower = Shower::new(tables, &catalog, sight);
            match catalog.get(name) {
                Some(kind) => shower.document(kind, document),
                None => Ok(document),
            }
        })
    }
}

/// Shows several objects of one look, and what they refer to once.
pub(super) struct Shower<'a> {
    tables: &'a ReadTables,
    catalog: &'a Catalog,
    sight: &'a Sight,
    shown: HashMap<ObjectKey, Value>,
}

impl<'a> Shower<'a> {
    pub(super) fn new(
        tables: &'a ReadTables,
        catalog: &'a Catalog,
        sight: &'a Sight,
    ) -> Shower<'a> {
        Shower { tables, catalog, sight, shown: HashMap::new() }
    }

    pub(super) fn object(
        &mut self,
        kind: &KnownType,
        object: &StoredObject,
    ) -> Result<Value, StoreError> {
        let prefix = &kind.current().id_prefix;
        let text = document(prefix, object.key, &object.head, &object.fields);
        let document = serde_json::from_slice(&text)
            .map_err(|error| StoreError::corrupt(format!("unreadable fields: {error}")))?;
        self.document(kind, document)
    }

    fn document(&mut self, kind: &KnownType, mut document: Value) -> Result<Value, StoreError> {
        let definition = kind.current();
        for reference in definition.references.keys() {
            if definition.plain_references.contains(reference) {
                self.add_beside(reference, &mut document)?;
            } else {
                path::change_each(&mut document, reference, &mut |_, value| self.target(value))?;
            }
        }
        if let Some(members) = document.as_object_mut() {
            for name in ["created_by", "modified_by"] {
                if let Some(Value::String(principal)) = members.get(name) {
                    let shown = shown_principal(principal);
                    members.insert(name.to_owned(), shown);
                }
            }
        }
        Ok(document)
    }

    /// Puts display id and type of what a reference leads to beside it; the id stays as it is.
    fn add_beside(&mut self, reference: &str, document: &mut Value) -> Result<(), StoreError> {
        let shown = match document.get(reference) {
            Some(id) if id.is_string() => self.target(id)?,
            Some(_) | None => return Ok(()),
        };
        if let Some(members) = document.as_object_mut() {
            for name in ["display_id", "type"] {
                if let Some(value) = shown.get(name) {
                    members.insert(format!("{reference}_{name}"), value.clone());
                }
            }
        }
        Ok(())
    }

    /// The short form of what an id leads to.
    fn target(&mut self, value: &Value) -> Result<Value, StoreError> {
        let Some(id) = value.as_str() else { return Ok(value.clone()) };
        let Some((kind, key)) = self.catalog.key_of(id) else { return Ok(json!({ "id": id })) };
        if let Some(shown) = self.shown.get(&key) {
            return Ok(shown.clone());
        }
        let found = if self.sight.has(kind.number) { self.tables.object(key)? } else { None };
        let shown = match found {
            Some(object) => summary(kind, &object)?,
            None => json!({ "id": id }),
        };
        self.shown.insert(key, shown.clone());
        Ok(shown)
    }
}

/// What is shown of an object where another refers to it.
fn summary(kind: &KnownType, object: &StoredObject) -> Result<Value, StoreError> {
    let definition = kind.current();
    let fields: Map<String, Value> = super::prepare::fields_of(object)?;
    let mut shown = Map::new();
    shown.insert("id".to_owned(), Value::from(text_of(&definition.id_prefix, object.key.id)));
    if let Some(display_id) = &object.head.display_id {
        shown.insert("display_id".to_owned(), Value::from(display_id.as_str()));
    }
    let own = fields.get("type").filter(|it| it.is_string()).cloned();
    shown.insert("type".to_owned(), own.unwrap_or_else(|| Value::from(definition.name.as_str())));
    let title = definition.title_field.as_deref();
    for path in title.into_iter().chain(definition.summary.iter().map(String::as_str)) {
        let name = path.split('.').next().unwrap_or_default();
        if let Some(value) = fields.get(name).and_then(in_short) {
            shown.insert(name.to_owned(), value);
        }
    }
    Ok(Value::Object(shown))
}

/// A value as it stands beside an id: many objects may refer to one, and one to many.
fn in_short(value: &Value) -> Option<Value> {
    const MOST_CHARACTERS: usize = 256;
    const MOST_BYTES: usize = 4096;
    match value {
        Value::String(text) if text.len() > MOST_CHARACTERS => {
            let cut: String = text.chars().take(MOST_CHARACTERS).collect();
            Some(Value::from(cut))
        }
        Value::Array(_) | Value::Object(_) => {
            (value.to_string().len() <= MOST_BYTES).then(|| value.clone())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}

/// A principal: its name is all that there is of it.
fn shown_principal(name: &str) -> Value {
    // A snap-in at the order of a person.
    let (id, person) = match name.split_once(" for ") {
        Some((id, person)) => (id, Some(person)),
        None => (name, None),
    };
    let is_service_account = id.parse::<ServiceAccountId>().is_ok();
    let kind = if is_service_account { "service_account" } else { "user" };
    let mut shown = json!({ "id": id, "type": kind, "display_name": id });
    if let Some(person) = person {
        shown["on_behalf_of"] = json!(person);
    }
    shown
}
