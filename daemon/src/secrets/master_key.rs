//! The master key: where it is, and that nobody else can read it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Name of the systemd credential (`LoadCredential=master-key:...`).
const CREDENTIAL: &str = "master-key";
/// Name of the file in the state directory.
const FILE: &str = "master.key";
const LENGTH: usize = 32;

/// 256 random bits that everything secret on this host hangs on.
pub struct MasterKey([u8; LENGTH]);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("the master key {path} cannot be used: {cause}")]
    Io {
        /// Where it is.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Others can read it.
    #[error(
        "the master key {path} has mode {mode:04o}, so others can read it: run `chmod 0600 {path}`, \
         and make a new one if it may have been read"
    )]
    Exposed {
        /// Where it is.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key.
    #[error("the master key {path} is not {LENGTH} bytes in hexadecimal")]
    Malformed {
        /// Where it is.
        path: PathBuf,
    },
}

impl MasterKey {
    /// Reads the credential in `credentials` (systemd's `$CREDENTIALS_DIRECTORY`) if there is one,
    /// else the file in `state`, which is made when there is none.
    pub fn load(credentials: Option<&Path>, state: &Path) -> Result<MasterKey, KeyError> {
        if let Some(path) = credentials.map(|it| it.join(CREDENTIAL))
            && path.exists()
        {
            // systemd sets modes there itself, and they differ between its versions.
            return read(&path, false);
        }
        let path = state.join(FILE);
        match create(&path) {
            Ok(key) => Ok(key),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => read(&path, true),
            Err(cause) => Err(KeyError::Io { path, cause }),
        }
    }

    /// A key for one purpose; knowing it tells nothing about the others.
    pub(super) fn derive(&self, purpose: &str) -> [u8; LENGTH] {
        mac(&self.0, purpose.as_bytes())
    }
}

/// HMAC-SHA256.
pub(super) fn mac(key: &[u8], message: &[u8]) -> [u8; LENGTH] {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn create(path: &Path) -> std::io::Result<MasterKey> {
    // Written beside its place first: a crash in the middle must not leave half a key.
    let draft = path.with_extension("key.new");
    if path.exists() {
        return Err(std::io::ErrorKind::AlreadyExists.into());
    }
    let mut key = [0; LENGTH];
    crate::random::fill(&mut key);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(hex::encode(key).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(MasterKey(key))
}

fn read(path: &Path, must_be_private: bool) -> Result<MasterKey, KeyError> {
    let io = |cause| KeyError::Io { path: path.to_owned(), cause };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if must_be_private && mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).map_err(io)?;
    let mut key = [0; LENGTH];
    hex::decode_to_slice(text.trim(), &mut key)
        .map_err(|_| KeyError::Malformed { path: path.to_owned() })?;
    Ok(MasterKey(key))
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_private_and_read_again() {
        let state = tempfile::tempdir().expect("tempdir");
        let first = MasterKey::load(None, state.path()).expect("made").derive("x");
        let path = state.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).expect("exists").mode() & 0o777, 0o600);
        assert_eq!(MasterKey::load(None, state.path()).expect("read").derive("x"), first);
        assert_ne!(MasterKey::load(None, state.path()).expect("read").derive("y"), first);
    }

    #[test]
    fn refuses_a_key_that_others_can_read_or_that_is_none() {
        let state = tempfile::tempdir().expect("tempdir");
        MasterKey::load(None, state.path()).expect("made");
        let path = state.path().join(FILE);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("chmod");
        let error = MasterKey::load(None, state.path()).expect_err("exposed").to_string();
        assert!(error.contains("chmod 0600"), "{error}");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("chmod");
        std::fs::write(&path, "short").expect("written");
        assert!(matches!(MasterKey::load(None, state.path()), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn a_credential_comes_first() {
        let (state, credentials) = (tempfile::tempdir(), tempfile::tempdir());
        let (state, credentials) = (state.expect("tempdir"), credentials.expect("tempdir"));
        std::fs::write(credentials.path().join(CREDENTIAL), "07".repeat(LENGTH)).expect("written");
        let key = MasterKey::load(Some(credentials.path()), state.path()).expect("read");
        assert_eq!(key.0, [7; LENGTH]);
        assert!(!state.path().join(FILE).exists());
    }
}
