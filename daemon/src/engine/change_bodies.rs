//! What sources and outgoing webhooks are told of a change: the JSON that an event of it has as its
//! payload, with its objects as callers are shown them, made once for all of them.
//!
//! Must never: write; keep more than its bounds.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::objects::{Objects, Sight};
use crate::model::event::Cause;
use crate::model::id::ChangeId;
use crate::model::object::{Change, Verb};
use crate::model::timestamp::rfc3339;
use crate::store::{Store, StoreError};

/// Changes that are kept for the sources that come to them later, and their bytes altogether.
const MOST: usize = 2_048;
const MOST_BYTES: usize = 16 << 20;

/// A change as it is told.
#[derive(Debug)]
pub struct Told {
    /// Such as `work_created`.
    pub event_type: String,
    /// Id of the object.
    pub object: String,
    /// When it happened, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// What caused it.
    pub cause: Cause,
    /// `{"id", "timestamp", "type", "<type>": detail}`.
    pub body: Bytes,
    /// `{"<object>": {...}, "old_<object>": {...}}`, a part of the body.
    pub detail: Bytes,
}

/// Reads changes as they are told.
pub struct ChangeBodies {
    store: Arc<Store>,
    objects: Objects,
    recent: Recent,
}

impl ChangeBodies {
    /// Reads those of a store.
    pub fn new(store: Arc<Store>, objects: Objects) -> ChangeBodies {
        ChangeBodies { store, objects, recent: Recent::default() }
    }

    /// Up to `most` changes of these types after a place, in order; fewer when they are large.
    pub fn after(
        &self,
        event_types: &[String],
        after: ChangeId,
        most: usize,
    ) -> Result<Vec<(ChangeId, Arc<Told>)>, StoreError> {
        // Held from here on: others may throw them out of what is kept.
        let known = RefCell::new(HashMap::new());
        let has = |id| match self.recent.get(id) {
            Some(told) => known.borrow_mut().insert(id, told).is_none(),
            None => false,
        };
        let found = self.store.read(|it| it.changes_after(event_types, after, most, has))?;
        let mut changes = Vec::with_capacity(found.len());
        for it in found {
            let told = match it.change {
                Some(change) => Some(self.recent.add(it.id, self.told(&change)?)),
                None => known.borrow().get(&it.id).cloned(),
            };
            changes.extend(told.map(|told| (it.id, told)));
        }
        Ok(changes)
    }

    fn told(&self, change: &Change) -> Result<Told, StoreError> {
        let name = &change.head.object_type;
        let show = |document: &Option<Bytes>| {
            let document = document.as_deref();
            document.map(|it| self.objects.show_document(name, it, &Sight::All)).transpose()
        };
        Ok(told(change, &self.member(name), show(&change.old)?, show(&change.new)?))
    }

    /// What objects of a type are called in what is told of them.
    pub fn member(&self, object_type: &str) -> String {
        let catalog = self.objects.catalog();
        let own = catalog.get(object_type).and_then(|it| it.current().event_member.clone());
        own.unwrap_or_else(|| object_type.to_owned())
    }
}

/// The changes that were converted last.
#[derive(Debug, Default)]
struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<ChangeId, Arc<Told>>,
    /// Oldest first.
    order: VecDeque<ChangeId>,
    bytes: usize,
}

impl Recent {
    fn get(&self, id: ChangeId) -> Option<Arc<Told>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// Keeps one for a while. Answers the one that is kept, which may be somebody else's.
    fn add(&self, id: ChangeId, told: Told) -> Arc<Told> {
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

/// What is told of a change. `member` is what its object is called in it; before and after are the
/// object as it is shown.
fn told(change: &Change, member: &str, before: Option<Value>, after: Option<Value>) -> Told {
    let event_type = change.head.event_type();
    let mut objects = Map::new();
    let (now, old) = match change.head.verb {
        Verb::Created => (after, None),
        Verb::Updated => (after, before),
        Verb::Deleted => (before, None),
    };
    objects.extend(now.map(|it| (member.to_owned(), it)));
    objects.extend(old.map(|it| (format!("old_{member}"), it)));
    let at_ms = change.head.at_ms;
    let head = json!({ "id": change.id, "timestamp": rfc3339(at_ms), "type": event_type });
    let (body, from) = with_detail(&head, &event_type, &Value::from(objects).to_string());
    let body = Bytes::from(body);
    let detail = body.slice(from..body.len() - 1);
    let object = change.head.object.clone();
    Told { event_type, object, at_ms, cause: change.head.cause, body, detail }
}

/// The JSON of an object with one more member, whose value is JSON already and goes in as it is: it is
/// most of the text. Answers where that begins.
pub fn with_detail(head: &Value, name: &str, detail: &str) -> (Vec<u8>, usize) {
    let mut body = head.to_string();
    body.pop();
    body.push(',');
    body.push_str(&Value::from(name).to_string());
    body.push(':');
    let from = body.len();
    body.push_str(detail);
    body.push('}');
    (body.into_bytes(), from)
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
            let detail: Value = serde_json::from_slice(&told.detail).expect("it is JSON");
            assert_eq!(detail, expected[&event_type]);
            assert_eq!((body, told.event_type), (expected, event_type));
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let recent = Recent::default();
        let told = |bytes: usize| Told {
            event_type: String::new(),
            object: String::new(),
            at_ms: 0,
            cause: Cause::default(),
            body: vec![0; bytes].into(),
            detail: Bytes::new(),
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
