//! The files of versions on the disk, for runtimes that need them there (`node`, `process`), and what
//! npm installed for them.
//!
//! Owns `<cache_dir>/packages/` and `<cache_dir>/npm/`: a folder for each set of files and for each
//! lock file, named after their hash, made when it is first needed and removed when no version has it
//! or room is needed. What lies there is a cache: it may be deleted at any time and is made again. Must
//! never give out a folder that is not whole, remove one that is in use, write through a link, or let
//! anybody else write there.
//!
//! ```text
//!   packages/<hash>/files/...     the files         .new-<random>    being made
//!   npm/<hash>/node_modules/...   the packages      .gone-<random>   being removed
//!   .../<hash>/complete           how many, how big
//! ```
//!
//! A folder gets its name when it is whole (rename), so a crash leaves a `.new-` that the next start
//! removes. Only one daemon has a cache at a time (`<cache_dir>/lock`): what is in use is known to it
//! alone.

pub mod install;
mod layout;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::layout::{Extent, Place};
use super::pool::{CodeError, PackageFolder};

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Relative, with `/` between plain components.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Whether it can be started.
    pub executable: bool,
}

/// The folders of versions.
#[derive(Clone)]
pub struct Packages(Arc<Inner>);

struct Inner {
    cache_dir: PathBuf,
    /// For people why it cannot be used, if that was so at the start.
    problem: Option<String>,
    most_bytes: u64,
    /// That nobody else has the cache, once that is so.
    lock: Mutex<Option<File>>,
    state: Mutex<State>,
}

/// What a folder is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    place: Place,
    /// The hash of what it holds, or of what it is made from.
    name: String,
}

#[derive(Default)]
struct State {
    folders: HashMap<Key, Folder>,
    /// Counts uses, for their order.
    uses: u64,
}

/// One folder that there is, or that is being made.
#[derive(Default)]
struct Folder {
    bytes: u64,
    last_use: u64,
    /// Those who may still look into it.
    users: Vec<Weak<PackageFolder>>,
    /// Held while it is looked at, made or taken away.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// No version has it any more.
    unwanted: bool,
}

impl Folder {
    fn is_in_use(&self) -> bool {
        self.users.iter().any(|it| it.strong_count() > 0)
    }
}

/// What there is of the packages of a lock file.
pub(super) enum Installed {
    /// All of them; they stay while this is held.
    There(Arc<PackageFolder>),
    /// Nothing; who asked is the only one who may install them now.
    Missing(Vacant),
}

/// The right to make a folder.
pub(super) struct Vacant {
    packages: Packages,
    key: Key,
    root: PathBuf,
    staging: tempfile::TempDir,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Packages {
    /// Looks at what is there already, and removes what a crash left behind. When the directory
    /// cannot be used, every question for a folder is answered with why.
    pub fn open(cache_dir: &Path, most_bytes: u64) -> Packages {
        let mut state = State::default();
        let mut problem = None;
        let mut found = Vec::new();
        let mut lock = None;
        for place in Place::ALL {
            let root = layout::make_root(cache_dir, place).and_then(|root| {
                // Else it would remove what another one is making.
                if lock.is_none() {
                    lock = Some(layout::lock(cache_dir)?);
                }
                Ok(root)
            });
            match root {
                Ok(root) => {
                    let all = layout::leftovers(&root).into_iter();
                    found.extend(all.map(|(used, name, bytes)| (used, Key { place, name }, bytes)));
                }
                Err(why) => problem = Some(why),
            }
        }
        found.sort();
        for (_, key, bytes) in found {
            state.uses += 1;
            let folder = Folder { bytes, last_use: state.uses, ..Folder::default() };
            state.folders.insert(key, folder);
        }
        let cache_dir = cache_dir.to_owned();
        let (lock, state) = (Mutex::new(lock), Mutex::new(state));
        Packages(Arc::new(Inner { cache_dir, problem, most_bytes, lock, state }))
    }

    /// Why nothing can be laid out, if that is so.
    pub fn problem(&self) -> Option<&str> {
        self.0.problem.as_deref()
    }

    /// The folder of the files that have this name (a hash), laid out if it is not there or not whole.
    /// `unpack` gives the files, and `about` what a runner has to know, both off the async threads.
    pub async fn folder(
        &self,
        name: &str,
        unpack: impl FnOnce() -> Result<Vec<PackageFile>, CodeError> + Send + 'static,
        about: impl FnOnce(&Path) -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<PackageFolder>, CodeError> {
        let key = key_of(Place::Files, name)?;
        // Whoever else wants it waits here; nobody takes it away meanwhile.
        let turn = self.turn(&key).await;
        let packages = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            // In here, because this goes on when nobody waits for it any more.
            let _turn = turn;
            let root = packages.0.root(key.place)?;
            let name = key.name.clone();
            let extent = match layout::whole(&root, Place::Files, &name) {
                Some(extent) => extent,
                None => layout::lay_out(&root, &name, &unpack()?).map_err(|error| {
                    let at = root.display();
                    CodeError::NotNow(format!("the files cannot be laid out in {at}: {error}"))
                })?,
            };
            let path = layout::contents(&root, Place::Files, &name);
            let about = about(&path);
            let folder = Arc::new(PackageFolder { path, about });
            packages.is_used(key, extent, &folder);
            Ok(folder)
        });
        made.await.map_err(|error| not_now(&error))?
    }

    /// The `node_modules` that were installed under this name (a hash), or the right to do that.
    pub(super) async fn installed(&self, name: &str) -> Result<Installed, CodeError> {
        let key = key_of(Place::Npm, name)?;
        let turn = self.turn(&key).await;
        let (inner, own_key) = (self.0.clone(), key.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let root = inner.root(own_key.place)?;
            match layout::whole(&root, Place::Npm, &own_key.name) {
                Some(extent) => Ok((root, Ok(extent))),
                None => layout::stage(&root).map(|staging| (root, Err(staging))).map_err(|error| {
                    CodeError::NotNow(format!("nothing can be made in the cache: {error}"))
                }),
            }
        });
        let (root, found) = looked.await.map_err(|error| not_now(&error))??;
        Ok(match found {
            Ok(extent) => {
                let path = layout::contents(&root, Place::Npm, &key.name);
                let folder = Arc::new(PackageFolder { path, about: Vec::new() });
                self.is_used(key, extent, &folder);
                Installed::There(folder)
            }
            Err(staging) => {
                let packages = self.clone();
                Installed::Missing(Vacant { packages, key, root, staging, _turn: turn })
            }
        })
    }

    async fn turn(&self, key: &Key) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut state = self.0.state();
            state.uses += 1;
            let last_use = state.uses;
            let folder = state.folders.entry(key.clone()).or_default();
            folder.last_use = last_use;
            folder.unwanted = false;
            folder.turn.clone()
        };
        turn.lock_owned().await
    }

    fn is_used(&self, key: Key, extent: Extent, folder: &Arc<PackageFolder>) {
        {
            let mut state = self.0.state();
            let known = state.folders.entry(key).or_default();
            known.bytes = extent.bytes;
            known.users.retain(|it| it.strong_count() > 0);
            known.users.push(Arc::downgrade(folder));
        }
        self.tidy();
    }

    /// Says which folders versions still have; the others go as soon as nobody uses them. Within a
    /// tokio runtime.
    pub fn keep_only(&self, wanted: &HashSet<String>) {
        for (key, folder) in &mut self.0.state().folders {
            folder.unwanted = match key.place {
                Place::Files => !wanted.contains(&key.name),
                // Versions have a copy; another version may have the same lock file.
                Place::Npm => false,
            };
        }
        self.tidy();
    }

    /// Removes what no version has, and what was not used for the longest time while there is too
    /// much. What is in use stays, whatever it is. Within a tokio runtime.
    pub fn tidy(&self) {
        let mut gone = Vec::new();
        {
            let mut state = self.0.state();
            let mut total: u64 = state.folders.values().map(|it| it.bytes).sum();
            let mut order: Vec<(bool, u64, Key)> = state
                .folders
                .iter()
                .map(|(key, it)| (!it.unwanted, it.last_use, key.clone()))
                .collect();
            order.sort_unstable();
            for (is_wanted, _, key) in order {
                if is_wanted && total <= self.0.most_bytes {
                    break;
                }
                let Some(folder) = state.folders.get(&key) else { continue };
                // Whoever has its turn, or waits for it, is about to use it.
                if folder.is_in_use() || Arc::strong_count(&folder.turn) > 1 {
                    continue;
                }
                let root = self.0.cache_dir.join(key.place.name());
                match layout::take_away(&root, &key.name) {
                    Ok(at) => {
                        total = total.saturating_sub(folder.bytes);
                        state.folders.remove(&key);
                        gone.extend(at);
                    }
                    Err(error) => {
                        let folder = root.join(key.name);
                        let folder = folder.display();
                        tracing::warn!(%folder, %error, "a folder of the cache cannot be removed");
                    }
                }
            }
        }
        if gone.is_empty() {
            return;
        }
        // They have no name any more that anybody looks for; the next start finds what is left.
        tokio::task::spawn_blocking(move || {
            for path in gone {
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "files cannot be removed");
                }
            }
        });
    }
}

impl Vacant {
    /// Where to put things; what is to stay is in a folder `node_modules` in it.
    pub(super) fn path(&self) -> &Path {
        self.staging.path()
    }

    /// Says that it is whole: it gets its name in one step.
    pub(super) async fn fill(self) -> Result<Arc<PackageFolder>, CodeError> {
        let sealed = tokio::task::spawn_blocking(move || {
            // The turn too: this goes on when nobody waits for it any more.
            let Vacant { packages, key, root, staging, _turn } = self;
            let name = key.name.clone();
            let path = layout::contents(&root, Place::Npm, &name);
            let extent = layout::seal(&root, &name, staging).map_err(|error| {
                CodeError::NotNow(format!("{} cannot be made: {error}", path.display()))
            })?;
            let folder = Arc::new(PackageFolder { path, about: Vec::new() });
            packages.is_used(key, extent, &folder);
            Ok(folder)
        });
        sealed.await.map_err(|error| not_now(&error))?
    }
}

fn key_of(place: Place, name: &str) -> Result<Key, CodeError> {
    if layout::is_name(name) {
        return Ok(Key { place, name: name.to_owned() });
    }
    Err(CodeError::Never(format!("`{name}` is no hash of files")))
}

fn not_now(error: &tokio::task::JoinError) -> CodeError {
    CodeError::NotNow(error.to_string())
}

impl Inner {
    /// Where folders of a place are made; somebody may have deleted it since the last time.
    fn root(&self, place: Place) -> Result<PathBuf, CodeError> {
        let root = layout::make_root(&self.cache_dir, place).map_err(CodeError::NotNow)?;
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !lock.as_ref().is_some_and(|it| layout::holds(&self.cache_dir, it)) {
            // Whoever had it may have ended; and what was locked may have been deleted.
            *lock = Some(layout::lock(&self.cache_dir).map_err(CodeError::NotNow)?);
        }
        Ok(root)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
