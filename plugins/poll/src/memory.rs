//! What is kept from one poll to the next, and which items are new by it.
//!
//! Ids are kept as hashes of eight bytes: those of the last response, and some that were seen before
//! and are gone, because lists flicker. So the memory is bounded by the size of a response.
//!
//! Must never: hold a secret. What tells requests apart is a hash so short that nothing can be
//! guessed from it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Ids that are remembered although the last response did not have them.
pub(crate) const MOST_OLDER: usize = 1_000;

/// One item of a response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// What tells it apart from others of this source.
    pub(crate) id: String,
    pub(crate) payload: Value,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// What is polled: when it is something else, everything begins anew.
    pub(crate) setup: String,
    /// How it was asked for last: when that changes, a failed poll is tried again at once.
    pub(crate) request: String,
    /// When it was asked for last.
    pub(crate) asked_ms: u64,
    /// When it is asked for next.
    pub(crate) next_ms: u64,
    /// Polls in a row that failed.
    #[serde(default)]
    pub(crate) failures: u32,
    /// What is sent as `If-None-Match`.
    #[serde(default)]
    pub(crate) etag: Option<String>,
    /// What is sent as `If-Modified-Since`.
    #[serde(default)]
    pub(crate) modified: Option<String>,
    /// What `cursor_jq` gave last.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    /// Whether what was there at first has been remembered or emitted.
    #[serde(default)]
    pub(crate) is_begun: bool,
    #[serde(default)]
    seen: Seen,
}

/// Hashes of ids, the last response's first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Seen(Vec<u64>);

impl From<String> for Seen {
    fn from(text: String) -> Seen {
        let read = |it: &[u8]| u64::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok();
        Seen(text.as_bytes().chunks(16).filter_map(read).collect())
    }
}

impl From<Seen> for String {
    fn from(seen: Seen) -> String {
        seen.0.iter().map(|it| format!("{it:016x}")).collect()
    }
}

/// What a response has that is new.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct News {
    /// To be emitted, in the order of the response.
    pub(crate) items: Vec<Item>,
    /// New ones that are for the next poll.
    pub(crate) left: usize,
}

impl Memory {
    /// Nothing yet, of this setup.
    pub(crate) fn of(setup: &str) -> Memory {
        Memory { setup: setup.to_owned(), ..Memory::default() }
    }

    /// Takes the items of a response in: at most so many that are new.
    pub(crate) fn news(&mut self, items: Vec<Item>, most: usize) -> News {
        let known: HashSet<u64> = self.seen.0.iter().copied().collect();
        let mut news = News::default();
        let mut present = Vec::with_capacity(items.len());
        let mut here = HashSet::with_capacity(items.len());
        for item in items {
            let id = short_hash(&item.id);
            if !here.insert(id) {
                continue;
            }
            if known.contains(&id) {
                present.push(id);
            } else if news.items.len() < most {
                present.push(id);
                news.items.push(item);
            } else {
                news.left += 1;
            }
        }
        let gone = self.seen.0.iter().filter(|it| !here.contains(it)).take(MOST_OLDER);
        present.extend(gone);
        self.seen = Seen(present);
        news
    }

    /// Whether this is another state of the one text that there is.
    pub(crate) fn is_other_text(&mut self, text: &str) -> bool {
        let hash = short_hash(text);
        let is_other = self.seen.0 != [hash];
        self.seen = Seen(vec![hash]);
        is_other
    }
}

/// Sixteen bytes of a hash, as text.
pub(crate) fn long_hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..16])
}

fn short_hash(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}

/// The first bytes of a hash over parts, as text.
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>, bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..bytes])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items(ids: &[&str]) -> Vec<Item> {
        ids.iter().map(|it| Item { id: (*it).to_owned(), payload: json!(it) }).collect()
    }

    fn ids(news: &News) -> Vec<&str> {
        news.items.iter().map(|it| it.id.as_str()).collect()
    }

    #[test]
    fn what_was_seen_is_not_new() {
        let mut memory = Memory::default();
        assert_eq!(ids(&memory.news(items(&["a", "b", "a"]), 9)), ["a", "b"]);
        assert_eq!(ids(&memory.news(items(&["b", "c"]), 9)), ["c"]);
        assert_eq!(ids(&memory.news(items(&["a", "c"]), 9)), Vec::<&str>::new(), "it flickered");
    }

    #[test]
    fn what_is_too_much_is_left_for_the_next() {
        let mut memory = Memory::default();
        let news = memory.news(items(&["a", "b", "c"]), 2);
        assert_eq!((ids(&news), news.left), (vec!["a", "b"], 1));
        let news = memory.news(items(&["a", "b", "c", "d"]), 2);
        assert_eq!((ids(&news), news.left), (vec!["c", "d"], 0));
    }

    #[test]
    fn memory_is_bounded_and_survives_being_stored() {
        let mut memory = Memory::default();
        for page in 0..30 {
            let names: Vec<String> = (0..100).map(|it| format!("{page}-{it}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(memory.news(items(&names), 1_000).items.len(), 100);
        }
        assert_eq!(memory.seen.0.len(), 100 + MOST_OLDER);
        let stored = json!(memory);
        assert_eq!(serde_json::from_value::<Memory>(stored).unwrap(), memory);
        // The latest of those that are gone are kept.
        assert!(memory.news(items(&["29-5", "20-99"]), 9).items.is_empty());
        assert_eq!(memory.news(items(&["10-0"]), 9).items.len(), 1);
        for odd in ["", "xyz", "ä", "0123456789abcdefg"] {
            assert!(Seen::from(odd.to_owned()).0.len() <= 1, "{odd}");
        }
    }

    #[test]
    fn a_text_is_compared_with_the_last_one_only() {
        let mut memory = Memory::default();
        let changes = ["a", "a", "b", "a"].map(|it| memory.is_other_text(it));
        assert_eq!(changes, [true, false, true, true]);
    }
}
