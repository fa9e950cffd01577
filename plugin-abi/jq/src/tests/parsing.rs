//! Any text at all is a program or an error, and any program that is made of parts of others ends.

use proptest::prelude::*;
use serde_json::json;

use super::super::{Program, RunError};

/// What programs are made of.
const PIECES: [&str; 46] = [
    ".",
    "..",
    ".a",
    ".[0]",
    ".[]",
    ".[1:]",
    "|",
    ",",
    ";",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    "$x",
    "as",
    "reduce",
    "foreach",
    "if",
    "then",
    "else",
    "end",
    "def f:",
    "f",
    "try",
    "catch",
    "?",
    "//",
    "==",
    "+",
    "-",
    "*",
    "|=",
    "=",
    "1",
    "\"a\"",
    "\"\\(",
    "label $x",
    "break $x",
    "map(.)",
    "recurse",
    "range(9)",
    "@base64",
    "import \"a\" as $x;",
];

fn check_place(text: &str) -> Option<Program> {
    match Program::compile(text) {
        Ok(program) => Some(program),
        Err(error) => {
            let lines = text.split('\n').count();
            for error in error.others.iter().chain([&error]) {
                assert!(error.line >= 1 && error.line as usize <= lines, "{text:?}: {error}");
                let line = text.split('\n').nth(error.line as usize - 1).unwrap_or_default();
                assert!(error.column >= 1, "{text:?}: {error}");
                assert!(error.column as usize <= line.chars().count() + 1, "{text:?}: {error}");
                assert!(!error.message.contains("defect"), "{text:?}: {error}");
            }
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_text_compiles_or_says_where_not(text in ".{0,80}") {
        check_place(&text);
    }

    #[test]
    fn any_pieces_compile_and_end(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
    ) {
        let text = pieces.join(" ");
        if let Some(program) = check_place(&text) {
            let input = json!({"a": [1, {"b": "c"}, null], "x": 1.5});
            let result = program.run_all_blocking(&input, &[], 10);
            let is_defect = matches!(
                result,
                Err(RunError::Internal { .. } | RunError::Late | RunError::Stuck)
            );
            prop_assert!(!is_defect, "{text}: {result:?}");
        }
    }
}

#[test]
fn nested_texts() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{a:", "}"), ("\"\\(", ")\""), ("[", "")] {
        let text = format!("{}.{}", open.repeat(5_000), close.repeat(5_000));
        assert!(check_place(&text).is_none());
    }
    // Nested without brackets, as far as a program may go.
    for (piece, last) in [
        (".|", "."),
        ("-", "1"),
        ("try ", "."),
        ("def f:", "."),
        ("1+", "1"),
        ("1,", "1"),
        ("if . then . else ", "."),
        (". as $x|", "."),
        ("def f:.;", "."),
        (".a", ""),
        (".//", "."),
        ("reduce . as $x(.;.)|", "."),
        ("not|", "."),
        ("label $x|", "."),
        (".=", "."),
        ("#\\\n", ""),
        ("1 as [$x]|", "."),
        ("first(", "."),
        ("?//", "."),
        (".a|=", "."),
        ("..|", "."),
    ] {
        let text = format!("{}{last}", piece.repeat((32 << 10) / piece.len() - 1));
        if let Some(program) = check_place(&text) {
            // It ends, however.
            let _ = program.run_all_blocking(&json!({"a": 1}), &[], 10);
        }
    }
    let message = Program::compile(&".".repeat(40_000)).unwrap_err().message;
    assert_eq!(message, "a program is at most 32 KiB long");
}
