//! Artifacts: what is known of each file that is kept, and what it belongs to.
//!
//! Invariant: what an artifact says to have received is there in `artifact_parts`, because both are one
//! transaction. Its content is named anew whenever its bytes are sent anew, so that whoever still writes
//! to the old one, or reads it, cannot mix the two. A complete artifact is never changed but for its
//! parent.

use redb::ReadableTable;

use super::StoreError;
pub use super::chunks::NewPart;
use super::record::decode;
use super::records::ArtifactRecord;
use super::schema;
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use crate::model::artifact::{ArtifactState, first_byte_of};
use crate::model::id::{ArtifactId, ContentId, SnapInId};

/// An artifact whose bytes are to come.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// As whoever brings it calls it.
    pub file_name: String,
    /// Its media type.
    pub file_type: String,
    /// How many bytes it has, if that is known.
    pub size: Option<u64>,
    /// Their SHA-256, hex.
    pub sha256: Option<String>,
    /// The snap-in that brings it.
    pub snap_in: Option<SnapInId>,
    /// Id of what it belongs to.
    pub parent: Option<String>,
    /// Name of the principal that prepares it.
    pub created_by: String,
}

/// Bytes on their way into an artifact: where they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Where they go.
    pub artifact: ArtifactId,
    /// Its content, as it was when the upload began.
    pub content: ContentId,
    /// So many are there.
    pub received: u64,
    /// So many are to come altogether, as its parts say.
    pub total: Option<u64>,
}

/// How adding bytes went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// They are there; where it goes on.
    Stored(Upload),
    /// There is no such artifact.
    Gone,
    /// All of it is there already.
    Complete,
    /// Somebody else has added bytes, or begun anew: so many are there.
    Moved {
        /// From here on it goes.
        received: u64,
    },
    /// All artifacts together would have more bytes than allowed. Nothing was stored.
    Full,
}

/// How completing went.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// It is complete.
    Complete(Box<ArtifactRecord>),
    /// There is no such artifact.
    Gone,
    /// Somebody else has changed it meanwhile.
    Moved,
}

/// How attaching went.
#[derive(Clone, Debug, PartialEq)]
pub enum Attachment {
    /// It belongs there.
    Attached(Box<ArtifactRecord>),
    /// It belongs to something else.
    Elsewhere(String),
    /// There is no such artifact.
    Gone,
}

/// What is old enough to go, milliseconds of the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Artifacts that are not complete, and of which nothing has come since.
    pub unfinished_before_ms: u64,
    /// Complete ones that belong to nothing, and have not since.
    pub loose_before_ms: u64,
}

impl WriteTables<'_> {
    /// Prepares an artifact.
    pub fn create_artifact(&mut self, new: &NewArtifact) -> Result<ArtifactId, StoreError> {
        let (id, content) = (ArtifactId(self.new_id()), ContentId(self.new_id()));
        let record = ArtifactRecord {
            file_name: new.file_name.clone(),
            file_type: new.file_type.clone(),
            state: ArtifactState::Uploading { received: 0 },
            content,
            expected_size: new.size,
            expected_sha256: new.sha256.clone(),
            said_total: None,
            snap_in: new.snap_in,
            parent: new.parent.clone(),
            created_ms: self.now_ms(),
            changed_ms: self.now_ms(),
            created_by: new.created_by.clone(),
        };
        put(self.artifacts()?, id.0, &record)?;
        if let Some(parent) = &record.parent {
            self.artifact_parents()?.insert((parent.as_str(), id.0), ())?;
        }
        Ok(id)
    }

    /// Adds bytes where an upload stands. The first part may be one that is there in part.
    pub fn extend_artifact(
        &mut self,
        upload: Upload,
        parts: &[NewPart],
        most_bytes: u64,
    ) -> Result<Extension, StoreError> {
        let Some(mut record) = get::<ArtifactRecord>(self.artifacts()?, upload.artifact.0)? else {
            return Ok(Extension::Gone);
        };
        let received = match record.state {
            ArtifactState::Complete { .. } => return Ok(Extension::Complete),
            ArtifactState::Uploading { received } => received,
        };
        if record.content != upload.content || received != upload.received {
            return Ok(Extension::Moved { received });
        }
        let Some(last) = parts.last() else { return Ok(Extension::Stored(upload)) };
        let new = self.bytes_of_new(parts)?;
        if new > 0 && self.chunk_bytes()?.saturating_add(new) > most_bytes {
            return Ok(Extension::Full);
        }
        for part in parts {
            self.put_part(record.content, part)?;
        }
        let received = first_byte_of(last.chunk.index) + last.chunk.bytes.len() as u64;
        record.state = ArtifactState::Uploading { received };
        record.said_total = upload.total;
        record.changed_ms = self.now_ms();
        put(self.artifacts()?, upload.artifact.0, &record)?;
        Ok(Extension::Stored(Upload { received, ..upload }))
    }

    /// Forgets the bytes that came, for others that come; nothing for an artifact that is not there, or
    /// is complete.
    pub fn restart_artifact(&mut self, id: ArtifactId) -> Result<Option<Upload>, StoreError> {
        let Some(mut record) = get::<ArtifactRecord>(self.artifacts()?, id.0)? else {
            return Ok(None);
        };
        match record.state {
            ArtifactState::Complete { .. } => return Ok(None),
            ArtifactState::Uploading { received: 0 } => {}
            ArtifactState::Uploading { .. } => {
                self.leave_over(record.content)?;
                record.content = ContentId(self.new_id());
                record.state = ArtifactState::Uploading { received: 0 };
                record.said_total = None;
                record.changed_ms = self.now_ms();
                put(self.artifacts()?, id.0, &record)?;
            }
        }
        Ok(Some(Upload { artifact: id, content: record.content, received: 0, total: None }))
    }

    /// The same, if what is there is still what an upload knows of. Says whether it was.
    pub fn restart_upload(&mut self, upload: Upload) -> Result<bool, StoreError> {
        let record = get::<ArtifactRecord>(self.artifacts()?, upload.artifact.0)?;
        let known = ArtifactState::Uploading { received: upload.received };
        if record.is_none_or(|it| it.content != upload.content || it.state != known) {
            return Ok(false);
        }
        Ok(self.restart_artifact(upload.artifact)?.is_some())
    }

    /// All bytes are there, and were looked at: this is their hash.
    pub fn complete_artifact(
        &mut self,
        upload: Upload,
        sha256: &str,
    ) -> Result<Completion, StoreError> {
        let Some(mut record) = get::<ArtifactRecord>(self.artifacts()?, upload.artifact.0)? else {
            return Ok(Completion::Gone);
        };
        let before = ArtifactState::Uploading { received: upload.received };
        if record.content != upload.content || record.state != before {
            return Ok(Completion::Moved);
        }
        let (size, sha256) = (upload.received, sha256.to_owned());
        record.state = ArtifactState::Complete { size, sha256 };
        record.changed_ms = self.now_ms();
        put(self.artifacts()?, upload.artifact.0, &record)?;
        Ok(Completion::Complete(Box::new(record)))
    }

    /// Removes an artifact; its bytes follow by and by. Says whether there was one.
    pub fn delete_artifact(&mut self, id: ArtifactId) -> Result<bool, StoreError> {
        let Some(removed) = self.artifacts()?.remove(id.0)?.map(|it| decode(it.value())) else {
            return Ok(false);
        };
        let record: ArtifactRecord = removed?;
        if let Some(parent) = &record.parent {
            self.artifact_parents()?.remove((parent.as_str(), id.0))?;
        }
        self.leave_over(record.content)?;
        Ok(true)
    }

    /// Says what an artifact belongs to.
    pub fn attach_artifact(
        &mut self,
        id: ArtifactId,
        parent: &str,
    ) -> Result<Attachment, StoreError> {
        let Some(mut record) = get::<ArtifactRecord>(self.artifacts()?, id.0)? else {
            return Ok(Attachment::Gone);
        };
        match &record.parent {
            Some(present) if present == parent => {}
            Some(other) => return Ok(Attachment::Elsewhere(other.clone())),
            None => {
                record.parent = Some(parent.to_owned());
                record.changed_ms = self.now_ms();
                put(self.artifacts()?, id.0, &record)?;
                self.artifact_parents()?.insert((parent, id.0), ())?;
            }
        }
        Ok(Attachment::Attached(Box::new(record)))
    }

    /// An artifact belongs to nothing any more; nothing when there is none.
    pub fn detach_artifact(
        &mut self,
        id: ArtifactId,
    ) -> Result<Option<ArtifactRecord>, StoreError> {
        let Some(mut record) = get::<ArtifactRecord>(self.artifacts()?, id.0)? else {
            return Ok(None);
        };
        if let Some(parent) = record.parent.take() {
            record.changed_ms = self.now_ms();
            put(self.artifacts()?, id.0, &record)?;
            self.artifact_parents()?.remove((parent.as_str(), id.0))?;
        }
        Ok(Some(record))
    }

    /// What artifacts belong to is deleted: they belong to nothing then, and go when nobody attaches
    /// them elsewhere in time. Answers how many.
    pub fn detach_artifacts_of(&mut self, parent: &str) -> Result<usize, StoreError> {
        let rows = self.artifact_parents()?.range((parent, 0)..=(parent, u128::MAX))?;
        let ids = rows.map(|row| Ok(row?.0.value().1)).collect::<Result<Vec<_>, StoreError>>()?;
        for id in &ids {
            self.detach_artifact(ArtifactId(*id))?;
        }
        Ok(ids.len())
    }

    /// Removes artifacts that are old enough to go. Looks at no more than `most` from `from` on and
    /// answers where to go on; nothing when it has seen all.
    pub fn prune_artifacts(
        &mut self,
        retention: Retention,
        from: u128,
        most: usize,
    ) -> Result<Option<u128>, StoreError> {
        let (mut old, mut next) = (Vec::new(), None);
        for (looked_at, row) in self.artifacts()?.range(from..)?.enumerate() {
            let (id, value) = row?;
            if looked_at == most {
                next = Some(id.value());
                break;
            }
            let record: ArtifactRecord = decode(value.value())?;
            let is_old = match record.state {
                ArtifactState::Uploading { .. } => {
                    record.changed_ms < retention.unfinished_before_ms
                }
                ArtifactState::Complete { .. } => {
                    record.parent.is_none() && record.changed_ms < retention.loose_before_ms
                }
            };
            if is_old {
                old.push(ArtifactId(id.value()));
            }
        }
        for id in old {
            self.delete_artifact(id)?;
        }
        Ok(next)
    }
}

impl ReadTables {
    /// An artifact.
    pub fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>, StoreError> {
        get(&self.table(schema::ARTIFACTS)?, id.0)
    }

    /// Artifacts, of which only those that are wanted.
    pub fn list_artifacts(
        &self,
        page: PageRequest,
        wanted: impl Fn(&ArtifactRecord) -> bool,
    ) -> Result<Page<(ArtifactId, ArtifactRecord)>, StoreError> {
        page.read(&self.table(schema::ARTIFACTS)?, |id, value| {
            let record = decode(value)?;
            Ok(wanted(&record).then_some((ArtifactId(id), record)))
        })
    }

    /// Artifacts that belong to something, newest first; at most so many, from `from` on.
    pub fn artifacts_of(
        &self,
        parent: &str,
        from: Option<u128>,
        limit: usize,
    ) -> Result<Page<(ArtifactId, ArtifactRecord)>, StoreError> {
        let parents = self.table(schema::ARTIFACT_PARENTS)?;
        let mut page = Page { rows: Vec::new(), next: None };
        for row in parents.range((parent, 0)..=(parent, from.unwrap_or(u128::MAX)))?.rev() {
            let id = ArtifactId(row?.0.value().1);
            if page.rows.len() == limit {
                page.next = Some(id.0);
                break;
            }
            if let Some(record) = self.artifact(id)? {
                page.rows.push((id, record));
            }
        }
        Ok(page)
    }
}
