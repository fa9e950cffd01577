//! Folders on the disk: how one is made in one step, how it is known to be whole, how it goes.
//!
//! Everything here belongs to the daemon's user, can be written by nobody else, and lies below
//! directories that nobody else can enter. The files themselves can be read by all, because a function's
//! sandbox may run it as another user, with this folder in its view and nothing above it.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::PackageFile;

const MARKER: &str = "complete";
const LOCK: &str = "lock";
const NEW: &str = ".new-";
const GONE: &str = ".gone-";
/// Of the layout; another one is made anew.
const FORMAT: u32 = 1;

/// What folders are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// The files of a version.
    Files,
    /// What npm installed.
    Npm,
}

impl Place {
    pub(super) const ALL: [Place; 2] = [Place::Files, Place::Npm];

    /// The directory of all of them.
    pub(super) fn name(self) -> &'static str {
        match self {
            Place::Files => "packages",
            Place::Npm => "npm",
        }
    }

    /// What lies in each, beside the marker.
    fn contents(self) -> &'static str {
        match self {
            Place::Files => "files",
            Place::Npm => "node_modules",
        }
    }
}

/// What a whole folder holds; its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    format: u32,
    files: u64,
    pub(super) bytes: u64,
}

/// Whether a text can be the name of a folder: the hash of its files.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|it| it.is_ascii_hexdigit())
}

pub(super) fn contents(root: &Path, place: Place, name: &str) -> PathBuf {
    root.join(name).join(place.contents())
}

/// Makes the directory of all folders; refuses one in which others could put programs for us.
pub(super) fn make_root(cache_dir: &Path, place: Place) -> Result<PathBuf, String> {
    let shown = cache_dir.display();
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    make(cache_dir).map_err(|error| {
        format!(
            "the cache directory {shown} cannot be made: {error}; make it for the daemon's user, \
             or set `cache_dir`"
        )
    })?;
    // Links on the way (such as /var) are the host's own.
    let cache_dir = fs::canonicalize(cache_dir).map_err(|error| format!("{shown}: {error}"))?;
    let root = cache_dir.join(place.name());
    make(&root).map_err(|error| format!("{} cannot be made: {error}", root.display()))?;
    for path in [&cache_dir, &root] {
        let shown = path.display();
        let found = fs::symlink_metadata(path).map_err(|error| format!("{shown}: {error}"))?;
        let own = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
            return Err(format!(
                "{shown} is not a directory that belongs to the daemon's user (id {own}) and that \
                 nobody else can write to: functions would be started from there; mend that, or set \
                 `cache_dir`"
            ));
        }
    }
    Ok(root)
}

/// Keeps a cache for one daemon, for as long as the file is open.
pub(super) fn lock(cache_dir: &Path) -> Result<fs::File, String> {
    let path = cache_dir.join(LOCK);
    let shown = path.display();
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(|error| format!("{shown} cannot be opened: {error}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another daemon uses the cache directory {}: end it, or set `cache_dir` to another \
             directory for each",
            cache_dir.display()
        )),
        Err(TryLockError::Error(error)) => Err(format!("{shown} cannot be locked: {error}")),
    }
}

/// Whether this is the file that others would lock.
pub(super) fn holds(cache_dir: &Path, lock: &fs::File) -> bool {
    let id = |it: fs::Metadata| (it.dev(), it.ino());
    let there = fs::symlink_metadata(cache_dir.join(LOCK)).map(id);
    there.is_ok_and(|there| lock.metadata().is_ok_and(|own| id(own) == there))
}

/// Removes what a crash left behind; answers the whole folders with their last use and their sizes.
pub(super) fn leftovers(root: &Path) -> Vec<(SystemTime, String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let marker = fs::metadata(path.join(MARKER)).and_then(|it| it.modified());
        match (read_marker(root, &name), marker) {
            (Some(extent), Ok(used)) if is_name(&name) => found.push((used, name, extent.bytes)),
            // Of ours, but not whole.
            _ if is_name(&name) || name.starts_with(NEW) || name.starts_with(GONE) => {
                let _ = fs::remove_dir_all(&path);
            }
            _ => {}
        }
    }
    found
}

fn read_marker(root: &Path, name: &str) -> Option<Extent> {
    let text = fs::read(root.join(name).join(MARKER)).ok()?;
    serde_json::from_slice(&text).ok().filter(|it: &Extent| it.format == FORMAT)
}

/// What the folder holds, if it is whole: somebody may have tidied up in it. Notes that it is used.
pub(super) fn whole(root: &Path, place: Place, name: &str) -> Option<Extent> {
    let extent = read_marker(root, name)?;
    let mut there = Extent { format: FORMAT, files: 0, bytes: 0 };
    count(&contents(root, place, name), &mut there).ok()?;
    if there != extent {
        return None;
    }
    let marker = OpenOptions::new().append(true).open(root.join(name).join(MARKER));
    if let Ok(marker) = marker {
        #[expect(clippy::disallowed_methods, reason = "the file system's time, for its own order")]
        let now = SystemTime::now();
        // Only the order of removal after the next start hangs on it.
        let _ = marker.set_modified(now);
    }
    Some(extent)
}

/// Counts files below a folder; anything else than files and folders makes it another one.
fn count(folder: &Path, extent: &mut Extent) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            count(&entry.path(), extent)?;
        } else if found.is_file() {
            extent.files += 1;
            extent.bytes += found.len();
        } else {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

/// A folder without a name that the next start knows.
pub(super) fn stage(root: &Path) -> io::Result<tempfile::TempDir> {
    let staging = tempfile::Builder::new().prefix(NEW).tempdir_in(root)?;
    fs::set_permissions(staging.path(), PermissionsExt::from_mode(0o700))?;
    Ok(staging)
}

/// Makes a folder, in place of one that is not whole.
pub(super) fn lay_out(root: &Path, name: &str, files: &[PackageFile]) -> io::Result<Extent> {
    let staging = stage(root)?;
    let extent = write_files(staging.path(), files)?;
    put_in_place(root, name, staging)?;
    Ok(extent)
}

/// Makes a folder of what npm left: the modules, and nothing else.
pub(super) fn seal(root: &Path, name: &str, staging: tempfile::TempDir) -> io::Result<Extent> {
    let modules = staging.path().join(Place::Npm.contents());
    for entry in fs::read_dir(staging.path())? {
        let path = entry?.path();
        if path == modules {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    DirBuilder::new().recursive(true).create(&modules)?;
    let mut extent = Extent { format: FORMAT, files: 0, bytes: 0 };
    count(&modules, &mut extent)?;
    mark(staging.path(), &extent)?;
    put_in_place(root, name, staging)?;
    Ok(extent)
}

fn put_in_place(root: &Path, name: &str, staging: tempfile::TempDir) -> io::Result<()> {
    take_away(root, name)?.map_or(Ok(()), fs::remove_dir_all)?;
    fs::rename(staging.path(), root.join(name))?;
    // The name is gone, so there is nothing for it to remove.
    let _ = staging.keep();
    Ok(())
}

/// Says that everything is there.
fn mark(staging: &Path, extent: &Extent) -> io::Result<()> {
    // A name must not survive a power cut that its contents do not survive.
    rustix::fs::syncfs(fs::File::open(staging)?)?;
    fs::write(staging.join(MARKER), serde_json::to_vec(extent).map_err(io::Error::other)?)
}

pub(super) fn write_files(staging: &Path, files: &[PackageFile]) -> io::Result<Extent> {
    let top = staging.join(Place::Files.contents());
    let make_folder = |path: &Path| {
        if path.is_dir() {
            return Ok(());
        }
        DirBuilder::new().create(path)?;
        fs::set_permissions(path, PermissionsExt::from_mode(0o755))
    };
    make_folder(&top)?;
    let mut extent = Extent { format: FORMAT, files: 0, bytes: 0 };
    for file in files {
        let relative = Path::new(&file.path);
        let is_plain = relative.components().all(|it| matches!(it, Component::Normal(_)));
        if !is_plain || file.path.is_empty() {
            let message = format!("`{}` is no path below a folder", file.path);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let path = top.join(relative);
        let mut folder = top.clone();
        for step in relative.parent().into_iter().flatten() {
            folder.push(step);
            make_folder(&folder)?;
        }
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut options = OpenOptions::new();
        // New: neither a link nor another file of this package is ever written through.
        let mut out = options.write(true).create_new(true).mode(mode).open(&path)?;
        out.write_all(&file.bytes)?;
        // Whatever the umask is.
        out.set_permissions(PermissionsExt::from_mode(mode))?;
        extent.files += 1;
        extent.bytes += file.bytes.len() as u64;
    }
    mark(staging, &extent)?;
    Ok(extent)
}

/// Takes the name from a folder, in one step; answers where it lies now, for its removal.
pub(super) fn take_away(root: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let away = match tempfile::Builder::new().prefix(GONE).tempdir_in(root) {
        Ok(away) => away,
        // Somebody deleted all of it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match fs::rename(root.join(name), away.path().join("folder")) {
        Ok(()) => Ok(Some(away.keep())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
