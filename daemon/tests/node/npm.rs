//! `npm ci` in the sandbox, against a registry of one package that the test makes itself.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use mortise::egress::EgressOptions;
use mortise::functions::packages::install::{InstallError, Installer, link};
use mortise::functions::pool::Pool;
use sha2::{Digest, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::*;

/// A registry that has `left` in version 1.0.0, with a script that must never run.
struct Registry {
    url: String,
    integrity: String,
    asked: Arc<Mutex<Vec<String>>>,
}

const SCRIPT: &str = r#"{"name":"left","version":"1.0.0","main":"index.js","scripts":{"install":"touch /tmp/mortise-escaped"}}"#;

fn tarball() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a folder");
    let package = directory.path().join("package");
    std::fs::create_dir(&package).expect("it can be made");
    std::fs::write(package.join("package.json"), SCRIPT).expect("it can be written");
    let main = "module.exports = (it) => 'left ' + it";
    std::fs::write(package.join("index.js"), main).expect("it can be written");
    let mut tar = std::process::Command::new("tar");
    let output = tar.args(["-cz", "package"]).current_dir(directory.path()).output();
    output.expect("every host has tar").stdout
}

impl Registry {
    async fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let url = format!("http://localhost:{port}/");
        let tarball = tarball();
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&tarball));
        let integrity = format!("sha512-{hash}");
        let packument = serde_json::json!({
            "name": "left",
            "dist-tags": { "latest": "1.0.0" },
            "versions": { "1.0.0": {
                "name": "left", "version": "1.0.0",
                "dist": { "tarball": format!("{url}left/-/left-1.0.0.tgz"), "integrity": integrity },
            } },
        });
        let files = HashMap::from([
            ("/left".to_owned(), packument.to_string().into_bytes()),
            ("/left/-/left-1.0.0.tgz".to_owned(), tarball),
        ]);
        let (files, asked) = (Arc::new(files), Arc::new(Mutex::new(Vec::new())));
        let remember = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (files, remember) = (Arc::clone(&files), Arc::clone(&remember));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await? > 0 {}
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    remember.lock().expect("no panic").push(path.clone());
                    let (status, body) = match files.get(&path) {
                        Some(body) => ("200 OK", body.as_slice()),
                        None => ("404 Not Found", b"{}".as_slice()),
                    };
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                    );
                    stream.write_all(head.as_bytes()).await?;
                    stream.write_all(body).await
                });
            }
        });
        Registry { url, integrity, asked }
    }

    /// package.json and package-lock.json of a package that needs `name`.
    fn files(&self, name: &str) -> (String, String) {
        let package = serde_json::json!({ "name": "it", "version": "1.0.0", "dependencies": { name: "1.0.0" } });
        let lock = serde_json::json!({
            "name": "it", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
            "packages": {
                "": { "name": "it", "version": "1.0.0", "dependencies": { name: "1.0.0" } },
                format!("node_modules/{name}"): {
                    "version": "1.0.0", "hasInstallScript": true, "integrity": self.integrity,
                    "resolved": format!("https://registry.npmjs.org/{name}/-/{name}-1.0.0.tgz"),
                },
            },
        });
        (package.to_string(), lock.to_string())
    }
}

fn installer(cache: &Path, registry: &str) -> (Installer, Arc<Pool>) {
    let pool = Arc::new(pool_with(options(), EgressOptions::default()));
    let installer = Installer::open(cache, Arc::clone(&pool), registry, None).expect("a registry");
    (installer, pool)
}

#[tokio::test]
async fn packages_are_put_together_once_and_can_be_used() {
    let registry = Registry::start().await;
    let cache = tempfile::tempdir().expect("a folder");
    let (installer, pool) = installer(cache.path(), &registry.url);
    let (package, lock) = registry.files("left");
    let modules = installer.install(package.as_bytes(), Some(lock.as_bytes())).await;
    let modules = modules.unwrap_or_else(|error| panic!("{error}; asked: {:?}", registry.asked));
    assert!(modules.starts_with(cache.path().canonicalize().expect("it is there").join("npm")));
    assert!(modules.join("left/index.js").is_file());
    assert!(!Path::new("/tmp/mortise-escaped").exists(), "no script of a package runs");
    let around: Vec<_> =
        std::fs::read_dir(modules.parent().expect("a folder")).expect("it is read").collect();
    assert_eq!(around.len(), 1, "only the modules stay: {around:?}");
    let asked = registry.asked.lock().expect("no panic").len();
    let again = installer.install(package.as_bytes(), Some(lock.as_bytes())).await;
    assert_eq!(again.as_ref(), Ok(&modules));
    assert_eq!(
        registry.asked.lock().expect("no panic").len(),
        asked,
        "the second time nothing is asked"
    );
    // Used from a version's folder, by both kinds of modules.
    let using = package_below(
        "files",
        &[
            (
                "index.js",
                "const left = require('left'); exports.run = async () => [left('a'), (await import('./b.mjs')).default]",
            ),
            ("b.mjs", "import left from 'left'; export default left('b')"),
        ],
    );
    link(&modules, using.path()).expect("it is linked");
    assert_eq!(result(&pool.invoke(invocation(&using)).await), r#"["left a","left b"]"#);
}

#[tokio::test]
async fn whatever_is_wrong_has_a_name() {
    let registry = Registry::start().await;
    let cache = tempfile::tempdir().expect("a folder");
    let (installer, _pool) = installer(cache.path(), &registry.url);
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
    let changed = lock.replace(&registry.integrity[..20], "sha512-AAAAAAAAAAAAA");
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
    let registry = Registry::start().await;
    let (installer, _pool) = installer(cache.path(), "http://127.0.0.1:1/");
    let (package, lock) = registry.files("left");
    let error = installer.install(package.as_bytes(), Some(lock.as_bytes())).await;
    let error = error.expect_err("nobody listens");
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("functions.npm_registry"), "{error}");
}
