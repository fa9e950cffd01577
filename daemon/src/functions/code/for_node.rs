//! TypeScript that nobody has built, as Node.js can load it.
//!
//! Node.js goes by full file names and by package.json, where TypeScript does neither: so every file
//! is named after what it is (`.mjs`, `.cjs`), and the names by which they import one another
//! are written out. Must never run any of it.

use std::collections::BTreeMap;

use oxc::allocator::{Allocator, Vec as ArenaVec};
use oxc::ast::ast::{
    Argument, CallExpression, ExportAllDeclaration, ExportFromDeclaration, Expression,
    ImportAttribute, ImportAttributeKey, ImportDeclaration, ImportExpression, Program,
    StringLiteral, TSExternalModuleReference, WithClause, WithClauseKeyword,
};
use oxc::ast::builder::AstBuilder;
use oxc::ast_visit::{VisitMut, walk_mut};
use oxc::span::SPAN;
use oxc::str::Str;

use super::script::{self, Printed, Source};
use super::{Code, CodeFile, CodeProblem, FileKind};

/// One TypeScript file, made ready for Node.js.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFile {
    /// The file in the archive that it was made from.
    pub source: String,
    /// Where it has to lie, beside its source. Its source map is to be written to this path with
    /// `.map` after it; `node --enable-source-maps` finds it there.
    pub path: String,
    /// What Node.js loads.
    pub text: String,
    /// The source map, version 3, JSON.
    pub map: String,
}

/// All TypeScript of an archive (paths and contents) outside of `node_modules`, and its main module
/// as Node.js has to be told it, built or not.
pub fn for_node(
    files: Vec<(String, Vec<u8>)>,
) -> Result<(Vec<NodeFile>, Option<String>), Vec<CodeProblem>> {
    let sources: BTreeMap<String, String> = files
        .iter()
        .filter_map(|(path, content)| {
            let path = super::resolve::normal_path(path)?;
            let is_typescript = Source::of(&path) == Some(Source::TypeScript);
            is_typescript.then(|| (path, String::from_utf8_lossy(content).into_owned()))
        })
        .collect();
    let code = super::prepare(files)?;
    let mut problems = Vec::new();
    let mut made = Vec::new();
    for (path, text) in &sources {
        made.extend(one_file(&code, path, text, &mut problems));
    }
    let main = code.main().map(|main| node_path(&code, main));
    if problems.is_empty() { Ok((made, main)) } else { Err(problems) }
}

fn one_file(
    code: &Code,
    path: &str,
    text: &str,
    problems: &mut Vec<CodeProblem>,
) -> Option<NodeFile> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let kind = code.file(path)?.kind;
    let out = node_path(code, path);
    script::print_typescript(
        path,
        text,
        Some(kind),
        problems,
        |allocator, program| write_names_out(code, path, kind, allocator, program),
        |printed| {
            let map = map_of(&printed, path, &out);
            let before = before(&printed);
            let text =
                format!("{before}{}\n//# sourceMappingURL={}.map\n", printed.code, file_name(&out));
            NodeFile { source: path.to_owned(), path: out.clone(), text, map }
        },
    )
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Where a file lies for Node.js: TypeScript under the name of what it became.
fn node_path(code: &Code, path: &str) -> String {
    let extension = match code.file(path).map(|it: &CodeFile| it.kind) {
        Some(FileKind::Module) => "mjs",
        Some(FileKind::CommonJs) => "cjs",
        Some(FileKind::Json) | None => return path.to_owned(),
    };
    match path.rsplit_once('.') {
        Some((stem, _)) if Source::of(path) == Some(Source::TypeScript) => {
            format!("{stem}.{extension}")
        }
        Some(_) | None => path.to_owned(),
    }
}

fn map_of(printed: &Printed<'_>, path: &str, out: &str) -> String {
    let Some(map) = &printed.map else { return String::new() };
    let mut map = map.clone();
    map.set_file(file_name(out));
    map.set_sources([file_name(path)]);
    map.to_json_string()
}

/// What stands on the first line, so that no line moves: the names of CommonJS that an ES module
/// uses, and what decorators are compiled to calls of.
fn before(printed: &Printed<'_>) -> String {
    let mut text = String::new();
    for name in &printed.node_names {
        text.push_str(match *name {
            "require" => {
                "import { createRequire as $createRequire } from 'node:module'; \
                 const require = $createRequire(import.meta.url); "
            }
            "__filename" => {
                "import { fileURLToPath as $filename } from 'node:url'; \
                 const __filename = $filename(import.meta.url); "
            }
            "__dirname" => {
                "import { fileURLToPath as $dirname } from 'node:url'; \
                 const __dirname = $dirname(new URL('.', import.meta.url)).slice(0, -1); "
            }
            _ => "",
        });
    }
    if printed.code.contains("babelHelpers.") {
        let helpers: Vec<&str> = include_str!("../runner/js/helpers.js")
            .lines()
            .map(str::trim)
            .filter(|it| !it.starts_with("//"))
            .collect();
        // A directive is one only at the very beginning.
        if printed.code.starts_with("\"use strict\"") {
            text.insert_str(0, "\"use strict\"; ");
        }
        text.push_str(&format!("const {{ babelHelpers }} = {}(); ", helpers.join(" ")));
    }
    text
}

fn write_names_out<'a>(
    code: &Code,
    base: &str,
    kind: FileKind,
    allocator: &'a Allocator,
    program: &mut Program<'a>,
) {
    Names { code, base, kind, allocator }.visit_program(program);
}

struct Names<'a, 'c> {
    code: &'c Code,
    base: &'c str,
    kind: FileKind,
    allocator: &'a Allocator,
}

impl<'a> Names<'a, '_> {
    /// The file that a relative name means, and the name by which Node.js finds it.
    fn meant(&self, specifier: &str) -> Option<(&str, String)> {
        if !specifier.starts_with('.') {
            return None;
        }
        let found = self.code.resolve(self.base, specifier).ok()?;
        Some((found, relative(self.base, &node_path(self.code, found))))
    }

    fn write_out(&self, literal: &mut StringLiteral<'a>) {
        let Some((_, name)) = self.meant(&literal.value) else { return };
        literal.value = Str::from_str_in(&name, &self.allocator);
        literal.raw = None;
    }

    /// Node.js wants to be told that JSON is meant.
    fn with_json(&self, specifier: &str) -> Option<WithClause<'a>> {
        let (found, _) = self.meant(specifier)?;
        if self.kind != FileKind::Module || self.code.file(found)?.kind != FileKind::Json {
            return None;
        }
        let builder = AstBuilder::new(self.allocator);
        let key = ImportAttributeKey::new_identifier(SPAN, "type", &builder);
        let value = StringLiteral::new(SPAN, "json", None, &builder);
        let entry = ImportAttribute::new(SPAN, key, value, &builder);
        let entries = ArenaVec::from_array_in([entry], &self.allocator);
        Some(WithClause::new(SPAN, WithClauseKeyword::With, entries, &builder))
    }
}

impl<'a> VisitMut<'a> for Names<'a, '_> {
    fn visit_import_declaration(&mut self, it: &mut ImportDeclaration<'a>) {
        if let Some(clause) = self.with_json(&it.source.value) {
            it.with_clause = Some(oxc::allocator::Box::new_in(clause, &self.allocator));
        }
        self.write_out(&mut it.source);
    }

    fn visit_export_from_declaration(&mut self, it: &mut ExportFromDeclaration<'a>) {
        self.write_out(&mut it.source);
    }

    fn visit_export_all_declaration(&mut self, it: &mut ExportAllDeclaration<'a>) {
        self.write_out(&mut it.source);
    }

    fn visit_ts_external_module_reference(&mut self, it: &mut TSExternalModuleReference<'a>) {
        self.write_out(&mut it.expression);
    }

    fn visit_import_expression(&mut self, it: &mut ImportExpression<'a>) {
        if let Expression::StringLiteral(literal) = &mut it.source {
            self.write_out(literal);
        }
        walk_mut::walk_import_expression(self, it);
    }

    fn visit_call_expression(&mut self, it: &mut CallExpression<'a>) {
        let is_require =
            matches!(&it.callee, Expression::Identifier(callee) if callee.name == "require");
        if let (true, [Argument::StringLiteral(literal)]) =
            (is_require, it.arguments.as_mut_slice())
        {
            self.write_out(literal);
        }
        walk_mut::walk_call_expression(self, it);
    }
}

/// The path of `to` as the file `from` has to write it.
fn relative(from: &str, to: &str) -> String {
    let mut from: Vec<&str> = from.split('/').collect();
    from.pop();
    let to: Vec<&str> = to.split('/').collect();
    let common =
        from.iter().zip(&to[..to.len() - 1]).take_while(|(one, other)| one == other).count();
    let up = match from.len() - common {
        0 => "./".to_owned(),
        up => "../".repeat(up),
    };
    format!("{up}{}", to[common..].join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(list: &[(&str, &str)]) -> (Vec<NodeFile>, Option<String>) {
        let files = list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        for_node(files.collect()).expect("the code is fine")
    }

    #[test]
    fn names_are_written_out_as_node_needs_them() {
        let (files, main) = made(&[
            ("package.json", r#"{"main":"dist/index.js","type":"commonjs"}"#),
            (
                "src/index.ts",
                "import { a } from './lib';\nimport data from '../data.json';\n\
                 export * from './lib/other.js';\nconst b: number = require('./old');\n\
                 export const run = async () => [a, data, b, __dirname, await import('./lib')];\n",
            ),
            ("src/lib/index.ts", "export const a: number = 1;"),
            ("src/lib/other.ts", "export { a as c } from '.'; import 'pkg';"),
            ("src/old.ts", "import x = require('./lib'); export = x;"),
            ("data.json", "{}"),
        ]);
        assert_eq!(main.as_deref(), Some("src/index.mjs"));
        let file = |path: &str| {
            files.iter().find(|it| it.path == path).unwrap_or_else(|| panic!("{path}: {files:?}"))
        };
        let index = file("src/index.mjs");
        assert_eq!(index.source, "src/index.ts");
        for part in [
            "from \"./lib/index.mjs\"",
            "from \"../data.json\" with { type: \"json\" }",
            "export * from \"./lib/other.mjs\"",
            "require(\"./old.cjs\")",
            "import(\"./lib/index.mjs\")",
            "import { createRequire",
            "const __dirname",
            "//# sourceMappingURL=index.mjs.map",
        ] {
            assert!(index.text.contains(part), "{part} is not in {}", index.text);
        }
        assert!(file("src/lib/other.mjs").text.contains("from \"./index.mjs\""));
        assert!(file("src/lib/other.mjs").text.contains("import \"pkg\""));
        assert!(file("src/old.cjs").text.contains("require(\"./lib/index.mjs\")"));
        let map: serde_json::Value = serde_json::from_str(&index.map).expect("JSON");
        assert_eq!(map["version"], 3);
        assert_eq!(map["sources"], serde_json::json!(["index.ts"]));
        assert_eq!(map["file"], "index.mjs");
    }

    #[test]
    fn decorators_bring_their_helpers_without_moving_a_line() {
        let (files, _) = made(&[(
            "index.ts",
            "function d(t: any) { return t; }\n@d class A {}\nexport const run = () => new A();\n",
        )]);
        let text = &files[0].text;
        let first = text.lines().next().expect("not empty");
        assert!(
            first.starts_with("\"use strict\"; const { babelHelpers } = (function () {"),
            "{first}"
        );
        assert!(first.ends_with("\"use strict\";"), "{first}");
    }

    #[test]
    fn built_packages_need_nothing() {
        assert_eq!(made(&[("dist/index.js", "1")]), (vec![], Some("dist/index.js".to_owned())));
    }
}
