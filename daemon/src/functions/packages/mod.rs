//! The files of versions on the disk, for runtimes that need them there (`node`, `process`).
//!
//! Owns `<cache_dir>/packages/`: a folder for each set of files, named after their hash, laid out
//! when it is first needed and removed when no version has it or room is needed. What lies there is a
//! cache: it may be deleted at any time and is made again. Must never give out a folder that is not
//! whole, remove one that is in use, write through a link, or let anybody else write there.
//!
//! ```text
//!   <hash>/files/...   the files         .new-<random>    being laid out
//!   <hash>/complete    how many, how big .gone-<random>   being removed
//! ```
//!
//! A folder gets its name when it is whole (rename), so a crash leaves a `.new-` that the next start
//! removes.

pub mod install;
mod layout;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::layout::Extent;
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
    /// `<cache_dir>/packages`, or for people why it cannot be used.
    root: Result<PathBuf, String>,
    most_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    folders: HashMap<String, Folder>,
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

impl Packages {
    /// Looks at what is there already, and removes what a crash left behind. When the directory
    /// cannot be used, every question for a folder is answered with why.
    pub fn open(cache_dir: &Path, most_bytes: u64) -> Packages {
        let root = layout::make_root(cache_dir);
        let mut state = State::default();
        if let Ok(root) = &root {
            for (name, bytes) in layout::leftovers(root) {
                state.uses += 1;
                let folder = Folder { bytes, last_use: state.uses, ..Folder::default() };
                state.folders.insert(name, folder);
            }
        }
        Packages(Arc::new(Inner { root, most_bytes, state: Mutex::new(state) }))
    }

    /// Why nothing can be laid out, if that is so.
    pub fn problem(&self) -> Option<&str> {
        self.0.root.as_ref().err().map(String::as_str)
    }

    /// The folder of the files that have this name (a hash), laid out if it is not there or not whole.
    /// `unpack` gives the files, and `about` what a runner has to know, both off the async threads.
    pub async fn folder(
        &self,
        name: &str,
        unpack: impl FnOnce() -> Result<Vec<PackageFile>, CodeError> + Send + 'static,
        about: impl FnOnce(&Path) -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<PackageFolder>, CodeError> {
        let inner = &self.0;
        let root = inner.root.clone().map_err(CodeError::NotNow)?;
        if !layout::is_name(name) {
            return Err(CodeError::Never(format!("`{name}` is no hash of files")));
        }
        let turn = {
            let mut state = inner.state();
            state.uses += 1;
            let last_use = state.uses;
            let folder = state.folders.entry(name.to_owned()).or_default();
            folder.last_use = last_use;
            folder.unwanted = false;
            folder.turn.clone()
        };
        // Whoever else wants it waits here; nobody takes it away meanwhile.
        let _turn = turn.lock_owned().await;
        let at = root.clone();
        let own_name = name.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            let extent = match layout::whole(&at, &own_name) {
                Some(extent) => extent,
                None => layout::lay_out(&at, &own_name, &unpack()?).map_err(|error| {
                    let at = at.display();
                    CodeError::NotNow(format!("the files cannot be laid out in {at}: {error}"))
                })?,
            };
            let path = layout::files_of(&at, &own_name);
            let about = about(&path);
            Ok((extent, Arc::new(PackageFolder { path, about })))
        });
        let made = made.await.map_err(|error| CodeError::NotNow(error.to_string()))?;
        let (Extent { bytes, .. }, folder) = made?;
        {
            let mut state = inner.state();
            let known = state.folders.entry(name.to_owned()).or_default();
            known.bytes = bytes;
            known.users.retain(|it| it.strong_count() > 0);
            known.users.push(Arc::downgrade(&folder));
        }
        self.tidy();
        Ok(folder)
    }

    /// Says which folders versions still have; the others go as soon as nobody uses them. Within a
    /// tokio runtime.
    pub fn keep_only(&self, wanted: &HashSet<String>) {
        for (name, folder) in &mut self.0.state().folders {
            folder.unwanted = !wanted.contains(name);
        }
        self.tidy();
    }

    /// Removes what no version has, and what was not used for the longest time while there is too
    /// much. What is in use stays, whatever it is. Within a tokio runtime.
    pub fn tidy(&self) {
        let Ok(root) = &self.0.root else { return };
        let mut gone = Vec::new();
        {
            let mut state = self.0.state();
            let mut total: u64 = state.folders.values().map(|it| it.bytes).sum();
            let mut order: Vec<(bool, u64, String)> = state
                .folders
                .iter()
                .map(|(name, it)| (!it.unwanted, it.last_use, name.clone()))
                .collect();
            order.sort_unstable();
            for (is_wanted, _, name) in order {
                if is_wanted && total <= self.0.most_bytes {
                    break;
                }
                let Some(folder) = state.folders.get(&name) else { continue };
                // Whoever has its turn, or waits for it, is about to use it.
                if folder.is_in_use() || Arc::strong_count(&folder.turn) > 1 {
                    continue;
                }
                match layout::take_away(root, &name) {
                    Ok(at) => {
                        total = total.saturating_sub(folder.bytes);
                        state.folders.remove(&name);
                        gone.extend(at);
                    }
                    Err(error) => {
                        tracing::warn!(folder = name, %error, "files of a version cannot be removed");
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

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
