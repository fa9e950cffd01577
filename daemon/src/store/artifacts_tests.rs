//! What the store promises of artifacts: what was received is there after any crash, equal chunks are
//! there once, nothing is left of what is gone.

use std::collections::HashSet;
use std::io::ErrorKind;

use redb::ReadableTable;
use sha2::{Digest, Sha256};

use super::database::BackendLocation;
use super::faults::{FaultyDisk, Weather};
use super::*;
use crate::model::artifact::{ArtifactState, CHUNK_BYTES, NewChunk};
use crate::model::id::{ArtifactId, ContentId};

const NOW: u64 = 1_800_000_000_000;
const MANY: u64 = 1 << 40;

fn open_at(disk: &FaultyDisk, now_ms: u64) -> Store {
    let disk = disk.clone();
    testing::open(Box::new(BackendLocation(move || disk.clone())), now_ms)
}

fn part(index: u32, bytes: Vec<u8>) -> NewPart {
    let hash = Sha256::digest(&bytes).into();
    NewPart { chunk: NewChunk { index, bytes }, hash }
}

fn whole(index: u32, filling: u8) -> NewPart {
    part(index, vec![filling; CHUNK_BYTES])
}

async fn create(store: &Store, parent: Option<&str>) -> (ArtifactId, Upload) {
    let new = NewArtifact {
        file_name: "a.txt".to_owned(),
        file_type: "text/plain".to_owned(),
        size: None,
        sha256: None,
        snap_in: None,
        parent: parent.map(str::to_owned),
        created_by: "me".to_owned(),
    };
    let id = store.write(move |it| it.create_artifact(&new)).await.expect("written");
    let content = record(store, id).content;
    (id, Upload { artifact: id, content, received: 0, total: None })
}

fn record(store: &Store, id: ArtifactId) -> ArtifactRecord {
    store.read(|it| it.artifact(id)).expect("read").expect("there")
}

async fn extend(store: &Store, upload: Upload, parts: Vec<NewPart>) -> Upload {
    let extension = store.write(move |it| it.extend_artifact(upload, &parts, MANY)).await;
    let Extension::Stored(next) = extension.expect("written") else { panic!("not stored") };
    next
}

async fn complete(store: &Store, upload: Upload) {
    let done = store.write(move |it| it.complete_artifact(upload, "00")).await;
    assert!(matches!(done, Ok(Completion::Complete(_))), "{done:?}");
}

async fn sweep(store: &Store) {
    while store.write(|it| it.sweep_leftovers(2)).await.expect("written") {}
}

fn bytes_of(store: &Store, content: ContentId) -> Vec<u8> {
    let chunks =
        (0..).map_while(|it| store.read(|tables| tables.chunk(content, it)).expect("read"));
    chunks.flatten().collect()
}

/// Chunks that are there, and that there are no others than parts name.
fn count_chunks(store: &Store) -> usize {
    store
        .read(|tables| {
            let mut named = HashSet::new();
            for row in tables.table(schema::ARTIFACT_PARTS)?.iter()? {
                named.insert(*row?.1.value());
            }
            let (mut found, mut bytes) = (HashSet::new(), 0);
            for row in tables.table(schema::CHUNKS)?.iter()? {
                let (hash, value) = row?;
                bytes += value.value().len() as u64;
                found.insert(*hash.value());
            }
            assert_eq!(named, found);
            assert_eq!(tables.artifact_bytes()?, bytes);
            Ok(found.len())
        })
        .expect("read")
}

#[tokio::test]
async fn what_was_received_is_there_after_a_power_cut_and_goes_on() {
    let disk = FaultyDisk::new();
    let store = open_at(&disk, NOW);
    let (id, mut upload) = create(&store, None).await;
    // The last one is not whole, and grows.
    let parts = [whole(0, 1), whole(1, 2), part(2, vec![3; 100]), whole(2, 3), part(3, vec![4])];
    for part in parts {
        upload = extend(&store, upload, vec![part]).await;
        let survivor = open_at(&disk.after_power_cut(), NOW);
        let found = record(&survivor, id);
        assert_eq!(found.state, ArtifactState::Uploading { received: upload.received });
        assert_eq!(bytes_of(&survivor, found.content).len() as u64, upload.received);
        count_chunks(&survivor);
    }
    let survivor = open_at(&disk.after_power_cut(), NOW);
    let upload = extend(&survivor, upload, vec![part(3, vec![4; 2])]).await;
    complete(&survivor, upload).await;
    let mut expected = vec![1; CHUNK_BYTES];
    expected.extend(vec![2; CHUNK_BYTES]);
    expected.extend(vec![3; CHUNK_BYTES]);
    expected.extend([4, 4]);
    assert_eq!(bytes_of(&survivor, upload.content), expected);
    assert_eq!(count_chunks(&survivor), 4, "those that grew are gone");
}

#[tokio::test]
async fn a_disk_that_fails_in_between_leaves_what_was_received() {
    let disk = FaultyDisk::new();
    let store = open_at(&disk, NOW);
    let (id, upload) = create(&store, None).await;
    let upload = extend(&store, upload, vec![whole(0, 1)]).await;
    for weather in [Weather::SyncFailing, Weather::Failing(ErrorKind::StorageFull)] {
        disk.set_weather(weather);
        let failed = store.write(move |it| it.extend_artifact(upload, &[whole(1, 2)], MANY)).await;
        assert!(matches!(failed, Err(StoreError::Io(_) | StoreError::Full)), "{failed:?}");
        disk.set_weather(Weather::Fine);
        let survivor = open_at(&disk.after_power_cut(), NOW);
        let state = record(&survivor, id).state;
        assert_eq!(state, ArtifactState::Uploading { received: upload.received });
        assert_eq!(count_chunks(&survivor), 1);
        // It is opened again by itself.
        while store.write(|_| Ok(())).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    extend(&store, upload, vec![whole(1, 2)]).await;
    assert_eq!(count_chunks(&store), 2);
}

#[tokio::test]
async fn equal_chunks_are_there_once_and_as_long_as_somebody_has_them() {
    let store = testing::in_memory(NOW);
    let mut ids = Vec::new();
    for last in [7, 8] {
        let (id, upload) = create(&store, None).await;
        let parts = vec![whole(0, 1), whole(1, 1), whole(2, last)];
        let upload = extend(&store, upload, parts).await;
        complete(&store, upload).await;
        ids.push((id, upload.content));
    }
    assert_eq!(count_chunks(&store), 3);
    for (left, (id, content)) in [(2, ids[0]), (0, ids[1])] {
        assert!(store.write(move |it| it.delete_artifact(id)).await.expect("written"));
        assert!(!store.write(move |it| it.delete_artifact(id)).await.expect("written"));
        sweep(&store).await;
        assert!(bytes_of(&store, content).is_empty());
        assert_eq!(count_chunks(&store), left);
    }
}

#[tokio::test]
async fn two_uploads_of_one_artifact_do_not_mix() {
    let store = testing::in_memory(NOW);
    let (id, first) = create(&store, None).await;
    let second = first;
    let first = extend(&store, first, vec![whole(0, 1)]).await;
    let late = store.write(move |it| it.extend_artifact(second, &[whole(0, 2)], MANY)).await;
    assert_eq!(late.expect("written"), Extension::Moved { received: first.received });
    // Begun anew, what the first still sends goes nowhere.
    let anew = store.write(move |it| it.restart_artifact(id)).await.expect("written");
    let anew = anew.expect("there");
    assert_ne!(anew.content, first.content);
    let late = store.write(move |it| it.extend_artifact(first, &[whole(1, 1)], MANY)).await;
    assert_eq!(late.expect("written"), Extension::Moved { received: 0 });
    let late = store.write(move |it| it.complete_artifact(first, "00")).await;
    assert_eq!(late.expect("written"), Completion::Moved);
    // Nor when as much is there again as it had sent.
    let anew = extend(&store, anew, vec![whole(0, 3)]).await;
    assert_eq!(anew.received, first.received);
    let late = store.write(move |it| it.extend_artifact(first, &[whole(1, 1)], MANY)).await;
    assert_eq!(late.expect("written"), Extension::Moved { received: anew.received });
    let late = store.write(move |it| it.complete_artifact(first, "00")).await;
    assert_eq!(late.expect("written"), Completion::Moved);
    complete(&store, anew).await;
    sweep(&store).await;
    assert_eq!(bytes_of(&store, anew.content), vec![3; CHUNK_BYTES]);
    assert_eq!(count_chunks(&store), 1);
    // What is complete stays as it is.
    let late = store.write(move |it| it.extend_artifact(anew, &[whole(0, 1)], MANY)).await;
    assert_eq!(late.expect("written"), Extension::Complete);
    assert_eq!(store.write(move |it| it.restart_artifact(id)).await.expect("written"), None);
}

#[tokio::test]
async fn all_together_have_a_limit_and_equal_ones_count_once() {
    let store = testing::in_memory(NOW);
    let (_, upload) = create(&store, None).await;
    let limit = CHUNK_BYTES as u64;
    let put = async |upload, part: NewPart| {
        let extend =
            store.write(move |it| it.extend_artifact(upload, std::slice::from_ref(&part), limit));
        extend.await.expect("written")
    };
    let Extension::Stored(upload) = put(upload, whole(0, 1)).await else { panic!("refused") };
    assert_eq!(put(upload, part(1, vec![1])).await, Extension::Full);
    assert!(matches!(put(upload, whole(1, 1)).await, Extension::Stored(_)));
    assert_eq!(count_chunks(&store), 1);
}

#[tokio::test]
async fn what_is_attached_is_found_and_let_go() {
    let store = testing::in_memory(NOW);
    let (one, _) = create(&store, Some("wrk_1")).await;
    let (two, _) = create(&store, None).await;
    let attach = async |id, parent: &'static str| {
        store.write(move |it| it.attach_artifact(id, parent)).await.expect("written")
    };
    assert!(matches!(attach(two, "wrk_1").await, Attachment::Attached(_)));
    assert!(matches!(attach(two, "wrk_1").await, Attachment::Attached(_)), "again is the same");
    assert_eq!(attach(two, "wrk_2").await, Attachment::Elsewhere("wrk_1".to_owned()));
    assert_eq!(attach(ArtifactId(1), "wrk_1").await, Attachment::Gone);
    let of = |parent: &'static str, from, limit| {
        let page = store.read(|it| it.artifacts_of(parent, from, limit)).expect("read");
        (page.rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(of("wrk_1", None, 10), (vec![two, one], None));
    assert_eq!(of("wrk_1", None, 1), (vec![two], Some(one.0)));
    assert_eq!(of("wrk_1", Some(one.0), 1), (vec![one], None));
    assert_eq!(of("wrk_", None, 10), (vec![], None));
    let let_go = store.write(|it| it.detach_artifacts_of("wrk_1")).await.expect("written");
    assert_eq!((let_go, of("wrk_1", None, 10)), (2, (vec![], None)));
    assert_eq!(record(&store, one).parent, None);
    assert!(matches!(attach(two, "wrk_2").await, Attachment::Attached(_)));
}

#[tokio::test]
async fn what_was_not_finished_or_belongs_to_nothing_goes_in_time() {
    let disk = FaultyDisk::new();
    let store = open_at(&disk, NOW);
    let (unfinished, _) = create(&store, Some("wrk_1")).await;
    let (loose, upload) = create(&store, None).await;
    let upload = extend(&store, upload, vec![whole(0, 1)]).await;
    complete(&store, upload).await;
    let (attached, upload) = create(&store, Some("wrk_1")).await;
    let upload = extend(&store, upload, vec![whole(0, 1)]).await;
    complete(&store, upload).await;
    let prune = async |unfinished_before_ms, loose_before_ms| {
        let retention = Retention { unfinished_before_ms, loose_before_ms };
        let mut place = Some(0);
        while let Some(from) = place {
            let prune = store.write(move |it| it.prune_artifacts(retention, from, 1));
            place = prune.await.expect("written");
        }
        [unfinished, loose, attached]
            .map(|id| store.read(|it| it.artifact(id)).expect("read").is_some())
    };
    assert_eq!(prune(NOW, NOW).await, [true, true, true], "they are not older than that");
    assert_eq!(prune(NOW + 1, NOW).await, [false, true, true]);
    assert_eq!(prune(NOW + 1, NOW + 1).await, [false, false, true]);
    // A crash before the bytes were removed leaves them to the next start.
    let survivor = open_at(&disk.after_power_cut(), NOW);
    sweep(&survivor).await;
    assert_eq!(count_chunks(&survivor), 1);
    assert_eq!(bytes_of(&survivor, upload.content).len(), CHUNK_BYTES);
    let leftovers =
        survivor.read(|it| Ok(it.table(schema::ARTIFACT_LEFTOVERS)?.first()?.is_none()));
    assert!(leftovers.expect("read"));
}
