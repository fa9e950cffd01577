//! Which runtime a function of a version runs in, and where its code is for it: settled when the
//! version was created, looked up here for every run.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::contexts::{Contexts, VersionContext};
use super::remote_call::RemoteServers;
use super::version_files::{self, InstallPackages};
use crate::functions::kind::RunnerKind;
use crate::functions::packages::Packages;
use crate::functions::pool::{CodeError, CodeSource, LoadedCode};
use crate::functions::remote::TestingUrl;
use crate::functions::runner::node_is_at;
use crate::model::manifest::{ChosenRuntime, Function, Runtime};
use crate::store::{BlobHash, Store, StoreError};

/// What functions run by.
#[derive(Clone)]
pub struct Runtimes {
    /// Prepared code.
    pub contexts: Arc<Contexts>,
    /// Files of versions on the disk.
    pub packages: Packages,
    /// Servers of testing URLs.
    pub remote: RemoteServers,
    /// Puts npm packages together.
    pub installer: Option<Arc<dyn InstallPackages>>,
    /// The executable of Node.js; the usual places when missing.
    pub node: Option<PathBuf>,
}

/// What a function runs by.
pub enum Means {
    /// A process of the daemon's.
    Runner {
        /// Its kind.
        runtime: RunnerKind,
        /// What it is given.
        code: Arc<dyn CodeSource>,
    },
    /// A server of the author's.
    Remote(TestingUrl),
}

impl Runtimes {
    /// By what a function of a version runs; an error says for people why by nothing.
    pub(super) fn of(
        &self,
        version: &VersionContext,
        function: &Function,
    ) -> Result<Means, String> {
        let in_folder = |runtime: RunnerKind, about: About| {
            let hash = version.files.ok_or("its version was stored without its files")?;
            let (contexts, packages) = (self.contexts.clone(), self.packages.clone());
            let code = Arc::new(FolderCode { contexts, packages, hash, about: Arc::new(about) });
            Ok(Means::Runner { runtime, code })
        };
        match version.runtime(&function.name) {
            // `auto` was settled when the version was created; older ones knew only this.
            Runtime::Quickjs | Runtime::Auto => {
                let hash = version.code.ok_or("its version has no code for the embedded engine")?;
                let code = Arc::new(StoredCode { contexts: self.contexts.clone(), hash });
                Ok(Means::Runner { runtime: RunnerKind::Quickjs, code })
            }
            Runtime::Node => {
                let main = version.entry(&function.name).unwrap_or_default();
                in_folder(RunnerKind::Node, About::of_node(main))
            }
            Runtime::Process => {
                in_folder(RunnerKind::Process, About::of_processes(&version.runtimes))
            }
            Runtime::Remote => {
                let url = version.testing_url.as_deref().ok_or("its version has no testing URL")?;
                Ok(Means::Remote(TestingUrl::parse(url)?))
            }
        }
    }

    /// Whether Node.js is on this host.
    pub fn has_node(&self) -> bool {
        node_is_at(self.node.as_deref())
    }

    /// Versions were deleted: what only they had on the disk goes.
    pub fn forget_deleted(&self, store: &Store) -> Result<(), StoreError> {
        let wanted: HashSet<String> = store.read(|tables| tables.files_of_versions())?;
        self.packages.keep_only(&wanted);
        Ok(())
    }
}

/// What a runner has to know of a package.
#[derive(Clone, Debug, Serialize)]
pub(super) struct About {
    /// For `node`: the main module.
    #[serde(skip_serializing_if = "Option::is_none")]
    main: Option<String>,
    /// For `process`: what is started, by function.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_points: Option<BTreeMap<String, String>>,
}

impl About {
    pub(super) fn of_node(main: &str) -> About {
        About { main: Some(main.to_owned()), entry_points: None }
    }

    pub(super) fn of_processes(runtimes: &BTreeMap<String, ChosenRuntime>) -> About {
        let of_process = runtimes.iter().filter(|(_, it)| it.runtime == Runtime::Process);
        let entry_points =
            of_process.filter_map(|(name, it)| Some((name.clone(), it.entry.clone()?)));
        About { main: None, entry_points: Some(entry_points.collect()) }
    }

    pub(super) fn document(&self, path: &Path) -> Vec<u8> {
        #[derive(Serialize)]
        struct Document<'a> {
            path: &'a Path,
            #[serde(flatten)]
            about: &'a About,
        }
        serde_json::to_vec(&Document { path, about: self }).unwrap_or_default()
    }
}

/// The code of a version in the store, read when a process needs it.
struct StoredCode {
    contexts: Arc<Contexts>,
    hash: BlobHash,
}

impl CodeSource for StoredCode {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        async {
            let code = self.contexts.code(self.hash);
            let code = code.map_err(|error| CodeError::NotNow(error.to_string()))?;
            Ok(LoadedCode::Prepared(Arc::new(code)))
        }
        .boxed()
    }
}

/// The files of a version in the store, laid out when a process needs them.
struct FolderCode {
    contexts: Arc<Contexts>,
    packages: Packages,
    hash: BlobHash,
    about: Arc<About>,
}

impl CodeSource for FolderCode {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        async {
            let (contexts, hash, about) = (self.contexts.clone(), self.hash, self.about.clone());
            let unpack = move || {
                let blob = contexts.code(hash);
                let blob = blob.map_err(|error| CodeError::NotNow(error.to_string()))?;
                version_files::unpack(&blob).map_err(|error| CodeError::Never(error.to_string()))
            };
            let about = move |path: &Path| about.document(path);
            let folder = self.packages.folder(&hash.to_string(), unpack, about).await?;
            Ok(LoadedCode::Folder(folder))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runners_are_told_what_they_start() {
        let main = About { main: Some("src/index.mjs".to_owned()), entry_points: None };
        let text = String::from_utf8(main.document(Path::new("/cache/a"))).expect("JSON");
        assert_eq!(text, r#"{"path":"/cache/a","main":"src/index.mjs"}"#);
        let entry_points = BTreeMap::from([("tally".to_owned(), "bin/tally".to_owned())]);
        let process = About { main: None, entry_points: Some(entry_points) };
        let text = String::from_utf8(process.document(Path::new("/cache/a"))).expect("JSON");
        assert_eq!(text, r#"{"path":"/cache/a","entry_points":{"tally":"bin/tally"}}"#);
    }
}
