//! The files of a version as a blob, for runtimes that need them on the disk.

use std::io;

use crate::archive::{ArchiveError, ArchiveFile, Limits, read_archive, write_tar_gz};
use crate::functions::packages::PackageFile;

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
        let message = format!(
            "with what is installed from npm it has {} files and {} MB; at most {} files and {} MB \
             are allowed: a bundler makes it smaller",
            files.len(),
            total >> 20,
            LIMITS.files,
            LIMITS.total_bytes >> 20
        );
        return Err(io::Error::other(message));
    }
    let mut files: Vec<ArchiveFile> = files
        .into_iter()
        .map(|PackageFile { path, bytes, executable }| ArchiveFile { path, bytes, executable })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    write_tar_gz(&files)
}

/// The files of such an archive.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<PackageFile>, ArchiveError> {
    let files = read_archive(bytes, &LIMITS)?;
    Ok(files.into_iter().map(of_archive).collect())
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
