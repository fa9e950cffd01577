//! One source file made ready: parsed, its module kind settled, TypeScript turned into JavaScript.
//!
//! Owns the use of oxc. JavaScript is checked but stored as it is; only TypeScript is printed anew.
//! Class fields without an initialiser are dropped with their types, as TypeScript does for the
//! targets that snap-ins are built for (before ES2022).

use std::path::Path;

use oxc::allocator::Allocator;
use oxc::ast::ast::{Program, Statement, TSModuleReference};
use oxc::codegen::{Codegen, CodegenOptions};
use oxc::diagnostics::{Diagnostics, Severity};
use oxc::parser::{ParseOptions, Parser};
use oxc::semantic::{Scoping, SemanticBuilder};
use oxc::span::SourceType;
use oxc::transformer::{
    DecoratorOptions, EnvOptions, HelperLoaderMode, HelperLoaderOptions, Module, TransformOptions,
    Transformer, TypeScriptOptions,
};

use super::{CodeFile, CodeProblem, FileKind, LineMap, lines};

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    JavaScript,
    TypeScript,
    Json,
}

impl Source {
    /// By the file's extension; `None` for what cannot be loaded.
    pub(super) fn of(path: &str) -> Option<Source> {
        let (_, extension) = path.rsplit_once('.')?;
        let is_declaration =
            [".d.ts", ".d.mts", ".d.cts"].iter().any(|ending| path.ends_with(ending));
        match extension {
            "js" | "mjs" | "cjs" => Some(Source::JavaScript),
            "ts" | "mts" | "cts" if is_declaration || in_node_modules(path) => None,
            "ts" | "mts" | "cts" => Some(Source::TypeScript),
            "json" => Some(Source::Json),
            _ => None,
        }
    }
}

pub(super) fn in_node_modules(path: &str) -> bool {
    path.starts_with("node_modules/") || path.contains("/node_modules/")
}

/// Prepares one file; `None` when it cannot be loaded, with the problems that are worth telling.
/// `kind` is what the extension and package.json say, if they say anything.
pub(super) fn prepare_file(
    path: &str,
    text: &str,
    kind: Option<FileKind>,
    problems: &mut Vec<CodeProblem>,
) -> Option<CodeFile> {
    // A mark of byte order is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match Source::of(path)? {
        Source::Json => prepare_json(path, text, problems),
        // Dependencies are taken as they are: there may be thousands, most never loaded.
        Source::JavaScript if in_node_modules(path) => {
            let kind = kind.unwrap_or(FileKind::CommonJs);
            Some(CodeFile { kind, text: text.to_owned(), lines: None })
        }
        Source::JavaScript => prepare_javascript(path, text, kind, problems),
        Source::TypeScript => prepare_typescript(path, text, kind, problems),
    }
}

fn prepare_json(path: &str, text: &str, problems: &mut Vec<CodeProblem>) -> Option<CodeFile> {
    let file_name = path.rsplit('/').next().unwrap_or(path);
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        // Files for tools may have comments and are never loaded.
        let for_tools = ["tsconfig", "jsconfig", "."].iter().any(|it| file_name.starts_with(it));
        if !for_tools && !in_node_modules(path) {
            problems.push(CodeProblem {
                file: path.to_owned(),
                line: u32::try_from(error.line()).unwrap_or_default(),
                column: u32::try_from(error.column()).unwrap_or_default(),
                message: format!("no JSON: {error}"),
            });
        }
        return None;
    }
    Some(CodeFile { kind: FileKind::Json, text: text.to_owned(), lines: None })
}

fn prepare_javascript(
    path: &str,
    text: &str,
    kind: Option<FileKind>,
    problems: &mut Vec<CodeProblem>,
) -> Option<CodeFile> {
    let allocator = Allocator::default();
    let source_type = match kind {
        Some(FileKind::Module) => SourceType::mjs(),
        Some(_) => SourceType::cjs(),
        None => SourceType::unambiguous(),
    };
    let options = ParseOptions {
        allow_return_outside_function: kind != Some(FileKind::Module),
        ..ParseOptions::default()
    };
    let parsed = Parser::new(&allocator, text, source_type).with_options(options).parse();
    let before = problems.len();
    report(path, text, parsed.diagnostics, problems);
    if problems.len() == before {
        let checked = SemanticBuilder::new().with_check_syntax_error(true).build(&parsed.program);
        report(path, text, checked.diagnostics, problems);
    }
    if problems.len() > before {
        return None;
    }
    let kind = kind.unwrap_or(if parsed.program.source_type.is_module() {
        FileKind::Module
    } else {
        FileKind::CommonJs
    });
    Some(CodeFile { kind, text: without_attributes(text, &parsed.program), lines: None })
}

/// The text with blanks instead of import attributes (`with { type: "json" }`), which the engine
/// does not know. They say nothing here: a module's kind is known from its name.
fn without_attributes(text: &str, program: &Program<'_>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for statement in &program.body {
        let (source, attributes) = match statement {
            Statement::ImportDeclaration(it) => (&it.source, &it.with_clause),
            Statement::ExportFromDeclaration(it) => (&it.source, &it.with_clause),
            Statement::ExportAllDeclaration(it) => (&it.source, &it.with_clause),
            _ => continue,
        };
        if let Some(attributes) = attributes {
            let range = source.span.end as usize..attributes.span.end as usize;
            for byte in bytes[range].iter_mut().filter(|it| **it != b'\n') {
                *byte = b' ';
            }
        }
    }
    // What was blanked begins and ends between tokens, so it was whole characters.
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn prepare_typescript(
    path: &str,
    text: &str,
    kind: Option<FileKind>,
    problems: &mut Vec<CodeProblem>,
) -> Option<CodeFile> {
    print_typescript(
        path,
        text,
        kind,
        problems,
        |_, program| drop_attributes(program),
        |printed| {
            let lines = printed.map.map(|map| {
                LineMap::new(map.get_tokens().map(|token| lines::Token {
                    generated: (token.get_dst_line(), token.get_dst_col()),
                    source: (token.get_src_line(), token.get_src_col()),
                }))
            });
            let prelude = match printed.node_names.as_slice() {
                [] => String::new(),
                names => format!("const {{{}}} = import.meta.commonjs;", names.join(",")),
            };
            // The prelude stands on the first line, so that no line moves.
            CodeFile { kind: printed.kind, text: format!("{prelude}{}", printed.code), lines }
        },
    )
}

/// TypeScript turned into JavaScript.
pub(super) struct Printed<'a> {
    pub kind: FileKind,
    pub code: String,
    /// What it uses of CommonJS although it is an ES module.
    pub node_names: Vec<&'static str>,
    pub map: Option<oxc_sourcemap::SourceMap<'a>>,
}

/// Turns TypeScript into JavaScript; `change` sees the parsed program first.
pub(super) fn print_typescript<T>(
    path: &str,
    text: &str,
    kind: Option<FileKind>,
    problems: &mut Vec<CodeProblem>,
    change: impl for<'a> FnOnce(&'a Allocator, &mut Program<'a>),
    then: impl FnOnce(Printed<'_>) -> T,
) -> Option<T> {
    let allocator = Allocator::default();
    let before = problems.len();
    let options = ParseOptions { allow_return_outside_function: true, ..ParseOptions::default() };
    let parsed = Parser::new(&allocator, text, SourceType::ts()).with_options(options).parse();
    report(path, text, parsed.diagnostics, problems);
    if problems.len() > before {
        return None;
    }
    let mut program = parsed.program;
    change(&allocator, &mut program);
    let kind = typescript_kind(&program, parsed.module_record.has_module_syntax, kind);
    let checked = SemanticBuilder::new()
        .with_check_syntax_error(true)
        .with_excess_capacity(2.0)
        .with_enum_eval(true)
        .build(&program);
    report(path, text, checked.diagnostics, problems);
    if problems.len() > before {
        return None;
    }
    let options = TransformOptions {
        typescript: TypeScriptOptions {
            remove_class_fields_without_initializer: true,
            ..TypeScriptOptions::default()
        },
        // Only `import x = require()` and `export =` heed this: they become CommonJS.
        env: EnvOptions { module: Module::CommonJS, ..EnvOptions::default() },
        // The decorators of TypeScript's `experimentalDecorators`; their helpers are in helpers.js.
        decorator: DecoratorOptions { legacy: true, ..DecoratorOptions::default() },
        helper_loader: HelperLoaderOptions {
            mode: HelperLoaderMode::External,
            ..HelperLoaderOptions::default()
        },
        ..TransformOptions::default()
    };
    let transformed = Transformer::new(&allocator, Path::new(path), &options)
        .build_with_scoping(checked.semantic.into_scoping(), &mut program);
    report(path, text, transformed.diagnostics, problems);
    if problems.len() > before {
        return None;
    }
    let node_names = match kind {
        FileKind::Module => node_names_used(&program, &transformed.scoping),
        FileKind::CommonJs | FileKind::Json => Vec::new(),
    };
    let options = CodegenOptions { source_map_path: Some(path.into()), ..Default::default() };
    let printed = Codegen::new()
        .with_options(options)
        .with_source_text(text)
        .with_scoping(Some(transformed.scoping))
        .build(&program);
    Some(then(Printed { kind, code: printed.code, node_names, map: printed.map }))
}

/// As [`without_attributes`], in the tree that is printed anew.
fn drop_attributes(program: &mut Program<'_>) {
    for statement in &mut program.body {
        match statement {
            Statement::ImportDeclaration(it) => it.with_clause = None,
            Statement::ExportFromDeclaration(it) => it.with_clause = None,
            Statement::ExportAllDeclaration(it) => it.with_clause = None,
            _ => {}
        }
    }
}

/// TypeScript is written in the syntax of ES modules even where CommonJS is meant, so the syntax
/// decides before package.json; `export =` can only be CommonJS.
fn typescript_kind(
    program: &Program<'_>,
    has_module_syntax: bool,
    kind: Option<FileKind>,
) -> FileKind {
    let exports_by_assignment =
        program.body.iter().any(|it| matches!(it, Statement::TSExportAssignment(_)));
    match kind {
        _ if exports_by_assignment => FileKind::CommonJs,
        _ if has_module_syntax => FileKind::Module,
        Some(kind) => kind,
        // `import x = require()` alone makes no ES module.
        None => FileKind::CommonJs,
    }
}

/// What TypeScript compiled to CommonJS finds around it and an ES module does not, as far as it is
/// used.
fn node_names_used(program: &Program<'_>, scoping: &Scoping) -> Vec<&'static str> {
    let unresolved = scoping.root_unresolved_references();
    let requires = program.body.iter().any(|it| match it {
        Statement::TSImportEqualsDeclaration(it) => {
            matches!(it.module_reference, TSModuleReference::ExternalModuleReference(_))
        }
        _ => false,
    });
    let mut names = Vec::new();
    for name in ["require", "__filename", "__dirname"] {
        let used = unresolved.keys().any(|it| it.as_str() == name);
        // What the transformer has turned into a call is not among the references any more.
        if used || (name == "require" && (requires || calls_require(program))) {
            names.push(name);
        }
    }
    names
}

fn calls_require(program: &Program<'_>) -> bool {
    use oxc::ast::ast::Expression;
    program.body.iter().any(|statement| {
        let Statement::VariableDeclaration(declaration) = statement else { return false };
        declaration.declarations.iter().any(|it| match &it.init {
            Some(Expression::CallExpression(call)) => {
                matches!(&call.callee, Expression::Identifier(it) if it.name == "require")
            }
            _ => false,
        })
    })
}

fn report(path: &str, text: &str, diagnostics: Diagnostics, problems: &mut Vec<CodeProblem>) {
    // A file that is no JavaScript at all can give a problem for every line.
    const MOST_PER_FILE: usize = 20;
    let errors = diagnostics.into_vec().into_iter().filter(|it| it.severity == Severity::Error);
    for error in errors.take(MOST_PER_FILE) {
        let (line, column) = match error.labels.first() {
            Some(label) => place(text, label.offset() as usize),
            None => (0, 0),
        };
        let message = match &error.help {
            Some(help) => format!("{} ({help})", error.message),
            None => error.message.to_string(),
        };
        problems.push(CodeProblem { file: path.to_owned(), line, column, message });
    }
}

fn place(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    (u32::try_from(line).unwrap_or_default(), u32::try_from(column).unwrap_or_default())
}
