//! Views: whether one fits the types that there are, and those that manifests declare.

use super::{ObjectError, Objects, Who};
use crate::model::id::PackageId;
use crate::model::object_type::Origin;
use crate::model::view::{StoredView, View};
use crate::objects::FieldProblem;
use crate::objects::view::{wrong_columns, wrong_name, wrong_texts};
use crate::store::{MOST_VIEWS, ViewChange, WriteTables};

/// How often a view of a manifest is tried while somebody else changes it.
const TRIES: usize = 16;

impl Objects {
    /// Everything that is wrong with a view, as its type is now.
    pub async fn check_view(&self, view: &View) -> Result<(), ObjectError> {
        let mut problems = Vec::new();
        problems.extend(wrong_name(&view.name).map(|it| FieldProblem::new("name", it)));
        problems.extend(wrong_texts(view));
        match self.find_type(&view.object_type) {
            Ok(kind) => {
                problems.extend(wrong_columns(view, kind.current()));
                let filter = view.filter.clone();
                // One at a time, so that all that is wrong is told.
                for (filter, sort_by) in
                    [(filter, &[][..]), (serde_json::Map::new(), &view.sort_by)]
                {
                    match self.check_listing(&view.object_type, filter, sort_by).await {
                        Ok(()) => {}
                        Err(ObjectError::Query(problem)) => problems.push(FieldProblem {
                            field: problem.field,
                            message: problem.message,
                            allowed: problem.allowed,
                        }),
                        Err(other) => return Err(other),
                    }
                }
            }
            Err(ObjectError::NoSuchType { name, known }) => {
                let message = ObjectError::NoSuchType { name, known: known.clone() }.to_string();
                let field = "object_type".to_owned();
                problems.push(FieldProblem { field, message, allowed: known });
            }
            Err(other) => return Err(other),
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(ObjectError::View { name: view.name.clone(), problems })
    }

    /// Makes the views of a package what it declares, or says why that cannot be. As with types, the
    /// same view by several packages is one, and views stay when their snap-in goes.
    pub async fn declare_views(
        &self,
        who: &Who,
        package: PackageId,
        slug: &str,
        views: &[View],
    ) -> Result<(), ObjectError> {
        for view in views {
            self.check_view(view).await?;
        }
        for view in views {
            self.declare_view(who, package, slug, view).await?;
        }
        Ok(())
    }

    async fn declare_view(
        &self,
        who: &Who,
        package: PackageId,
        slug: &str,
        view: &View,
    ) -> Result<(), ObjectError> {
        for _ in 0..TRIES {
            let found = self.0.store.read(|tables| {
                Ok(match tables.view_by_name(&view.name)? {
                    Some(id) => tables.view(id)?.map(|it| (id, it)),
                    None => None,
                })
            })?;
            let name = who.name.clone();
            let view = view.clone();
            let change = match found {
                None => {
                    let origin = Origin { admin: false, packages: vec![package] };
                    let write = move |tables: &mut WriteTables<'_>| {
                        let now_ms = tables.now_ms();
                        tables.create_view(&StoredView {
                            view: view.clone(),
                            origin: origin.clone(),
                            created_ms: now_ms,
                            created_by: name.clone(),
                            modified_ms: now_ms,
                            modified_by: name.clone(),
                        })
                    };
                    self.0.store.write(write).await?
                }
                Some((id, seen)) => {
                    let mut origin = seen.origin.clone();
                    let is_same = seen.view == view;
                    if is_same && origin.packages.contains(&package) {
                        return Ok(());
                    }
                    if is_same {
                        origin.packages.push(package);
                    } else {
                        self.refuse_other_owners(&seen, package, slug)?;
                        origin.packages = vec![package];
                    }
                    let write = move |tables: &mut WriteTables<'_>| {
                        let new = StoredView {
                            view: view.clone(),
                            origin: origin.clone(),
                            modified_ms: tables.now_ms(),
                            modified_by: name.clone(),
                            ..seen.clone()
                        };
                        tables.replace_view(id, &seen, &new)
                    };
                    self.0.store.write(write).await?
                }
            };
            match change {
                ViewChange::Done(_) => return Ok(()),
                ViewChange::TooMany => {
                    let message = format!(
                        "there are {} views already: delete one that nobody needs",
                        MOST_VIEWS
                    );
                    let problems = vec![FieldProblem::new("", message)];
                    return Err(ObjectError::View { name: slug.to_owned(), problems });
                }
                // The next look says what has changed.
                ViewChange::NameTaken(_) | ViewChange::NoSuchView | ViewChange::Changed => {}
            }
        }
        Err(ObjectError::TooBusy)
    }

    /// A view that somebody else wants otherwise stays as it is.
    fn refuse_other_owners(
        &self,
        seen: &StoredView,
        package: PackageId,
        slug: &str,
    ) -> Result<(), ObjectError> {
        let otherwise = |other: String| ObjectError::ViewDefinedOtherwise {
            name: seen.view.name.clone(),
            package: slug.to_owned(),
            other,
        };
        if seen.origin.admin {
            return Err(otherwise("an administrator".to_owned()));
        }
        let others: Vec<PackageId> =
            seen.origin.packages.iter().copied().filter(|it| *it != package).collect();
        match self.installed(&others)?.first() {
            Some((_, other)) => Err(otherwise(format!("the package `{other}`"))),
            None => Ok(()),
        }
    }
}
