//! Packages and their versions.

use std::collections::{BTreeMap, HashSet};

use redb::ReadableTable;

use super::blobs::BlobHash;
use super::record::{decode, decode_with_tail};
use super::records::{PackageRecord, SnapInRecord, VersionRecord};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::id::{PackageId, SnapInId, VersionId};
use crate::model::manifest::{ChosenRuntime, Manifest};
use crate::model::run::RunHead;
use crate::model::snap_in::SnapInState;

/// A version to be stored.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The package it is added to.
    pub package: PackageId,
    /// SHA-256 over manifest and files, hex.
    pub content_hash: String,
    /// The manifest as written.
    pub manifest_text: String,
    /// The manifest as understood.
    pub manifest: Manifest,
    /// The prepared code, stored already.
    pub code: Option<BlobHash>,
    /// All its files, stored already, when a function needs them on the disk.
    pub files: Option<BlobHash>,
    /// Where events are posted for functions with the runtime `remote`.
    pub testing_url: Option<String>,
    /// What runs each function, and why.
    pub runtimes: BTreeMap<String, ChosenRuntime>,
    /// What was questionable about it.
    pub warnings: Vec<String>,
    /// Name of the principal that creates it.
    pub created_by: String,
}

/// How storing a version went.
#[derive(Clone, Debug)]
pub enum VersionCreation {
    /// It is new.
    Created(VersionId),
    /// The package has a version with the same content.
    Exists(VersionId),
    /// There is no such package.
    NoSuchPackage,
    /// A version that had the same code or files was deleted meanwhile, and they went with it.
    BlobsGone,
}

/// How deleting a package or version went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageDeletion {
    /// It is gone.
    Deleted,
    /// There was none.
    NoSuchThing,
    /// It is in use by this snap-in.
    InUse(SnapInId),
    /// The package has versions, among them this one.
    HasVersions(VersionId),
}

impl WriteTables<'_> {
    /// Adds a package, or answers the one that has the slug.
    pub fn create_package(
        &mut self,
        record: &PackageRecord,
    ) -> Result<Result<PackageId, PackageId>, StoreError> {
        let slug = record.slug.as_str();
        let other = self.package_slugs()?.get(slug)?.map(|it| PackageId(it.value()));
        if let Some(other) = other {
            return self.made_nothing(Err(other));
        }
        let id = self.new_id();
        put(self.packages()?, id, record)?;
        self.package_slugs()?.insert(record.slug.as_str(), id)?;
        Ok(Ok(PackageId(id)))
    }

    /// Adds a version to a package.
    pub fn create_version(&mut self, new: &NewVersion) -> Result<VersionCreation, StoreError> {
        if self.packages()?.get(new.package.0)?.is_none() {
            return Ok(VersionCreation::NoSuchPackage);
        }
        let mut number = 0;
        for row in self.versions()?.iter()? {
            let (id, value) = row?;
            let other: VersionRecord = decode(value.value())?;
            if other.package != new.package {
                continue;
            }
            if other.content_hash == new.content_hash {
                return Ok(VersionCreation::Exists(VersionId(id.value())));
            }
            number = number.max(other.number);
        }
        for blob in [new.code, new.files].into_iter().flatten() {
            if !self.has_blob(blob)? {
                return Ok(VersionCreation::BlobsGone);
            }
        }
        let record = VersionRecord {
            package: new.package,
            number: number + 1,
            content_hash: new.content_hash.clone(),
            manifest_text: new.manifest_text.clone(),
            manifest: new.manifest.clone(),
            code: new.code.map(|it| it.to_string()),
            files: new.files.map(|it| it.to_string()),
            testing_url: new.testing_url.clone(),
            runtimes: new.runtimes.clone(),
            warnings: new.warnings.clone(),
            created_ms: self.now_ms(),
            created_by: new.created_by.clone(),
        };
        let id = self.new_id();
        put(self.versions()?, id, &record)?;
        self.tell_version(VersionId(id), &record)?;
        Ok(VersionCreation::Created(VersionId(id)))
    }

    /// Removes a package that has no versions.
    pub fn delete_package(&mut self, id: PackageId) -> Result<PackageDeletion, StoreError> {
        let Some(package) = get::<PackageRecord>(self.packages()?, id.0)? else {
            return Ok(PackageDeletion::NoSuchThing);
        };
        for row in self.versions()?.iter()? {
            let (version, value) = row?;
            if decode::<VersionRecord>(value.value())?.package == id {
                return Ok(PackageDeletion::HasVersions(VersionId(version.value())));
            }
        }
        self.forget_developer_keyrings(id)?;
        self.packages()?.remove(id.0)?;
        self.package_slugs()?.remove(package.slug.as_str())?;
        Ok(PackageDeletion::Deleted)
    }

    /// The snap-in of a run of this version that has not ended, or is a dead letter. Those of
    /// deleted snap-ins are never tried again.
    fn run_that_needs(&mut self, id: VersionId) -> Result<Option<SnapInId>, StoreError> {
        let mut users = Vec::new();
        for row in self.runs_open()?.iter()? {
            let (head, _) = decode_with_tail::<RunHead>(row?.1.value())?;
            if head.version == id {
                users.push(head.snap_in);
            }
        }
        let mut dead = Vec::new();
        for row in self.dead_letters()?.iter()? {
            dead.push(row?.0.value());
        }
        for run in dead {
            let Some(found) = self.runs_done()?.get(run)? else { continue };
            let (head, _) = decode_with_tail::<RunHead>(found.value())?;
            if head.version == id {
                users.push(head.snap_in);
            }
        }
        users.sort_unstable();
        users.dedup();
        for user in users {
            let state = self.snap_in_state(user)?;
            if state.is_some_and(|it| it != SnapInState::Deleted) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// Removes a version that no snap-in is of, and no run that is still to be done. Its code
    /// and files go with it.
    pub fn delete_version(&mut self, id: VersionId) -> Result<PackageDeletion, StoreError> {
        for row in self.snap_ins()?.iter()? {
            let (snap_in, value) = row?;
            let record: SnapInRecord = decode(value.value())?;
            if record.version == id && record.state != SnapInState::Deleted {
                return Ok(PackageDeletion::InUse(SnapInId(snap_in.value())));
            }
        }
        if let Some(snap_in) = self.run_that_needs(id)? {
            return Ok(PackageDeletion::InUse(snap_in));
        }
        let removed = self.versions()?.remove(id.0)?;
        let removed = removed.map(|it| decode::<VersionRecord>(it.value())).transpose()?;
        let Some(VersionRecord { code, files, .. }) = removed else {
            return Ok(PackageDeletion::NoSuchThing);
        };
        for blob in code.iter().chain(&files) {
            self.drop_blob(blob)?;
        }
        self.tell_version_deleted(id)?;
        Ok(PackageDeletion::Deleted)
    }
}

impl ReadTables {
    /// A package.
    pub fn package(&self, id: PackageId) -> Result<Option<PackageRecord>, StoreError> {
        get(&self.table(schema::PACKAGES)?, id.0)
    }

    /// The package with a slug.
    pub fn package_by_slug(&self, slug: &str) -> Result<Option<PackageId>, StoreError> {
        Ok(self.table(schema::PACKAGE_SLUGS)?.get(slug)?.map(|it| PackageId(it.value())))
    }

    /// Packages, oldest first.
    pub fn list_packages(
        &self,
        page: PageRequest,
    ) -> Result<Page<(PackageId, PackageRecord)>, StoreError> {
        page.read(&self.table(schema::PACKAGES)?, |id, value| {
            Ok(Some((PackageId(id), decode(value)?)))
        })
    }

    /// A version.
    pub fn version(&self, id: VersionId) -> Result<Option<VersionRecord>, StoreError> {
        get(&self.table(schema::VERSIONS)?, id.0)
    }

    /// The version of a package that has this content.
    pub fn version_with_content(
        &self,
        package: PackageId,
        content_hash: &str,
    ) -> Result<Option<VersionId>, StoreError> {
        for row in self.table(schema::VERSIONS)?.iter()? {
            let (id, value) = row?;
            let record: VersionRecord = decode(value.value())?;
            if record.package == package && record.content_hash == content_hash {
                return Ok(Some(VersionId(id.value())));
            }
        }
        Ok(None)
    }

    /// The blobs of files that versions have, hex.
    pub fn files_of_versions(&self) -> Result<HashSet<String>, StoreError> {
        let mut found = HashSet::new();
        for row in self.table(schema::VERSIONS)?.iter()? {
            found.extend(decode::<VersionRecord>(row?.1.value())?.files);
        }
        Ok(found)
    }

    /// Versions, of one package or of all.
    pub fn list_versions(
        &self,
        package: Option<PackageId>,
        page: PageRequest,
    ) -> Result<Page<(VersionId, VersionRecord)>, StoreError> {
        page.read(&self.table(schema::VERSIONS)?, |id, value| {
            let record: VersionRecord = decode(value)?;
            let wanted = package.is_none_or(|it| it == record.package);
            Ok(wanted.then_some((VersionId(id), record)))
        })
    }
}
