//! Packs a directory for upload: the same tree gives the same bytes.
//!
//! It must never follow a link: what is packed is what lies in the directory.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::collect::{Collector, refused};
use super::{ArchiveError, ArchiveFile, Limits};

/// Never part of a version's code: what is fetched or built again, and history.
const SKIPPED: [&str; 2] = ["node_modules", ".git"];

/// Build output of Rust, in the top directory only: elsewhere the word means other things.
const SKIPPED_ON_TOP: &str = "target";

/// Read by nobody, but part of every gzip header: "unknown".
const OPERATING_SYSTEM: u8 = 255;

/// A `.tar.gz` of the directory's files, under the default limits.
pub fn pack_directory(directory: &Path) -> Result<Vec<u8>, ArchiveError> {
    pack_directory_without(directory, &|_| false)
}

/// The same without what is `left_out` by its path below the directory: leftovers of editors, which
/// are there for a moment and may be links.
pub fn pack_directory_without(
    directory: &Path,
    left_out: &dyn Fn(&str) -> bool,
) -> Result<Vec<u8>, ArchiveError> {
    let limits = Limits::default();
    let mut collector = Collector::new(&limits);
    walk(directory, "", left_out, &mut collector)?;
    write_tar_gz(&collector.finish()).map_err(|source| cannot_read(directory, source))
}

/// Whether a directory is never packed, by its path below the top.
pub fn is_skipped(relative: &str) -> bool {
    let name = relative.rsplit('/').next().unwrap_or_default();
    relative == SKIPPED_ON_TOP || SKIPPED.contains(&name)
}

fn walk(
    directory: &Path,
    prefix: &str,
    left_out: &dyn Fn(&str) -> bool,
    collector: &mut Collector<'_>,
) -> Result<(), ArchiveError> {
    let mut entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(|source| cannot_read(directory, source))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str() else {
            return Err(refused(
                path.as_os_str().as_encoded_bytes(),
                "has a name that is not UTF-8",
            ));
        };
        let relative = format!("{prefix}{name}");
        if left_out(&relative) {
            continue;
        }
        // Of the entry itself, not of what a link points to.
        let metadata = entry.metadata().map_err(|source| cannot_read(&path, source))?;
        if metadata.is_dir() {
            if is_skipped(&relative) {
                continue;
            }
            collector.directory(relative.as_bytes())?;
            walk(&path, &format!("{relative}/"), left_out, collector)?;
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            let file = fs::File::open(&path).map_err(|source| cannot_read(&path, source))?;
            // The size is not declared: a file that grows or shrinks meanwhile is still one file.
            collector.file(relative.as_bytes(), executable, 0, file)?;
        } else if metadata.is_symlink() {
            let objection = "is a symbolic link; only files are allowed";
            return Err(refused(relative.as_bytes(), objection));
        } else {
            let objection = "is a device, pipe or socket; only files are allowed";
            return Err(refused(relative.as_bytes(), objection));
        }
    }
    Ok(())
}

/// Sorted by path, without times, owners and directories.
pub fn write_tar_gz(files: &[ArchiveFile]) -> io::Result<Vec<u8>> {
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(OPERATING_SYSTEM)
        .write(Vec::new(), Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(file.bytes.len() as u64);
        tar.append_data(&mut header, &file.path, file.bytes.as_slice().by_ref())?;
    }
    tar.into_inner()?.finish()
}

fn cannot_read(path: &Path, source: io::Error) -> ArchiveError {
    ArchiveError::Io { path: path.display().to_string(), source }
}
