//! Removing, in the background, what changes of types leave behind: rows of fields that no type has.
//!
//! Invariant: at most one task does it, however many changes there are. It takes the turn of who changes
//! types; a task for each change would keep the next change waiting for its turn.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{ObjectError, Objects};
use crate::store::TypeChange;

/// Rows that one transaction removes.
const ROWS: usize = 500;

/// Something that one task at a time does, once more if it was asked for meanwhile.
#[derive(Debug, Default)]
pub(super) struct OnceMore(AtomicU8);

impl OnceMore {
    const IDLE: u8 = 0;
    const RUNNING: u8 = 1;
    const ASKED: u8 = 2;

    /// Asks for it; says whether whoever asks has to begin.
    fn ask(&self) -> bool {
        let next = |it| Some(if it == Self::IDLE { Self::RUNNING } else { Self::ASKED });
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        before.is_ok_and(|it| it == Self::IDLE)
    }

    /// It was done; says whether it is to be done again.
    fn is_asked_again(&self) -> bool {
        let next = |it| Some(if it == Self::ASKED { Self::RUNNING } else { Self::IDLE });
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        before.is_ok_and(|it| it == Self::ASKED)
    }
}

impl Objects {
    /// Removes, in the background, rows of fields that no type has any more.
    pub(super) fn tidy_up(&self) {
        if !self.0.tidying.ask() {
            return;
        }
        let objects = self.clone();
        self.0.runtime.spawn(async move {
            loop {
                if let Err(error) = objects.forget_retired().await {
                    tracing::warn!(%error, "rows of fields that types no longer have are removed later");
                }
                if !objects.0.tidying.is_asked_again() {
                    return;
                }
            }
        });
    }

    /// Removes the rows of fields that types have no more. Nobody writes such rows, and their numbers
    /// are not given again: types may change meanwhile.
    async fn forget_retired(&self) -> Result<(), ObjectError> {
        let mut done = Vec::new();
        for kind in self.reload()?.types() {
            for field in kind.record.retired.clone() {
                let number = kind.number;
                let forget = move || {
                    self.0.store.write(move |tables| tables.forget_field(number, field, ROWS))
                };
                while forget().await? {}
                done.push((number, field));
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        let _changing = self.0.changing.lock().await;
        let catalog = self.reload()?;
        let mut changes = Vec::new();
        for kind in catalog.types() {
            let mut record = kind.record.clone();
            record.retired.retain(|it| !done.contains(&(kind.number, *it)));
            if record.retired != kind.record.retired {
                changes.push(TypeChange::Put(kind.number, Box::new(record)));
            }
        }
        // Somebody else was faster: nobody has to wait for a commit of nothing.
        if !changes.is_empty() {
            self.write_types(&catalog, changes).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_does_it_and_once_more_for_all_who_asked_meanwhile() {
        let tidying = OnceMore::default();
        assert!(tidying.ask());
        assert!(!tidying.is_asked_again());
        assert!(tidying.ask());
        for _ in 0..1_000 {
            assert!(!tidying.ask(), "somebody does it");
        }
        assert!(tidying.is_asked_again());
        assert!(!tidying.ask());
        assert!(tidying.is_asked_again());
        assert!(!tidying.is_asked_again());
        assert!(tidying.ask(), "it is over");
    }
}
