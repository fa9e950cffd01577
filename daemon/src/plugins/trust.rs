//! Who may have written a library, or a command of integrations: nobody but those whom the daemon trusts
//! with its own process.
//!
//! Owns the walk over every component of a path. A library runs as the daemon, so whoever can write
//! to the file, to a directory above it or to a symbolic link on the way could become the daemon;
//! each of them must belong to a trusted user and be writable by nobody else. It must never open or
//! run what it looks at.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Whose files are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Production: files of root, writable by root alone.
    Root,
    /// Development: files of root and of the invoking user. The sticky directories of root, such as
    /// `/tmp`, may lie on the way, and so may directories that only the user's private group can
    /// write to (a group with the user's own number, as Fedora and Debian make them).
    RootAndUser {
        /// The invoking user.
        uid: u32,
    },
}

/// As many symbolic links as Linux follows itself.
const MAX_LINKS: usize = 40;

const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Follows `path` from the root, checking each component, and returns it without symbolic links.
///
/// What is loaded must be the returned path: the one given could be another file by then.
pub fn resolve_trusted(path: &Path, trust: Trust) -> Result<PathBuf, String> {
    let absolute = std::path::absolute(path)
        .map_err(|error| format!("cannot resolve {}: {error}", path.display()))?;
    let mut ahead: VecDeque<OsString> = components(&absolute);
    let mut resolved = PathBuf::from("/");
    let mut links = 0;
    check(&resolved, &look(&resolved)?, trust)?;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            // Symbolic links are gone from `resolved`, so its parent is the true one.
            resolved.pop();
            continue;
        }
        let next = resolved.join(&name);
        let metadata = look(&next)?;
        check(&next, &metadata, trust)?;
        if metadata.file_type().is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(format!("{}: more than {MAX_LINKS} symbolic links", path.display()));
            }
            let target = fs::read_link(&next)
                .map_err(|error| format!("cannot read the link {}: {error}", next.display()))?;
            if target.is_absolute() {
                resolved = PathBuf::from("/");
            }
            for name in components(&target).into_iter().rev() {
                ahead.push_front(name);
            }
        } else {
            resolved = next;
        }
    }
    Ok(resolved)
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn look(path: &Path) -> Result<Metadata, String> {
    fs::symlink_metadata(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn check(path: &Path, metadata: &Metadata, trust: Trust) -> Result<(), String> {
    let what = if metadata.is_dir() { "directory" } else { "file" };
    let path = path.display();
    let owner = metadata.uid();
    match trust {
        Trust::Root if owner != 0 => {
            return Err(format!("{what} {path} belongs to uid {owner}, and must belong to root"));
        }
        Trust::RootAndUser { uid } if owner != 0 && owner != uid => {
            return Err(format!(
                "{what} {path} belongs to uid {owner}, and must belong to root or uid {uid}"
            ));
        }
        Trust::Root | Trust::RootAndUser { .. } => {}
    }
    if metadata.file_type().is_symlink() {
        // The mode of a link is always 0777 and means nothing; its directory was checked.
        return Ok(());
    }
    let mode = metadata.mode();
    let (sticky_allowed, private_group_allowed) = match trust {
        Trust::Root => (false, false),
        Trust::RootAndUser { uid } => {
            // Nobody but the owner can replace what lies in a sticky directory, and the owner of
            // the next component is checked too.
            let sticky = metadata.is_dir() && mode & STICKY != 0 && owner == 0;
            (sticky, metadata.gid() == uid)
        }
    };
    if mode & WRITABLE_BY_OTHERS != 0 && !sticky_allowed {
        return Err(format!(
            "{what} {path} is writable by everybody (mode {:04o}), and must not be",
            mode & 0o7777
        ));
    }
    if mode & WRITABLE_BY_GROUP != 0 && !sticky_allowed && !private_group_allowed {
        return Err(format!(
            "{what} {path} is writable by group {} (mode {:04o}), and must not be",
            metadata.gid(),
            mode & 0o7777
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn development() -> Trust {
        Trust::RootAndUser { uid: rustix::process::getuid().as_raw() }
    }

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_private_file_below_a_sticky_directory_is_for_development_only() {
        let directory = directory();
        let file = directory.path().join("a.so");
        fs::write(&file, "x").unwrap();
        chmod(&file, 0o600);
        let resolved = resolve_trusted(&file, development()).unwrap();
        assert_eq!(resolved, fs::canonicalize(&file).unwrap());
        // /tmp itself is writable by everybody, whoever owns the file.
        if directory.path().starts_with("/tmp") {
            let refusal = resolve_trusted(&file, Trust::Root).unwrap_err();
            assert!(refusal.contains("writable") || refusal.contains("uid"), "{refusal}");
        }
    }

    #[test]
    fn the_file_and_every_directory_are_checked() {
        let directory = directory();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("a.so");
        fs::write(&file, "x").unwrap();
        chmod(&file, 0o666);
        let refusal = resolve_trusted(&file, development()).unwrap_err();
        assert!(refusal.contains("a.so is writable by everybody (mode 0666)"), "{refusal}");
        chmod(&file, 0o644);
        chmod(&inner, 0o777);
        let refusal = resolve_trusted(&file, development()).unwrap_err();
        assert!(refusal.contains("inner is writable by everybody"), "{refusal}");
        chmod(&inner, 0o755);
        resolve_trusted(&file, development()).unwrap();
    }

    #[test]
    fn links_are_followed_through_checked_directories() {
        let directory = directory();
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        let file = directory.path().join("a.so");
        fs::write(&file, "x").unwrap();
        chmod(&file, 0o644);
        // A good file reached through a link that anybody can replace.
        symlink(&file, open.join("link.so")).unwrap();
        symlink("open/link.so", directory.path().join("b.so")).unwrap();
        chmod(&open, 0o777);
        let refusal = resolve_trusted(&directory.path().join("b.so"), development()).unwrap_err();
        assert!(refusal.contains("open is writable"), "{refusal}");
        chmod(&open, 0o755);
        let resolved = resolve_trusted(&directory.path().join("b.so"), development()).unwrap();
        assert_eq!(resolved, fs::canonicalize(&file).unwrap());
    }

    #[test]
    fn a_ring_of_links_ends() {
        let directory = directory();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        let refusal = resolve_trusted(&directory.path().join("a"), development()).unwrap_err();
        assert!(refusal.contains("more than 40 symbolic links"), "{refusal}");
    }
}
