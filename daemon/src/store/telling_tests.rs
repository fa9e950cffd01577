//! Tests of integrations, subscriptions and what goes through them.

use serde_json::{Map, json};

use super::testing::{self, in_memory, install};
use super::*;
use crate::lifecycle::attempts::{Next, Tries};
use crate::lifecycle::sending::{Circuit, Outcome};
use crate::lifecycle::snap_in::{Event, Hook, HookOutcome};
use crate::lifecycle::source::Change;
use crate::model::event::Cause;
use crate::model::id::{
    AutomationId, DeliveryId, EventId, IntegrationId, OccurrenceId, RunId, SnapInId, SourceId,
    SubscriptionId, VersionId,
};
use crate::model::integration::{Decision, Message, NoDemand, Verdict};
use crate::model::manifest::Manifest;
use crate::model::occurrence::{Selector, Trigger};
use crate::model::run::{AttemptOutcome, RunError, RunHead, RunOutput, RunTrigger};

/// A store, an integration, and a subscription through it.
struct Bench {
    store: Store,
    integration: IntegrationId,
    subscription: SubscriptionId,
}

fn wants(integration: IntegrationId, trigger: &str) -> SubscriptionRecord {
    SubscriptionRecord {
        integration,
        trigger: trigger.parse().expect("a selector"),
        scope: None,
        filter: None,
        title: None,
        text: None,
        group_wait_seconds: 0,
        created_ms: 0,
        created_by: "test".to_owned(),
        modified_ms: 0,
        modified_by: "test".to_owned(),
    }
}

async fn make(store: &Store, name: &str) -> IntegrationId {
    let new = testing::integration(name);
    let made = store.write(move |tables| {
        let id = IntegrationId(tables.new_id());
        assert_eq!(tables.create_integration(id, &new, b"sealed", None)?, PutIntegration::Stored);
        Ok(id)
    });
    made.await.expect("written")
}

async fn subscribe(store: &Store, new: SubscriptionRecord) -> SubscriptionId {
    let made = store.write(move |tables| {
        let id = SubscriptionId(tables.new_id());
        assert_eq!(tables.create_subscription(id, &new)?, PutDemand::Stored);
        Ok(id)
    });
    made.await.expect("written")
}

impl Bench {
    async fn new() -> Bench {
        let store = in_memory(1_000);
        let integration = make(&store, "ops").await;
        let subscription = subscribe(&store, wants(integration, "custom.*")).await;
        Bench { store, integration, subscription }
    }

    async fn publish(&self, name: &str) -> OccurrenceId {
        let new = NewOccurrence::new(Trigger::Custom(name.to_owned()));
        self.store.write(move |tables| tables.occur(&new)).await.expect("written")
    }

    fn step(&self, to: OccurrenceId) -> TellingStep {
        self.store
            .read(|tables| {
                let (from, revision) = (tables.telling_cursor()?, tables.telling_revision()?);
                Ok(TellingStep { from, to, revision })
            })
            .expect("read")
    }

    fn told(&self, id: OccurrenceId, group_wait_ms: u64) -> DecidedOccurrence {
        let message = Message { title: format!("about {id}"), ..Message::default() };
        DecidedOccurrence {
            id,
            trigger: Trigger::Custom("x".to_owned()),
            work: None,
            plans: vec![PlannedTelling::Tell {
                integration: self.integration,
                subscription: self.subscription,
                message,
                group_wait_ms,
                failed: None,
            }],
        }
    }

    async fn tell(&self, step: TellingStep, decided: Vec<DecidedOccurrence>) -> Tellings {
        self.store.write(move |it| it.tell_occurrences(step, &decided)).await.expect("written")
    }

    fn queued(&self) -> Vec<(DeliveryId, TellingRecord)> {
        let id = self.integration;
        let read = self.store.read(|tables| {
            let mut found = Vec::new();
            for place in tables.queued_tellings(id, None, 100)? {
                let id = DeliveryId(place.id);
                found.extend(tables.telling(self.integration, id)?.map(|it| (id, it)));
            }
            Ok(found)
        });
        read.expect("read")
    }

    async fn settle(&self, id: DeliveryId, next: Next, circuit: Option<Circuit>) {
        let settled = SettledTelling {
            attempt: TellingAttempt {
                at_ms: 1,
                took_ms: 1,
                status: "transient".to_owned(),
                error: None,
                message_id: None,
                generation: 1,
            },
            tries: Tries { failed: 1, throttled: 0 },
            next,
            thread: None,
            circuit: circuit.map(|it| (it, Some(NewOccurrence::new(Trigger::IntegrationDegraded)))),
        };
        let integration = self.integration;
        let write = self.store.write(move |it| it.settle_telling(integration, id, &settled));
        write.await.expect("written");
    }

    fn occurrences(&self) -> Vec<StoredOccurrence> {
        self.store.read(|it| it.occurrences_after(OccurrenceId(0), 100)).expect("read")
    }
}

fn triggers(store: &Store) -> Vec<String> {
    let all = store.read(|it| it.occurrences_after(OccurrenceId(0), 100)).expect("read");
    all.iter().map(|it| it.head.trigger.to_string()).collect()
}

#[tokio::test]
async fn an_occurrence_is_decided_on_once() {
    let bench = Bench::new().await;
    let first = bench.publish("a").await;
    let second = bench.publish("b").await;
    let step = bench.step(second);
    let decided = vec![bench.told(first, 0), bench.told(second, 0)];
    let stored = Tellings::Stored(vec![bench.integration]);
    assert_eq!(bench.tell(step, decided.clone()).await, stored);
    assert_eq!(bench.queued().len(), 2);
    // A kill between the commit and the answer has the same step made again.
    assert_eq!(bench.tell(step, decided).await, Tellings::Stale);
    assert_eq!(bench.queued().len(), 2);
    let decisions = bench.store.read(|it| it.decisions(first)).expect("read").expect("stored");
    let delivery = bench.queued()[0].0;
    assert_eq!(decisions.decisions[0].verdict, Verdict::Told { delivery });
}

#[tokio::test]
async fn what_was_decided_with_something_older_is_decided_anew() {
    let bench = Bench::new().await;
    let first = bench.publish("a").await;
    let step = bench.step(first);
    subscribe(&bench.store, wants(bench.integration, "run.failed")).await;
    assert_eq!(bench.tell(step, vec![bench.told(first, 0)]).await, Tellings::Stale);
    assert!(bench.queued().is_empty());
    let again = bench.step(first);
    assert!(matches!(bench.tell(again, vec![bench.told(first, 0)]).await, Tellings::Stored(_)));
}

#[tokio::test]
async fn many_of_a_kind_gather_until_they_are_closed() {
    let bench = Bench::new().await;
    for _ in 0..30 {
        let id = bench.publish("a").await;
        bench.tell(bench.step(id), vec![bench.told(id, 60_000)]).await;
    }
    let queued = bench.queued();
    let [(id, record)] = queued.as_slice() else { panic!("one message: {queued:?}") };
    assert_eq!((record.count, record.occurrences.len(), record.titles.len()), (30, 20, 20));
    assert_eq!(record.due_ms, 61_000);
    let (integration, id) = (bench.integration, *id);
    let closed = bench.store.write(move |it| it.close_telling(integration, id)).await;
    assert!(closed.expect("written").is_some_and(|it| !it.gathers));
    let late = bench.publish("a").await;
    bench.tell(bench.step(late), vec![bench.told(late, 60_000)]).await;
    let counts: Vec<u32> = bench.queued().iter().map(|(_, it)| it.count).collect();
    assert_eq!(counts, [30, 1], "what is being sent takes no more");
}

#[tokio::test]
async fn a_full_queue_is_said_and_loses_nothing() {
    let bench = Bench::new().await;
    let integration = bench.integration;
    for _ in 0..MOST_QUEUED_TELLINGS / 1_000 {
        let mut decided = Vec::new();
        for _ in 0..1_000 {
            decided.push(bench.told(bench.publish("a").await, 0));
        }
        let last = decided.last().expect("some").id;
        bench.tell(bench.step(last), decided).await;
    }
    let one_more = bench.publish("a").await;
    bench.tell(bench.step(one_more), vec![bench.told(one_more, 60_000)]).await;
    let (queued, ended) =
        bench.store.read(|tables| tables.count_tellings(integration)).expect("read");
    assert_eq!((queued, ended), (MOST_QUEUED_TELLINGS, 1));
    let filter = TellingFilter { state: Some(TellingState::Dead), subscription: None };
    let list = bench.store.read(|it| it.list_tellings(&[integration], &filter, None, 10));
    let (dead, _) = list.expect("read");
    let (_, id, record) = &dead[0];
    assert!(
        record.reason.as_ref().is_some_and(|it| it.contains("10000 messages wait")),
        "{record:?}"
    );
    let id = *id;
    let sent = bench.store.write(move |it| it.resend_telling(integration, id)).await;
    assert!(sent.expect("written"), "a dead letter can be sent again");
}

#[tokio::test]
async fn a_message_ends_once_and_may_be_sent_again() {
    let bench = Bench::new().await;
    let integration = bench.integration;
    let first = bench.publish("a").await;
    bench.tell(bench.step(first), vec![bench.told(first, 0)]).await;
    let id = bench.queued()[0].0;
    bench.settle(id, Next::Again { at_ms: 5_000 }, None).await;
    assert_eq!(bench.queued()[0].1.due_ms, 5_000);
    bench.settle(id, Next::GivenUp, None).await;
    bench.settle(id, Next::Delivered, None).await;
    let (_, record) = bench.store.read(|it| it.find_telling(id)).expect("read").expect("kept");
    assert_eq!((record.state, record.attempt_count), (TellingState::Dead, 2));
    let again = move |tables: &mut WriteTables<'_>| tables.resend_telling(integration, id);
    assert!(bench.store.write(again).await.expect("written"));
    assert!(!bench.store.write(again).await.expect("written"), "it has not ended");
    let (id_again, record) = bench.queued().remove(0);
    assert_eq!((id_again, record.tries), (id, Tries::default()));
    assert_eq!(record.attempts.len(), 2, "what there was stays to be seen");
}

#[tokio::test]
async fn a_circuit_is_of_the_integration_as_it_was() {
    let bench = Bench::new().await;
    let id = bench.integration;
    for name in ["a", "b"] {
        let occurrence = bench.publish(name).await;
        bench.tell(bench.step(occurrence), vec![bench.told(occurrence, 0)]).await;
    }
    let [(first, _), (second, _)] = bench.queued().try_into().expect("two");
    let reason = "refused".to_owned();
    let open = Circuit::default().after(&Outcome::Config { reason }, 1_000);
    bench.settle(first, Next::Again { at_ms: 0 }, Some(open.clone())).await;
    let circuit = |store: &Store| store.read(|it| it.integration_circuit(id)).expect("read");
    assert_eq!(circuit(&bench.store), open);
    let count =
        |store: &Store| triggers(store).iter().filter(|it| *it == "integration.degraded").count();
    assert_eq!(count(&bench.store), 1, "it is told in the same commit");
    let changed = IntegrationRecord { generation: 2, ..testing::integration("ops") };
    let put = bench.store.write(move |it| it.put_integration(id, 1, &changed, None)).await;
    assert_eq!(put.expect("written"), PutIntegration::Stored);
    assert_eq!(circuit(&bench.store), Circuit::default(), "a change closes it");
    bench.settle(second, Next::Again { at_ms: 0 }, Some(open)).await;
    assert_eq!(circuit(&bench.store), Circuit::default(), "that was the one of before");
    assert_eq!(count(&bench.store), 1);
}

#[tokio::test]
async fn names_are_unique_within_a_type_and_all_goes_with_an_integration() {
    let bench = Bench::new().await;
    let id = bench.integration;
    let twin = testing::integration("ops");
    let put = bench.store.write(move |tables| {
        let id = IntegrationId(tables.new_id());
        tables.create_integration(id, &twin, b"other", None)
    });
    assert_eq!(put.await.expect("written"), PutIntegration::NameTaken(id));
    let scope: crate::model::scope::ScopePrefix = "prod".parse().expect("a prefix");
    let other = make(&bench.store, "other").await;
    for integration in [id, other] {
        let scope = scope.clone();
        let put = bench.store.write(move |it| it.add_supply(integration, &scope, "test")).await;
        assert_eq!(put.expect("written"), PutDemand::Stored);
    }
    let first = bench.publish("a").await;
    bench.tell(bench.step(first), vec![bench.told(first, 60_000)]).await;
    assert!(bench.store.write(move |it| it.delete_integration(id)).await.expect("written"));
    let left = bench.store.read(|tables| {
        assert_eq!(tables.envelope(id.0)?, None, "the secret is gone at once");
        assert_eq!(tables.integration_by_name("test", "ops")?, None);
        assert_eq!(tables.supplies_of(other)?.len(), 1, "that of the other stays");
        Ok((tables.who_is_told()?, tables.integrations_with_tellings()?))
    });
    let (telling, with_tellings) = left.expect("read");
    assert_eq!((telling.integrations.len(), telling.subscriptions.len()), (1, 0));
    assert_eq!(with_tellings, [(id, false)]);
    let forget = move |tables: &mut WriteTables<'_>| tables.forget_tellings(id, 100);
    assert!(!bench.store.write(forget).await.expect("written"));
    let left = bench.store.read(|it| it.integrations_with_tellings()).expect("read");
    assert!(left.is_empty());
}

#[tokio::test]
async fn only_what_was_decided_on_is_pruned() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bench.publish("a").await);
    }
    let prune = |before: OccurrenceId, most_kept: u64| {
        bench.store.write(move |it| it.prune_occurrences(before, most_kept, 100))
    };
    let all = OccurrenceId(u128::MAX);
    prune(all, 0).await.expect("written");
    assert_eq!(bench.occurrences().len(), 5, "nobody was told of them yet");
    let decision = Decision {
        integration: bench.integration,
        subscription: None,
        verdict: Verdict::NoDemand(NoDemand::NoSubscription),
    };
    let decided = |id| DecidedOccurrence {
        id,
        trigger: Trigger::Custom("x".to_owned()),
        work: None,
        plans: vec![PlannedTelling::Not(decision.clone())],
    };
    bench.tell(bench.step(ids[3]), ids[..4].iter().copied().map(decided).collect()).await;
    prune(OccurrenceId(0), 3).await.expect("written");
    let left: Vec<OccurrenceId> = bench.occurrences().iter().map(|it| it.id).collect();
    assert_eq!(left, ids[2..], "three are kept");
    assert_eq!(bench.store.read(|it| it.decisions(ids[0])).expect("read"), None);
    prune(all, 100).await.expect("written");
    let left: Vec<OccurrenceId> = bench.occurrences().iter().map(|it| it.id).collect();
    assert_eq!(left, ids[4..], "the last one is not decided on");
}

async fn end_run(store: &Store, snap_in: SnapInId, state: RunState) {
    use crate::model::run::RunState as S;
    let write = store.write(move |tables| {
        let id = RunId(tables.new_id());
        let trigger = RunTrigger::Automation { automation: AutomationId(1), event: EventId(2) };
        let mut head =
            RunHead::new(snap_in, VersionId(1), "work".to_owned(), trigger, tables.now_ms());
        let error = RunError { message: "no".to_owned(), ..RunError::default() };
        let outcome = match state {
            S::Succeeded => AttemptOutcome::Succeeded,
            _ => AttemptOutcome::Failed(error),
        };
        head.end_with(state, outcome, 5);
        tables.record_run(id, &head, &RunOutput::default())
    });
    write.await.expect("written");
}

use crate::model::run::RunState;

#[tokio::test]
async fn what_is_frequent_is_written_only_while_somebody_wants_it() {
    let store = in_memory(1_000);
    let snap_in = install(&store, Manifest::default(), "t", 1, 0).await;
    end_run(&store, snap_in, RunState::Succeeded).await;
    end_run(&store, snap_in, RunState::Failed).await;
    assert_eq!(triggers(&store), ["run.failed"]);
    let integration = make(&store, "ops").await;
    let elsewhere = SubscriptionRecord {
        scope: Some("other".parse().expect("a prefix")),
        ..wants(integration, "run.*")
    };
    let id = subscribe(&store, elsewhere).await;
    end_run(&store, snap_in, RunState::Succeeded).await;
    assert_eq!(triggers(&store).len(), 1, "nobody wants it there");
    let here = wants(integration, "run.succeeded");
    let here = subscribe(&store, here).await;
    end_run(&store, snap_in, RunState::Succeeded).await;
    assert_eq!(triggers(&store), ["run.failed", "run.succeeded"]);
    for id in [id, here] {
        store.write(move |it| it.delete_subscription(id)).await.expect("written");
    }
    end_run(&store, snap_in, RunState::Succeeded).await;
    assert_eq!(triggers(&store).len(), 2);
}

#[tokio::test]
async fn states_are_told_in_the_commit_that_makes_them() {
    let store = in_memory(1_000);
    let snap_in = install(&store, Manifest::default(), "t", 1, 0).await;
    let source = store.read(|it| it.snap_in(snap_in)).expect("read").expect("there").sources[0];
    let step = |event: Event| {
        let write = store.write(move |it| it.step_snap_in(snap_in, &event, None, &Map::new()));
        async move { write.await.expect("written") }
    };
    let changed = |source: SourceId, change: Change| {
        let write = store.write(move |it| it.change_source(source, &change));
        async move { write.await.expect("written") }
    };
    step(Event::Activate).await;
    let outcome = HookOutcome::Failed { message: "no licence".to_owned() };
    step(Event::HookFinished { hook: Hook::Activate, outcome }).await;
    step(Event::Activate).await;
    step(Event::HookFinished { hook: Hook::Activate, outcome: HookOutcome::Succeeded }).await;
    changed(source, Change::Fail { problem: "bad policy".to_owned() }).await;
    changed(source, Change::Fail { problem: "bad policy".to_owned() }).await;
    changed(source, Change::Resume).await;
    step(Event::SystemError { reason: "lost".to_owned() }).await;
    assert_eq!(
        triggers(&store),
        [
            "snap_in.failed",
            "snap_in.activated",
            "source.blocked",
            "source.resumed",
            "snap_in.failed"
        ]
    );
    let about = store.read(|it| it.occurrences_about(&snap_in.to_string(), 10)).expect("read");
    assert_eq!(about.len(), 3);
    assert_eq!(about[2].members["reason"], "no licence");
    assert_eq!(about[0].head.scope.as_ref().map(|it| it.as_str()), Some("default/default/p"));
}

#[tokio::test]
async fn texts_of_others_are_cut_and_a_chain_goes_on() {
    let store = in_memory(1_000);
    let snap_in = install(&store, Manifest::default(), "t", 1, 0).await;
    let write = store.write(move |tables| {
        let id = RunId(tables.new_id());
        let mut head = RunHead::new(snap_in, VersionId(1), "work".to_owned(), RunTrigger::Call, 0);
        head.cause = Cause { run: None, hops: 16 };
        let message = "x".repeat(100_000);
        let error = RunError { message, ..RunError::default() };
        head.end_with(RunState::Failed, AttemptOutcome::Failed(error), 5);
        tables.record_run(id, &head, &RunOutput::default())?;
        let mut new = NewOccurrence::new(Trigger::Custom("x".to_owned()));
        for at in 0..100 {
            new.members.insert(format!("m{at}"), json!("y".repeat(1_000)));
        }
        tables.occur(&new)
    });
    write.await.expect("written");
    let found = store.read(|it| it.occurrences_after(OccurrenceId(0), 10)).expect("read");
    let text = found[0].members["error"]["message"].as_str().expect("a text");
    assert_eq!(text.chars().count(), 2_001);
    assert_eq!(found[0].head.cause.hops, 17, "beyond the end, so that it is told to nobody");
    assert!(found[1].members.is_empty(), "what is too large is left out");
    let selector = Selector::All;
    assert!(selector.wants(&found[1].head.trigger));
}
