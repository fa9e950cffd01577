//! What event a verified request becomes: its key, its order, and what makes it a duplicate.

use sha2::{Digest, Sha256};

use super::headers::Headers;
use super::rejection::Rejection;
use super::selector::Selector;
use super::walk::{self, Found, Pointer};

/// The key of events whose sender does not name one: losing them would be worse than a plain name.
pub(super) const UNNAMED: &str = "received";

/// Longest event key and `sync_id` in bytes. A dedup key that is longer is hashed.
const MOST_KEY: usize = 256;

/// Where key, order and id of an event are.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pointers: Vec<Pointer>,
    /// The first that is there counts. Each is one text, or several with a dot between them, of
    /// which the first has to be there.
    pub(super) event_key: Vec<Vec<Selector>>,
    /// Configured, not the scheme's.
    pub(super) own_event_key: bool,
    /// The first that is there counts.
    pub(super) dedup_key: Vec<Selector>,
    /// Configured, not the scheme's.
    pub(super) own_dedup_key: bool,
    pub(super) sync_id: Option<Selector>,
}

impl Shape {
    /// The place at which what stands at a pointer is found.
    pub(super) fn look_for(&mut self, pointer: Pointer) -> usize {
        if let Some(place) = self.pointers.iter().position(|it| *it == pointer) {
            return place;
        }
        self.pointers.push(pointer);
        self.pointers.len() - 1
    }

    /// Whether anything is looked for in the body.
    pub(super) fn reads_body(&self) -> bool {
        !self.pointers.is_empty()
    }

    pub(super) fn own_event_key(&self) -> bool {
        self.own_event_key
    }

    pub(super) fn own_dedup_key(&self) -> bool {
        self.own_dedup_key
    }

    /// Reads a document; `what` names it.
    pub(super) fn walk(&self, text: &[u8], what: &str) -> Result<Found, Rejection> {
        walk::walk(text, &self.pointers)
            .map_err(|error| Rejection::body(format!("{what} is not taken as JSON: {error}")))
    }

    /// The event key.
    pub(super) fn event_key(
        &self,
        headers: Headers<'_>,
        found: &Found,
    ) -> Result<String, Rejection> {
        for parts in &self.event_key {
            let mut parts = parts.iter().map(|it| it.text(headers, found));
            let Some(Some(first)) = parts.next() else { continue };
            let mut key = first.into_owned();
            for part in parts.flatten() {
                key.push('.');
                key.push_str(&part);
            }
            return checked("the event key", key);
        }
        Ok(UNNAMED.to_owned())
    }

    pub(super) fn sync_id(
        &self,
        headers: Headers<'_>,
        found: &Found,
    ) -> Result<Option<String>, Rejection> {
        let text = self.sync_id.as_ref().and_then(|it| it.text(headers, found));
        text.map(|it| checked("the `sync_id`", it.into_owned())).transpose()
    }

    pub(super) fn dedup_key(&self, headers: Headers<'_>, found: &Found) -> Option<String> {
        let key = self.dedup_key.iter().find_map(|it| it.text(headers, found))?;
        Some(bounded(key.into_owned()))
    }
}

/// A text that may name an event or a group of them.
pub(super) fn checked(what: &str, text: String) -> Result<String, Rejection> {
    if text.len() > MOST_KEY {
        let message = format!("{what} has {} bytes, {MOST_KEY} are allowed", text.len());
        return Err(Rejection::body(message));
    }
    if text.chars().any(char::is_control) {
        return Err(Rejection::body(format!("{what} has control characters")));
    }
    Ok(text)
}

/// A dedup key of bounded length.
pub(super) fn bounded(key: String) -> String {
    if key.len() <= MOST_KEY {
        return key;
    }
    format!("sha256:{}", hex::encode(Sha256::digest(key)))
}
