//! `packages.*`: named lines of versions.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, time};
use super::rights::Caller;
use super::{Api, versions::Done};
use crate::model::id::PackageId;
use crate::model::scope::is_segment;
use crate::store::{PackageDeletion, PackageRecord};

/// A package.
#[derive(Serialize, JsonSchema)]
pub(super) struct Package {
    id: String,
    slug: String,
    description: String,
    created_date: String,
    created_by: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OnePackage {
    package: Package,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyPackages {
    packages: Vec<Package>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PackagesCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Unique on the host: 1 to 63 characters of a-z, 0-9, `-`, `_`, `.`.
    slug: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PackagesWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or slug.
    id: String,
}

fn package(id: PackageId, record: PackageRecord) -> Package {
    Package {
        id: id.to_string(),
        slug: record.slug,
        description: record.description,
        created_date: time(record.created_ms),
        created_by: record.created_by,
    }
}

/// A package by id or slug.
pub(super) fn find(api: &Api, text: &str) -> Result<(PackageId, PackageRecord), ApiError> {
    let found = api.services.store.read(|tables| {
        let id = match text.parse::<PackageId>() {
            Ok(id) => Some(id),
            Err(_) => tables.package_by_slug(text)?,
        };
        Ok(match id {
            Some(id) => tables.package(id)?.map(|it| (id, it)),
            None => None,
        })
    })?;
    found.ok_or_else(|| ApiError::not_found("package", text))
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    create: Create,
) -> Result<OnePackage, ApiError> {
    if !is_segment(&create.slug) {
        let message = format!(
            "`{}` is no slug: expected 1 to 63 characters of a-z, 0-9, `-`, `_`, `.`, that start \
             and end with a letter or digit",
            create.slug.chars().take(80).collect::<String>()
        );
        return Err(ApiError::field("slug", message));
    }
    let record = PackageRecord {
        slug: create.slug,
        description: create.description,
        created_ms: api.services.clock.now_ms(),
        created_by: caller.principal.name(),
    };
    let stored = record.clone();
    match api.services.store.write(move |tables| tables.create_package(&stored)).await? {
        Ok(id) => Ok(OnePackage { package: package(id, record) }),
        Err(other) => {
            let message = format!("package {other} has the slug `{}` already", record.slug);
            Err(ApiError::new(Code::Conflict, message))
        }
    }
}

pub(super) async fn get(api: Arc<Api>, _: Caller, which: Which) -> Result<OnePackage, ApiError> {
    let (id, record) = find(&api, &which.id)?;
    Ok(OnePackage { package: package(id, record) })
}

pub(super) async fn list(
    api: Arc<Api>,
    _: Caller,
    paging: Paging,
) -> Result<ManyPackages, ApiError> {
    let page = paging.oldest_first()?;
    let page = api.services.store.read(|tables| tables.list_packages(page))?;
    let packages = page.rows.into_iter().map(|(id, it)| package(id, it)).collect();
    Ok(ManyPackages { packages, next_cursor: cursor(page.next) })
}

pub(super) async fn delete(api: Arc<Api>, _: Caller, which: Which) -> Result<Done, ApiError> {
    let id = match which.id.parse() {
        Ok(id) => id,
        Err(_) => find(&api, &which.id)?.0,
    };
    let done = api.services.store.write(move |tables| tables.delete_package(id)).await?;
    deletion(done, "package", &which.id)
}

/// The answer to a deletion.
pub(super) fn deletion(done: PackageDeletion, what: &str, name: &str) -> Result<Done, ApiError> {
    match done {
        PackageDeletion::Deleted => Ok(Done {}),
        PackageDeletion::NoSuchThing => Err(ApiError::not_found(what, name)),
        PackageDeletion::InUse(snap_in) => {
            let message = format!("snap-in {snap_in} uses this {what}: delete that first");
            Err(ApiError::new(Code::Conflict, message))
        }
        PackageDeletion::HasVersions(version) => {
            let message = format!("this {what} has versions, such as {version}: delete them first");
            Err(ApiError::new(Code::Conflict, message))
        }
    }
}
