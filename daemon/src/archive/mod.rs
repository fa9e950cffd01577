//! Code archives: bytes to files in memory and back.
//!
//! Owns the archive formats (`.tar.gz`, `.tar`, `.zip`, told apart by content), the rules that an
//! archive of strangers must keep, and the content hash. Nothing is ever written to the file system
//! here; only [`pack_directory`], which the command line client uses, reads from it.
//!
//! What comes out is safe to write below a directory: every path is relative, of plain components,
//! names a file and not also a directory, and is there once. Bytes are counted while they are
//! unpacked and never taken from a header's word, so a bomb stops at the limit.

mod collect;
mod hash;
mod pack;
mod path;
mod tarball;
mod top;
mod zipped;

#[cfg(test)]
mod tests;

pub use hash::content_hash;
pub use pack::{is_skipped, pack_directory, pack_directory_without, write_tar_gz};
pub use top::without_top_folder;

/// A regular file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Relative, with `/` between plain components.
    pub path: String,
    pub bytes: Vec<u8>,
    pub executable: bool,
}

/// What an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, and entries of other kinds such as directories, each.
    pub files: usize,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of one path.
    pub path_bytes: usize,
    /// Components of one path.
    pub path_depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            files: 10_000,
            total_bytes: 64 << 20,
            file_bytes: 32 << 20,
            path_bytes: 1024,
            path_depth: 32,
        }
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this is {found}; an archive is a .tar.gz, .tar or .zip file")]
    UnknownFormat { found: &'static str },
    #[error("the archive is damaged: {detail}")]
    Damaged { detail: String },
    #[error("entry `{path}` of the archive {objection}")]
    Entry { path: String, objection: String },
    #[error("the archive holds too much: at most {allowed} are allowed")]
    TooMuch { allowed: String },
    #[error("cannot read `{path}`: {source}")]
    Io { path: String, source: std::io::Error },
}

/// The files of an archive by path. Directories are implied by the paths of files; empty ones are
/// dropped. Nothing is stripped from paths but `./` and doubled slashes.
pub fn read_archive(bytes: &[u8], limits: &Limits) -> Result<Vec<ArchiveFile>, ArchiveError> {
    match format(bytes)? {
        Format::TarGz => tarball::read_gzipped(bytes, limits),
        Format::Tar => tarball::read(bytes, limits),
        Format::Zip => zipped::read(bytes, limits),
    }
}

enum Format {
    TarGz,
    Tar,
    Zip,
}

fn format(bytes: &[u8]) -> Result<Format, ArchiveError> {
    let found = match bytes {
        [] => "empty",
        [0x1f, 0x8b, ..] => return Ok(Format::TarGz),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => return Ok(Format::Zip),
        _ if tarball::starts_like_tar(bytes) => return Ok(Format::Tar),
        [b'B', b'Z', b'h', ..] => "compressed with bzip2",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "compressed with xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd",
        [b'7', b'z', 0xbc, 0xaf, ..] => "a 7z archive",
        _ => "no archive",
    };
    Err(ArchiveError::UnknownFormat { found })
}
