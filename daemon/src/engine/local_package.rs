//! A package that is no version: what runs one of its functions is settled, and its files are laid out,
//! as for a version, but nothing is stored. For `mortise function run`.
//!
//! Owns nothing of its own: choice, layout and installation are those of versions. Must never run a
//! function, and never write into the author's directory.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

use super::runtimes::{About, Means};
use super::version_files::{self, InstallPackages, Links, of_archive};
use super::version_runtimes::{Around, Settled, settle};
use crate::archive::ArchiveFile;
use crate::functions::kind::RunnerKind;
use crate::functions::packages::{PackageFile, Packages};
use crate::functions::pool::{CodeError, CodeSource, LoadedCode};
use crate::functions::remote::TestingUrl;
use crate::manifest::{Places, Problem};
use crate::model::manifest::{ChosenRuntime, Manifest, Runtime};

/// One function of a package, with all that it takes to run it.
#[derive(Debug)]
pub struct LocalFunction {
    chosen: ChosenRuntime,
    settled: Settled,
    testing_url: Option<TestingUrl>,
    warnings: Vec<Problem>,
}

/// What a package is made of, and where it is.
pub struct LocalPackage<'a> {
    /// What was read of its manifest.
    pub manifest: &'a Manifest,
    /// Where in the text everything is.
    pub places: &'a Places,
    /// Its files, as they would be packed.
    pub files: Vec<ArchiveFile>,
    /// Where events can be posted.
    pub testing_url: Option<TestingUrl>,
    /// Whether Node.js is on this host.
    pub has_node: bool,
}

/// Where npm packages come from.
pub enum Modules<'a> {
    /// The `node_modules` of the author, as it is.
    Own(PathBuf),
    /// Put together anew.
    Install(&'a dyn InstallPackages),
}

impl LocalFunction {
    /// Chooses what runs a function as the daemon would; everything that is wrong otherwise.
    pub fn settle(package: LocalPackage<'_>, name: &str) -> Result<LocalFunction, Vec<Problem>> {
        let LocalPackage { manifest, places, files, testing_url, has_node } = package;
        let files: Vec<PackageFile> = files.into_iter().map(of_archive).collect();
        let around = Around { has_testing_url: testing_url.is_some(), has_node, only: Some(name) };
        let mut warnings = Vec::new();
        let settled = settle(Some(manifest), places, files, around, &mut warnings);
        match settled.runtimes.get(name).cloned().filter(|_| settled.is_right) {
            Some(chosen) => Ok(LocalFunction { chosen, settled, testing_url, warnings }),
            None => Err(warnings),
        }
    }

    /// What runs it, and why.
    pub fn chosen(&self) -> &ChosenRuntime {
        &self.chosen
    }

    /// What is questionable.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The folder of package.json whose dependencies it needs, with a slash at its end unless it is
    /// the top.
    pub fn to_install(&self) -> Option<&str> {
        self.settled.to_install.as_deref()
    }

    /// By what it runs: its files are laid out for that, with the packages of npm if it needs them.
    pub async fn means(
        self,
        packages: &Packages,
        modules: Option<Modules<'_>>,
    ) -> Result<Means, String> {
        let LocalFunction { chosen, settled, testing_url, .. } = self;
        let Settled { code, on_disk, to_install, runtimes, .. } = settled;
        let (runtime, about) = match chosen.runtime {
            Runtime::Quickjs | Runtime::Auto => {
                let code = code.ok_or("it has no code for the embedded engine")?;
                let code = LoadedCode::Prepared(Arc::new(code.to_bytes()));
                return Ok(Means::Runner {
                    runtime: RunnerKind::Quickjs,
                    code: Arc::new(AtHand(code)),
                });
            }
            Runtime::Remote => {
                return testing_url.map(Means::Remote).ok_or("there is no testing URL".to_owned());
            }
            Runtime::Node => {
                let main = chosen.entry.as_deref().unwrap_or_default();
                (RunnerKind::Node, About::of_node(main))
            }
            Runtime::Process => (RunnerKind::Process, About::of_processes(&runtimes)),
        };
        let mut files = on_disk.ok_or("its files are not there")?;
        files = match (to_install, modules) {
            (Some(folder), Some(Modules::Own(own))) => {
                version_files::add_modules(files, &folder, own, Links::Followed).await?
            }
            (Some(folder), Some(Modules::Install(installer))) => {
                let added = version_files::add_installed(files, &folder, installer).await;
                added.map_err(|error| error.to_string())?
            }
            (Some(_), None) | (None, _) => files,
        };
        let mut hash = Sha256::new();
        for file in &files {
            hash.update(Sha256::digest(&file.path));
            hash.update(Sha256::digest(&file.bytes));
            hash.update([u8::from(file.executable)]);
        }
        let name = hex::encode(hash.finalize());
        let folder = packages.folder(&name, move || Ok(files), move |path| about.document(path));
        let folder = folder.await.map_err(|error| error.to_string())?;
        Ok(Means::Runner { runtime, code: Arc::new(AtHand(LoadedCode::Folder(folder))) })
    }
}

/// Code that was read already.
struct AtHand(LoadedCode);

impl CodeSource for AtHand {
    fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
        let code = self.0.clone();
        async move { Ok(code) }.boxed()
    }
}
