//! The actors of integrations, with a real store in memory.

use std::time::Duration;

use actix::Addr;

use super::integration::Panic;
use super::tests::{Bench, run};
use super::*;
use crate::engine::tell::{IntegrationChange, TellError};
use crate::model::access::{AccessChange, PrincipalId, PrincipalKind, StoredPrincipal};
use crate::model::id::{IntegrationId, UserId};
use crate::store::{AccessOutcome, IntegrationRecord, PutIntegration, testing};

impl Bench {
    async fn integration(&self, name: &str, owner: Option<PrincipalId>) -> IntegrationId {
        let new = testing::integration(name);
        let made = self.services.store.write(move |tables| {
            let id = IntegrationId(tables.new_id());
            let put = tables.create_integration(id, &new, b"sealed", owner)?;
            assert_eq!(put, PutIntegration::Stored);
            Ok(id)
        });
        made.await.expect("written")
    }

    async fn actor(&self, id: IntegrationId) -> Option<Addr<Integration>> {
        let found = self.registry.send(FindIntegration(id)).await.expect("the registry lives");
        found.expect("the store reads")
    }

    fn stored(&self, id: IntegrationId) -> Option<IntegrationRecord> {
        self.services.store.read(|tables| tables.integration(id)).expect("read")
    }
}

fn renamed(name: &str) -> IntegrationChange {
    IntegrationChange { name: Some(name.to_owned()), ..IntegrationChange::default() }
}

#[test]
fn changes_are_made_in_the_order_in_which_they_came() {
    run(async {
        let bench = Bench::plain().await;
        let id = bench.integration("ops", None).await;
        let actor = bench.actor(id).await.expect("it is there");
        let asked: Vec<_> =
            (0..50).map(|at| actor.send(ChangeIntegration(renamed(&format!("n{at}"))))).collect();
        let answers = futures_util::future::join_all(asked).await;
        for (at, answer) in answers.into_iter().enumerate() {
            let (record, _) = answer.expect("it lives").expect("stored");
            assert_eq!((record.name, record.generation), (format!("n{at}"), 2 + at as u64));
        }
        assert_eq!(bench.stored(id).expect("there").name, "n49");
    });
}

#[test]
fn a_change_of_who_hangs_up_is_carried_out() {
    run(async {
        let bench = Bench::plain().await;
        let id = bench.integration("ops", None).await;
        let actor = bench.actor(id).await.expect("it is there");
        let asked = actor.send(ChangeIntegration(renamed("other")));
        // The actor begins with it, and then nobody waits for the answer.
        tokio::task::yield_now().await;
        drop(asked);
        // What comes after it begins when it is done.
        let tested = actor.send(TestIntegration).await.expect("it lives").expect("it is there");
        assert!(tested.is_err(), "no plugin has a type `test`");
        assert_eq!(bench.stored(id).expect("there").name, "other");
    });
}

#[test]
fn one_that_is_deleted_has_no_actor_and_no_grants() {
    run(async {
        let bench = Bench::plain().await;
        let store = &bench.services.store;
        let ada = StoredPrincipal {
            kind: PrincipalKind::User,
            name: "ada".to_owned(),
            description: String::new(),
            created_ms: 0,
            created_by: "test".to_owned(),
        };
        let made = store.write(move |it| it.change_access(0, &AccessChange::Create(ada.clone())));
        let AccessOutcome::Done(Some(ada)) = made.await.expect("written") else {
            panic!("nobody else changes it")
        };
        let id = bench.integration("ops", Some(ada)).await;
        let nobody = PrincipalId::User(UserId(4711));
        let other = bench.integration("other", Some(nobody)).await;
        let grants = || store.read(|tables| tables.access()).expect("read").grants;
        assert_eq!(grants().len(), 1, "of who is there, and of nobody else");
        let actor = bench.actor(id).await.expect("it is there");
        actor.send(DeleteIntegration).await.expect("it lives").expect("deleted");
        assert!(grants().is_empty());
        assert!(bench.actor(id).await.is_none());
        assert!(bench.actor(other).await.is_some());
        let again = actor.send(DeleteIntegration).await;
        assert!(!matches!(again, Ok(Ok(()))), "{again:?}");
        let gone = bench.services.tell.update(id, renamed("x")).await.expect_err("it is gone");
        assert!(matches!(gone, TellError::NoSuchIntegration), "{gone:?}");
    });
}

#[test]
fn an_actor_that_panics_is_built_again_and_its_lane_goes_on() {
    run(async {
        let bench = Bench::plain().await;
        let id = bench.integration("ops", None).await;
        let actor = bench.actor(id).await.expect("it is there");
        assert!(actor.send(Panic).await.is_err(), "it panicked");
        let built = bench.actor(id).await.expect("it is there");
        // The new one finds the lane of before, and takes changes.
        let changed = built.send(ChangeIntegration(renamed("other"))).await.expect("it lives");
        assert_eq!(changed.expect("stored").0.name, "other");
        // That the first one has ended is heard of now at the latest: the second one stays.
        let same = bench.actor(id).await.expect("it is there");
        assert_eq!(same, built);
    });
}

#[test]
fn a_lane_that_panics_is_begun_again() {
    run(async {
        let bench = Bench::plain().await;
        let id = bench.integration("ops", None).await;
        let actor = bench.actor(id).await.expect("it is there");
        // What is asked of an actor is answered when it has started.
        let _ = actor.send(TestIntegration).await.expect("it lives");
        let tell = bench.services.tell.clone();
        let (first, panic) = tell.lane_task(id).expect("it is served");
        panic();
        let begun_again = async {
            while tell.lane_task(id).is_none_or(|it| it.0 == first) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_secs(10);
        tokio::time::timeout(patience, begun_again).await.expect("it is begun again");
        assert_eq!(bench.actor(id).await, Some(actor), "its actor did not notice");
    });
}
