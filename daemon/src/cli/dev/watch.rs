//! Watching a directory: when it has changed and is quiet again, it is packed.
//!
//! The kernel's notices only say when to look; what has changed is seen by comparing what lies there,
//! so that renames, several files at once and file systems that give no notice come out the same.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;

use crate::archive::{is_skipped, pack_directory_without};
use crate::cli::Failure;
use crate::cli::stop::Stop;

/// It is quiet when two looks with this time between them see the same.
const QUIET: Duration = Duration::from_millis(120);
/// Something that is written all the time is taken as it is at last.
const MOST_LOOKS: usize = 40;
/// Without a notice, every so many times it is looked all the same.
const LOOK_ANYWAY: u32 = 10;

/// What lies in a directory, as far as it shows without reading: time, size and number of each file.
type Seen = BTreeMap<String, (i64, i64, u64, u64)>;

/// A directory that is watched.
pub(super) struct Watch {
    directory: PathBuf,
    /// Nothing when the kernel gives no more of them: then every look looks.
    notices: Option<OwnedFd>,
    seen: Option<Seen>,
    /// What was packed last, whether or not anything came of it.
    packed: Option<Vec<u8>>,
    unheard: u32,
}

impl Watch {
    pub(super) fn new(directory: &Path) -> Watch {
        let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Watch { directory: directory.to_owned(), notices, seen: None, packed: None, unheard: 0 }
    }

    /// The archive of the directory when it is another than the last one; a failure when it cannot be
    /// packed, which is said once for each change.
    pub(super) fn next(&mut self, stop: &Stop) -> Option<Result<Vec<u8>, Failure>> {
        if self.seen.is_some() && !self.is_told() {
            self.unheard += 1;
            if self.notices.is_some() && self.unheard < LOOK_ANYWAY {
                return None;
            }
        }
        self.unheard = 0;
        let mut seen = self.look();
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        for _ in 0..MOST_LOOKS {
            if stop.wait(QUIET) {
                return None;
            }
            let now = self.look();
            if std::mem::replace(&mut seen, now) == seen {
                break;
            }
        }
        self.seen = Some(seen);
        match pack_directory_without(&self.directory, &is_leftover) {
            Ok(archive) if self.packed.as_ref() == Some(&archive) => None,
            Ok(archive) => {
                self.packed = Some(archive.clone());
                Some(Ok(archive))
            }
            Err(error) => {
                self.packed = None;
                Some(Err(Failure::refused(error.to_string())))
            }
        }
    }

    /// Takes what is there for new at the next look.
    pub(super) fn forget(&mut self) {
        self.seen = None;
        self.packed = None;
    }

    /// Whether the kernel has something to say; all that it has said is taken.
    fn is_told(&self) -> bool {
        let Some(notices) = &self.notices else { return true };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(notices, &mut buffer);
        let mut is_told = false;
        while reader.next().is_ok() {
            is_told = true;
        }
        is_told
    }

    fn look(&mut self) -> Seen {
        let without_dist = is_dist_left_out(&self.directory);
        let mut seen = Seen::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let path = self.directory.join(&folder);
            // Before it is read: what comes later is told.
            if let Some(notices) = &self.notices {
                let about = WatchFlags::CREATE
                    | WatchFlags::CLOSE_WRITE
                    | WatchFlags::MODIFY
                    | WatchFlags::ATTRIB
                    | WatchFlags::MOVED_FROM
                    | WatchFlags::MOVED_TO
                    | WatchFlags::DELETE
                    | WatchFlags::DELETE_SELF
                    | WatchFlags::ONLYDIR;
                let watched = inotify::add_watch(notices, &path, about);
                if watched == Err(rustix::io::Errno::NOSPC) {
                    self.notices = None;
                }
            }
            // What is gone by now is not seen.
            for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let Ok(name) = entry.file_name().into_string() else { continue };
                let relative = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if is_leftover(&relative) || (without_dist && relative == "dist") {
                    continue;
                }
                if metadata.is_dir() {
                    if !is_skipped(&relative) {
                        folders.push(relative);
                    }
                    continue;
                }
                let stamp =
                    (metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino());
                seen.insert(relative, stamp);
            }
        }
        seen
    }
}

/// Whether `dist` holds nothing that is run: the main module is elsewhere.
fn is_dist_left_out(directory: &Path) -> bool {
    let package = std::fs::read(directory.join("package.json")).unwrap_or_default();
    is_main_elsewhere(&serde_json::from_slice(&package).unwrap_or_default())
}

fn is_main_elsewhere(package: &Value) -> bool {
    let main = package["main"].as_str().map(|it| it.trim_start_matches("./"));
    main.is_some_and(|it| it != "dist" && !it.starts_with("dist/"))
}

/// What editors and file managers put beside the files that they write.
fn is_leftover(relative: &str) -> bool {
    let name = relative.rsplit('/').next().unwrap_or_default();
    let is_of_vim = name == "4913"
        || (name.starts_with('.') && [".swp", ".swo", ".swx"].iter().any(|it| name.ends_with(it)));
    let is_of_emacs = name.starts_with(".#") || (name.starts_with('#') && name.ends_with('#'));
    let others = [".goutputstream-", ".fuse_hidden", ".nfs", ".DS_Store"];
    is_of_vim
        || is_of_emacs
        || name.ends_with('~')
        || name.ends_with("___jb_tmp___")
        || name.ends_with("___jb_old___")
        || others.iter().any(|it| name.starts_with(it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leftovers_are_known() {
        for name in [
            ".#run.ts",
            "#run.ts#",
            "run.ts~",
            ".run.ts.swp",
            "src/.run.ts.swx",
            "src/4913",
            ".DS_Store",
            "run.ts___jb_tmp___",
            ".goutputstream-X1",
        ] {
            assert!(is_leftover(name), "{name}");
        }
        for name in ["run.ts", "src/index.ts", ".npmrc", "#a", "4913.ts", "swp"] {
            assert!(!is_leftover(name), "{name}");
        }
    }

    #[test]
    fn dist_counts_when_it_is_run() {
        assert!(is_main_elsewhere(&json!({ "main": "src/index.ts" })));
        assert!(is_main_elsewhere(&json!({ "main": "./src/index.ts" })));
        for package in [json!({ "main": "./dist/index.js" }), json!({ "main": "dist" }), json!({})]
        {
            assert!(!is_main_elsewhere(&package), "{package}");
        }
    }

    #[test]
    fn saves_of_all_kinds_are_seen_once() {
        let directory = tempfile::tempdir().expect("/tmp");
        let path = directory.path();
        let stop = Stop::listen().unwrap_or_else(|it| panic!("{}", it.message));
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("/tmp");
        let mut watch = Watch::new(path);
        let mut next = || (0..=LOOK_ANYWAY).find_map(|_| watch.next(&stop));
        write("a.ts", "1");
        let first = next().and_then(Result::ok).expect("it is new");
        assert!(next().is_none());
        // Saved without a change.
        write("a.ts", "1");
        assert!(next().is_none());
        // Saved by a rename, beside leftovers.
        write(".a.ts.swp", "x");
        write("a.ts.new", "2");
        std::fs::rename(path.join("a.ts.new"), path.join("a.ts")).expect("/tmp");
        std::os::unix::fs::symlink("nowhere", path.join(".#a.ts")).expect("/tmp");
        let second = next().and_then(Result::ok).expect("it has changed");
        assert_ne!(first, second);
        assert!(next().is_none());
        // A folder, and what is made in it before anybody watches it.
        std::fs::create_dir_all(path.join("src/deep")).expect("/tmp");
        write("src/deep/b.ts", "3");
        assert!(next().is_some_and(|it| it.is_ok()));
        std::fs::create_dir_all(path.join("node_modules/x")).expect("/tmp");
        write("node_modules/x/index.js", "4");
        assert!(next().is_none());
        // What cannot be packed is said once.
        std::os::unix::fs::symlink("a.ts", path.join("link.ts")).expect("/tmp");
        assert!(next().is_some_and(|it| it.is_err_and(|it| it.message.contains("link.ts"))));
        assert!(next().is_none());
        std::fs::remove_file(path.join("link.ts")).expect("/tmp");
        assert!(next().is_some_and(|it| it.is_ok()));
    }
}
