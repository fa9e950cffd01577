//! Event sources: whether they take events, their trigger URLs, and what they are registered as.
//!
//! Invariant: a token in `source_tokens` is the present one of its source, or the one before. That
//! one counts only until its time has come, whether or not its row is still there.

use super::record::decode;
use super::records::{PreviousToken, SnapInRecord, SourceRecord};
use super::tables::{Page, PageRequest, ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::lifecycle::source::{Change, IsBlocked, Standing, step};
use crate::model::id::{SnapInId, SourceId, UserId};
use crate::model::manifest::EventSource;
use crate::model::scope::Extent;
use crate::model::snap_in::SourceStatus;
use crate::random::secret_text;

/// A source to be made.
pub(super) struct NewSource<'a> {
    /// The snap-in that it belongs to.
    pub(super) snap_in: SnapInId,
    /// Name in the manifest.
    pub(super) name: &'a str,
    /// The plugin's type.
    pub(super) kind: &'a str,
    /// The secret part of its trigger URL.
    pub(super) token: String,
    /// Whose it is, when its level is the user's.
    pub(super) user: Option<UserId>,
}

/// What became of a change of a source.
#[derive(Clone, Debug)]
pub enum SourceChange {
    /// It is stored.
    Changed {
        /// The source as it is now.
        record: Box<SourceRecord>,
        /// The generation of its route.
        generation: u64,
    },
    /// Somebody blocked it.
    Refused(IsBlocked),
    /// There is no such source.
    NoSuchSource,
}

/// A trigger URL to take the place of another.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its secret part.
    pub token: String,
    /// For how long the one before is known too.
    pub overlap_ms: u64,
}

impl SourceRecord {
    /// Where it stands.
    fn standing(&self) -> Standing {
        Standing { status: self.status, reason: self.reason.clone(), block: self.block.clone() }
    }

    /// The token before, while it is known.
    pub fn previous_token_at(&self, now_ms: u64) -> Option<&PreviousToken> {
        self.previous_token.as_ref().filter(|it| now_ms < it.until_ms)
    }
}

impl WriteTables<'_> {
    /// Makes a source as a manifest declares it, for everybody or for one person.
    pub(super) fn declare_source(
        &mut self,
        snap_in: SnapInId,
        declared: &EventSource,
        user: Option<UserId>,
    ) -> Result<SourceId, StoreError> {
        let (name, kind) = (declared.name.as_str(), declared.kind.as_str());
        self.add_source(&NewSource { snap_in, name, kind, token: secret_text(), user })
    }

    /// Makes a source and its trigger URL.
    pub(super) fn add_source(&mut self, new: &NewSource<'_>) -> Result<SourceId, StoreError> {
        let Standing { status, reason, block } = Standing::active();
        let record = SourceRecord {
            snap_in: new.snap_in,
            name: new.name.to_owned(),
            kind: new.kind.to_owned(),
            token: new.token.clone(),
            previous_token: None,
            status,
            reason,
            block,
            user: new.user,
            registration: None,
            outdated_registrations: Vec::new(),
        };
        let source = SourceId(self.new_id());
        put(self.sources()?, source.0, &record)?;
        self.source_tokens()?.insert(record.token.as_str(), source.0)?;
        self.route_generations()?.insert(source.0, 1)?;
        self.tell_source(source, &record)?;
        Ok(source)
    }

    /// A source is gone for good, with all that is kept of it.
    pub(super) fn forget_source(&mut self, id: SourceId) -> Result<(), StoreError> {
        if let Some(record) = get::<SourceRecord>(self.sources()?, id.0)? {
            let previous = record.previous_token.map(|it| it.token);
            for token in [Some(record.token), previous].into_iter().flatten() {
                self.source_tokens()?.remove(token.as_str())?;
            }
        }
        self.sources()?.remove(id.0)?;
        self.forget_timer(id)?;
        self.stop_reading(&id.to_string())?;
        self.tell_source_deleted(id)?;
        self.forget_recordings(id)?;
        self.forget_source_counts(id)
    }

    /// Pauses a source, resumes it, blocks or unblocks it.
    pub fn change_source(
        &mut self,
        id: SourceId,
        change: &Change,
    ) -> Result<SourceChange, StoreError> {
        let Some(mut record) = get::<SourceRecord>(self.sources()?, id.0)? else {
            return Ok(SourceChange::NoSuchSource);
        };
        let before = record.status;
        match step(&record.standing(), change.clone()) {
            Ok(Standing { status, reason, block }) => {
                (record.status, record.reason, record.block) = (status, reason, block);
                self.source_moved(id, before, &record)?;
                self.changed(id, record)
            }
            Err(refused) => Ok(SourceChange::Refused(refused)),
        }
    }

    /// Gives a source another trigger URL. The one before is known for a while; one that was known
    /// from before that is not any more. What the trigger URL was registered as is outdated.
    pub fn rotate_source_token(
        &mut self,
        id: SourceId,
        new: &NewToken,
    ) -> Result<SourceChange, StoreError> {
        let Some(mut record) = get::<SourceRecord>(self.sources()?, id.0)? else {
            return Ok(SourceChange::NoSuchSource);
        };
        if let Some(older) = record.previous_token.take() {
            self.source_tokens()?.remove(older.token.as_str())?;
        }
        let token = std::mem::replace(&mut record.token, new.token.clone());
        if new.overlap_ms == 0 {
            self.source_tokens()?.remove(token.as_str())?;
        } else {
            let until_ms = self.now_ms().saturating_add(new.overlap_ms);
            record.previous_token = Some(PreviousToken { token, until_ms });
        }
        self.source_tokens()?.insert(record.token.as_str(), id.0)?;
        record.outdated_registrations.extend(record.registration.take());
        self.changed(id, record)
    }

    /// Removes the token before, which is known no more. Another one, of a later rotation, stays.
    pub fn forget_previous_token(
        &mut self,
        id: SourceId,
        previous: &PreviousToken,
    ) -> Result<(), StoreError> {
        if let Some(mut record) = get::<SourceRecord>(self.sources()?, id.0)?
            && record.previous_token.as_ref() == Some(previous)
        {
            record.previous_token = None;
            put(self.sources()?, id.0, &record)?;
            self.source_tokens()?.remove(previous.token.as_str())?;
        }
        Ok(())
    }

    /// Notes what the external system calls the registration of a source, or that there is none.
    pub fn set_source_registration(
        &mut self,
        id: SourceId,
        registration: Option<&str>,
    ) -> Result<(), StoreError> {
        if let Some(mut record) = get::<SourceRecord>(self.sources()?, id.0)? {
            record.registration = registration.map(str::to_owned);
            put(self.sources()?, id.0, &record)?;
        }
        Ok(())
    }

    /// A registration of a trigger URL of before was taken back.
    pub fn forget_outdated_registration(
        &mut self,
        id: SourceId,
        registration: &str,
    ) -> Result<(), StoreError> {
        if let Some(mut record) = get::<SourceRecord>(self.sources()?, id.0)? {
            record.outdated_registrations.retain(|it| it != registration);
            put(self.sources()?, id.0, &record)?;
        }
        Ok(())
    }

    fn changed(&mut self, id: SourceId, record: SourceRecord) -> Result<SourceChange, StoreError> {
        put(self.sources()?, id.0, &record)?;
        let generation = self.bump_generation(id)?;
        let snap_in = get::<SnapInRecord>(self.snap_ins()?, record.snap_in.0)?;
        let is_open = snap_in.is_some_and(|it| it.state.sources_open() && it.sources.contains(&id));
        self.follow_source(id, is_open)?;
        self.tell_source(id, &record)?;
        Ok(SourceChange::Changed { record: Box::new(record), generation })
    }
}

impl ReadTables {
    /// An event source.
    pub fn source(&self, id: SourceId) -> Result<Option<SourceRecord>, StoreError> {
        get(&self.table(schema::SOURCES)?, id.0)
    }

    /// The source with a trigger token, if it and its snap-in are meant to take events now.
    pub fn open_source_by_token(
        &self,
        token: &str,
        now_ms: u64,
    ) -> Result<Option<SourceId>, StoreError> {
        let Some(id) = self.table(schema::SOURCE_TOKENS)?.get(token)?.map(|it| it.value()) else {
            return Ok(None);
        };
        let Some(source) = self.source(SourceId(id))? else { return Ok(None) };
        let is_known = source.token == token
            || source.previous_token_at(now_ms).is_some_and(|it| it.token == token);
        let snap_in = self.snap_in(source.snap_in)?;
        let open = is_known
            && source.status == SourceStatus::Active
            && snap_in
                .is_some_and(|it| it.state.sources_open() && it.sources.contains(&SourceId(id)));
        Ok(open.then_some(SourceId(id)))
    }

    /// Event sources of some snap-ins.
    pub fn list_sources(
        &self,
        extent: &Extent,
        page: PageRequest,
    ) -> Result<Page<(SourceId, SourceRecord)>, StoreError> {
        page.read(&self.table(schema::SOURCES)?, |id, value| {
            let record: SourceRecord = decode(value)?;
            let wanted = extent.has(record.snap_in);
            Ok(wanted.then_some((SourceId(id), record)))
        })
    }
}
