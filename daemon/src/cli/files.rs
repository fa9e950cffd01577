//! What commands read from the disk and from their standard input: never more than can be meant.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Failure;
use crate::archive::{Limits, pack_directory};

/// A text that is no secret: a manifest, a file of values, a token.
pub(super) const MOST_TEXT: u64 = 1024 * 1024;
/// A secret.
pub(super) const MOST_SECRET: u64 = 64 * 1024;

/// A text file.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = bytes(open(path)?, MOST_TEXT, &path.display().to_string())?;
    text(bytes, &path.display().to_string()).map(|it| it.as_str().to_owned())
}

/// A file that is there to be read: no directory, and no device, which may never end. A pipe is one
/// that a shell makes for the output of a command.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    use std::os::unix::fs::FileTypeExt;
    let cannot = |error: std::io::Error| {
        Failure::refused(format!("cannot read {}: {error}", path.display()))
    };
    // Before it is opened: opening some devices does something.
    let kind = std::fs::metadata(path).map_err(cannot)?.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        return Err(Failure::refused(format!("{} is no regular file", path.display())));
    }
    File::open(path).map_err(cannot)
}

/// All of a source that holds no more than so many bytes. They may be secret.
pub(super) fn bytes(
    source: impl Read,
    most: u64,
    shown: &str,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    source
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::refused(format!("cannot read {shown}: {error}")))?;
    if bytes.len() as u64 > most {
        let message = format!("cannot read {shown}: it is longer than {most} bytes");
        return Err(Failure::refused(message));
    }
    Ok(bytes)
}

/// Bytes as a text.
pub(super) fn text(
    mut bytes: Zeroizing<Vec<u8>>,
    shown: &str,
) -> Result<Zeroizing<String>, Failure> {
    // Without the error, which holds the bytes.
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        Failure::refused(format!("cannot read {shown}: it is no UTF-8"))
    })?;
    Ok(Zeroizing::new(text))
}

/// A secret on standard input.
pub(super) fn standard_input(what: &str) -> Result<Zeroizing<String>, Failure> {
    text(bytes(std::io::stdin().lock(), MOST_SECRET, what)?, what)
}

/// What is in an archive's file.
pub(super) fn archive_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let most = Limits::default().total_bytes;
    let mut bytes = bytes(open(path)?, most, &path.display().to_string())?;
    Ok(std::mem::take(&mut *bytes))
}

/// A directory or an archive, in base 64.
pub(super) fn archive(path: &Path) -> Result<String, Failure> {
    let bytes = if path.is_dir() {
        pack_directory(path).map_err(|error| Failure::refused(error.to_string()))?
    } else {
        archive_bytes(path)?
    };
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read() {
        for path in ["/dev/zero", "/dev", "/nonexistent"] {
            let path = Path::new(path);
            assert!(read_text(path).is_err() && archive_bytes(path).is_err(), "{path:?}");
        }
        let endless = bytes(std::io::repeat(0), MOST_SECRET, "the secret");
        assert!(endless.is_err_and(|it| it.message.contains("longer than 65536 bytes")));
        let whole = bytes(&b"abc"[..], 3, "it").unwrap_or_else(|it| panic!("{}", it.message));
        assert_eq!(&**whole, b"abc");
        let broken = text(Zeroizing::new(vec![0xff]), "it");
        assert!(broken.is_err_and(|it| it.message.contains("no UTF-8")));
    }
}
