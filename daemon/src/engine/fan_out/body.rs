//! What sources are told of a change: the JSON that an event of it has as its payload, made once for
//! all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::model::event::Cause;
use crate::model::id::ChangeId;
use crate::model::object::{Change, Verb};
use crate::model::timestamp::rfc3339;

/// Changes that are kept for the sources that come to them later, and their bytes altogether.
const MOST: usize = 2_048;
const MOST_BYTES: usize = 16 << 20;

/// A change as sources are told of it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event_type: String,
    pub(super) object: String,
    pub(super) cause: Cause,
    pub(super) body: Bytes,
}

/// The changes that were converted last.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<ChangeId, Arc<Told>>,
    /// Oldest first.
    order: VecDeque<ChangeId>,
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, id: ChangeId) -> Option<Arc<Told>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// Keeps one for a while. Answers the one that is kept, which may be somebody else's.
    pub(super) fn add(&self, id: ChangeId, told: Told) -> Arc<Told> {
        let mut kept = self.lock();
        if let Some(known) = kept.by_id.get(&id) {
            return known.clone();
        }
        let told = Arc::new(told);
        kept.bytes += told.body.len();
        kept.order.push_back(id);
        kept.by_id.insert(id, told.clone());
        while kept.order.len() > MOST || kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(gone) = kept.by_id.remove(&oldest) {
                kept.bytes -= gone.body.len();
            }
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What sources are told of a change. `member` is what its object is called in it; before and after
/// are the object as it is shown.
pub(super) fn told(
    change: &Change,
    member: &str,
    before: Option<Value>,
    after: Option<Value>,
) -> Told {
    let event_type = change.head.event_type();
    let mut objects = Map::new();
    let (now, old) = match change.head.verb {
        Verb::Created => (after, None),
        Verb::Updated => (after, before),
        Verb::Deleted => (before, None),
    };
    objects.extend(now.map(|it| (member.to_owned(), it)));
    objects.extend(old.map(|it| (format!("old_{member}"), it)));
    let body = json!({
        "id": change.id,
        "timestamp": rfc3339(change.head.at_ms),
        "type": event_type,
        (event_type.clone()): objects,
    });
    let object = change.head.object.clone();
    Told { event_type, object, cause: change.head.cause, body: body.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::ChangeHead;

    fn change(verb: Verb) -> Change {
        let head = ChangeHead {
            at_ms: 1_709_251_199_999,
            object_type: "work".to_owned(),
            verb,
            object: "work_1".to_owned(),
            version: 2,
            old_bytes: 0,
            actor: "a".to_owned(),
            cause: Cause::default(),
        };
        Change { id: ChangeId(7), head, old: None, new: None }
    }

    #[test]
    fn a_body_has_the_object_under_its_name_and_the_old_one_for_an_update() {
        let (old, new) = (json!({ "a": 1 }), json!({ "a": 2 }));
        for (verb, before, after, inner) in [
            (Verb::Created, None, Some(&new), json!({ "entry": { "a": 2 } })),
            (
                Verb::Updated,
                Some(&old),
                Some(&new),
                json!({ "entry": { "a": 2 }, "old_entry": { "a": 1 } }),
            ),
            (Verb::Deleted, Some(&old), None, json!({ "entry": { "a": 1 } })),
        ] {
            let told = told(&change(verb), "entry", before.cloned(), after.cloned());
            let body: Value = serde_json::from_slice(&told.body).expect("it is JSON");
            let event_type = format!("work_{}", verb.name());
            let expected = json!({
                "id": ChangeId(7).to_string(),
                "timestamp": "2024-02-29T23:59:59.999Z",
                "type": event_type,
                (event_type.clone()): inner,
            });
            assert_eq!((body, told.event_type), (expected, event_type));
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let recent = Recent::default();
        let told = |bytes: usize| Told {
            event_type: String::new(),
            object: String::new(),
            cause: Cause::default(),
            body: vec![0; bytes].into(),
        };
        let first = recent.add(ChangeId(1), told(1));
        assert!(Arc::ptr_eq(&first, &recent.add(ChangeId(1), told(2))), "the first one counts");
        recent.add(ChangeId(2), told(MOST_BYTES));
        assert!(recent.get(ChangeId(1)).is_none() && recent.get(ChangeId(2)).is_some());
        for id in 3..3 + 2 * MOST as u128 {
            recent.add(ChangeId(id), told(1));
        }
        let kept = recent.lock();
        assert_eq!((kept.order.len(), kept.by_id.len(), kept.bytes), (MOST, MOST, MOST));
    }
}
