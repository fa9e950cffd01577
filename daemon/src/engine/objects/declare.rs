//! Types that manifests declare: made when a snap-in is activated or moved to a version that has them.
//!
//! The same definition by several packages is one type. A package may change a type that only it
//! declares; packages of which nothing is installed any more have no say. A type stays when its
//! snap-in goes, because its objects do.

use super::types::{check, new_type};
use super::{ObjectError, Objects, Who};
use crate::model::id::PackageId;
use crate::model::object_type::{ObjectType, Origin};
use crate::store::TypeChange;

/// How often it is tried while somebody else changes types.
const TRIES: u32 = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

impl Objects {
    /// Makes the types of a package what it declares, or says why that cannot be.
    pub async fn declare(
        &self,
        who: &Who,
        package: PackageId,
        slug: &str,
        definitions: &[ObjectType],
    ) -> Result<(), ObjectError> {
        if definitions.is_empty() {
            return Ok(());
        }
        let mut tries = 0;
        let turn = loop {
            match self.change_types() {
                Ok(turn) => break turn,
                // A long change is somebody's, who is told; short ones are waited for.
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let catalog = self.reload()?;
        check(&catalog, definitions)?;
        let mut new = Vec::new();
        let mut changed = Vec::new();
        for definition in definitions {
            let known = catalog.types().iter().find(|it| it.current().name == definition.name);
            let Some(kind) = known else {
                let origin = Origin { admin: false, packages: vec![package] };
                new.push(new_type(who, definition.clone(), origin));
                continue;
            };
            let mut origin = kind.record.origin.clone();
            if kind.current() == definition {
                if !origin.packages.contains(&package) {
                    origin.packages.push(package);
                    let record = crate::store::ObjectTypeRecord { origin, ..kind.record.clone() };
                    new.push(TypeChange::Put(kind.number, Box::new(record)));
                }
                continue;
            }
            let otherwise = |other: String| ObjectError::DefinedOtherwise {
                name: definition.name.clone(),
                package: slug.to_owned(),
                other,
            };
            if origin.admin {
                return Err(otherwise("an administrator".to_owned()));
            }
            origin.packages.retain(|it| *it != package);
            let installed = self.installed(&origin.packages)?;
            if let Some((_, other)) = installed.first() {
                return Err(otherwise(format!("the package `{other}`")));
            }
            let origin = Origin { admin: false, packages: vec![package] };
            changed.push((kind.clone(), definition.clone(), origin));
        }
        if !new.is_empty() {
            self.write_types(&catalog, new).await?;
        }
        for (kind, definition, origin) in changed {
            self.change_type(&turn, who, &kind, definition, origin).await?;
        }
        Ok(())
    }
}
