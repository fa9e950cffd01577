//! A version whose files lie in a folder of their own, for the runtimes that are given one.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::functions::pool::{CodeError, CodeSource, LoadedCode, PackageFolder};
use mortise::model::id::VersionId;
use tempfile::TempDir;

use crate::reports::next_version;

pub(crate) struct Package {
    pub(crate) version: VersionId,
    folder: Arc<PackageFolder>,
    _directory: TempDir,
}

impl Package {
    /// Of files that are in place; `about` is made of the path that the runner sees.
    pub(crate) fn of(directory: TempDir, about: impl FnOnce(&Path) -> Vec<u8>) -> Arc<Package> {
        let path = directory.path().canonicalize().expect("it is there");
        let about = about(&path);
        let folder = Arc::new(PackageFolder { path, about });
        Arc::new(Package { version: next_version(), folder, _directory: directory })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder.path
    }
}

impl CodeSource for Package {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        let folder = Arc::clone(&self.folder);
        async move { Ok(LoadedCode::Folder(folder)) }.boxed()
    }
}
