//! Making, changing and deleting types.
//!
//! A change that objects could break on has two steps. First the new definition stands beside the old
//! one, and writes obey both. Then all objects are looked at, in steps and outside of transactions,
//! and what is new in the index is added. If all are right, one transaction puts the new definition in
//! the place of the old one; otherwise it goes, and nothing has changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::MutexGuard;

use super::scan::Measure;
use super::{Catalog, KnownType, ObjectError, Objects, Who};
use crate::model::id::PackageId;
use crate::model::object::FieldNumber;
use crate::model::object_type::{Defined, IndexedField, ObjectType, Origin};
use crate::objects::FieldProblem;
use crate::objects::check::Checker;
use crate::objects::definition::{self, number_fields};
use crate::objects::index::FIRST_OWN;
use crate::store::{ObjectTypeRecord, TypeChange, TypesWrite};

/// Broken objects that are named.
pub(super) const MOST_NAMED: usize = 20;
/// How long a change waits for another.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a change of a type came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeUpdate {
    /// How many objects were looked at.
    pub checked: u64,
    /// How many of them would not be right.
    pub broken_count: u64,
    /// The first of those.
    pub broken: Vec<BrokenObject>,
}

/// An object that would not be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenObject {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub display_id: Option<String>,
    /// What would be wrong with it.
    pub problems: Vec<FieldProblem>,
}

impl Objects {
    /// Makes a type.
    pub async fn create_type(
        &self,
        who: &Who,
        definition: ObjectType,
    ) -> Result<Arc<KnownType>, ObjectError> {
        let _turn = self.turn().await?;
        let catalog = self.reload()?;
        if catalog.types().iter().any(|it| it.current().name == definition.name) {
            return Err(ObjectError::TypeExists(definition.name));
        }
        let name = definition.name.clone();
        let origin = Origin { admin: true, packages: Vec::new() };
        check(&catalog, std::slice::from_ref(&definition))?;
        self.write_types(&catalog, vec![new_type(who, definition, origin)?]).await?;
        self.find_type(&name)
    }

    /// Changes a type, if all its objects would still be right; with `dry_run` only says whether.
    pub async fn update_type(
        &self,
        who: &Who,
        definition: ObjectType,
        dry_run: bool,
    ) -> Result<TypeUpdate, ObjectError> {
        let changing = if dry_run { None } else { Some(self.turn().await?) };
        let catalog = self.reload()?;
        let kind = catalog.find(&definition.name)?;
        let origin = Origin { admin: true, ..kind.record.origin.clone() };
        match changing {
            None => self.try_change(&catalog, &kind, definition).await,
            Some(changing) => self.change_type(&changing, who, &kind, definition, origin).await,
        }
    }

    /// Deletes a type that has no objects, and that no other type and no snap-in needs.
    pub async fn delete_type(&self, name: &str) -> Result<(), ObjectError> {
        let _turn = self.turn().await?;
        let catalog = self.reload()?;
        let kind = catalog.find(name)?;
        let name = kind.current().name.clone();
        if kind.is_own() {
            return Err(ObjectError::NotWritten(name));
        }
        let in_use = |reason: String| ObjectError::TypeInUse { name: name.clone(), reason };
        let others = catalog.types().iter().filter(|it| it.number != kind.number);
        let needing: Vec<&str> = others
            .filter(|it| {
                let mut targets = it.current().references.values();
                targets.any(|it| it.names().contains(&name.as_str()))
            })
            .map(|it| it.current().name.as_str())
            .collect();
        if !needing.is_empty() {
            return Err(in_use(format!("the type {} refers to it", needing.join(", "))));
        }
        let installed = self.installed(&kind.record.origin.packages)?;
        if let Some((_, slug)) = installed.first() {
            return Err(in_use(format!("the package `{slug}` declares it and is installed")));
        }
        let changes = vec![TypeChange::Delete(kind.number)];
        let revision = catalog.revision;
        let write = move |tables: &mut crate::store::WriteTables<'_>| {
            tables.change_object_types(revision, &changes)
        };
        match self.0.store.write(write).await? {
            TypesWrite::Done(_) => {}
            TypesWrite::Stale => return Err(ObjectError::TypesBusy),
            TypesWrite::HasObjects(count) => {
                return Err(in_use(format!("it has {count} objects")));
            }
        }
        self.reload()?;
        Ok(())
    }

    /// How many objects a type has.
    pub fn count_of(&self, kind: &KnownType) -> Result<u64, ObjectError> {
        Ok(self.0.store.read(|tables| tables.count_all_objects(kind.number))?)
    }

    /// Takes the turn to change types. Short changes of others are waited for; a long one is somebody's,
    /// who looks at many objects.
    pub(super) async fn turn(&self) -> Result<MutexGuard<'_, ()>, ObjectError> {
        let turn = tokio::time::timeout(PATIENCE, self.0.changing.lock()).await;
        turn.map_err(|_| ObjectError::TypesBusy)
    }

    /// Those of some packages of which there are snap-ins, with their slugs.
    pub(super) fn installed(
        &self,
        packages: &[PackageId],
    ) -> Result<Vec<(PackageId, String)>, ObjectError> {
        Ok(self.0.store.read(|tables| {
            let living = tables.living_snap_ins()?;
            let mut installed = Vec::new();
            for package in packages {
                if living.iter().any(|(_, it)| it.package == *package) {
                    let slug = tables.package(*package)?.map(|it| it.slug);
                    installed.push((*package, slug.unwrap_or_else(|| package.to_string())));
                }
            }
            Ok(installed)
        })?)
    }

    pub(super) async fn write_types(
        &self,
        catalog: &Catalog,
        changes: Vec<TypeChange>,
    ) -> Result<Arc<Catalog>, ObjectError> {
        let revision = catalog.revision;
        let write = move |tables: &mut crate::store::WriteTables<'_>| {
            tables.change_object_types(revision, &changes)
        };
        match self.0.store.write(write).await? {
            TypesWrite::Done(_) => Ok(self.reload()?),
            TypesWrite::Stale | TypesWrite::HasObjects(_) => Err(ObjectError::TypesBusy),
        }
    }

    /// Says what a change would come to.
    async fn try_change(
        &self,
        catalog: &Arc<Catalog>,
        kind: &KnownType,
        definition: ObjectType,
    ) -> Result<TypeUpdate, ObjectError> {
        check_change(catalog, kind, &definition)?;
        let checker = compile(&definition)?;
        let mut next = kind.record.next_field;
        let defined = numbered(definition, &kind.record.current.fields, &mut next)?;
        let catalog = catalog.clone();
        let new_fields = Vec::new();
        self.scan(Measure { kind: kind.number, defined, checker, catalog, new_fields }).await
    }

    /// Changes a type; whoever calls has the turn.
    pub(super) async fn change_type(
        &self,
        _turn: &MutexGuard<'_, ()>,
        who: &Who,
        kind: &KnownType,
        definition: ObjectType,
        origin: Origin,
    ) -> Result<TypeUpdate, ObjectError> {
        let catalog = self.reload()?;
        let before = &kind.record;
        let old = &before.current;
        if definition == before.current.definition && origin == before.origin {
            return Ok(TypeUpdate::default());
        }
        check_change(&catalog, kind, &definition)?;
        let checker = compile(&definition)?;
        let mut next_field = before.next_field;
        let defined = numbered(definition, &before.current.fields, &mut next_field)?;
        let new_fields = without(&defined.fields, &old.fields);
        let is_harmless = defined.definition.schema == old.definition.schema
            && defined.definition.references == old.definition.references
            && new_fields.is_empty();
        let mut record = ObjectTypeRecord {
            origin,
            next_field,
            modified_by: who.name.clone(),
            ..before.clone()
        };
        // One whose end could not be stored, because the disk was full: nobody goes on with it.
        if let Some(abandoned) = record.candidate.take() {
            let gone = without(&without(&abandoned.fields, &old.fields), &defined.fields);
            record.retired.extend(gone.iter().map(|it| it.number));
        }
        if is_harmless {
            let gone = without(&old.fields, &defined.fields);
            let put = TypeChange::Put(kind.number, Box::new(swapped(record, defined, &gone)));
            self.write_types(&catalog, vec![put]).await?;
            self.tidy_up();
            return Ok(TypeUpdate::default());
        }
        // From here on writes obey both.
        let both = ObjectTypeRecord { candidate: Some(defined.clone()), ..record };
        let put = TypeChange::Put(kind.number, Box::new(both.clone()));
        let catalog = self.write_types(&catalog, vec![put]).await?;
        let looked = self
            .scan(Measure {
                kind: kind.number,
                defined: defined.clone(),
                checker,
                catalog: catalog.clone(),
                new_fields: new_fields.clone(),
            })
            .await;
        let (after, outcome) = match looked {
            Ok(report) if report.broken_count == 0 => {
                let gone = without(&old.fields, &defined.fields);
                (swapped(both, defined, &gone), Ok(report))
            }
            Ok(report) => {
                (dropped(before, both, &new_fields), Err(ObjectError::WouldBreak(Box::new(report))))
            }
            Err(error) => (dropped(before, both, &new_fields), Err(error)),
        };
        let put = TypeChange::Put(kind.number, Box::new(after));
        self.write_types(&catalog, vec![put]).await?;
        self.tidy_up();
        outcome
    }
}

/// The fields of the first that the second does not have.
fn without(fields: &[IndexedField], others: &[IndexedField]) -> Vec<IndexedField> {
    let is_other = |it: &IndexedField| others.iter().any(|other| other.number == it.number);
    fields.iter().filter(|it| !is_other(it)).cloned().collect()
}

/// A type that has become what it was to become.
fn swapped(
    mut record: ObjectTypeRecord,
    defined: Defined,
    gone: &[IndexedField],
) -> ObjectTypeRecord {
    record.retired.extend(gone.iter().map(|it| it.number));
    ObjectTypeRecord { current: defined, candidate: None, ..record }
}

/// A type that stays what it was.
fn dropped(
    before: &ObjectTypeRecord,
    both: ObjectTypeRecord,
    new_fields: &[IndexedField],
) -> ObjectTypeRecord {
    let mut record = ObjectTypeRecord {
        candidate: None,
        origin: before.origin.clone(),
        modified_by: before.modified_by.clone(),
        ..both
    };
    record.retired.extend(new_fields.iter().map(|it| it.number));
    record
}

fn numbered(
    definition: ObjectType,
    before: &[IndexedField],
    next: &mut FieldNumber,
) -> Result<Defined, ObjectError> {
    let name = definition.name.clone();
    number_fields(definition, before, next)
        .map_err(|problem| ObjectError::Definition { name, problems: vec![problem] })
}

fn compile(definition: &ObjectType) -> Result<Checker, ObjectError> {
    Checker::compile(&definition.schema).map_err(|message| ObjectError::Definition {
        name: definition.name.clone(),
        problems: vec![FieldProblem::new("schema", message)],
    })
}

/// Whether definitions make sense together with the types that there are and are not defined anew.
pub(super) fn check(catalog: &Catalog, definitions: &[ObjectType]) -> Result<(), ObjectError> {
    let mut all: HashMap<&str, &ObjectType> = HashMap::new();
    for kind in catalog.types() {
        all.insert(&kind.current().name, kind.current());
    }
    for definition in definitions {
        all.insert(&definition.name, definition);
    }
    for definition in definitions {
        let others: Vec<&ObjectType> =
            all.values().copied().filter(|it| it.name != definition.name).collect();
        let problems = definition::check(definition, &others);
        if !problems.is_empty() {
            return Err(ObjectError::Definition { name: definition.name.clone(), problems });
        }
    }
    Ok(())
}

fn check_change(
    catalog: &Catalog,
    kind: &KnownType,
    definition: &ObjectType,
) -> Result<(), ObjectError> {
    check(catalog, std::slice::from_ref(definition))?;
    let before = &kind.current().id_prefix;
    if definition.id_prefix != *before {
        let message = format!("ids begin with `{before}_`, and references hold them: it stays");
        let problems = vec![FieldProblem::new("id_prefix", message)];
        return Err(ObjectError::Definition { name: definition.name.clone(), problems });
    }
    Ok(())
}

/// A type that is new.
pub(super) fn new_type(
    who: &Who,
    definition: ObjectType,
    origin: Origin,
) -> Result<TypeChange, ObjectError> {
    let mut next_field = FIRST_OWN;
    let current = numbered(definition, &[], &mut next_field)?;
    Ok(TypeChange::Create(Box::new(ObjectTypeRecord {
        current,
        candidate: None,
        retired: Vec::new(),
        next_field,
        revision: 0,
        origin,
        created_ms: 0,
        created_by: who.name.clone(),
        modified_ms: 0,
        modified_by: who.name.clone(),
    })))
}
