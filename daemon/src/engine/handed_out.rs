//! Secrets that runs asked for while they ran (`snap-ins.resources`), so that what they log of them
//! is masked like those that they were called with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::model::id::RunId;

/// One run asks for so many at most; the rest is not masked, nor would anybody ask for it.
const MOST_SECRETS: usize = 1000;

type Secrets = Vec<Zeroizing<String>>;

/// The secrets of the runs that are on.
#[derive(Clone, Debug, Default)]
pub(super) struct HandedOut(Arc<Mutex<HashMap<RunId, Secrets>>>);

/// A run that is on; what it was given is forgotten with this.
pub(super) struct Running {
    all: HandedOut,
    run: RunId,
}

impl HandedOut {
    /// A run begins.
    pub(super) fn begin(&self, run: RunId) -> Running {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(run, Vec::new());
        Running { all: self.clone(), run }
    }

    /// What a run was given.
    pub(super) fn of(&self, run: RunId) -> Secrets {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&run).cloned().unwrap_or_default()
    }

    /// A run was given a secret. Nothing is kept for one that is not on.
    pub(super) fn add(&self, run: RunId, secret: &Zeroizing<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get_mut(&run)
            && known.len() < MOST_SECRETS
            && !known.contains(secret)
        {
            known.push(secret.clone());
        }
    }
}

impl Running {
    /// What it was given.
    pub(super) fn secrets(&self) -> Secrets {
        self.all.of(self.run)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_as_long_as_their_run_is_on() {
        let all = HandedOut::default();
        let secret = Zeroizing::new("s3cret".to_owned());
        all.add(RunId(1), &secret);
        let one = all.begin(RunId(1));
        let other = all.begin(RunId(2));
        assert!(one.secrets().is_empty());
        all.add(RunId(1), &secret);
        all.add(RunId(1), &secret);
        assert_eq!(one.secrets(), [secret]);
        assert!(other.secrets().is_empty());
        drop(one);
        assert!(!all.0.lock().unwrap().contains_key(&RunId(1)));
    }
}
