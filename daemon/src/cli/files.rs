//! What commands read from the disk.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Failure;
use crate::archive::pack_directory;
use crate::model::scope::is_segment;

/// A text file.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::refused(format!("cannot read {}: {error}", path.display())))
}

/// A directory or an archive, in base 64.
pub(super) fn archive(path: &Path) -> Result<String, Failure> {
    let bytes = if path.is_dir() {
        pack_directory(path).map_err(|error| Failure::refused(error.to_string()))?
    } else {
        std::fs::read(path)
            .map_err(|error| Failure::refused(format!("cannot read {}: {error}", path.display())))?
    };
    Ok(STANDARD.encode(bytes))
}

/// A package slug from the name of a directory or archive.
pub(super) fn slug_of(path: &Path) -> Result<String, Failure> {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = full.file_name().and_then(|it| it.to_str()).unwrap_or_default().to_lowercase();
    let name = [".tar.gz", ".tgz", ".tar", ".zip"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name);
    if is_segment(name) {
        return Ok(name.to_owned());
    }
    let message = format!("`{name}` cannot be the slug of a package: name one with --package");
    Err(Failure { message, exit_code: 2 })
}
