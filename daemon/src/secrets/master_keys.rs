//! The master keys of the running daemon: the one in use, the older ones that still open what they
//! sealed, and how one takes the place of another while everything runs.
//!
//! Invariant: what is in use is on the disk. A new key is in the file before anything is sealed or
//! signed with it, and an old one leaves the file only when whoever asks for that knows that no
//! envelope names it any more.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::key_file::{KeyError, KeyHome};
use super::master_key::{KeyId, MasterKey};

/// The master keys. Clones are handles to the same.
#[derive(Clone)]
pub struct MasterKeys(Arc<Shared>);

struct Shared {
    home: KeyHome,
    // A lock that is held for as long as it takes to copy a pointer.
    ring: RwLock<Arc<Ring>>,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

/// The keys as they are at one moment.
pub(super) struct Ring {
    /// Seals and signs.
    pub(super) current: Arc<MasterKey>,
    /// Open and read what they sealed and signed.
    old: Vec<Arc<MasterKey>>,
    /// Have left the file: nothing is sealed with them, but tokens may be about.
    retired: Vec<Arc<MasterKey>>,
}

impl Ring {
    /// All keys, the one in use first.
    pub(super) fn all(&self) -> impl Iterator<Item = &MasterKey> {
        self.in_file().chain(self.retired.iter().map(Arc::as_ref))
    }

    fn in_file(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(self.current.as_ref()).chain(self.old.iter().map(Arc::as_ref))
    }

    fn ids(&self) -> Vec<KeyId> {
        self.in_file().map(MasterKey::id).collect()
    }
}

impl MasterKeys {
    /// Reads the credential in `credentials` (systemd's `$CREDENTIALS_DIRECTORY`) if there is one,
    /// else the file in `state`, if there is one.
    pub fn find(credentials: Option<&Path>, state: &Path) -> Result<Option<MasterKeys>, KeyError> {
        let home = KeyHome::choose(credentials, state)?;
        let Some(keys) = home.read()? else { return Ok(None) };
        let mut keys = keys.into_iter().map(Arc::new);
        let Some(current) = keys.next() else { return Ok(None) };
        Ok(Some(MasterKeys::with(home, current, keys.collect())))
    }

    /// Like [`MasterKeys::find`], and makes a key in `state` when there is none.
    pub fn load(credentials: Option<&Path>, state: &Path) -> Result<MasterKeys, KeyError> {
        if let Some(found) = MasterKeys::find(credentials, state)? {
            return Ok(found);
        }
        let home = KeyHome::choose(credentials, state)?;
        let key = MasterKey::new();
        home.write(&[&key])?;
        Ok(MasterKeys::with(home, Arc::new(key), Vec::new()))
    }

    fn with(home: KeyHome, current: Arc<MasterKey>, old: Vec<Arc<MasterKey>>) -> MasterKeys {
        let ring = RwLock::new(Arc::new(Ring { current, old, retired: Vec::new() }));
        MasterKeys(Arc::new(Shared { home, ring, changing: Mutex::new(()) }))
    }

    /// Where they are.
    pub fn home(&self) -> &KeyHome {
        &self.0.home
    }

    /// The key in use, and the older ones that are still in the file.
    pub fn ids(&self) -> (KeyId, Vec<KeyId>) {
        let ring = self.ring();
        (ring.current.id(), ring.old.iter().map(|it| it.id()).collect())
    }

    /// Makes a new key the one in use. The others stay. Writes the file first; blocks meanwhile.
    pub fn renew(&self) -> Result<KeyId, KeyError> {
        let _alone = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring();
        self.check_file(&ring)?;
        let key = loop {
            let key = MasterKey::new();
            // Ids are short: once in a long while two keys have the same.
            if ring.all().all(|it| it.id() != key.id()) {
                break Arc::new(key);
            }
        };
        let in_file: Vec<&MasterKey> =
            std::iter::once(key.as_ref()).chain(ring.in_file()).collect();
        self.0.home.write(&in_file)?;
        let id = key.id();
        self.change(|now| Ring {
            old: std::iter::once(now.current.clone()).chain(now.old.iter().cloned()).collect(),
            current: key,
            retired: now.retired.clone(),
        });
        Ok(id)
    }

    /// Takes old keys out of the file, for good. The caller knows that nothing is sealed with them.
    /// Until [`MasterKeys::forget_retired`] tokens that they signed are still read. Blocks meanwhile.
    pub fn retire(&self, ids: &[KeyId]) -> Result<(), KeyError> {
        let _alone = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring();
        self.check_file(&ring)?;
        let (going, staying): (Vec<_>, Vec<_>) =
            ring.old.iter().cloned().partition(|it| ids.contains(&it.id()));
        if going.is_empty() {
            return Ok(());
        }
        let in_file: Vec<&MasterKey> =
            std::iter::once(ring.current.as_ref()).chain(staying.iter().map(Arc::as_ref)).collect();
        self.0.home.write(&in_file)?;
        self.change(|now| Ring {
            current: now.current.clone(),
            old: staying,
            retired: now.retired.iter().cloned().chain(going).collect(),
        });
        Ok(())
    }

    /// Whether keys that have left the file are still known.
    pub fn has_retired(&self) -> bool {
        !self.ring().retired.is_empty()
    }

    /// Forgets the keys that have left the file: tokens that they signed are not read any more.
    pub fn forget_retired(&self) {
        let _alone = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(|now| Ring {
            current: now.current.clone(),
            old: now.old.clone(),
            retired: Vec::new(),
        });
    }

    pub(super) fn ring(&self) -> Arc<Ring> {
        self.0.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&Ring) -> Ring) {
        let mut ring = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
        *ring = Arc::new(change(&ring));
    }

    /// Whoever put something else into the file meanwhile must not find it overwritten.
    fn check_file(&self, ring: &Ring) -> Result<(), KeyError> {
        let home = &self.0.home;
        if let KeyHome::Credential(path) = home {
            return Err(KeyError::Credential { path: path.clone() });
        }
        let found = home.read()?;
        let found: Vec<KeyId> = found.iter().flatten().map(MasterKey::id).collect();
        if found == ring.ids() {
            return Ok(());
        }
        Err(KeyError::Changed { path: home.path().to_owned() })
    }
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MasterKeys").field(&self.ring().ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make() -> (tempfile::TempDir, MasterKeys) {
        let state = tempfile::tempdir().expect("tempdir");
        let keys = MasterKeys::load(None, state.path()).expect("made");
        (state, keys)
    }

    fn again(state: &tempfile::TempDir) -> (KeyId, Vec<KeyId>) {
        MasterKeys::load(None, state.path()).expect("read").ids()
    }

    #[test]
    fn a_key_is_made_once() {
        let state = tempfile::tempdir().expect("tempdir");
        assert!(MasterKeys::find(None, state.path()).expect("none is no error").is_none());
        let keys = MasterKeys::load(None, state.path()).expect("made");
        assert_eq!(again(&state), keys.ids());
        assert!(MasterKeys::find(None, state.path()).expect("read").is_some());
    }

    #[test]
    fn the_file_follows_every_change() {
        let (state, keys) = make();
        let (first, _) = keys.ids();
        let second = keys.renew().expect("written");
        assert_eq!((keys.ids(), again(&state)), ((second, vec![first]), (second, vec![first])));
        let third = keys.renew().expect("written");
        assert_eq!(again(&state), (third, vec![second, first]));
        keys.retire(&[first]).expect("written");
        assert_eq!((keys.ids(), again(&state)), ((third, vec![second]), (third, vec![second])));
        // The one in use never goes, and what is gone is no error.
        keys.retire(&[third, first]).expect("nothing to do");
        assert_eq!(again(&state), (third, vec![second]));
    }

    #[test]
    fn a_file_that_somebody_changed_is_left_alone() {
        let (state, keys) = make();
        let path = state.path().join("master.key");
        let theirs = format!("{}\n", "5a".repeat(32));
        std::fs::write(&path, &theirs).expect("written");
        for error in [keys.renew().map(drop), keys.retire(&[])] {
            assert!(matches!(error, Err(KeyError::Changed { .. })), "{error:?}");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("read"), theirs);
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(keys.renew(), Err(KeyError::Changed { .. })));
    }

    #[test]
    fn there_is_an_end_to_keys() {
        let (state, keys) = make();
        let mut made = 1;
        let refused = loop {
            match keys.renew() {
                Ok(_) if made > 100 => panic!("it goes on for ever"),
                Ok(_) => made += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, KeyError::TooMany { .. }), "{refused}");
        assert_eq!(again(&state), keys.ids(), "what was refused is not in the file");
    }
}
