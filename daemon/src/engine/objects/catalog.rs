//! The types of objects as they are at one revision, compiled.

use std::collections::HashMap;
use std::sync::Arc;

use super::ObjectError;
use crate::model::id::parts_of;
use crate::model::object::{FieldNumber, ObjectKey, TypeNumber};
use crate::model::object_type::{Defined, IndexedField, ObjectType, Origin};
use crate::objects::check::Checker;
use crate::objects::own::{self, OwnType};
use crate::objects::query::{Column, standard_columns};
use crate::store::{ObjectTypeRecord, TypesAt};

/// Who made the types of the daemon's own things.
const DAEMON: &str = "mortise";

/// All types.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The revision that they are of.
    pub revision: u64,
    types: Vec<Arc<KnownType>>,
    /// By name, and by plural.
    by_name: HashMap<String, Arc<KnownType>>,
    by_prefix: HashMap<String, Arc<KnownType>>,
    by_number: HashMap<TypeNumber, Arc<KnownType>>,
}

/// A type, compiled.
#[derive(Debug)]
pub struct KnownType {
    /// What stands for it in the store.
    pub number: TypeNumber,
    /// It, as it is stored.
    pub record: ObjectTypeRecord,
    checkers: Vec<Checker>,
    columns: Vec<Column>,
}

impl Catalog {
    /// Compiles types; what did not change since is taken over.
    pub(super) fn of(types: TypesAt, before: Option<&Catalog>) -> Catalog {
        let mut catalog = Catalog { revision: types.revision, ..Catalog::default() };
        let own = OwnType::ALL.map(|it| (it.number(), own_record(it)));
        for (number, record) in types.types.into_iter().chain(own) {
            let kept = before
                .and_then(|it| it.by_number.get(&number))
                .filter(|it| it.record.revision == record.revision);
            let kind = match kept {
                Some(kept) => kept.clone(),
                None => Arc::new(KnownType::of(number, record)),
            };
            let definition = kind.current();
            catalog.by_name.insert(definition.name.clone(), kind.clone());
            catalog.by_name.insert(definition.plural.clone(), kind.clone());
            catalog.by_prefix.insert(definition.id_prefix.clone(), kind.clone());
            catalog.by_number.insert(number, kind.clone());
            catalog.types.push(kind);
        }
        catalog.types.sort_by(|a, b| a.current().name.cmp(&b.current().name));
        catalog
    }

    /// All types, by name.
    pub fn types(&self) -> &[Arc<KnownType>] {
        &self.types
    }

    /// A type by its name or plural; `-` is as good as `_`.
    pub fn get(&self, name: &str) -> Option<&Arc<KnownType>> {
        self.by_name.get(name).or_else(|| self.by_name.get(&name.replace('-', "_")))
    }

    /// The same, or what there is.
    pub(super) fn find(&self, name: &str) -> Result<Arc<KnownType>, ObjectError> {
        self.get(name).cloned().ok_or_else(|| ObjectError::NoSuchType {
            name: name.to_owned(),
            known: self.types.iter().map(|it| it.current().name.clone()).collect(),
        })
    }

    /// A type by its number.
    pub fn by_number(&self, number: TypeNumber) -> Option<&Arc<KnownType>> {
        self.by_number.get(&number)
    }

    /// The object that an id names, whatever its type.
    pub fn key_of(&self, id: &str) -> Option<(&Arc<KnownType>, ObjectKey)> {
        let (prefix, id) = parts_of(id)?;
        let kind = self.by_prefix.get(prefix)?;
        Some((kind, ObjectKey { kind: kind.number, id }))
    }

    /// The fields, of all types, that may refer to objects of one.
    pub(super) fn referrers(&self, name: &str) -> Vec<(TypeNumber, FieldNumber)> {
        let mut fields = Vec::new();
        for kind in &self.types {
            for defined in kind.definitions() {
                for (path, targets) in &defined.definition.references {
                    let field = defined.fields.iter().find(|it| it.path == *path);
                    if let Some(field) = field.filter(|_| targets.has(name)) {
                        fields.push((kind.number, field.number));
                    }
                }
            }
        }
        fields.sort_unstable();
        fields.dedup();
        fields
    }
}

/// A type of the daemon's own things: there is no row for it.
fn own_record(own: OwnType) -> ObjectTypeRecord {
    ObjectTypeRecord {
        current: own.defined().clone(),
        candidate: None,
        retired: Vec::new(),
        next_field: FieldNumber::MAX,
        revision: 0,
        origin: Origin::default(),
        created_ms: 0,
        created_by: DAEMON.to_owned(),
        modified_ms: 0,
        modified_by: DAEMON.to_owned(),
    }
}

impl KnownType {
    /// Whether its objects are the daemon's own things, which nobody writes.
    pub fn is_own(&self) -> bool {
        own::is_own(self.number)
    }

    fn of(number: TypeNumber, record: ObjectTypeRecord) -> KnownType {
        let definitions = std::iter::once(&record.current).chain(&record.candidate);
        let checkers = definitions.filter_map(|it| {
            let compiled = Checker::compile(&it.definition.schema);
            // It was compiled before it was stored; another version of the crate may see it
            // otherwise, and then nothing is checked rather than nothing served.
            compiled
                .inspect_err(|error| {
                    let name = &it.definition.name;
                    tracing::error!(
                        object_type = name,
                        error,
                        "a stored schema cannot be compiled"
                    );
                })
                .ok()
        });
        let checkers = checkers.collect();
        let mut columns = standard_columns();
        columns.extend(record.current.fields.iter().map(Column::from));
        KnownType { number, record, checkers, columns }
    }

    /// Its definition.
    pub fn current(&self) -> &ObjectType {
        &self.record.current.definition
    }

    /// What its objects obey: its definition, and what it is to become.
    pub(super) fn definitions(&self) -> impl Iterator<Item = &Defined> {
        std::iter::once(&self.record.current).chain(&self.record.candidate)
    }

    pub(super) fn checkers(&self) -> &[Checker] {
        &self.checkers
    }

    /// What lists of it are filtered and sorted by.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Every field that has rows in the index, once.
    pub(super) fn indexed(&self) -> Vec<&IndexedField> {
        let mut fields: Vec<&IndexedField> = Vec::new();
        for field in self.definitions().flat_map(|it| &it.fields) {
            if fields.iter().all(|it| it.number != field.number) {
                fields.push(field);
            }
        }
        fields
    }

    /// Whether a column holds ids of other objects.
    pub fn is_reference(&self, path: &str) -> bool {
        self.current().references.contains_key(path)
    }

    /// The object that an id of this type names.
    pub fn key_of(&self, id: &str) -> Option<ObjectKey> {
        let (prefix, id) = parts_of(id)?;
        (prefix == self.current().id_prefix).then_some(ObjectKey { kind: self.number, id })
    }
}
