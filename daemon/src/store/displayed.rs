//! What is displayed: the last snap-kit body of each component, page and action of a snap-in, for
//! whoever looks later.
//!
//! Invariant: those of a snap-in have at most [`MOST_BYTES`], and are at most [`MOST_DISPLAYED`]; the
//! one that was displayed longest ago goes first, and the last one never. They go with the snap-in, and none is stored for one that is deleted.

use redb::ReadableTable;

use super::record::{decode_with_tail, encode_with_tail};
use super::records::DisplayedRecord;
use super::tables::{ReadTables, WriteTables};
use super::{StoreError, schema};
use crate::model::display::DisplayPlace;
use crate::model::id::SnapInId;
use crate::model::snap_in::SnapInState;

/// So much is kept for each snap-in.
pub const MOST_BYTES: usize = 8 * 1024 * 1024;
/// So many bodies are kept for each: all are looked at whenever one is kept.
pub const MOST_DISPLAYED: usize = 1024;

/// One of them.
struct Kept {
    displayed_ms: u64,
    key: String,
    bytes: usize,
}

impl WriteTables<'_> {
    /// Keeps what is displayed at a place from now on; answers whether it was, which it is not when
    /// the snap-in is gone.
    pub fn keep_displayed(
        &mut self,
        id: SnapInId,
        place: &DisplayPlace,
        record: &DisplayedRecord,
        body: &[u8],
    ) -> Result<bool, StoreError> {
        if self.snap_in_state(id)?.is_none_or(|it| it == SnapInState::Deleted) {
            return Ok(false);
        }
        let key = place.key();
        self.displayed()?
            .insert((id.0, key.as_str()), encode_with_tail(record, body)?.as_slice())?;
        let mut others = self.displayed_of(id)?;
        others.retain(|it| it.key != key);
        others.sort_unstable_by_key(|it| it.displayed_ms);
        let mut count = others.len() + 1;
        let mut bytes = body.len() + others.iter().map(|it| it.bytes).sum::<usize>();
        for oldest in others {
            if count <= MOST_DISPLAYED && bytes <= MOST_BYTES {
                break;
            }
            self.displayed()?.remove((id.0, oldest.key.as_str()))?;
            (count, bytes) = (count - 1, bytes - oldest.bytes);
        }
        Ok(true)
    }

    /// A snap-in is deleted.
    pub(super) fn forget_displayed(&mut self, id: SnapInId) -> Result<(), StoreError> {
        for kept in self.displayed_of(id)? {
            self.displayed()?.remove((id.0, kept.key.as_str()))?;
        }
        Ok(())
    }

    fn displayed_of(&mut self, id: SnapInId) -> Result<Vec<Kept>, StoreError> {
        let end = id.0.saturating_add(1);
        let rows = self.displayed()?.range((id.0, "")..(end, ""))?;
        rows.map(|row| {
            let (key, value) = row?;
            let (record, body) = decode_with_tail::<DisplayedRecord>(value.value())?;
            let (key, bytes) = (key.value().1.to_owned(), body.len());
            Ok(Kept { displayed_ms: record.displayed_ms, key, bytes })
        })
        .collect()
    }
}

impl ReadTables {
    /// What is displayed at a place, with its body.
    pub fn displayed(
        &self,
        id: SnapInId,
        place: &DisplayPlace,
    ) -> Result<Option<(DisplayedRecord, Vec<u8>)>, StoreError> {
        let table = self.table(schema::DISPLAYED)?;
        let Some(row) = table.get((id.0, place.key().as_str()))? else { return Ok(None) };
        let (record, body) = decode_with_tail::<DisplayedRecord>(row.value())?;
        Ok(Some((record, body.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, BackendLocation, FaultyDisk, install};
    use super::*;
    use crate::lifecycle::snap_in::Event;
    use crate::model::manifest::Manifest;
    use crate::store::Store;

    fn open(disk: &FaultyDisk) -> Store {
        let disk = disk.clone();
        testing::open(Box::new(BackendLocation(move || disk.clone())), 1)
    }

    fn place(name: &str, object: Option<&str>) -> DisplayPlace {
        DisplayPlace::Component { name: name.to_owned(), object: object.map(str::to_owned) }
    }

    async fn keep(store: &Store, id: SnapInId, place: DisplayPlace, displayed_ms: u64) -> bool {
        let record = DisplayedRecord { run: None, displayed_ms };
        let body = displayed_ms.to_string();
        let kept = store.write(move |it| it.keep_displayed(id, &place, &record, body.as_bytes()));
        kept.await.expect("written")
    }

    fn body(store: &Store, id: SnapInId, place: &DisplayPlace) -> Option<Vec<u8>> {
        store.read(|it| it.displayed(id, place)).expect("read").map(|(_, body)| body)
    }

    #[tokio::test]
    async fn the_last_of_each_place_is_kept_and_survives() {
        let disk = FaultyDisk::new();
        let store = open(&disk);
        let id = install(&store, Manifest::default(), "x", 0, 0).await;
        for (object, at) in [(None, 1), (Some("TKT-1"), 2), (Some("TKT-1"), 3), (Some("a/b"), 4)] {
            assert!(keep(&store, id, place("panel", object), at).await);
        }
        drop(store);
        let store = open(&disk);
        for (object, found) in [
            (None, Some("1")),
            (Some("TKT-1"), Some("3")),
            (Some("a/b"), Some("4")),
            (Some("a"), None),
        ] {
            let found = found.map(|it| it.as_bytes().to_vec());
            assert_eq!(body(&store, id, &place("panel", object)), found, "{object:?}");
        }
        assert_eq!(body(&store, SnapInId(id.0 + 1), &place("panel", None)), None);
    }

    #[tokio::test]
    async fn the_oldest_go_and_all_with_the_snap_in() {
        let store = testing::in_memory(1);
        let id = install(&store, Manifest::default(), "x", 0, 0).await;
        let at = |n: usize| place("panel", Some(&n.to_string()));
        for n in 0..MOST_DISPLAYED + 2 {
            // The second is displayed again, later than all others.
            let displayed_ms = if n == 1 { 1_000 } else { n as u64 };
            assert!(keep(&store, id, at(n), displayed_ms).await);
        }
        for (n, is_there) in [(0, false), (1, true), (2, false), (3, true), (MOST_DISPLAYED, true)]
        {
            assert_eq!(body(&store, id, &at(n)).is_some(), is_there, "{n}");
        }
        // Large ones make room for themselves.
        let record = DisplayedRecord { run: None, displayed_ms: 2_000 };
        let large = vec![b'1'; MOST_BYTES - 100];
        let kept = store.write(move |it| it.keep_displayed(id, &at(700), &record, &large));
        assert!(kept.await.expect("written"));
        assert!(body(&store, id, &at(700)).is_some() && body(&store, id, &at(3)).is_none());
        let last = at(MOST_DISPLAYED + 1);
        assert!(body(&store, id, &last).is_some(), "of the small ones the last have room");

        // One that is older than all others is kept too: it is what is displayed now.
        assert!(keep(&store, id, at(500), 0).await);
        assert!(body(&store, id, &at(500)).is_some());

        let event = Event::Delete { force: false };
        let nothing = serde_json::Map::new();
        store.write(move |it| it.step_snap_in(id, &event, None, &nothing)).await.expect("written");
        assert!(body(&store, id, &at(500)).is_none() && body(&store, id, &at(1)).is_none());
        assert!(!keep(&store, id, at(1), 9).await);
        assert!(body(&store, id, &at(1)).is_none());
    }
}
