//! Recorded requests: the next few that reach a trigger URL, raw, for whoever wants to see what a
//! sender sends.
//!
//! Invariant: no more are kept than were asked for; those of a source have at most [`MOST_BYTES`] and
//! are at most [`MOST_KEPT`], of which the oldest goes first. They go with the source, and when they
//! are old. What comes here is masked already.

use redb::ReadableTable;

use super::record::{decode, decode_with_tail, encode_with_tail};
use super::records::SourceRecord;
use super::tables::{ReadTables, WriteTables, get, put};
use super::{StoreError, schema};
use crate::model::id::{RecordedId, SourceId, created_ms};
use crate::model::recording::{RecordedRequest, Recording};

/// So much of a body is kept.
pub const MOST_BODY_BYTES: usize = 1024 * 1024;
/// So many requests can be asked for at once.
pub const MOST_WANTED: u32 = 100;
/// So much is kept for each source.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// So many are kept for each source.
const MOST_KEPT: u32 = 500;

/// Where looking for old requests goes on.
pub type RecordedPlace = (u128, u128);

impl WriteTables<'_> {
    /// So many more requests are recorded from now on, none for zero; answers how it stands then,
    /// or nothing when there is no such source.
    pub fn want_recorded(
        &mut self,
        source: SourceId,
        count: u32,
    ) -> Result<Option<Recording>, StoreError> {
        if get::<SourceRecord>(self.sources()?, source.0)?.is_none() {
            return Ok(None);
        }
        let mut recording = self.recording(source)?;
        recording.left = count.min(MOST_WANTED);
        put(self.recordings()?, source.0, &recording)?;
        Ok(Some(recording))
    }

    /// Keeps a request if it is still wanted; answers its id then.
    pub fn keep_recorded(
        &mut self,
        source: SourceId,
        request: &RecordedRequest,
        body: &[u8],
    ) -> Result<Option<RecordedId>, StoreError> {
        let mut recording = self.recording(source)?;
        if recording.left == 0 {
            return Ok(None);
        }
        let id = RecordedId(self.new_id());
        let row = encode_with_tail(request, body)?;
        self.recorded()?.insert((source.0, id.0), row.as_slice())?;
        recording.left -= 1;
        recording.kept += 1;
        recording.bytes += row.len() as u64;
        while recording.kept > 1 && (recording.kept > MOST_KEPT || recording.bytes > MOST_BYTES) {
            let Some((oldest, bytes)) = self.oldest_recorded(source)? else { break };
            self.recorded()?.remove((source.0, oldest))?;
            recording.kept -= 1;
            recording.bytes = recording.bytes.saturating_sub(bytes);
        }
        put(self.recordings()?, source.0, &recording)?;
        Ok(Some(id))
    }

    /// Removes what was recorded at a source; what is still wanted stays wanted.
    pub fn clear_recorded(&mut self, source: SourceId) -> Result<(), StoreError> {
        let rows = self.recorded()?.range((source.0, 0)..=(source.0, u128::MAX))?;
        let ids = rows.map(|row| Ok(row?.0.value().1)).collect::<Result<Vec<_>, StoreError>>()?;
        for id in ids {
            self.recorded()?.remove((source.0, id))?;
        }
        let recording = self.recording(source)?;
        if recording != Recording::default() {
            let emptied = Recording { left: recording.left, ..Recording::default() };
            put(self.recordings()?, source.0, &emptied)?;
        }
        Ok(())
    }

    /// A source is gone for good.
    pub(super) fn forget_recordings(&mut self, source: SourceId) -> Result<(), StoreError> {
        if self.recordings()?.get(source.0)?.is_some() {
            self.clear_recorded(source)?;
            self.recordings()?.remove(source.0)?;
        }
        Ok(())
    }

    /// Removes requests that were recorded before `before_ms`. Looks at no more than `most` from
    /// `from` on and answers where to go on; nothing when it has seen all.
    pub fn prune_recorded(
        &mut self,
        before_ms: u64,
        from: RecordedPlace,
        most: usize,
    ) -> Result<Option<RecordedPlace>, StoreError> {
        let (mut old, mut next) = (Vec::new(), None);
        for (looked_at, row) in self.recorded()?.range(from..)?.enumerate() {
            let (key, value) = row?;
            if looked_at == most {
                next = Some(key.value());
                break;
            }
            if created_ms(key.value().1) < before_ms {
                old.push((key.value(), value.value().len() as u64));
            }
        }
        for ((source, id), bytes) in old {
            self.recorded()?.remove((source, id))?;
            let mut recording = self.recording(SourceId(source))?;
            recording.kept = recording.kept.saturating_sub(1);
            recording.bytes = recording.bytes.saturating_sub(bytes);
            put(self.recordings()?, source, &recording)?;
        }
        Ok(next)
    }

    fn recording(&mut self, source: SourceId) -> Result<Recording, StoreError> {
        Ok(get(self.recordings()?, source.0)?.unwrap_or_default())
    }

    fn oldest_recorded(&mut self, source: SourceId) -> Result<Option<(u128, u64)>, StoreError> {
        let mut rows = self.recorded()?.range((source.0, 0)..=(source.0, u128::MAX))?;
        let Some(row) = rows.next() else { return Ok(None) };
        let (key, value) = row?;
        Ok(Some((key.value().1, value.value().len() as u64)))
    }
}

impl ReadTables {
    /// How the recording at a source stands.
    pub fn recording(&self, source: SourceId) -> Result<Recording, StoreError> {
        Ok(get(&self.table(schema::RECORDINGS)?, source.0)?.unwrap_or_default())
    }

    /// Where requests are still wanted, and how many.
    pub fn wanted_recordings(&self) -> Result<Vec<(SourceId, u32)>, StoreError> {
        let mut wanted = Vec::new();
        for row in self.table(schema::RECORDINGS)?.iter()? {
            let (source, value) = row?;
            let recording: Recording = decode(value.value())?;
            if recording.left > 0 {
                wanted.push((SourceId(source.value()), recording.left));
            }
        }
        Ok(wanted)
    }

    /// What was recorded at a source, oldest first, without the bodies.
    pub fn recorded(
        &self,
        source: SourceId,
    ) -> Result<Vec<(RecordedId, RecordedRequest)>, StoreError> {
        let table = self.table(schema::RECORDED)?;
        let rows = table.range((source.0, 0)..=(source.0, u128::MAX))?;
        rows.map(|row| {
            let (key, value) = row?;
            Ok((RecordedId(key.value().1), decode_with_tail(value.value())?.0))
        })
        .collect()
    }

    /// One request that was recorded at a source, with what is kept of its body.
    pub fn recorded_request(
        &self,
        source: SourceId,
        id: RecordedId,
    ) -> Result<Option<(RecordedRequest, Vec<u8>)>, StoreError> {
        let Some(row) = self.table(schema::RECORDED)?.get((source.0, id.0))? else {
            return Ok(None);
        };
        let (request, body) = decode_with_tail(row.value())?;
        Ok(Some((request, body.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, BackendLocation, FaultyDisk, install};
    use super::*;
    use crate::lifecycle::snap_in::Event;
    use crate::model::id::SnapInId;
    use crate::model::manifest::Manifest;
    use crate::model::recording::RequestOutcome;
    use crate::store::Store;

    fn request(query: &str) -> RecordedRequest {
        RecordedRequest {
            received_ms: 1,
            method: "POST".to_owned(),
            query: query.to_owned(),
            headers: vec![("a".to_owned(), "b".to_owned())],
            peer: "192.0.2.1".to_owned(),
            masked: Vec::new(),
            body_bytes: 1,
            cut_sha256: None,
            outcome: RequestOutcome::Accepted,
            status: 200,
            reason: None,
            message: None,
            events: Vec::new(),
        }
    }

    async fn begin(store: &Store) -> (SnapInId, SourceId) {
        let id = install(store, Manifest::default(), "x", 1, 0).await;
        let snap_in = store.read(|it| it.snap_in(id)).expect("read").expect("installed");
        (id, snap_in.sources[0])
    }

    async fn want(store: &Store, source: SourceId, count: u32) -> Option<Recording> {
        store.write(move |it| it.want_recorded(source, count)).await.expect("written")
    }

    async fn keep(store: &Store, source: SourceId, query: &str, bytes: usize) -> bool {
        let request = request(query);
        let kept = store.write(move |it| it.keep_recorded(source, &request, &vec![b'x'; bytes]));
        kept.await.expect("written").is_some()
    }

    fn queries(store: &Store, source: SourceId) -> Vec<String> {
        let rows = store.read(|it| it.recorded(source)).expect("read");
        rows.into_iter().map(|(_, it)| it.query).collect()
    }

    #[tokio::test]
    async fn as_many_as_were_asked_for_also_after_a_start() {
        let disk = FaultyDisk::new();
        let open = |now_ms| {
            let disk = disk.clone();
            testing::open(Box::new(BackendLocation(move || disk.clone())), now_ms)
        };
        let store = open(1);
        let (_, source) = begin(&store).await;
        assert!(!keep(&store, source, "none was wanted", 1).await);
        assert_eq!(want(&store, source, 3).await.map(|it| it.left), Some(3));
        assert!(keep(&store, source, "1", 5).await);
        drop(store);

        let store = open(2);
        assert_eq!(store.read(|it| it.wanted_recordings()).expect("read"), [(source, 2)]);
        assert!(keep(&store, source, "2", 1).await && keep(&store, source, "3", 1).await);
        assert!(!keep(&store, source, "4", 1).await);
        assert_eq!(queries(&store, source), ["1", "2", "3"]);
        assert!(store.read(|it| it.wanted_recordings()).expect("read").is_empty());
        let first = store.read(|it| it.recorded(source)).expect("read")[0].0;
        let (found, body) =
            store.read(|it| it.recorded_request(source, first)).expect("read").expect("kept");
        assert_eq!((found.query.as_str(), body.len()), ("1", 5));
        let other = SourceId(source.0 + 1);
        assert!(store.read(|it| it.recorded_request(other, first)).expect("read").is_none());
        assert_eq!(want(&store, other, 3).await, None, "there is no such source");
        // What was asked for is bounded, and can be taken back.
        assert_eq!(want(&store, source, 10_000).await.map(|it| it.left), Some(MOST_WANTED));
        assert_eq!(want(&store, source, 0).await.map(|it| it.left), Some(0));
        assert!(!keep(&store, source, "5", 1).await);
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_all_go_with_the_source() {
        let store = testing::in_memory(1);
        let (id, source) = begin(&store).await;
        want(&store, source, 50).await;
        for n in 0..20 {
            assert!(keep(&store, source, &n.to_string(), MOST_BODY_BYTES).await);
        }
        let recording = store.read(|it| it.recording(source)).expect("read");
        assert!(recording.bytes <= MOST_BYTES && recording.left == 30, "{recording:?}");
        let kept = queries(&store, source);
        assert_eq!((kept[0].as_str(), kept.len()), ("5", 15));
        assert_eq!(recording.kept, 15);

        store.write(move |it| it.clear_recorded(source)).await.expect("written");
        assert!(queries(&store, source).is_empty());
        let recording = store.read(|it| it.recording(source)).expect("read");
        assert_eq!(recording, Recording { left: 30, kept: 0, bytes: 0 });

        assert!(keep(&store, source, "again", 1).await);
        let nothing = serde_json::Map::new();
        let event = Event::Delete { force: false };
        store.write(move |it| it.step_snap_in(id, &event, None, &nothing)).await.expect("written");
        assert!(queries(&store, source).is_empty());
        assert!(!keep(&store, source, "late", 1).await);
        assert_eq!(want(&store, source, 1).await, None);
    }

    #[tokio::test]
    async fn what_is_old_goes_chunk_by_chunk() {
        let store = testing::in_memory(1_000);
        let (_, source) = begin(&store).await;
        want(&store, source, 10).await;
        for n in 0..5 {
            assert!(keep(&store, source, &n.to_string(), 10).await);
        }
        let prune = async |before_ms: u64| {
            let mut from = Some((0, 0));
            while let Some(place) = from {
                let pruned = store.write(move |it| it.prune_recorded(before_ms, place, 2));
                from = pruned.await.expect("written");
            }
            queries(&store, source).len()
        };
        assert_eq!(prune(1_000).await, 5);
        assert_eq!(prune(1_001).await, 0);
        let recording = store.read(|it| it.recording(source)).expect("read");
        assert_eq!(recording, Recording { left: 5, kept: 0, bytes: 0 });
    }
}
