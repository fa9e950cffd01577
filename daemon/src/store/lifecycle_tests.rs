//! What lifecycle events and changes of configuration leave in the store.

use serde_json::{Map, json};

use super::*;
use crate::lifecycle::snap_in::{Effect, Event, Hook, HookOutcome, Refusal};
use crate::model::id::{EffectId, SnapInId};
use crate::model::manifest::Manifest;
use crate::model::snap_in::SnapInState;

const NOW: u64 = 1_000_000;

async fn step(
    store: &Store,
    id: SnapInId,
    event: Event,
    done: Option<EffectId>,
    inputs: Map<String, serde_json::Value>,
) -> Transition {
    let written = store.write(move |it| it.step_snap_in(id, &event, done, &inputs));
    written.await.expect("written")
}

async fn activate(store: &Store, id: SnapInId) -> EffectId {
    match step(store, id, Event::Activate, None, Map::new()).await {
        Transition::Moved { effects, .. } => effects[0].0,
        other => panic!("{other:?}"),
    }
}

fn finished() -> Event {
    Event::HookFinished { hook: Hook::Activate, outcome: HookOutcome::Succeeded }
}

#[tokio::test]
async fn a_hook_that_was_overtaken_decides_nothing() {
    let store = testing::in_memory(NOW);
    let id = testing::install(&store, Manifest::default(), "t", 1, 1).await;
    let first = activate(&store, id).await;
    let lost = Event::SystemError { reason: "a keyring broke".to_owned() };
    step(&store, id, lost, None, Map::new()).await;
    assert!(store.read(|it| it.pending_effects()).expect("read").is_empty());
    let second = activate(&store, id).await;

    let late = step(&store, id, finished(), Some(first), Map::new()).await;
    assert!(matches!(late, Transition::Refused(Refusal::NotAwaited(_))), "{late:?}");
    let record = store.read(|it| it.snap_in(id)).expect("read").expect("there");
    assert_eq!(record.state, SnapInState::Activating, "the second hook still runs");
    let pending = store.read(|it| it.pending_effects()).expect("read");
    assert!(
        matches!(pending[..], [PendingEffect { id, effect: Effect::RunHook(_), .. }] if id == second)
    );

    let inputs = json!({ "written": 1 }).as_object().cloned().expect("an object");
    step(&store, id, finished(), Some(second), inputs).await;
    let record = store.read(|it| it.snap_in(id)).expect("read").expect("there");
    assert_eq!((record.state, &record.inputs["written"]), (SnapInState::Active, &json!(1)));
}

#[tokio::test]
async fn values_change_no_route_and_nobody_overwrites_what_he_did_not_see() {
    let store = testing::in_memory(NOW);
    let id = testing::install(&store, Manifest::default(), "t", 1, 1).await;
    let effect = activate(&store, id).await;
    step(&store, id, finished(), Some(effect), Map::new()).await;
    let record = store.read(|it| it.snap_in(id)).expect("read").expect("there");
    let generation = || store.read(|it| it.route_generation(record.sources[0])).expect("read");
    let before = generation();
    let change = |revision, value: i32| Configuration {
        revision,
        inputs: [("count".to_owned(), json!(value))].into_iter().collect(),
        version: None,
        changed_by: "test".to_owned(),
    };
    let (mine, his) = (change(record.revision, 1), change(record.revision, 2));
    let moved = store.write(move |it| it.configure_snap_in(id, &mine)).await.expect("written");
    assert!(matches!(moved, Transition::Moved { ref generations, .. } if generations.is_empty()));
    let refused = store.write(move |it| it.configure_snap_in(id, &his)).await.expect("written");
    assert!(matches!(refused, Transition::ChangedMeanwhile), "{refused:?}");
    let after = store.read(|it| it.snap_in(id)).expect("read").expect("there");
    assert_eq!((after.inputs["count"].clone(), generation()), (json!(1), before));

    let none = json!({ "count": null }).as_object().cloned().expect("an object");
    step(&store, id, Event::Deactivate { force: false }, None, none).await;
    let after = store.read(|it| it.snap_in(id)).expect("read").expect("there");
    assert!(after.inputs.is_empty() && generation() > before, "null puts back to the default");
}
