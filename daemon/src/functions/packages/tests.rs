//! Folders on a real disk: whole, bounded, and gone when they are to go.

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

const LARGE: u64 = 1 << 30;

fn file(path: &str, text: &str) -> PackageFile {
    PackageFile { path: path.to_owned(), bytes: text.into(), executable: path.starts_with("bin/") }
}

fn sample() -> Vec<PackageFile> {
    vec![file("bin/tool", "#!/bin/sh\n"), file("src/a.js", "1"), file("package.json", "{}")]
}

async fn folder_of(
    packages: &Packages,
    name: &str,
    files: Vec<PackageFile>,
) -> Result<Arc<PackageFolder>, CodeError> {
    packages.folder(name, move || Ok(files), |_| b"about".to_vec()).await
}

fn names(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("packages")).unwrap();
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits for what is removed on a thread of its own.
async fn names_become(root: &Path, expected: &[&str]) {
    for _ in 0..1000 {
        if names(root) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(names(root), expected);
}

#[tokio::test]
async fn nobody_else_can_write_and_executables_can_be_started() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    assert_eq!(packages.problem(), None);
    let folder = folder_of(&packages, "aa", sample()).await.unwrap();
    assert!(folder.path.ends_with("packages/aa/files") && folder.path.is_absolute());
    assert_eq!(folder.about, b"about");
    for (path, mode) in [
        ("bin/tool", 0o755),
        ("src/a.js", 0o644),
        ("src", 0o755),
        ("", 0o755),
        ("..", 0o700),
        ("../..", 0o700),
    ] {
        let found = std::fs::symlink_metadata(folder.path.join(path)).unwrap();
        assert_eq!(found.mode() & 0o7777, mode, "{path}");
    }
}

#[tokio::test]
async fn paths_out_of_the_folder_are_refused() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    for path in ["../x", "/tmp/x", "a/../../x", "", "."] {
        let refused = folder_of(&packages, "aa", vec![file(path, "x")]).await;
        assert!(refused.is_err(), "{path}");
    }
    let twice = vec![file("a", "1"), file("a", "2")];
    assert!(folder_of(&packages, "aa", twice).await.is_err());
    assert!(folder_of(&packages, "../aa", sample()).await.is_err());
    names_become(cache.path(), &[]).await;
    assert!(folder_of(&packages, "aa", sample()).await.is_ok(), "it works after a failure");
}

#[tokio::test]
async fn it_is_made_once_for_all_who_want_it_at_once() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    let made = Arc::new(AtomicUsize::new(0));
    let ask = || {
        let (packages, made) = (packages.clone(), made.clone());
        tokio::spawn(async move {
            let unpack = move || {
                made.fetch_add(1, Ordering::SeqCst);
                Ok(sample())
            };
            packages.folder("aa", unpack, |_| Vec::new()).await.unwrap().path.clone()
        })
    };
    let asked: Vec<_> = (0..8).map(|_| ask()).collect();
    for task in asked {
        assert!(task.await.unwrap().join("bin/tool").is_file());
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_a_crash_left_in_the_middle_is_removed_and_made_anew() {
    let cache = tempfile::tempdir().unwrap();
    let root = layout::make_root(cache.path(), Place::Files).unwrap();
    // Killed while it wrote, before it had a name; and a name without a marker.
    std::fs::create_dir_all(root.join(".new-x/files/src")).unwrap();
    std::fs::create_dir_all(root.join(".gone-y/folder")).unwrap();
    std::fs::create_dir_all(root.join("aa/files")).unwrap();
    std::fs::write(root.join("aa/files/half"), "x").unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    assert_eq!(names(cache.path()), Vec::<String>::new());
    let folder = folder_of(&packages, "aa", sample()).await.unwrap();
    assert!(!folder.path.join("half").exists());
    assert!(folder.path.join("src/a.js").exists());
    // The next start finds it whole.
    drop(packages);
    let again = Packages::open(cache.path(), LARGE);
    let never = || Err(CodeError::Never("it is there".to_owned()));
    assert!(again.folder("aa", never, |_| Vec::new()).await.is_ok());
}

#[tokio::test]
async fn what_somebody_tidied_up_is_made_anew() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    let path = folder_of(&packages, "aa", sample()).await.unwrap().path.clone();
    std::fs::remove_file(path.join("src/a.js")).unwrap();
    assert!(folder_of(&packages, "aa", sample()).await.unwrap().path.join("src/a.js").exists());
    std::fs::remove_file(path.join("src/a.js")).unwrap();
    symlink("/etc/passwd", path.join("src/a.js")).unwrap();
    let folder = folder_of(&packages, "aa", sample()).await.unwrap();
    assert!(!std::fs::symlink_metadata(folder.path.join("src/a.js")).unwrap().is_symlink());
    std::fs::remove_dir_all(cache.path().join("packages")).unwrap();
    std::fs::create_dir(cache.path().join("packages")).unwrap();
    assert!(folder_of(&packages, "aa", sample()).await.unwrap().path.join("bin/tool").exists());
}

#[tokio::test]
async fn the_least_recently_used_goes_first_and_what_is_in_use_stays() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), 25);
    let ten = || vec![file("a", "0123456789")];
    let held = folder_of(&packages, "aa", ten()).await.unwrap();
    folder_of(&packages, "bb", ten()).await.unwrap();
    folder_of(&packages, "cc", ten()).await.unwrap();
    names_become(cache.path(), &["aa", "cc"]).await;
    folder_of(&packages, "bb", ten()).await.unwrap();
    names_become(cache.path(), &["aa", "bb"]).await;
    drop(held);
    // Used again: now `bb` is the oldest.
    folder_of(&packages, "aa", ten()).await.unwrap();
    folder_of(&packages, "cc", ten()).await.unwrap();
    names_become(cache.path(), &["aa", "cc"]).await;
}

#[tokio::test]
async fn what_no_version_has_goes_when_nobody_uses_it() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    let held = folder_of(&packages, "aa", sample()).await.unwrap();
    folder_of(&packages, "bb", sample()).await.unwrap();
    folder_of(&packages, "cc", sample()).await.unwrap();
    packages.keep_only(&HashSet::from(["cc".to_owned()]));
    names_become(cache.path(), &["aa", "cc"]).await;
    assert!(held.path.join("bin/tool").exists());
    drop(held);
    packages.tidy();
    names_become(cache.path(), &["cc"]).await;
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let cache = tempfile::tempdir().unwrap();
    std::fs::set_permissions(cache.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    let problem = packages.problem().expect("refused");
    assert!(problem.contains("nobody else can write"), "{problem}");
}

/// As npm does it.
async fn install(packages: &Packages, name: &str) -> Arc<PackageFolder> {
    match packages.installed(name).await.unwrap() {
        Installed::There(folder) => folder,
        Installed::Missing(vacant) => {
            let at = vacant.path().join("node_modules/a");
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("index.js"), "0123456789").unwrap();
            std::fs::create_dir(vacant.path().join(".cache")).unwrap();
            std::fs::write(vacant.path().join("package.json"), "{}").unwrap();
            vacant.fill().await.unwrap()
        }
    }
}

fn installed(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("npm")).unwrap();
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn installed_become(root: &Path, expected: &[&str]) {
    for _ in 0..1000 {
        if installed(root) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(installed(root), expected);
}

#[tokio::test]
async fn installed_packages_count_and_go_when_room_is_needed() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), 25);
    let held = install(&packages, "aa").await;
    install(&packages, "bb").await;
    assert_eq!(installed(cache.path()), ["aa", "bb"]);
    // Files of versions and installed packages share the room: the oldest that nobody holds goes.
    folder_of(&packages, "cc", vec![file("a", "0123456789")]).await.unwrap();
    installed_become(cache.path(), &["aa"]).await;
    assert_eq!(names(cache.path()), ["cc"]);
    drop(held);
    install(&packages, "dd").await;
    installed_become(cache.path(), &["dd"]).await;
    // A version that is deleted takes its files with it, not what another may install from.
    packages.keep_only(&HashSet::new());
    names_become(cache.path(), &[]).await;
    assert_eq!(installed(cache.path()), ["dd"]);
    // The next start knows them, and their order.
    drop(packages);
    let again = Packages::open(cache.path(), 25);
    assert!(matches!(again.installed("dd").await.unwrap(), Installed::There(_)));
}

#[tokio::test]
async fn what_was_half_installed_is_removed_and_made_anew() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    install(&packages, "aa").await;
    let Installed::Missing(vacant) = packages.installed("bb").await.unwrap() else {
        panic!("nobody made it");
    };
    std::fs::write(vacant.path().join("package.json"), "{}").unwrap();
    // A crash: nothing is removed. And a folder of a daemon that knew no markers.
    let Vacant { packages: also, staging, .. } = vacant;
    let _left = staging.keep();
    drop((also, packages));
    std::fs::create_dir_all(cache.path().join("npm/cc/node_modules")).unwrap();
    assert_eq!(installed(cache.path()).len(), 3);
    let packages = Packages::open(cache.path(), LARGE);
    assert_eq!(installed(cache.path()), ["aa"]);
    // Somebody deletes all of it while the daemon runs.
    std::fs::remove_dir_all(cache.path().join("npm")).unwrap();
    install(&packages, "aa").await;
    folder_of(&packages, "dd", sample()).await.unwrap();
    std::fs::remove_file(cache.path().join("npm/aa/node_modules/a/index.js")).unwrap();
    assert!(matches!(packages.installed("aa").await.unwrap(), Installed::Missing(_)));
}

#[tokio::test]
async fn who_gave_up_installing_leaves_it_to_the_next() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    let Installed::Missing(vacant) = packages.installed("aa").await.unwrap() else {
        panic!("nobody made it");
    };
    let next = install(&packages, "aa");
    tokio::pin!(next);
    tokio::select! {
        biased;
        _ = &mut next => panic!("two at once"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    drop(vacant);
    next.await;
    assert_eq!(installed(cache.path()), ["aa"]);
}

#[tokio::test]
async fn who_gives_up_waiting_takes_nothing_from_the_next() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let unpack = move || {
        let _told = goes_on.recv_timeout(Duration::from_secs(20));
        Ok(sample())
    };
    let given_up = tokio::time::timeout(
        Duration::from_millis(50),
        packages.folder("aa", unpack, |_| Vec::new()),
    );
    assert!(given_up.await.is_err(), "it waits for the files");
    // The next one has to wait until that has ended: else its folder would be replaced under it.
    let next = folder_of(&packages, "aa", sample());
    tokio::pin!(next);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut next).await;
    assert!(early.is_err(), "two make it at once");
    go_on.send(()).unwrap();
    assert!(next.await.unwrap().path.join("bin/tool").exists());
}

#[tokio::test]
async fn a_cache_has_one_daemon() {
    let cache = tempfile::tempdir().unwrap();
    let packages = Packages::open(cache.path(), LARGE);
    let Installed::Missing(vacant) = packages.installed("aa").await.unwrap() else {
        panic!("nobody made it");
    };
    let other = Packages::open(cache.path(), LARGE);
    assert!(other.problem().is_some_and(|it| it.contains("another daemon")));
    assert!(vacant.path().exists(), "it is being made");
    let refused = folder_of(&other, "bb", sample()).await;
    assert!(matches!(refused, Err(CodeError::NotNow(it)) if it.contains("another daemon")));
    drop((vacant, packages));
    assert!(folder_of(&other, "bb", sample()).await.is_ok(), "it has ended");
}

#[tokio::test]
async fn a_cache_that_was_deleted_is_locked_again() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("cache");
    let packages = Packages::open(&cache, LARGE);
    folder_of(&packages, "aa", sample()).await.unwrap();
    std::fs::remove_dir_all(&cache).unwrap();
    folder_of(&packages, "aa", sample()).await.unwrap();
    let other = Packages::open(&cache, LARGE);
    assert!(other.problem().is_some_and(|it| it.contains("another daemon")));
}
