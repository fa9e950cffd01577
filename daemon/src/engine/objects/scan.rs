//! Looking at all objects of a type by a definition that is not its own yet: which of them would
//! break, and the rows of the index that its new fields need. In steps, so that nobody waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::prepare::{entries, fields_of, too_many_references, too_many_rows, wrong_references};
use super::types::{BrokenObject, MOST_NAMED, TypeUpdate};
use super::{Catalog, ObjectError, Objects};
use crate::model::id::text_of;
use crate::model::object::{ObjectKey, StoredObject, TypeNumber};
use crate::model::object_type::{Defined, IndexedField};
use crate::objects::check::Checker;
use crate::objects::{FieldProblem, path};
use crate::store::{Indexed, Indexing, ReadTables, StoreError};

/// Objects that one step looks at.
const CHUNK: usize = 250;

/// What objects are looked at by.
pub(super) struct Measure {
    pub(super) kind: TypeNumber,
    pub(super) defined: Defined,
    pub(super) checker: Checker,
    /// The types among which references lead.
    pub(super) catalog: Arc<Catalog>,
    /// The fields whose rows are to be made; none where it is only looked.
    pub(super) new_fields: Vec<IndexedField>,
}

impl Objects {
    /// Looks at all objects that there are now.
    pub(super) async fn scan(&self, measure: Measure) -> Result<TypeUpdate, ObjectError> {
        let measure = Arc::new(measure);
        let kind = measure.kind;
        let last = self.0.store.read(|tables| tables.last_object(kind))?;
        let mut report = TypeUpdate::default();
        let mut after = None;
        // Those that are made meanwhile obey the new definition already.
        while last.is_some() && after < last {
            let looking = measure.clone();
            let step = self.read(move |tables| look(tables, &looking, after)).await?;
            let Some(end) = step.end else { break };
            if !step.indexings.is_empty() {
                let revision = measure.catalog.revision;
                let indexings = step.indexings;
                let write = move |tables: &mut crate::store::WriteTables<'_>| {
                    tables.index_objects(revision, &indexings)
                };
                match self.0.store.write(write).await? {
                    Indexed::Done => {}
                    Indexed::Stale => return Err(ObjectError::TypesBusy),
                    // The next look finds which.
                    Indexed::NoSuchTarget => continue,
                }
            }
            report.checked += step.checked;
            report.broken_count += step.broken_count;
            let room = MOST_NAMED.saturating_sub(report.broken.len());
            report.broken.extend(step.broken.into_iter().take(room));
            after = Some(end);
        }
        Ok(report)
    }
}

/// What one step found.
#[derive(Default)]
struct Step {
    /// The last object that it looked at.
    end: Option<u128>,
    checked: u64,
    broken_count: u64,
    broken: Vec<BrokenObject>,
    indexings: Vec<Indexing>,
}

fn look(tables: &ReadTables, measure: &Measure, after: Option<u128>) -> Result<Step, StoreError> {
    let mut step = Step::default();
    for object in tables.objects_after(measure.kind, after, CHUNK)? {
        step.end = Some(object.key.id);
        step.checked += 1;
        let fields = Value::Object(fields_of(&object)?);
        let mut problems = problems(tables, measure, &fields)?;
        problems.extend(too_many(measure, &fields));
        if !problems.is_empty() {
            step.broken_count += 1;
            if step.broken.len() < MOST_NAMED {
                step.broken.push(broken(measure, &object, problems));
            }
            continue;
        }
        if !measure.new_fields.is_empty() {
            let new: Vec<&IndexedField> = measure.new_fields.iter().collect();
            step.indexings.push(Indexing {
                key: object.key,
                version: object.head.version,
                index: entries(&new, &fields),
                references: references(measure, &fields),
            });
        }
    }
    Ok(step)
}

fn problems(
    tables: &ReadTables,
    measure: &Measure,
    fields: &Value,
) -> Result<Vec<FieldProblem>, StoreError> {
    let mut problems = measure.checker.problems(fields);
    for (path, targets) in &measure.defined.definition.references {
        problems.extend(wrong_references(tables, &measure.catalog, path, targets, fields)?);
    }
    Ok(problems)
}

/// What is more than an object may have, as the new definition counts it.
fn too_many(measure: &Measure, fields: &Value) -> Option<FieldProblem> {
    let indexed: Vec<&IndexedField> = measure.defined.fields.iter().collect();
    let rows = entries(&indexed, fields).len();
    let references = || too_many_references(std::iter::once(&measure.defined), fields.as_object()?);
    too_many_rows(rows, &indexed, fields).or_else(references)
}

/// What an object refers to in fields that are new in the index.
fn references(measure: &Measure, fields: &Value) -> Vec<ObjectKey> {
    let references = &measure.defined.definition.references;
    let new = measure.new_fields.iter().filter(|it| references.contains_key(&it.path));
    let ids = new.flat_map(|it| path::values(fields, &it.path)).filter_map(Value::as_str);
    let keys: BTreeSet<ObjectKey> =
        ids.filter_map(|it| Some(measure.catalog.key_of(it)?.1)).collect();
    keys.into_iter().collect()
}

fn broken(
    measure: &Measure,
    object: &StoredObject,
    mut problems: Vec<FieldProblem>,
) -> BrokenObject {
    const MOST_PROBLEMS: usize = 5;
    problems.truncate(MOST_PROBLEMS);
    BrokenObject {
        id: text_of(&measure.defined.definition.id_prefix, object.key.id),
        display_id: object.head.display_id.clone(),
        problems,
    }
}
