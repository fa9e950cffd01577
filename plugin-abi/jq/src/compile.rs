//! Text to a program: what is wrong with it, and where.
//!
//! Programs reach nothing outside: no modules, no files, no environment, no clock, no other input.
//! Compiling recurses with the text, so it is done on a thread with a large stack.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;
use std::thread;

use jaq_core::data::HasLut;
use jaq_core::load::lex::{StrPart, Tok, Token};
use jaq_core::load::{self, Arena, File, Lexer, Loader};
use jaq_core::{Compiler, DataT, Filter, Lut, compile};

use super::limits::{self, STACK};
use super::natives::{self, REFUSED};
use super::value::Value;

/// The longest program, in bytes.
pub(super) const MOST_TEXT: usize = 32 << 10;
/// How deep brackets may be nested.
const MOST_NESTED: usize = 100;

/// What our programs run on.
pub(super) struct Kind;

impl DataT for Kind {
    type V<'a> = Value;
    type Data<'a> = Terms<'a>;
}

/// The terms of a program, which counts how often it is asked for them: once for every evaluation.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a>(pub &'a Lut<Kind>);

impl<'a> HasLut<'a, Kind> for Terms<'a> {
    fn lut(&self) -> &'a Lut<Kind> {
        limits::evaluate();
        self.0
    }
}

/// Why a text is no program: the first problem, and the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong there, and what to do.
    pub message: String,
    /// Further problems, in the order of the text; none of these has others.
    pub others: Vec<CompileError>,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for CompileError {}

impl CompileError {
    fn new(message: impl Into<String>) -> CompileError {
        CompileError { line: 1, column: 1, message: message.into(), others: Vec::new() }
    }

    /// At `part`, which points into `text`.
    fn at(text: &str, part: &str, message: impl Into<String>) -> CompileError {
        let mut error = CompileError::new(message);
        let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr());
        if let Some(before) = start.and_then(|it| text.get(..it)) {
            let line_start = before.rfind('\n').map_or(0, |it| it + 1);
            let count = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
            error.line = count(before.matches('\n').count());
            error.column = count(before[line_start..].chars().count());
        }
        error
    }

    fn all(mut errors: Vec<CompileError>) -> CompileError {
        errors.sort_by_key(|it| (it.line, it.column));
        let mut errors = errors.into_iter();
        let mut first = errors.next().unwrap_or_else(|| CompileError::new("it is no program"));
        first.others = errors.collect();
        first
    }
}

/// Compiles a program that may name the given variables, which are without `$`.
pub(super) fn compile(text: &str, variables: &[&str]) -> Result<Filter<Kind>, CompileError> {
    if text.len() > MOST_TEXT {
        let message = format!("a program is at most {} KiB long", MOST_TEXT >> 10);
        return Err(CompileError::new(message));
    }
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("jq-compile".to_owned()).stack_size(STACK);
        let compiling = builder.spawn_scoped(scope, || compile_here(text, variables));
        let compiling = compiling.map_err(|error| {
            CompileError::new(format!("no thread could be started to compile it: {error}"))
        })?;
        let defect = || Err(CompileError::new("the compiler has a defect with this program"));
        compiling.join().unwrap_or_else(|_| defect())
    })
}

fn compile_here(text: &str, variables: &[&str]) -> Result<Filter<Kind>, CompileError> {
    let tokens = Lexer::new(text).lex().map_err(|errors| {
        let errors = errors.into_iter();
        CompileError::all(errors.map(|(expected, at)| lex_error(text, &expected, at)).collect())
    })?;
    if let Some(Token(part, _)) = tokens.iter().find_map(|it| too_deep(it, 0)) {
        let message = format!("brackets are nested more than {MOST_NESTED} deep");
        return Err(CompileError::at(text, part, message));
    }
    let names: Vec<String> = variables.iter().map(|it| format!("${it}")).collect();
    let arena = Arena::default();
    let file = File { path: (), code: text };
    let modules =
        Loader::new(natives::definitions()).load(&arena, file).map_err(|e| load_errors(text, e))?;
    load::import(&modules, |_| Err(String::new())).map_err(|errors| load_errors(text, errors))?;
    Compiler::default()
        .with_funs(natives::all())
        .with_global_vars(names.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| {
            let errors = errors.into_iter().flat_map(|(_, errors)| errors);
            CompileError::all(errors.map(|it| undefined(text, variables, &it)).collect())
        })
}

/// The first token that is nested too deep.
fn too_deep<'t, 's>(token: &'t Token<&'s str>, depth: usize) -> Option<&'t Token<&'s str>> {
    if depth > MOST_NESTED {
        return Some(token);
    }
    match &token.1 {
        Tok::Block(tokens) => tokens.iter().find_map(|it| too_deep(it, depth + 1)),
        Tok::Str(parts) => parts.iter().find_map(|part| match part {
            StrPart::Term(token) => too_deep(token, depth + 1),
            StrPart::Str(_) | StrPart::Char(_) => None,
        }),
        Tok::Word | Tok::Var | Tok::Fmt | Tok::Num | Tok::Sym => None,
    }
}

fn lex_error(text: &str, expected: &load::lex::Expect<&str>, at: &str) -> CompileError {
    if let load::lex::Expect::Delim(opened) = expected {
        let message = format!("this `{opened}` is never closed");
        return CompileError::at(text, opened, message);
    }
    let found = at.chars().next().map_or("the end".to_owned(), |it| format!("`{it}`"));
    CompileError::at(text, at, format!("expected a {}, found {found}", expected.as_str()))
}

fn load_errors(text: &str, errors: load::Errors<&str, ()>) -> CompileError {
    let mut found = Vec::new();
    for (_, error) in errors {
        match error {
            load::Error::Io(errors) => found.extend(errors.into_iter().map(|(path, _)| {
                CompileError::at(text, path, "programs cannot include or import anything")
            })),
            load::Error::Lex(errors) => {
                found.extend(errors.into_iter().map(|(it, at)| lex_error(text, &it, at)));
            }
            load::Error::Parse(errors) => found.extend(errors.into_iter().map(|(it, at)| {
                let token = match at {
                    "" => "the end".to_owned(),
                    token => format!("`{}`", token.chars().take(20).collect::<String>()),
                };
                CompileError::at(text, at, format!("expected {}, found {token}", it.as_str()))
            })),
        }
    }
    CompileError::all(found)
}

/// What is said of a name that means nothing.
fn undefined(text: &str, variables: &[&str], error: &compile::Error<&str>) -> CompileError {
    let (name, undefined) = error;
    let refused = REFUSED.iter().find(|(refused, _)| refused == name);
    let message = match (undefined, refused) {
        (_, Some((_, instead))) => format!("there is no `{name}` here: {instead}"),
        (compile::Undefined::Filter(arity), None) => undefined_filter(name, *arity),
        (compile::Undefined::Var, None) => {
            let known: Vec<String> = variables.iter().map(|it| format!("`${it}`")).collect();
            let known = match known.as_slice() {
                [] => "none is given from outside".to_owned(),
                known => format!("given from outside: {}", known.join(", ")),
            };
            format!("no variable `{name}` is bound here ({known})")
        }
        (other, None) => format!("there is no {} `{name}`", other.as_str()),
    };
    CompileError::at(text, name, message)
}

fn undefined_filter(name: &str, arity: usize) -> String {
    match (name, arity) {
        ("reduce", _) => return "`reduce` takes two: `reduce f as $x (init; update)`".to_owned(),
        ("foreach", _) => {
            return "`foreach` takes two or three: `foreach f as $x (init; update; out)`"
                .to_owned();
        }
        _ => {}
    }
    let known = names();
    let others: Vec<String> = known
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(known, arity)| format!("`{known}/{arity}`"))
        .collect();
    if !others.is_empty() {
        let plural = if arity == 1 { "" } else { "s" };
        return format!(
            "`{name}` with {arity} argument{plural} does not exist; there is {}",
            others.join(", ")
        );
    }
    let near = known.iter().map(|(known, _)| (distance(known, name), known));
    let most = if name.chars().count() < 5 { 1 } else { 2 };
    match near.filter(|(distance, known)| *distance <= most && known.len() > 2).min() {
        Some((_, near)) => format!("there is no filter `{name}`; is `{near}` meant?"),
        None => format!("there is no filter `{name}`"),
    }
}

/// The filters that programs can call, with the number of their arguments.
fn names() -> &'static BTreeSet<(String, usize)> {
    static NAMES: OnceLock<BTreeSet<(String, usize)>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let defined = natives::definitions().into_iter();
        let defined = defined.map(|it| (it.name.to_owned(), it.args.len()));
        let native = natives::all().map(|(name, arguments, _)| (name.to_owned(), arguments.len()));
        // What ends in `_` or `empty` is made of others.
        let is_plain = |(name, _): &(String, usize)| {
            name == "empty" || !(name.ends_with('_') || name.ends_with("empty"))
        };
        defined.chain(native).filter(is_plain).collect()
    })
}

/// How many letters have to be changed, put in or left out.
fn distance(left: &str, right: &str) -> usize {
    // Whoever wrote something long meant none of ours.
    if right.len() > 40 {
        return usize::MAX / 4;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}
