//! Things that wait for their turn, each with an id by which it can be taken out again.
//!
//! Ids are the runner's, which may send any: nothing here takes longer because many wait.

use std::collections::{BTreeMap, HashMap};

/// First come, first served.
pub(super) struct Line<T> {
    waiting: BTreeMap<u64, (u64, T)>,
    turns: HashMap<u64, u64>,
    next: u64,
}

impl<T> Line<T> {
    pub(super) fn new() -> Line<T> {
        Line { waiting: BTreeMap::new(), turns: HashMap::new(), next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.turns.contains_key(&id)
    }

    /// Puts something at the end; takes out what waited under the same id.
    pub(super) fn push(&mut self, id: u64, it: T) {
        if let Some(before) = self.turns.insert(id, self.next) {
            self.waiting.remove(&before);
        }
        self.waiting.insert(self.next, (id, it));
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let (_, (id, it)) = self.waiting.pop_first()?;
        self.turns.remove(&id);
        Some((id, it))
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let turn = self.turns.remove(&id)?;
        self.waiting.remove(&turn).map(|(_, it)| it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_the_line_is_not_missed() {
        let mut line = Line::new();
        for id in [7, 3, 5] {
            line.push(id, id * 10);
        }
        assert!(line.has(3) && !line.has(4));
        assert_eq!(line.remove(3), Some(30));
        assert_eq!(line.remove(3), None);
        line.push(7, 1);
        assert_eq!(line.len(), 2);
        assert_eq!((line.pop(), line.pop(), line.pop()), (Some((5, 50)), Some((7, 1)), None));
        assert!(line.is_empty() && !line.has(7));
    }
}
