//! From what somebody sent to what is stored: references become ids, the change is merged, and all
//! that is wrong is found.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Catalog, KnownType, ObjectError};
use crate::configuration::suggest;
use crate::model::object::{ObjectKey, StoredObject};
use crate::model::object_type::{Defined, DisplayIds, IndexedField, Targets};
use crate::objects::document::STANDARD;
use crate::objects::index::{self, Entry};
use crate::objects::{FieldProblem, merge, path, wire};
use crate::store::{ReadTables, StoreError};

/// The most objects that one may refer to: each is a row, and is looked up when the object is written.
const MOST_REFERENCES: usize = 1_000;
/// The most rows that one object may have in the index.
const MOST_ROWS: usize = 2_000;

/// An object to be made.
pub(super) struct Prepared {
    pub(super) fields: Bytes,
    pub(super) index: Vec<Entry>,
    pub(super) references: Vec<ObjectKey>,
    pub(super) display_prefix: Option<String>,
}

/// A change to an object.
pub(super) struct PreparedUpdate {
    pub(super) fields: Bytes,
    pub(super) gone: Vec<Entry>,
    pub(super) new: Vec<Entry>,
    pub(super) references: Vec<ObjectKey>,
}

/// What was looked up, or why that failed; and in it, what is right, or what is wrong.
type Looked<T> = Result<Result<T, ObjectError>, StoreError>;

pub(super) fn create(
    tables: &ReadTables,
    catalog: &Catalog,
    kind: &KnownType,
    sent: Map<String, Value>,
) -> Looked<Prepared> {
    let mut sent = sent;
    wire::fields::rename(kind.current(), &mut sent);
    wire::fields::fill(kind.current(), &mut sent);
    let mut problems = refuse_standard(&sent);
    if let Some(problem) = too_many_references(kind.definitions(), &sent) {
        return Ok(Err(bad_fields(kind, vec![problem])));
    }
    let sent = with_ids(tables, catalog, kind, sent, &mut problems)?;
    let fields = match merge::fresh(sent) {
        Ok(fields) => fields,
        Err(wrong) => return Ok(Err(bad_fields(kind, [problems, wrong].concat()))),
    };
    let fields = match check(kind, fields, problems) {
        Ok(fields) => fields,
        Err(error) => return Ok(Err(error)),
    };
    let indexed = kind.indexed();
    let index = entries(&indexed, &fields);
    if let Some(problem) = too_many_rows(index.len(), &indexed, &fields) {
        return Ok(Err(bad_fields(kind, vec![problem])));
    }
    Ok(Ok(Prepared {
        index,
        references: references(catalog, kind, &fields),
        display_prefix: display_prefix(kind, &fields),
        fields: Bytes::from(fields.to_string()),
    }))
}

/// Nothing, if nothing would change.
pub(super) fn update(
    tables: &ReadTables,
    catalog: &Catalog,
    kind: &KnownType,
    before: &StoredObject,
    sent: Map<String, Value>,
) -> Looked<Option<PreparedUpdate>> {
    let old = fields_of(before)?;
    let mut sent = sent;
    wire::fields::rename(kind.current(), &mut sent);
    let mut problems = refuse_standard(&sent);
    if let Some(problem) = too_many_references(kind.definitions(), &sent) {
        return Ok(Err(bad_fields(kind, vec![problem])));
    }
    let sent = with_ids(tables, catalog, kind, sent, &mut problems)?;
    let fields = match merge::merge(&old, sent) {
        Ok(fields) => fields,
        Err(wrong) => return Ok(Err(bad_fields(kind, [problems, wrong].concat()))),
    };
    if fields == old && problems.is_empty() {
        return Ok(Ok(None));
    }
    let fields = match check(kind, fields, problems) {
        Ok(fields) => fields,
        Err(error) => return Ok(Err(error)),
    };
    let indexed = kind.indexed();
    let rows = entries(&indexed, &fields);
    // Lists may have grown together with what was there.
    let too_many = fields.as_object().and_then(|it| too_many_references(kind.definitions(), it));
    if let Some(problem) = too_many.or_else(|| too_many_rows(rows.len(), &indexed, &fields)) {
        return Ok(Err(bad_fields(kind, vec![problem])));
    }
    let (gone, new) = index::difference(entries(&indexed, &Value::Object(old)), rows);
    Ok(Ok(Some(PreparedUpdate {
        gone,
        new,
        references: references(catalog, kind, &fields),
        fields: Bytes::from(fields.to_string()),
    })))
}

/// The own fields of a stored object.
pub(super) fn fields_of(object: &StoredObject) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_slice(&object.fields)
        .map_err(|error| StoreError::corrupt(format!("unreadable fields of an object: {error}")))
}

/// The rows of the index that an object's own fields have.
pub(super) fn entries_of(
    kind: &KnownType,
    object: &StoredObject,
) -> Result<Vec<Entry>, StoreError> {
    Ok(entries(&kind.indexed(), &Value::Object(fields_of(object)?)))
}

/// The rows that fields lead to: one for each value, and one for none.
pub(super) fn entries(indexed: &[&IndexedField], fields: &Value) -> Vec<Entry> {
    let mut entries = BTreeSet::new();
    for field in indexed {
        let found = path::values(fields, &field.path);
        if found.is_empty() {
            let value = index::cut(&Value::Null, field.kind);
            entries.insert(Entry { field: field.number, value });
        }
        for value in found {
            let value = index::cut(value, field.kind);
            entries.insert(Entry { field: field.number, value });
        }
    }
    entries.into_iter().collect()
}

/// What is wrong with fields that refer to more than an object may.
pub(super) fn too_many_references<'a>(
    definitions: impl Iterator<Item = &'a Defined>,
    fields: &Map<String, Value>,
) -> Option<FieldProblem> {
    let paths: BTreeSet<&str> =
        definitions.flat_map(|it| it.definition.references.keys()).map(String::as_str).collect();
    let counted = paths.into_iter().map(|path| (path, path::count(fields, path)));
    let counted: Vec<(&str, usize)> = counted.collect();
    let count: usize = counted.iter().map(|(_, count)| count).sum();
    let (path, most) = counted.into_iter().max_by_key(|(_, count)| *count)?;
    (count > MOST_REFERENCES).then(|| {
        let message = format!(
            "refers to {most} objects, and all fields together to {count}: at most \
             {MOST_REFERENCES} are allowed for one object; let those refer to it instead"
        );
        FieldProblem::new(path, message)
    })
}

/// What is wrong with fields that would have more rows in the index than an object may.
pub(super) fn too_many_rows(
    rows: usize,
    indexed: &[&IndexedField],
    fields: &Value,
) -> Option<FieldProblem> {
    if rows <= MOST_ROWS {
        return None;
    }
    let counted = indexed.iter().map(|it| (path::values(fields, &it.path).len(), &it.path));
    let (most, path) = counted.max()?;
    let message = format!(
        "has {most} values and is indexed; with all indexed fields that is {rows} rows, at most \
         {MOST_ROWS} are allowed for one object: keep fewer values in it, or let its type not index it"
    );
    Some(FieldProblem::new(path, message))
}

/// The objects that fields refer to.
fn references(catalog: &Catalog, kind: &KnownType, fields: &Value) -> Vec<ObjectKey> {
    let paths = kind.definitions().flat_map(|it| it.definition.references.keys());
    let ids = paths.flat_map(|it| path::values(fields, it)).filter_map(Value::as_str);
    let keys: BTreeSet<ObjectKey> = ids.filter_map(|it| Some(catalog.key_of(it)?.1)).collect();
    keys.into_iter().collect()
}

/// What is wrong with the ids in fields that refer to others.
pub(super) fn wrong_references(
    tables: &ReadTables,
    catalog: &Catalog,
    path: &str,
    targets: &Targets,
    fields: &Value,
) -> Result<Vec<FieldProblem>, StoreError> {
    let mut problems = Vec::new();
    for value in path::values(fields, path) {
        if value.is_null() {
            continue;
        }
        if let Err(problem) = target(tables, catalog, targets, value)? {
            problems.push(FieldProblem::new(path, problem));
        }
    }
    Ok(problems)
}

fn refuse_standard(sent: &Map<String, Value>) -> Vec<FieldProblem> {
    let ours = STANDARD.iter().filter(|it| sent.contains_key(**it));
    ours.map(|it| FieldProblem::new(it, "is set by Mortise, not by who sends an object")).collect()
}

fn bad_fields(kind: &KnownType, problems: Vec<FieldProblem>) -> ObjectError {
    ObjectError::Fields { object_type: kind.current().name.clone(), problems }
}

/// Checks fields by all that they have to obey.
fn check(
    kind: &KnownType,
    fields: Map<String, Value>,
    mut problems: Vec<FieldProblem>,
) -> Result<Value, ObjectError> {
    let fields = Value::Object(fields);
    // What was refused with its reason is not refused again for being there, or for being missing
    // since it was left out.
    let known: Vec<String> = problems.iter().map(|it| first_step(&it.field).to_owned()).collect();
    for (number, checker) in kind.checkers().iter().enumerate() {
        for mut problem in checker.problems(&fields) {
            if known.iter().any(|it| it == first_step(&problem.field)) {
                continue;
            }
            if number > 0 {
                problem.message.push_str(" (by the definition that this type is to get)");
            }
            problems.push(problem);
        }
    }
    if problems.is_empty() { Ok(fields) } else { Err(bad_fields(kind, problems)) }
}

fn first_step(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

/// What ids start with for the display id of a new object.
fn display_prefix(kind: &KnownType, fields: &Value) -> Option<String> {
    match kind.current().display_id.as_ref()? {
        DisplayIds::Prefix(prefix) => Some(prefix.clone()),
        DisplayIds::ByField { by, prefixes } => {
            let values = path::values(fields, by);
            values.first().and_then(|it| it.as_str()).and_then(|it| prefixes.get(it)).cloned()
        }
    }
}

/// Puts ids in the place of whatever references are written as.
fn with_ids(
    tables: &ReadTables,
    catalog: &Catalog,
    kind: &KnownType,
    sent: Map<String, Value>,
    problems: &mut Vec<FieldProblem>,
) -> Result<Map<String, Value>, StoreError> {
    let mut sent = Value::Object(sent);
    for defined in kind.definitions() {
        for (reference, targets) in &defined.definition.references {
            path::change_each(&mut sent, reference, &mut |place, value| {
                Ok::<_, StoreError>(match target(tables, catalog, targets, value)? {
                    Ok(id) => Value::String(id),
                    Err(message) => {
                        problems.push(FieldProblem::new(place, message));
                        value.clone()
                    }
                })
            })?;
        }
    }
    problems.dedup();
    match sent {
        Value::Object(sent) => Ok(sent),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Ok(Map::new())
        }
    }
}

/// The id of the object that a reference names, by id, display id or `{"id": ...}`.
fn target(
    tables: &ReadTables,
    catalog: &Catalog,
    targets: &Targets,
    value: &Value,
) -> Result<Result<String, String>, StoreError> {
    let text = match value {
        Value::String(text) => text,
        Value::Object(members) => match members.get("id") {
            Some(Value::String(text)) => text,
            _ => return Ok(Err(expected(targets))),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            return Ok(Err(expected(targets)));
        }
    };
    if let Some((kind, key)) = catalog.key_of(text) {
        let name = &kind.current().name;
        if !targets.has(name) {
            return Ok(Err(format!(
                "{} is a {name}: {}",
                suggest::quoted(text),
                expected(targets)
            )));
        }
        return Ok(match tables.object(key)? {
            Some(_) => Ok(text.clone()),
            None => Err(format!("there is no {name} {}", suggest::quoted(text))),
        });
    }
    for kind in catalog.types().iter().filter(|it| targets.has(&it.current().name)) {
        if let Some(key) = tables.object_by_display_id(kind.number, text)? {
            return Ok(Ok(catalog.id_text(key)));
        }
    }
    Ok(Err(format!("{} names nothing: {}", suggest::quoted(text), expected(targets))))
}

fn expected(targets: &Targets) -> String {
    if targets.names().contains(&Targets::ANY) {
        return "expected the id of an object".to_owned();
    }
    format!("expected the id of a {}", targets.names().join(" or "))
}

/// What a filter means by a value of a reference: an id stays one, also of what is not there.
pub(super) fn reference_in_filter(
    tables: &ReadTables,
    catalog: &Catalog,
    targets: &Targets,
    value: &Value,
) -> Result<Value, String> {
    let text = match value {
        Value::Object(members) => members.get("id").and_then(Value::as_str),
        Value::String(text) => Some(text.as_str()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    let Some(text) = text else { return Ok(value.clone()) };
    if catalog.key_of(text).is_some() {
        return Ok(Value::from(text));
    }
    for kind in catalog.types().iter().filter(|it| targets.has(&it.current().name)) {
        let found = tables.object_by_display_id(kind.number, text);
        if let Some(key) = found.map_err(|error| error.to_string())? {
            return Ok(Value::from(catalog.id_text(key)));
        }
    }
    Ok(Value::from(text))
}
