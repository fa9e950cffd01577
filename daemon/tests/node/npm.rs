//! `npm ci` in the sandbox, against a registry of one package that the test makes itself.

use std::path::Path;
use std::sync::Arc;

use mortise::egress::EgressOptions;
use mortise::functions::packages::Packages;
use mortise::functions::packages::install::{InstallError, Installer};
use mortise::functions::pool::Pool;
use mortise_tests::registry::{ESCAPED, Registry};

use crate::harness::*;

fn installer(cache: &Path, registry: &str) -> (Installer, Arc<Pool>) {
    let pool = Arc::new(pool_with(options(), EgressOptions::default()));
    let packages = Packages::open(cache, 1 << 30);
    let installer =
        Installer::open(packages, Arc::clone(&pool), registry, None).expect("a registry");
    (installer, pool)
}

#[tokio::test]
async fn packages_are_put_together_once_and_can_be_used() {
    let registry = Registry::start();
    let cache = tempfile::tempdir().expect("a folder");
    let (installer, pool) = installer(cache.path(), &registry.url());
    let (manifest, lock) = registry.files("left");
    let modules = installer.install(manifest.as_bytes(), Some(lock.as_bytes())).await;
    let modules = modules.unwrap_or_else(|error| panic!("{error}; asked: {:?}", registry.asked()));
    let modules = modules.path.clone();
    assert!(modules.starts_with(cache.path().canonicalize().expect("it is there").join("npm")));
    assert!(modules.join("left/index.js").is_file());
    assert!(!Path::new(ESCAPED).exists(), "no script of a package runs");
    let around: Vec<_> =
        std::fs::read_dir(modules.parent().expect("a folder")).expect("it is read").collect();
    assert_eq!(around.len(), 2, "only the modules and their marker stay: {around:?}");
    let asked = registry.asked().len();
    let again = installer.install(manifest.as_bytes(), Some(lock.as_bytes())).await;
    assert_eq!(again.expect("it is there").path, modules);
    assert_eq!(registry.asked().len(), asked, "the second time nothing is asked");
    // Used from a version's folder, by both kinds of modules.
    let using = package(&[
        (
            "index.js",
            "const left = require('left'); exports.run = async () => [left('a'), (await import('./b.mjs')).default]",
        ),
        ("b.mjs", "import left from 'left'; export default left('b')"),
    ]);
    // As a version's files are laid out with them.
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg("-r").arg(&modules).arg(using.path()).status();
    assert!(copied.expect("every host has cp").success());
    assert_eq!(result(&pool.invoke(invocation(&using)).await), r#"["left a","left b"]"#);
}

#[tokio::test]
async fn whatever_is_wrong_has_a_name() {
    let registry = Registry::start();
    let cache = tempfile::tempdir().expect("a folder");
    let (installer, _pool) = installer(cache.path(), &registry.url());
    let (package, _) = registry.files("left");
    let error = installer.install(package.as_bytes(), None).await.expect_err("no lock file");
    assert_eq!(error, InstallError::NoLockFile);
    let error = installer.install(package.as_bytes(), Some(b"[1")).await.expect_err("no JSON");
    assert!(matches!(error, InstallError::BadFile { file: "package-lock.json", .. }), "{error:?}");
    let other = serde_json::json!({
        "name": "it", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
        "packages": { "": { "name": "it", "version": "1.0.0" } },
    })
    .to_string();
    let error = installer.install(package.as_bytes(), Some(other.as_bytes())).await;
    assert!(matches!(error, Err(InstallError::OutOfStep(_))), "{error:?}");
    let (package, lock) = registry.files("right");
    let error = installer.install(package.as_bytes(), Some(lock.as_bytes())).await;
    assert!(matches!(&error, Err(InstallError::NotFound(it)) if it.contains("right")), "{error:?}");
    let (package, lock) = registry.files("left");
    let changed = lock.replace(&registry.integrity()[..20], "sha512-AAAAAAAAAAAAA");
    let error = installer.install(package.as_bytes(), Some(changed.as_bytes())).await;
    assert!(matches!(error, Err(InstallError::Changed(_))), "{error:?}");
    let elsewhere = lock.replace("https://registry.npmjs.org/", "http://elsewhere.example:81/");
    let error = installer.install(package.as_bytes(), Some(elsewhere.as_bytes())).await;
    let said = error.as_ref().expect_err("it is not allowed").to_string();
    assert!(said.contains("elsewhere.example port 81 is not among"), "{said}");
    let left: Vec<_> = std::fs::read_dir(cache.path().join("npm")).expect("it is there").collect();
    assert!(left.is_empty(), "nothing is left of what failed: {left:?}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let cache = tempfile::tempdir().expect("a folder");
    let registry = Registry::start();
    let (installer, _pool) = installer(cache.path(), "http://127.0.0.1:1/");
    let (package, lock) = registry.files("left");
    let error = installer.install(package.as_bytes(), Some(lock.as_bytes())).await;
    let error = error.expect_err("nobody listens");
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("functions.npm_registry"), "{error}");
}
