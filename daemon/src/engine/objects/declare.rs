//! Types that manifests declare, made when a snap-in is activated or moved to a version that has them;
//! and several types that an administrator defines at once, which may refer to one another.
//!
//! The same definition by several packages is one type. A package may change a type that only it
//! declares; packages of which nothing is installed any more have no say. A type stays when its
//! snap-in goes, because its objects do.

use super::types::{check, new_type};
use super::{ObjectError, Objects, Who};
use crate::model::id::PackageId;
use crate::model::object_type::{ObjectType, Origin};
use crate::store::{ObjectTypeRecord, TypeChange};

/// What became of several definitions, by the names of the types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// New ones.
    pub created: Vec<String>,
    /// Those that were otherwise.
    pub updated: Vec<String>,
    /// Those that were so already.
    pub unchanged: Vec<String>,
}

/// Who defines types.
#[derive(Clone, Copy, Debug)]
enum Definer<'a> {
    Admin,
    Package(PackageId, &'a str),
}

impl Objects {
    /// Makes the types of a package what it declares, or says why that cannot be.
    pub async fn declare(
        &self,
        who: &Who,
        package: PackageId,
        slug: &str,
        definitions: &[ObjectType],
    ) -> Result<Applied, ObjectError> {
        self.apply(who, Definer::Package(package, slug), definitions).await
    }

    /// Makes types what an administrator says, whoever defined them before. New ones come all or
    /// none; of those that change, each alone is checked against its objects.
    pub async fn apply_types(
        &self,
        who: &Who,
        definitions: &[ObjectType],
    ) -> Result<Applied, ObjectError> {
        self.apply(who, Definer::Admin, definitions).await
    }

    async fn apply(
        &self,
        who: &Who,
        definer: Definer<'_>,
        definitions: &[ObjectType],
    ) -> Result<Applied, ObjectError> {
        let mut applied = Applied::default();
        if definitions.is_empty() {
            return Ok(applied);
        }
        let turn = self.turn().await?;
        let catalog = self.reload()?;
        check(&catalog, definitions)?;
        let mut new = Vec::new();
        let mut changed = Vec::new();
        for definition in definitions {
            let name = &definition.name;
            let known = catalog.types().iter().find(|it| it.current().name == *name);
            let Some(kind) = known else {
                new.push(new_type(who, definition.clone(), definer.origin())?);
                applied.created.push(name.clone());
                continue;
            };
            if kind.current() == definition {
                let origin = definer.beside(&kind.record.origin);
                if origin != kind.record.origin {
                    let record = ObjectTypeRecord { origin, ..kind.record.clone() };
                    new.push(TypeChange::Put(kind.number, Box::new(record)));
                }
                applied.unchanged.push(name.clone());
                continue;
            }
            let origin = self.origin_of_change(definer, name, &kind.record.origin)?;
            changed.push((kind.clone(), definition.clone(), origin));
            applied.updated.push(name.clone());
        }
        if !new.is_empty() {
            self.write_types(&catalog, new).await?;
        }
        for (kind, definition, origin) in changed {
            self.change_type(&turn, who, &kind, definition, origin).await?;
        }
        Ok(applied)
    }

    /// Where a type comes from after it was changed, if it may be.
    fn origin_of_change(
        &self,
        definer: Definer<'_>,
        name: &str,
        before: &Origin,
    ) -> Result<Origin, ObjectError> {
        let (package, slug) = match definer {
            Definer::Admin => return Ok(Origin { admin: true, ..before.clone() }),
            Definer::Package(package, slug) => (package, slug),
        };
        let otherwise = |other: String| ObjectError::DefinedOtherwise {
            name: name.to_owned(),
            package: slug.to_owned(),
            other,
        };
        if before.admin {
            return Err(otherwise("an administrator".to_owned()));
        }
        let others: Vec<PackageId> =
            before.packages.iter().copied().filter(|it| *it != package).collect();
        match self.installed(&others)?.first() {
            Some((_, other)) => Err(otherwise(format!("the package `{other}`"))),
            None => Ok(definer.origin()),
        }
    }
}

impl Definer<'_> {
    fn origin(self) -> Origin {
        self.beside(&Origin::default())
    }

    /// Beside those who define the same.
    fn beside(self, others: &Origin) -> Origin {
        let mut origin = others.clone();
        match self {
            Definer::Admin => origin.admin = true,
            Definer::Package(package, _) if !origin.packages.contains(&package) => {
                origin.packages.push(package);
            }
            Definer::Package(..) => {}
        }
        origin
    }
}
