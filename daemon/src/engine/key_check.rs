//! Finds out at start whether the master keys at hand are those that the database was written with,
//! rather than when a function first needs a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use crate::secrets::{KeyError, KeyHome, KeyId, MasterKeys, Vault};
use crate::store::{Store, StoreError};

/// What is left to whoever has no backup.
const LOST: &str = ". If the key is lost for good, `mortise serve --forget-lost-secrets` deletes what \
                    it sealed: those keyrings are broken then, and have to be set anew";

/// Why the daemon must not start with the master keys at hand.
#[derive(Debug, thiserror::Error)]
pub enum KeyCheckError {
    /// They cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none, and there ought to be.
    #[error(
        "there is no master key at {path}, but {secrets} in the database are sealed with one \
         ({missing}): put the file back from where the backups are, and start again{LOST}"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// How many secrets.
        secrets: String,
        /// Which keys.
        missing: String,
    },
    /// They are others.
    #[error(
        "the master key is not the one that this database was written with: {secrets} are sealed with \
         {missing}, and {path} holds {found}. Put the missing key back as a further line, below those \
         that are there, and start again{hint}{LOST}"
    )]
    Wrong {
        /// Where the keys were read.
        path: PathBuf,
        /// How many secrets.
        secrets: String,
        /// Keys that are not there.
        missing: String,
        /// Keys that are.
        found: String,
        /// Where the missing one may be.
        hint: String,
    },
}

/// Reads the master keys, or makes one for a database without secrets, and checks that every secret
/// can be opened with them.
pub fn open_keys(
    store: &Store,
    credentials: Option<&Path>,
    state: &Path,
) -> Result<MasterKeys, KeyCheckError> {
    let sealed = count(store)?;
    let mut needed: BTreeMap<KeyId, u64> = BTreeMap::new();
    for (key, number) in sealed {
        match key {
            Some(key) => drop(needed.insert(key, number)),
            None => error!(number, "the database holds secrets that are damaged: set them anew"),
        }
    }
    let keys = match MasterKeys::find(credentials, state)? {
        Some(keys) => keys,
        None if needed.is_empty() => return Ok(MasterKeys::load(credentials, state)?),
        None => {
            return Err(KeyCheckError::Missing {
                path: KeyHome::choose(credentials, state)?.path().to_owned(),
                secrets: say_secrets(needed.values().sum()),
                missing: say_keys(needed.keys()),
            });
        }
    };
    let (current, old) = keys.ids();
    needed.retain(|id, _| *id != current && !old.contains(id));
    if needed.is_empty() {
        return Ok(keys);
    }
    Err(KeyCheckError::Wrong {
        path: keys.home().path().to_owned(),
        secrets: say_secrets(needed.values().sum()),
        missing: say_keys(needed.keys()),
        found: say_keys(std::iter::once(&current).chain(&old)),
        hint: match (keys.home(), MasterKeys::find(None, state)) {
            (KeyHome::Credential(_), Ok(Some(file))) => format!(
                "; the file {} is not read while there is a credential",
                file.home().path().display()
            ),
            _ => String::new(),
        },
    })
}

/// Deletes the secrets that none of the keys at hand opens; answers how many.
pub async fn forget_lost(
    store: &Store,
    credentials: Option<&Path>,
    state: &Path,
) -> Result<usize, KeyCheckError> {
    let at_hand: Vec<KeyId> = match MasterKeys::find(credentials, state)? {
        Some(keys) => {
            let (current, old) = keys.ids();
            std::iter::once(current).chain(old).collect()
        }
        None => Vec::new(),
    };
    const REASON: &str = "its secret was sealed with a master key that is lost; set it anew";
    let is_lost =
        move |envelope: &[u8]| Vault::sealed_with(envelope).is_none_or(|it| !at_hand.contains(&it));
    let forgotten = store.write(move |tables| tables.forget_envelopes(&is_lost, REASON)).await?;
    if forgotten > 0 {
        warn!(secrets = forgotten, "deleted secrets that were sealed with a lost master key");
    }
    Ok(forgotten)
}

/// How many secrets there are, by the key that they are sealed with.
pub(super) fn count(store: &Store) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
    store.read(|tables| tables.count_envelopes(Vault::sealed_with))
}

fn say_keys<'a>(keys: impl Iterator<Item = &'a KeyId>) -> String {
    let keys: Vec<String> = keys.map(|it| format!("key {it}")).collect();
    keys.join(", ")
}

fn say_secrets(number: u64) -> String {
    format!("{number} secret{}", if number == 1 { "" } else { "s" })
}
