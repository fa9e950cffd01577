//! Reads zip archives.

use std::io::Cursor;

use zip::ZipArchive;
use zip::result::ZipError;

use super::collect::{Collector, refused};
use super::{ArchiveError, ArchiveFile, Limits};

/// The file type bits of a Unix mode.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Vec<ArchiveFile>, ArchiveError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.has_duplicate_names() {
        // The reader keeps one entry of each name and so cannot say which it was.
        return Err(ArchiveError::Damaged { detail: "a name is there twice".to_owned() });
    }
    if archive.len() > limits.files.saturating_mul(2) {
        return Err(ArchiveError::TooMuch { allowed: format!("{} files", limits.files) });
    }
    let mut collector = Collector::new(limits);
    for index in 0..archive.len() {
        let name = archive.by_index_raw(index).map_err(damaged)?.name_raw().to_vec();
        let entry = archive.by_index(index).map_err(|error| unreadable(&name, &error))?;
        let mode = entry.unix_mode().unwrap_or_default();
        match mode & TYPE_MASK {
            // Archives that were not made on Unix carry no type.
            0 | TYPE_FILE | TYPE_DIRECTORY => {}
            TYPE_LINK => return Err(refused(&name, "is a symbolic link; only files are allowed")),
            _ => return Err(refused(&name, "is a special file; only files are allowed")),
        }
        if entry.is_dir() {
            collector.directory(&name)?;
        } else {
            let (executable, size) = (mode & 0o111 != 0, entry.size());
            collector.file(&name, executable, size, entry)?;
        }
    }
    Ok(collector.finish())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn damaged(error: ZipError) -> ArchiveError {
    ArchiveError::Damaged { detail: error.to_string() }
}

fn unreadable(name: &[u8], error: &ZipError) -> ArchiveError {
    let objection = match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => "is encrypted".to_owned(),
        ZipError::CompressionMethodNotSupported(_) | ZipError::UnsupportedArchive(_) => {
            "is compressed in a way that is not supported; allowed are stored and deflate"
                .to_owned()
        }
        other => format!("cannot be unpacked: {other}"),
    };
    refused(name, &objection)
}
