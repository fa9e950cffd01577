//! Where the master keys are: a systemd credential, or a file in the state directory that the
//! daemon's user alone can read. One key a line, in hexadecimal; the first is the one in use.
//!
//! Invariant: a file of keys is only ever replaced as a whole, and what is on the disk is always the
//! one before or the one after.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::master_key::MasterKey;

/// Name of the systemd credential (`LoadCredential=master-key:...`).
const CREDENTIAL: &str = "master-key";
/// Name of the file in the state directory.
const FILE: &str = "master.key";
/// More than a host ever needs; each of them is tried on a bad token.
const MOST_KEYS: usize = 16;
const MOST_BYTES: usize = 4096;

/// Where the master keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHome {
    /// A systemd credential: the daemon reads it and cannot change it.
    Credential(PathBuf),
    /// A file of the daemon's own.
    File(PathBuf),
}

/// Why master keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// They cannot be read or written.
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
         and once the daemon runs `mortise key rotate` if it may have been read"
    )]
    Exposed {
        /// Where it is.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is somebody else's.
    #[error(
        "the master key {path} belongs to user id {owner}, but the daemon runs as user id {own}: run \
         `chown {own} {path}`"
    )]
    Foreign {
        /// Where it is.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who the daemon is.
        own: u32,
    },
    /// Some of it is no key.
    #[error(
        "the master key {path} cannot be used: {what}; it holds keys of 64 hexadecimal digits, one a \
         line, the one in use first"
    )]
    Malformed {
        /// Where it is.
        path: PathBuf,
        /// What is wrong. Never what is in there.
        what: String,
    },
    /// The daemon cannot write there.
    #[error(
        "the master key is the systemd credential {path}, which the daemon cannot change: put a new key \
         (`openssl rand -hex 32`) as the first line of what the credential is made from, keep the \
         lines that are there below it, and restart the daemon; it seals all secrets again, and \
         `mortise key status` says when the old lines may go"
    )]
    Credential {
        /// Where it is.
        path: PathBuf,
    },
    /// There is no room for another one.
    #[error(
        "the master key {path} holds {MOST_KEYS} keys already: an old one leaves it when nothing is \
         sealed with it any more, and `mortise key status` says what is"
    )]
    TooMany {
        /// Where it is.
        path: PathBuf,
    },
    /// The file is not what it was when it was read.
    #[error(
        "the master key {path} was changed since the daemon read it, so it is left alone: restart the \
         daemon, which then uses what is there"
    )]
    Changed {
        /// Where it is.
        path: PathBuf,
    },
}

impl KeyHome {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            KeyHome::Credential(path) | KeyHome::File(path) => path,
        }
    }

    /// The credential in `credentials` (systemd's `$CREDENTIALS_DIRECTORY`) if there is one, else the
    /// file in `state`, which may not be there yet.
    pub fn choose(credentials: Option<&Path>, state: &Path) -> Result<KeyHome, KeyError> {
        if let Some(path) = credentials.map(|it| it.join(CREDENTIAL)) {
            // One that cannot be looked at must not be mistaken for none.
            match path.try_exists() {
                Ok(true) => return Ok(KeyHome::Credential(path)),
                Ok(false) => {}
                Err(cause) => return Err(KeyError::Io { path, cause }),
            }
        }
        Ok(KeyHome::File(state.join(FILE)))
    }

    /// The keys that are there, at least one; `None` when there is no file.
    pub(super) fn read(&self) -> Result<Option<Vec<MasterKey>>, KeyError> {
        let path = self.path();
        let io = |cause| KeyError::Io { path: path.to_owned(), cause };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(io(cause)),
        };
        match self {
            KeyHome::File(path) => check_privacy(path, &file.metadata().map_err(io)?)?,
            // systemd sets owners and modes there itself, and they differ between its versions.
            KeyHome::Credential(_) => {}
        }
        // All the room at once, so that no part of the text is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES));
        file.take(MOST_BYTES as u64).read_to_string(&mut text).map_err(io)?;
        let keys = parse(&text);
        keys.map(Some).map_err(|what| KeyError::Malformed { path: path.to_owned(), what })
    }

    /// Puts these keys in place of those that are there.
    pub(super) fn write(&self, keys: &[&MasterKey]) -> Result<(), KeyError> {
        match self {
            KeyHome::Credential(path) => Err(KeyError::Credential { path: path.clone() }),
            KeyHome::File(path) if keys.len() > MOST_KEYS => {
                Err(KeyError::TooMany { path: path.clone() })
            }
            KeyHome::File(path) => {
                replace(path, keys).map_err(|cause| KeyError::Io { path: path.clone(), cause })
            }
        }
    }
}

fn check_privacy(path: &Path, metadata: &std::fs::Metadata) -> Result<(), KeyError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        return Err(KeyError::Foreign { path: path.to_owned(), owner, own });
    }
    Ok(())
}

/// The keys in a text, each once. The error says what is wrong and quotes nothing.
fn parse(text: &str) -> Result<Vec<MasterKey>, String> {
    let mut keys: Vec<MasterKey> = Vec::new();
    let mut broken = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match line.trim() {
            "" => {}
            line => match MasterKey::from_text(line) {
                Some(key) if keys.iter().any(|it| it.is(&key)) => {}
                Some(key) => keys.push(key),
                None => broken.push((at + 1).to_string()),
            },
        }
    }
    if !broken.is_empty() {
        return Err(format!("no key in line {}", broken.join(", ")));
    }
    match keys.len() {
        0 => Err("it is empty".to_owned()),
        1..=MOST_KEYS => Ok(keys),
        more => Err(format!("it holds {more} keys, and {MOST_KEYS} are the most")),
    }
}

fn replace(path: &Path, keys: &[&MasterKey]) -> std::io::Result<()> {
    // Who keeps the file elsewhere behind a link wants it to stay there.
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    // Written beside its place first: a crash in the middle must not leave half a key.
    let draft = path.with_extension("key.new");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    for key in keys {
        file.write_all(key.to_text().as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.sync_all()?;
    std::fs::rename(&draft, &path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn ids(keys: &[MasterKey]) -> Vec<String> {
        keys.iter().map(|it| it.id().to_string()).collect()
    }

    #[test]
    fn what_is_written_is_read_private_and_in_order() {
        let state = tempfile::tempdir().expect("tempdir");
        let home = KeyHome::choose(None, state.path()).expect("chosen");
        assert!(home.read().expect("none is no error").is_none());
        let (first, second) = (MasterKey::new(), MasterKey::new());
        // What a crash left behind is in nobody's way.
        std::fs::write(state.path().join("master.key.new"), "half a").expect("written");
        home.write(&[&first, &second]).expect("written");
        assert_eq!(std::fs::metadata(home.path()).expect("there").mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(state.path()).expect("listed").count(), 1);
        let read = home.read().expect("read").expect("there");
        assert_eq!(ids(&read), [first.id().to_string(), second.id().to_string()]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let (state, elsewhere) = (tempfile::tempdir(), tempfile::tempdir());
        let (state, elsewhere) = (state.expect("tempdir"), elsewhere.expect("tempdir"));
        let home = KeyHome::choose(None, state.path()).expect("chosen");
        let target = elsewhere.path().join("keys");
        std::fs::write(&target, "").expect("written");
        std::os::unix::fs::symlink(&target, home.path()).expect("linked");
        let key = MasterKey::new();
        home.write(&[&key]).expect("written");
        assert!(home.path().is_symlink());
        assert_eq!(ids(&home.read().expect("read").expect("there")), [key.id().to_string()]);
    }

    #[test]
    fn refuses_what_others_can_read() {
        let state = tempfile::tempdir().expect("tempdir");
        let home = KeyHome::choose(None, state.path()).expect("chosen");
        home.write(&[&MasterKey::new()]).expect("written");
        for mode in [0o640, 0o604, 0o660, 0o777] {
            std::fs::set_permissions(home.path(), PermissionsExt::from_mode(mode)).expect("chmod");
            let error = home.read().expect_err("exposed").to_string();
            assert!(error.contains("chmod 0600") && error.contains(&format!("{mode:04o}")));
        }
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o400)).expect("chmod");
        home.read().expect("nobody else can read it");
    }

    #[test]
    fn refuses_what_belongs_to_somebody_else() {
        let state = tempfile::tempdir().expect("tempdir");
        let home = KeyHome::choose(None, state.path()).expect("chosen");
        home.write(&[&MasterKey::new()]).expect("written");
        if std::os::unix::fs::chown(home.path(), Some(4711), None).is_err() {
            // Only root can give files away.
            return;
        }
        let error = home.read().expect_err("not ours").to_string();
        assert!(error.contains("user id 4711") && error.contains("chown"), "{error}");
    }

    #[test]
    fn a_credential_comes_first_and_is_never_written() {
        let (state, credentials) = (tempfile::tempdir(), tempfile::tempdir());
        let (state, credentials) = (state.expect("tempdir"), credentials.expect("tempdir"));
        let path = credentials.path().join(CREDENTIAL);
        let choose = || KeyHome::choose(Some(credentials.path()), state.path()).expect("chosen");
        assert_eq!(choose(), KeyHome::File(state.path().join(FILE)));
        std::fs::write(&path, "07".repeat(32)).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).expect("chmod");
        let home = choose();
        assert_eq!(home, KeyHome::Credential(path));
        home.read().expect("its mode is systemd's business").expect("there");
        let error = home.write(&[&MasterKey::new()]).expect_err("not ours").to_string();
        for word in ["first line", "restart", "mortise key status"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn says_what_is_no_key_without_quoting_it() {
        let key = "ab".repeat(32);
        let more: String =
            (0..=MOST_KEYS).map(|at| format!("{}\n", format!("{at:02x}").repeat(32))).collect();
        for (text, word) in [
            (String::new(), "empty"),
            ("\n \n".to_owned(), "empty"),
            (format!("{key}\nnot-a-key\n\n{}\n", &key[2..]), "line 2, 4"),
            (format!("{key}{key}"), "line 1"),
            (more, "17 keys"),
        ] {
            let error = parse(&text).expect_err("no key");
            assert!(error.contains(word) && !error.contains("abab"), "{error}");
        }
        // Twice the same, and lines from another system.
        assert_eq!(parse(&format!("{key}\r\n\r\n{key}\r\n")).expect("one key").len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}") {
            let _ = parse(&text);
        }
    }
}
