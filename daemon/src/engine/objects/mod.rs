//! Objects and their types: what is asked of them is decided here by what is stored, and then written
//! only if that is still so.
//!
//! [`catalog`] has the types as they are, compiled; [`prepare`] makes of what somebody sent what is
//! stored; [`view`] the other way round. [`types`] changes types while their objects are in use, and
//! [`tidying`] removes what that leaves behind.
//!
//! Must never: write what was not checked by the types that are in force in that transaction; run a
//! schema inside a transaction.

mod catalog;
mod declare;
mod lists;
mod prepare;
mod scan;
mod tags;
mod tidying;
mod types;
mod view;
mod views;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

pub use catalog::{Catalog, KnownType};
pub use declare::Applied;
pub use lists::{Counting, Filters, Listing, Page};
pub use types::{BrokenObject, TypeUpdate};
pub use view::Sight;

use crate::configuration::suggest;
use crate::model::event::Cause;
use crate::model::id::text_of;
use crate::model::object::{ObjectKey, StoredObject};
use crate::objects::FieldProblem;
use crate::objects::filter::QueryProblem;
use crate::store::{
    Deletion, NewObject, ObjectUpdate, ObjectWrite, ReadTables, Store, StoreError, Writing,
};

/// How often a write is decided anew when somebody else was faster.
const MOST_TRIES: usize = 64;

/// Who writes.
#[derive(Clone, Debug)]
pub struct Who {
    /// Name of the principal.
    pub name: String,
    /// What caused it, when a run did.
    pub cause: Cause,
}

/// Why nothing was done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such type.
    #[error("{}", suggest::unknown("object type", name, known.iter().map(String::as_str)))]
    NoSuchType {
        /// What it was called.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// There is no such object.
    #[error("there is no {object_type} {}", suggest::quoted(id))]
    NoSuchObject {
        /// Of which type.
        object_type: String,
        /// What it was called.
        id: String,
    },
    /// What was sent is no such object; everything that is wrong is here.
    #[error("{}", describe(object_type, .problems))]
    Fields {
        /// Of which type.
        object_type: String,
        /// What is wrong.
        problems: Vec<FieldProblem>,
    },
    /// Somebody else changed it.
    #[error(
        "the object has version {version} now: look at it again, then send the change with that \
         version"
    )]
    Changed {
        /// Which version it has.
        version: u64,
    },
    /// Others refer to it.
    #[error(
        "{} refer{} to it: change {} first",
        name_some(.by, *.more),
        if by.len() == 1 && !more { "s" } else { "" },
        if by.len() == 1 && !more { "that" } else { "those" }
    )]
    ReferredTo {
        /// Some of them.
        by: Vec<String>,
        /// Whether there are others.
        more: bool,
    },
    /// A filter or an order is wrong.
    #[error("{}", .0.message)]
    Query(QueryProblem),
    /// A definition makes no sense; everything that is wrong is here.
    #[error("the definition of the object type `{name}` is wrong: {}", lines(.problems))]
    Definition {
        /// Of which type.
        name: String,
        /// What is wrong.
        problems: Vec<FieldProblem>,
    },
    /// The type is there already.
    #[error("there is an object type `{0}` already: update it instead")]
    TypeExists(String),
    /// Objects would not be of the type any more.
    #[error(
        "{} of {} objects would not be right any more; the first: {}: {}",
        .0.broken_count,
        .0.checked,
        .0.broken.first().map(|it| it.id.as_str()).unwrap_or_default(),
        .0.broken.first().map(|it| lines(&it.problems)).unwrap_or_default()
    )]
    WouldBreak(Box<TypeUpdate>),
    /// The type cannot go.
    #[error("the object type `{name}` stays: {reason}")]
    TypeInUse {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// Two want different things of one name.
    #[error(
        "the object type `{name}` of the package `{package}` differs from the one that {other} \
         defines: give it another name, or make both the same"
    )]
    DefinedOtherwise {
        /// Which type.
        name: String,
        /// Who wants it.
        package: String,
        /// Who has it.
        other: String,
    },
    /// A view makes no sense; everything that is wrong is here.
    #[error("the view `{name}` is wrong: {}", lines(.problems))]
    View {
        /// Which.
        name: String,
        /// What is wrong.
        problems: Vec<FieldProblem>,
    },
    /// Two want different views under one name.
    #[error(
        "the view `{name}` of the package `{package}` differs from the one that {other} made: give \
         it another name, or make both the same"
    )]
    ViewDefinedOtherwise {
        /// Which view.
        name: String,
        /// Who wants it.
        package: String,
        /// Who has it.
        other: String,
    },
    /// The daemon alone writes these.
    #[error(
        "a {0} is Mortise's own thing: it is read like an object, and changed by its own calls"
    )]
    NotWritten(String),
    /// Somebody changes types.
    #[error("a change of object types is under way; try again when it has ended")]
    TypesBusy,
    /// Too many write the same.
    #[error("others keep changing this object; try again")]
    TooBusy,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn describe(object_type: &str, problems: &[FieldProblem]) -> String {
    let count = match problems.len() {
        1 => "one field is wrong".to_owned(),
        more => format!("{more} fields are wrong"),
    };
    format!("this is no {object_type}; {count}: {}", lines(problems))
}

fn lines(problems: &[FieldProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(FieldProblem::line).collect();
    lines.join("; ")
}

fn name_some(ids: &[String], more: bool) -> String {
    let others = if more { " and others" } else { "" };
    format!("{}{others}", ids.join(", "))
}

/// Objects and their types. Cheap to share.
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    runtime: Handle,
    catalog: ArcSwap<Catalog>,
    /// Who changes types holds it.
    changing: Mutex<()>,
    tidying: tidying::OnceMore,
}

impl Objects {
    /// Reads the types. What a type was to become when the daemon ended is dropped.
    pub async fn open(store: Arc<Store>, runtime: Handle) -> Result<Objects, StoreError> {
        store.write(|tables| tables.drop_candidates()).await?;
        let catalog = Catalog::of(store.read(ReadTables::object_types)?, None);
        let objects = Objects(Arc::new(Inner {
            store,
            runtime,
            catalog: ArcSwap::from_pointee(catalog),
            changing: Mutex::new(()),
            tidying: tidying::OnceMore::default(),
        }));
        objects.tidy_up();
        Ok(objects)
    }

    /// The types as they are.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.load_full()
    }

    /// Reads the types again, if they are others.
    fn reload(&self) -> Result<Arc<Catalog>, StoreError> {
        let before = self.catalog();
        let types = self.0.store.read(ReadTables::object_types)?;
        if types.revision > before.revision {
            let new = Arc::new(Catalog::of(types, Some(&before)));
            // A slower one must not put an older one in its place.
            self.0
                .catalog
                .rcu(|it| if it.revision < new.revision { new.clone() } else { it.clone() });
        }
        Ok(self.catalog())
    }

    /// A type by its name or plural.
    pub fn find_type(&self, name: &str) -> Result<Arc<KnownType>, ObjectError> {
        self.catalog().find(name)
    }

    /// Makes an object.
    pub async fn create(
        &self,
        who: &Who,
        name: &str,
        fields: Map<String, Value>,
    ) -> Result<StoredObject, ObjectError> {
        self.create_as(who, name, fields, None).await
    }

    /// Makes an object, with an id that something has already.
    async fn create_as(
        &self,
        who: &Who,
        name: &str,
        fields: Map<String, Value>,
        id: Option<u128>,
    ) -> Result<StoredObject, ObjectError> {
        for _ in 0..MOST_TRIES {
            let (catalog, kind) = self.written_at(name)?;
            let sent = fields.clone();
            let prepared = {
                let (catalog, kind) = (catalog.clone(), kind.clone());
                self.read(move |tables| prepare::create(tables, &catalog, &kind, sent)).await??
            };
            let new = NewObject {
                writing: writing(&catalog, &kind, who),
                kind: kind.number,
                id,
                fields: prepared.fields,
                index: prepared.index,
                references: prepared.references,
                display_prefix: prepared.display_prefix,
            };
            match self.0.store.write(move |tables| tables.create_object(&new)).await? {
                ObjectWrite::Done(written) => return Ok(written.object),
                // Its target went between the look and the write: the next look says so.
                ObjectWrite::Stale | ObjectWrite::NoSuchTarget(_) => {
                    self.reload()?;
                }
                ObjectWrite::NoSuchObject
                | ObjectWrite::Changed { .. }
                | ObjectWrite::ReferredTo { .. } => break,
            }
        }
        Err(ObjectError::TooBusy)
    }

    /// Changes an object: what is not in `change` stays. With a version, only if it has that.
    pub async fn update(
        &self,
        who: &Who,
        name: &str,
        id: &str,
        version: Option<u64>,
        change: Map<String, Value>,
    ) -> Result<StoredObject, ObjectError> {
        for _ in 0..MOST_TRIES {
            let (catalog, kind) = self.written_at(name)?;
            let looked = {
                let (catalog, kind) = (catalog.clone(), kind.clone());
                let (id, change) = (id.to_owned(), change.clone());
                let look = move |tables: &ReadTables| {
                    let before = match find(tables, &kind, &id)? {
                        Some(before) => before,
                        None => return Ok(Err(no_such_object(&kind, &id))),
                    };
                    if version.is_some_and(|it| it != before.head.version) {
                        return Ok(Err(ObjectError::Changed { version: before.head.version }));
                    }
                    let prepared = prepare::update(tables, &catalog, &kind, &before, change)?;
                    Ok(prepared.map(|it| (before, it)))
                };
                self.read(look).await??
            };
            let (before, Some(prepared)) = looked else { return Ok(looked.0) };
            let update = ObjectUpdate {
                writing: writing(&catalog, &kind, who),
                key: before.key,
                version: before.head.version,
                fields: prepared.fields,
                gone: prepared.gone,
                new: prepared.new,
                references: prepared.references,
            };
            match self.0.store.write(move |tables| tables.update_object(&update)).await? {
                ObjectWrite::Done(written) => return Ok(written.object),
                ObjectWrite::Changed { version: now } if version.is_some() => {
                    return Err(ObjectError::Changed { version: now });
                }
                ObjectWrite::Stale
                | ObjectWrite::NoSuchTarget(_)
                | ObjectWrite::NoSuchObject
                | ObjectWrite::Changed { .. } => {
                    self.reload()?;
                }
                ObjectWrite::ReferredTo { .. } => break,
            }
        }
        Err(ObjectError::TooBusy)
    }

    /// Deletes an object that no other refers to. With a version, only if it has that.
    pub async fn delete(
        &self,
        who: &Who,
        name: &str,
        id: &str,
        version: Option<u64>,
    ) -> Result<StoredObject, ObjectError> {
        for _ in 0..MOST_TRIES {
            let (catalog, kind) = self.written_at(name)?;
            let before = self.0.store.read(|tables| find(tables, &kind, id))?;
            let before = before.ok_or_else(|| no_such_object(&kind, id))?;
            if version.is_some_and(|it| it != before.head.version) {
                return Err(ObjectError::Changed { version: before.head.version });
            }
            let deletion = Deletion {
                writing: writing(&catalog, &kind, who),
                key: before.key,
                version: before.head.version,
                index: prepare::entries_of(&kind, &before)?,
                referrers: catalog.referrers(&kind.current().name),
            };
            match self.0.store.write(move |tables| tables.delete_object(&deletion)).await? {
                ObjectWrite::Done(written) => return Ok(written.object),
                ObjectWrite::Changed { version: now } if version.is_some() => {
                    return Err(ObjectError::Changed { version: now });
                }
                ObjectWrite::ReferredTo { by, more } => {
                    let by = by.into_iter().map(|it| catalog.id_text(it)).collect();
                    return Err(ObjectError::ReferredTo { by, more });
                }
                ObjectWrite::Stale
                | ObjectWrite::NoSuchTarget(_)
                | ObjectWrite::NoSuchObject
                | ObjectWrite::Changed { .. } => {
                    self.reload()?;
                }
            }
        }
        Err(ObjectError::TooBusy)
    }

    /// An object, by its id or display id.
    pub fn get(&self, name: &str, id: &str) -> Result<StoredObject, ObjectError> {
        let kind = self.find_type(name)?;
        let found = self.0.store.read(|tables| find(tables, &kind, id))?;
        found.ok_or_else(|| no_such_object(&kind, id))
    }

    /// The types, and one of them.
    fn at(&self, name: &str) -> Result<(Arc<Catalog>, Arc<KnownType>), ObjectError> {
        let catalog = self.catalog();
        let kind = catalog.find(name)?;
        Ok((catalog, kind))
    }

    /// The same for a type whose objects callers write.
    fn written_at(&self, name: &str) -> Result<(Arc<Catalog>, Arc<KnownType>), ObjectError> {
        let (catalog, kind) = self.at(name)?;
        if kind.is_own() {
            return Err(ObjectError::NotWritten(kind.current().name.clone()));
        }
        Ok((catalog, kind))
    }

    /// Reads where that may take a while: schemas are checked, many rows gone through.
    async fn read<A: Send + 'static>(
        &self,
        look: impl FnOnce(&ReadTables) -> Result<A, StoreError> + Send + 'static,
    ) -> Result<A, StoreError> {
        let store = self.0.store.clone();
        let read = self.0.runtime.spawn_blocking(move || store.read(look));
        read.await.unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string())))
    }
}

fn writing(catalog: &Catalog, kind: &KnownType, who: &Who) -> Writing {
    Writing {
        revision: catalog.revision,
        object_type: kind.current().name.clone(),
        id_prefix: kind.current().id_prefix.clone(),
        actor: who.name.clone(),
        cause: who.cause,
    }
}

fn no_such_object(kind: &KnownType, id: &str) -> ObjectError {
    ObjectError::NoSuchObject { object_type: kind.current().name.clone(), id: id.to_owned() }
}

/// The object that an id or display id names.
fn find(
    tables: &ReadTables,
    kind: &KnownType,
    text: &str,
) -> Result<Option<StoredObject>, StoreError> {
    let key = match kind.key_of(text) {
        Some(key) => Some(key),
        None => tables.object_by_display_id(kind.number, text)?,
    };
    match key {
        Some(key) => tables.object(key),
        None => Ok(None),
    }
}

impl Catalog {
    /// The id of an object as text.
    pub fn id_text(&self, key: ObjectKey) -> String {
        let prefix = self.by_number(key.kind).map(|it| it.current().id_prefix.clone());
        text_of(&prefix.unwrap_or_default(), key.id)
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}
