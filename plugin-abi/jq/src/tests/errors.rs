//! Compile errors say where and what, and run errors say nothing of the input.

use serde_json::json;

use super::super::{CompileError, Program};
use super::outputs;

fn error(text: &str) -> CompileError {
    Program::compile(text).unwrap_err()
}

#[track_caller]
fn says(text: &str, expected: &str) {
    assert_eq!(error(text).to_string(), expected, "{text}");
}

#[test]
fn places() {
    says(".a | slect(.b)", "line 1, column 6: there is no filter `slect`; is `select` meant?");
    says(
        ".a\n| map(\n  .b + $user)",
        "line 3, column 8: no variable `$user` is bound here (none is given from outside)",
    );
    says("\"é\" | foo_bar_baz", "line 1, column 7: there is no filter `foo_bar_baz`");
    says(
        ".a | test",
        "line 1, column 6: `test` with 0 arguments does not exist; there is `test/1`, `test/2`",
    );
    says("{a: (1}", "line 1, column 5: this `(` is never closed");
    says("\"abc", "line 1, column 1: this `\"` is never closed");
    says("if . then 1", "line 1, column 12: expected else or end, found the end");
    says(".a ==", "line 1, column 6: expected term, found the end");
    says("", "line 1, column 1: expected term, found the end");
    says("1 2", "line 1, column 3: expected nothing, found `2`");
    says(".a § .b", "line 1, column 4: expected a token, found `§`");
    says("break $out", "line 1, column 7: there is no label `$out`");
    says("x::y", "line 1, column 1: there is no module `x`");
}

#[test]
fn all_at_once() {
    let error = error("foo_one,\nfoo_two");
    assert_eq!((error.line, error.column), (1, 1));
    assert_eq!(error.others.len(), 1);
    assert_eq!((error.others[0].line, error.others[0].column), (2, 1));
}

#[test]
fn nothing_from_outside() {
    for text in [
        "include \"a\"; .",
        "import \"a\" as a; a::b",
        "import \"/etc/passwd\" as $data; $data",
        "import \"a\" as a {search: \"/\"}; 1",
    ] {
        let message = error(text).message;
        assert_eq!(message, "programs cannot include or import anything", "{text}");
    }
}

#[test]
fn variables_are_named() {
    let error = Program::compile_with("$usr", &["user"]).unwrap_err();
    assert_eq!(error.message, "no variable `$usr` is bound here (given from outside: `$user`)");
}

#[test]
fn errors_quote_no_input() {
    for program in [
        ".secret.a",
        ".secret[0]",
        ".secret - 1",
        "1 + .secret",
        ".secret | keys",
        "-.secret",
        "{(.list): 1}",
        ".secret | fromjson",
        ".secret | tonumber",
        ".secret[]",
        ".secret |= .a",
        ".list | join(1)",
        "[.secret] | implode",
        ".secret | has(0)",
        ".secret | strftime(\"%Y\")",
        ".secret | contains(1)",
        ".secret | sort",
        ".secret.a |= 1",
        ".secret | mktime",
        ".list | @csv",
        ".secret | test(1)",
        ".secret | explode | implode | .a",
    ] {
        let input = r#"{"secret": "hunter2", "list": ["hunter2", ["hunter2"]]}"#;
        let result = outputs(program, input);
        let error = result.expect_err(program);
        assert!(!error.without_values().contains("hunter2"), "{program}: {error}");
        let kinds = ["a string", "an array", "a number", "message"];
        assert!(kinds.iter().any(|it| error.without_values().contains(it)), "{program}: {error}");
    }
}

#[test]
fn own_messages_are_shown_where_they_may_be() {
    let program = Program::compile("error(\"no token in \\(.)\")").unwrap();
    let error = program.run_blocking(&json!("hunter2"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "the program failed: no token in hunter2");
    assert!(!error.without_values().contains("hunter2"));
    let error = outputs("error({code: 1})", "null").unwrap_err();
    assert_eq!(error.to_string(), "the program failed: {\"code\":1}");
}
