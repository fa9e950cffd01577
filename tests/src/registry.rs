//! An npm registry of one package, on loopback.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha512};

use crate::files::{Answer, FileServer};

/// What the script of the package would make; it must never run.
pub const ESCAPED: &str = "/tmp/mortise-escaped";

const TARBALL: &str = "/left/-/left-1.0.0.tgz";

/// A registry that has `left` in version 1.0.0, whose function writes `left ` before what it is given.
pub struct Registry {
    server: FileServer,
    integrity: String,
    asked: Mutex<Vec<String>>,
}

impl Registry {
    /// Starts one; its thread ends with the test program.
    pub fn start() -> Registry {
        let server = FileServer::start();
        let tarball = tarball();
        let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(&tarball)));
        let packument = json!({
            "name": "left",
            "dist-tags": { "latest": "1.0.0" },
            "versions": { "1.0.0": {
                "name": "left", "version": "1.0.0",
                "dist": { "tarball": server.url(TARBALL), "integrity": integrity },
            } },
        });
        server.put("/left", Answer::bytes(packument.to_string().into_bytes()));
        server.put(TARBALL, Answer::bytes(tarball));
        Registry { server, integrity, asked: Mutex::default() }
    }

    /// Answers whoever wants the package with this status from now on.
    pub fn fail(&self, status: u16) {
        for path in ["/left", TARBALL] {
            let body = b"not now".to_vec();
            self.server.put(path, Answer { status, headers: Vec::new(), body });
        }
    }

    /// For the setting `functions.npm_registry`.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/", self.server.address().port())
    }

    /// What lock files say of the package.
    pub fn integrity(&self) -> &str {
        &self.integrity
    }

    /// The paths that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.extend(self.server.take_seen().into_iter().map(|it| it.path));
        asked.clone()
    }

    /// package.json and package-lock.json of a package that needs `name` in version 1.0.0.
    pub fn files(&self, name: &str) -> (String, String) {
        let needs = json!({ name: "1.0.0" });
        let package =
            json!({ "name": "it", "version": "1.0.0", "main": "index.js", "dependencies": needs });
        let lock = json!({
            "name": "it", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
            "packages": {
                "": { "name": "it", "version": "1.0.0", "dependencies": needs },
                format!("node_modules/{name}"): {
                    "version": "1.0.0", "hasInstallScript": true, "integrity": self.integrity,
                    "resolved": format!("https://registry.npmjs.org/{name}/-/{name}-1.0.0.tgz"),
                },
            },
        });
        (package.to_string(), lock.to_string())
    }
}

/// The package, with a script and a command that nobody wants.
fn tarball() -> Vec<u8> {
    let package = json!({
        "name": "left", "version": "1.0.0", "main": "index.js", "bin": { "left": "index.js" },
        "scripts": { "install": format!("touch {ESCAPED}") },
    });
    let mut tar = tar::Builder::new(Vec::new());
    let main = "module.exports = (it) => 'left ' + it";
    for (path, text) in
        [("package/package.json", package.to_string().as_str()), ("package/index.js", main)]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).expect("memory takes it");
    }
    compressed(&tar.into_inner().expect("memory takes it"))
}

/// gzip, as every host has it.
fn compressed(bytes: &[u8]) -> Vec<u8> {
    use std::process::{Command, Stdio};
    let mut command = Command::new("gzip");
    command.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("every host has gzip");
    // It fits into a pipe.
    child.stdin.take().expect("a pipe").write_all(bytes).expect("it reads");
    child.wait_with_output().expect("it ends").stdout
}
