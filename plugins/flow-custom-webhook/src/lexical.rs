//! What the bare words of a policy tell before it is parsed.
//!
//! Keywords: in Rego v0 `if`, `in`, `every` and `contains` are keywords only after `import
//! future.keywords` (or `import rego.v1`). OPA refuses a v0 policy that uses them otherwise;
//! regorus takes them for variables and rules and reads `output := x if signed` as "output is x,
//! always". So a policy that uses one undeclared is never read as v0.
//!
//! Brackets: regorus parses what may be a comprehension twice, at each level anew, so that the time
//! doubles with each level of brackets. What would take too long is refused.

use mortise_plugin::Problem;
use regorus::Source;
use regorus::unstable::{Lexer, Span, TokenKind};

use crate::diagnose::problem_at;

/// How many words regorus may have to parse, each counted as often as it is parsed.
const MAX_COST: u64 = 2_000_000;

const KEYWORDS: &[&str] = &["if", "in", "every", "contains"];

/// The first keyword of a v1 policy that this text uses without an import, as a problem of the
/// text when it is read as v0. `None` also for text that cannot be read at all.
pub(crate) fn undeclared_keyword(text: &str) -> Option<Problem> {
    let tokens = tokens(text)?;
    let token = |at: usize| tokens.get(at).map_or("", |span| span.text());
    let mut declared = Vec::new();
    for at in 0..tokens.len() {
        if token(at) != "import" {
            continue;
        }
        let words = [token(at + 1), token(at + 2), token(at + 3)];
        match (words, token(at + 4)) {
            (["rego", ".", "v1"], _) => declared.extend(KEYWORDS),
            (["future", ".", "keywords"], ".") => declared.push(token(at + 5)),
            (["future", ".", "keywords"], _) => declared.extend(KEYWORDS),
            _ => {}
        }
    }
    // `every` is of no use without `in`, and importing it imports both.
    if declared.contains(&"every") {
        declared.push("in");
    }
    for (at, span) in tokens.iter().enumerate() {
        let word = span.text();
        let is_field = at > 0 && token(at - 1) == ".";
        let is_function = word == "contains" && token(at + 1) == "(";
        if KEYWORDS.contains(&word) && !is_field && !is_function && !declared.contains(&word) {
            let message = format!("`{word}` needs `import future.keywords.{word}` in Rego v0");
            return Some(problem_at(span, message));
        }
    }
    None
}

/// A problem if parsing this text would take too long.
pub(crate) fn too_costly(text: &str) -> Option<Problem> {
    let (mut cost, mut depth) = (0_u64, 0_u32);
    for span in tokens(text)? {
        match span.text() {
            "[" | "{" => depth += 1,
            "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        cost = cost.saturating_add(1 << depth.min(40));
        if cost > MAX_COST {
            let message = "the brackets around this are nested too deeply for so long a policy";
            return Some(problem_at(&span, message));
        }
    }
    None
}

/// Identifiers and symbols; a string contributes its quotes only.
fn tokens(text: &str) -> Option<Vec<Span>> {
    let source = Source::from_contents(crate::diagnose::FILE.to_owned(), text.to_owned()).ok()?;
    let mut lexer = Lexer::new(&source);
    lexer.set_max_col(std::num::NonZeroU32::MAX);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token().ok()?;
        match token.0 {
            TokenKind::Eof => return Some(tokens),
            TokenKind::Ident | TokenKind::Symbol => tokens.push(token.1),
            TokenKind::String | TokenKind::RawString | TokenKind::Number => {
                tokens.push(Span { end: token.1.start, ..token.1 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let found = undeclared_keyword(text).map(|problem| problem.message);
        assert_eq!(found.as_deref().map(|m| m.split('`').nth(1).unwrap_or("")), expected, "{text}");
    }

    #[test]
    fn undeclared_keywords_are_found() {
        check("package rego\nx := 1 if input.y", Some("if"));
        check("package rego\nx { some y in [1] }", Some("in"));
        check("package rego\ndeny contains 1", Some("contains"));
        check("package rego\nimport future.keywords.if\nx if { some y in [1] }", Some("in"));
        check("package rego\nx { every y in [1] { y } }", Some("every"));
    }

    #[test]
    fn nested_brackets_cost_time() {
        let nested = |n: usize| format!("package rego\nx := {}1{}", "[".repeat(n), "]".repeat(n));
        assert!(too_costly(&nested(15)).is_none());
        assert!(too_costly(&nested(25)).is_some());
        assert!(
            too_costly(&format!("package rego\n{}", "x { y := {\"a\": [1]} }\n".repeat(5000)))
                .is_none()
        );
    }

    #[test]
    fn declared_keywords_and_mere_words_are_not() {
        check("package rego\nimport rego.v1\nx if { some y in [1] }", None);
        check("package rego\nimport future.keywords\nx if { some y in [1] }", None);
        check("package rego\nimport future.keywords.every\nx { every y in [1] { y } }", None);
        check("package rego\nx { contains(input.if, \"if in every\") } # if", None);
        check("package rego\nx = {\"if\": `in`}", None);
        check("package \"", None);
    }
}
