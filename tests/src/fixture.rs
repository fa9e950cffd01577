//! The snap-ins of `tests/fixtures/snap-ins`: read from their folders, and uploaded as authors do it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::snap_in::pack;

/// Where the manifests say that an external system is.
const FORGE: &str = "https://forge.example";

/// A snap-in in its folder.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The folder's name, and the slug of its package.
    pub name: String,
    folder: PathBuf,
    /// Paths below the folder, and texts.
    files: Vec<(String, String)>,
}

/// A fixture that was installed.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The snap-in's id.
    pub id: String,
    /// Its version's id.
    pub version: String,
    /// Its organization sources by name: id, and path of the trigger URL.
    pub sources: BTreeMap<String, (String, String)>,
}

impl Fixture {
    /// All of them, by name.
    ///
    /// # Panics
    ///
    /// When they cannot be read.
    pub fn all() -> Vec<Fixture> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/snap-ins");
        let entries = fs::read_dir(folder).expect("the fixtures are there");
        let folders = entries.map(|it| it.expect("it can be read").path());
        let mut all: Vec<_> = folders.filter(|it| it.is_dir()).map(Fixture::read).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn read(folder: PathBuf) -> Fixture {
        let name = folder.file_name().and_then(|it| it.to_str()).expect("a plain name").to_owned();
        let mut files = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).expect("it can be read") {
                let path = entry.expect("it can be read").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).expect("a text");
                let path = path.strip_prefix(&folder).ok().and_then(Path::to_str);
                files.push((path.expect("a plain name").to_owned(), text));
            }
        }
        files.sort();
        Fixture { name, folder, files }
    }

    /// Its manifest, with the external system where it is now.
    ///
    /// # Panics
    ///
    /// When it has none.
    pub fn manifest(&self, forge: &str) -> String {
        let file = self.files.iter().find(|(path, _)| path == "manifest.yaml");
        file.expect("every fixture has one").1.replace(FORGE, forge)
    }

    /// Parameters of `versions.create`. What was built is sent as the platform's own client does:
    /// the manifest, and an archive of the package. What was not is the archive of the repository.
    pub fn upload(&self, forge: &str) -> Value {
        let manifest = self.manifest(forge);
        let is_built = self.files.iter().any(|(path, _)| path.starts_with("code/dist/"));
        let mut files: Vec<(&str, &str)> = Vec::new();
        for (path, text) in &self.files {
            match path.strip_prefix("code/") {
                Some(inside) if is_built => files.push((inside, text)),
                Some(_) => files.push((path, text)),
                None if path == "manifest.yaml" && !is_built => files.push((path, &manifest)),
                None => {}
            }
        }
        let archive = pack(&files);
        if is_built {
            json!({ "package": self.name, "manifest": manifest, "archive": archive })
        } else {
            json!({ "package": self.name, "archive": archive })
        }
    }

    /// Compares what the daemon says of the manifest with `warnings.txt`, which is written anew when
    /// it differs; answers what is wrong then.
    pub fn compare_warnings(&self, warnings: &str) -> Option<String> {
        let path = self.folder.join("warnings.txt");
        if fs::read_to_string(&path).unwrap_or_default() == warnings {
            return None;
        }
        if warnings.is_empty() {
            let _ = fs::remove_file(&path);
        } else if let Err(error) = fs::write(&path, warnings) {
            return Some(format!("{}: {error}", path.display()));
        }
        Some(format!("{} was written anew; read its diff and commit it", path.display()))
    }
}

impl Installation {
    /// Installs a version in DRAFT.
    ///
    /// # Panics
    ///
    /// When it cannot be.
    pub fn create(daemon: &Daemon, version: &str, inputs_values: &Value) -> Installation {
        let parameters = json!({ "version": version, "inputs_values": inputs_values });
        let created = daemon.call("snap-ins.create", &parameters);
        let id = created["snap_in"]["id"].as_str().expect("an id").to_owned();
        let mut sources = BTreeMap::new();
        for source in
            daemon.list_all("event-sources.list", "event_sources", &json!({"snap_in": id}))
        {
            let text = |key: &str| source[key].as_str().expect("a text").to_owned();
            let url = text("trigger_url");
            let path = url.split_at(url.find("/hooks/").expect("it is ours")).1.to_owned();
            sources.insert(text("name"), (text("id"), path));
        }
        Installation { id, version: version.to_owned(), sources }
    }
}
