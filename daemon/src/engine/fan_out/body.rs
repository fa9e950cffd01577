//! What sources are told of a change: the JSON that an event of it has as its payload, made once for
//! all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::model::event::Cause;
use crate::model::id::ChangeId;
use crate::model::object::{Change, Verb};
use crate::model::timestamp::rfc3339;
use crate::store::StoreError;

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

/// What sources are told of a change.
pub(super) fn told(change: &Change) -> Result<Told, StoreError> {
    let event_type = change.head.event_type();
    let object_type = &change.head.object_type;
    let part = |object: &Option<Bytes>| -> Result<Option<Box<RawValue>>, StoreError> {
        let Some(object) = object else { return Ok(None) };
        let object = serde_json::from_slice(object)
            .map_err(|it| StoreError::corrupt(format!("an unreadable object of a change: {it}")))?;
        Ok(Some(object))
    };
    let (old, new) = (part(&change.old)?, part(&change.new)?);
    let old_name = format!("old_{object_type}");
    let mut members: Vec<(&str, &RawValue)> = Vec::with_capacity(2);
    match change.head.verb {
        Verb::Created => members.extend(new.iter().map(|it| (object_type.as_str(), &**it))),
        Verb::Updated => {
            members.extend(new.iter().map(|it| (object_type.as_str(), &**it)));
            members.extend(old.iter().map(|it| (old_name.as_str(), &**it)));
        }
        Verb::Deleted => members.extend(old.iter().map(|it| (object_type.as_str(), &**it))),
    }
    let mut body = format!(
        "{{\"id\":\"{}\",\"timestamp\":\"{}\",\"type\":\"{event_type}\",\"{event_type}\":{{",
        change.id,
        rfc3339(change.head.at_ms)
    );
    for (place, (name, object)) in members.into_iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        body.push_str(&format!("{comma}\"{name}\":"));
        body.push_str(object.get());
    }
    body.push_str("}}");
    let object = change.head.object.clone();
    Ok(Told { event_type, object, cause: change.head.cause, body: body.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::object::ChangeHead;

    fn change(verb: Verb, old: Option<&str>, new: Option<&str>) -> Change {
        let bytes = |it: &str| Bytes::copy_from_slice(it.as_bytes());
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
        Change { id: ChangeId(7), head, old: old.map(bytes), new: new.map(bytes) }
    }

    fn body(change: &Change) -> Value {
        let told = told(change).expect("it is JSON");
        serde_json::from_slice(&told.body).expect("it is JSON")
    }

    #[test]
    fn a_body_has_the_object_under_its_type_and_the_old_one_for_an_update() {
        let (old, new) = (r#"{"a":1}"#, r#"{"a":2}"#);
        let body_of = |verb: Verb, inner: Value| {
            let event_type = format!("work_{}", verb.name());
            json!({
                "id": ChangeId(7).to_string(),
                "timestamp": "2024-02-29T23:59:59.999Z",
                "type": event_type,
                (event_type.clone()): inner,
            })
        };
        let created = change(Verb::Created, None, Some(new));
        assert_eq!(body(&created), body_of(Verb::Created, json!({ "work": { "a": 2 } })));
        let updated = change(Verb::Updated, Some(old), Some(new));
        let inner = json!({ "work": { "a": 2 }, "old_work": { "a": 1 } });
        assert_eq!(body(&updated), body_of(Verb::Updated, inner));
        let deleted = change(Verb::Deleted, Some(old), None);
        assert_eq!(body(&deleted), body_of(Verb::Deleted, json!({ "work": { "a": 1 } })));
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
