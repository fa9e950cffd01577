//! The code of a version, prepared once so that running it needs no parser but the engine's own:
//! types stripped, the kind of every module known, the main module found.
//!
//! Owns the form in which prepared code is stored ([`Code::to_bytes`]) and the resolution of names
//! between its files. Must never run any of it, and must not be trusted by a runner more than the
//! archive it was made from.

mod for_node;
mod lines;
mod resolve;
mod script;

use std::collections::BTreeMap;

pub use self::for_node::{NodeFile, for_node};
pub use self::lines::LineMap;
pub use self::resolve::Unresolved;

/// Prepared code: the files that a function may load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    files: BTreeMap<String, CodeFile>,
    main: Option<String>,
}

/// One file that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFile {
    /// How it is loaded.
    pub kind: FileKind,
    /// What is loaded: the source itself, or what was made from it.
    pub text: String,
    /// From lines of `text` to lines of the file in the archive, when they differ.
    pub lines: Option<LineMap>,
}

/// How a file is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// An ES module.
    Module,
    /// A CommonJS module.
    CommonJs,
    /// A JSON document.
    Json,
}

/// Something in the archive that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CodeProblem {
    /// The file, as named in the archive.
    pub file: String,
    /// From 1; 0 when the problem has no place.
    pub line: u32,
    /// From 1, in characters; 0 when the problem has no place.
    pub column: u32,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Prepares the files of an archive (path and content). All problems are reported at once.
pub fn prepare(files: Vec<(String, Vec<u8>)>) -> Result<Code, Vec<CodeProblem>> {
    let mut problems = Vec::new();
    let mut texts = BTreeMap::new();
    for (path, content) in files {
        let Some(path) = resolve::normal_path(&path) else {
            problems.push(problem(&path, "the path leaves the archive"));
            continue;
        };
        if script::Source::of(&path).is_none() {
            continue;
        }
        match String::from_utf8(content) {
            Ok(text) => {
                texts.insert(path, text);
            }
            Err(_) => problems.push(problem(&path, "the file is not UTF-8 text")),
        }
    }
    let module_types = resolve::module_types(&texts, &mut problems);
    let mut prepared = BTreeMap::new();
    for (path, text) in &texts {
        let default_kind = module_types.kind_of(path);
        if let Some(file) = script::prepare_file(path, text, default_kind, &mut problems) {
            prepared.insert(path.clone(), file);
        }
    }
    let code = Code { main: resolve::find_main(&prepared), files: prepared };
    if problems.is_empty() && code.files.values().all(|it| it.kind == FileKind::Json) {
        problems.push(problem(
            "",
            "the archive holds no code: expected JavaScript or TypeScript files, with the main \
             module named by `main` of package.json, or dist/index.js, index.js or src/index.ts",
        ));
    }
    if problems.is_empty() { Ok(code) } else { Err(problems) }
}

fn problem(file: &str, message: &str) -> CodeProblem {
    CodeProblem { file: file.to_owned(), line: 0, column: 0, message: message.to_owned() }
}

impl Code {
    /// The main module of the package, if it has one.
    pub fn main(&self) -> Option<&str> {
        self.main.as_deref()
    }

    /// All files, and how each is loaded.
    pub fn paths(&self) -> impl Iterator<Item = (&str, FileKind)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file.kind))
    }

    /// One file, by its path in the archive.
    pub fn file(&self, path: &str) -> Option<&CodeFile> {
        self.files.get(path)
    }

    /// Where a function named `name` may live if the main module does not hand it out: the module
    /// named after it, nearest to the main module first. Only files that exist.
    pub fn modules_named(&self, name: &str) -> Vec<&str> {
        resolve::modules_named(self, name)
    }

    /// Names of modules in a `functions` folder: what the package probably calls its functions.
    /// The truth is only known once the main module has run.
    pub fn function_names_hint(&self) -> Vec<&str> {
        resolve::function_names(self)
    }

    /// What `specifier` means to the module `base`, when it is a file of the archive.
    pub fn resolve(&self, base: &str, specifier: &str) -> Result<&str, Unresolved> {
        resolve::resolve(self, base, specifier)
    }
}

const MAGIC: &[u8; 8] = b"mrtcode\x01";

/// Bytes that are no prepared code of this version.
#[derive(Debug, thiserror::Error)]
#[error("the stored code cannot be read: {0}; create the version anew from its archive")]
pub struct UnreadableCode(&'static str);

impl Code {
    /// The form to store. The first eight bytes name the format and its version.
    pub fn to_bytes(&self) -> Vec<u8> {
        let size: usize = self.files.values().map(|it| it.text.len() + 128).sum();
        let mut bytes = Vec::with_capacity(size + 64);
        bytes.extend_from_slice(MAGIC);
        put(&mut bytes, self.main.as_deref().unwrap_or_default().as_bytes());
        for (path, file) in &self.files {
            bytes.push(match file.kind {
                FileKind::Module => b'm',
                FileKind::CommonJs => b'c',
                FileKind::Json => b'j',
            });
            put(&mut bytes, path.as_bytes());
            put(&mut bytes, file.text.as_bytes());
            put(&mut bytes, file.lines.as_ref().map(LineMap::as_bytes).unwrap_or_default());
        }
        bytes
    }

    /// Reads what [`Code::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Code, UnreadableCode> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(UnreadableCode("unknown format"))?;
        let main = take_text(&mut rest)?;
        let mut files = BTreeMap::new();
        while let Some((kind, after)) = rest.split_first() {
            rest = after;
            let kind = match kind {
                b'm' => FileKind::Module,
                b'c' => FileKind::CommonJs,
                b'j' => FileKind::Json,
                _ => return Err(UnreadableCode("unknown kind of file")),
            };
            let path = take_text(&mut rest)?;
            let text = take_text(&mut rest)?;
            let lines = take(&mut rest)?;
            let lines = (!lines.is_empty()).then(|| LineMap::from_bytes(lines));
            files.insert(path, CodeFile { kind, text, lines });
        }
        Ok(Code { files, main: (!main.is_empty()).then_some(main) })
    }
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
    bytes.extend_from_slice(field);
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], UnreadableCode> {
    const TRUNCATED: UnreadableCode = UnreadableCode("truncated");
    let (length, after) = rest.split_first_chunk::<8>().ok_or(TRUNCATED)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| TRUNCATED)?;
    let (field, after) = after.split_at_checked(length).ok_or(TRUNCATED)?;
    *rest = after;
    Ok(field)
}

fn take_text(rest: &mut &[u8]) -> Result<String, UnreadableCode> {
    let field = take(rest)?;
    String::from_utf8(field.to_vec()).map_err(|_| UnreadableCode("no text"))
}

#[cfg(test)]
mod tests;
