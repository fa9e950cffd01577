//! What commands read from the disk.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Failure;
use crate::archive::pack_directory;

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
