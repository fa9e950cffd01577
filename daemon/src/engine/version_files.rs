//! The files of a version as a blob, for runtimes that need them on the disk.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::archive::{ArchiveError, ArchiveFile, Limits, read_archive, write_tar_gz};
use crate::functions::packages::PackageFile;
use crate::functions::packages::install::{InstallError, Installer};
use crate::functions::pool::PackageFolder;

/// What a version may have on the disk, with what was installed for it. More than an upload may: the
/// dependencies of a package are many small files.
const LIMITS: Limits = Limits {
    files: 100_000,
    total_bytes: 512 << 20,
    file_bytes: 256 << 20,
    path_bytes: 1024,
    path_depth: 64,
};

/// One archive of all files; the same files give the same bytes.
pub(super) fn pack(files: Vec<PackageFile>) -> io::Result<Vec<u8>> {
    let total: usize = files.iter().map(|it| it.bytes.len()).sum();
    if files.len() > LIMITS.files || total as u64 > LIMITS.total_bytes {
        return Err(too_much(files.len(), total as u64));
    }
    let mut files: Vec<ArchiveFile> = files
        .into_iter()
        .map(|PackageFile { path, bytes, executable }| ArchiveFile { path, bytes, executable })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    write_tar_gz(&files)
}

fn too_much(files: usize, bytes: u64) -> io::Error {
    io::Error::other(format!(
        "with what is installed from npm it has {files} files and {} MB or more; at most {} files and \
         {} MB are allowed: a bundler makes it smaller",
        bytes >> 20,
        LIMITS.files,
        LIMITS.total_bytes >> 20
    ))
}

/// The files of such an archive.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<PackageFile>, ArchiveError> {
    let files = read_archive(bytes, &LIMITS)?;
    Ok(files.into_iter().map(of_archive).collect())
}

/// Puts together what package.json names, as `node_modules` folders.
pub trait InstallPackages: Send + Sync {
    /// The folder with the packages of these two files, which stays while it is held.
    fn install(
        &self,
        package: Vec<u8>,
        lock_file: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<Arc<PackageFolder>, InstallError>>;
}

impl InstallPackages for Installer {
    fn install(
        &self,
        package: Vec<u8>,
        lock_file: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<Arc<PackageFolder>, InstallError>> {
        Box::pin(async move { Installer::install(self, &package, lock_file.as_deref()).await })
    }
}

/// Adds the packages that package.json in `folder` (with a slash at its end, unless it is the top)
/// names.
pub(super) async fn add_installed(
    files: Vec<PackageFile>,
    folder: &str,
    installer: &dyn InstallPackages,
) -> Result<Vec<PackageFile>, InstallError> {
    let bytes = |name: &str| {
        let path = format!("{folder}{name}");
        files.iter().find(|it| it.path == path).map(|it| it.bytes.clone())
    };
    let package = bytes("package.json").unwrap_or_default();
    let modules = installer.install(package, bytes("package-lock.json")).await?;
    // `modules` is held until it is read.
    let added = add_modules(files, folder, modules.path.clone(), Links::LeftOut).await;
    added.map_err(InstallError::Npm)
}

/// What becomes of symbolic links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// npm makes them for the command lines of packages.
    LeftOut,
    /// An author's own: packages that are written beside the one that uses them.
    Followed,
}

/// Adds the folder `modules` as `node_modules`.
pub(super) async fn add_modules(
    mut files: Vec<PackageFile>,
    folder: &str,
    modules: PathBuf,
    links: Links,
) -> Result<Vec<PackageFile>, String> {
    let prefix = format!("{folder}node_modules");
    let read = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let mut left = LIMITS.total_bytes;
        read_folder(&modules, &prefix, links, &mut left, &mut found).map(|()| found)
    });
    let found = read.await.map_err(|error| error.to_string())?;
    files.extend(found.map_err(|error| format!("the installed packages cannot be read: {error}"))?);
    Ok(files)
}

/// The files below a folder.
fn read_folder(
    folder: &Path,
    prefix: &str,
    links: Links,
    left: &mut u64,
    found: &mut Vec<PackageFile>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let mut metadata = entry.metadata()?;
        if metadata.is_symlink() && links == Links::Followed && !leads_up(&entry.path()) {
            // One that leads nowhere is nothing that could be loaded.
            let Ok(followed) = std::fs::metadata(entry.path()) else { continue };
            metadata = followed;
        }
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}/{name}");
        if metadata.is_dir() {
            if path.len() > LIMITS.path_bytes {
                return Err(io::Error::other(format!("{path} is too long")));
            }
            read_folder(&entry.path(), &path, links, left, found)?;
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            *left = left
                .checked_sub(metadata.len())
                .ok_or_else(|| too_much(found.len(), LIMITS.total_bytes))?;
            found.push(PackageFile { path, bytes: std::fs::read(entry.path())?, executable });
        }
    }
    Ok(())
}

/// Whether a link leads to a folder that it is in itself, which has no end.
fn leads_up(link: &Path) -> bool {
    let own = link.parent().and_then(|it| it.canonicalize().ok());
    own.zip(link.canonicalize().ok()).is_none_or(|(own, target)| own.starts_with(target))
}

/// A file of an archive as a file of a version.
pub(super) fn of_archive(file: ArchiveFile) -> PackageFile {
    let ArchiveFile { path, bytes, executable } = file;
    PackageFile { path, bytes, executable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_what_is_unpacked() {
        let file = |path: &str, executable| PackageFile {
            path: path.to_owned(),
            bytes: path.into(),
            executable,
        };
        let files = vec![file("src/index.js", false), file("bin/tool", true)];
        let packed = pack(files.clone()).expect("packed");
        let mut expected = files.clone();
        expected.reverse();
        assert_eq!(unpack(&packed).expect("unpacked"), expected);
        assert_eq!(pack(expected).expect("packed"), packed);
    }
}
