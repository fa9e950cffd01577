//! Programs that would hang, crash or fill a daemon. Each ends, soon, with an error that says why.

#![expect(clippy::disallowed_methods, reason = "how long the threads really run is the point")]

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::super::{Limit, Program, RunError};

/// Well above the limit of time, because tests run side by side; far below for ever.
const LATEST: Duration = Duration::from_secs(6);

fn result(text: &str, input: &Json) -> Result<Vec<Json>, RunError> {
    let program = Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let first = Instant::now();
    loop {
        let start = Instant::now();
        match program.run_all_blocking(input, &[], 1_000) {
            // Other tests take places as well.
            Err(RunError::Busy) => std::thread::sleep(Duration::from_millis(50)),
            result => {
                println!("{:?} {text} {:?}", start.elapsed(), result.as_ref().map(Vec::len));
                assert!(start.elapsed() < LATEST, "{text} took {:?}", start.elapsed());
                return result;
            }
        }
        assert!(first.elapsed() < Duration::from_secs(60), "no place for {text}");
    }
}

#[track_caller]
fn is_stopped(text: &str, allowed: &[Limit]) {
    match result(text, &Json::Null) {
        Err(RunError::Stopped(limit)) if allowed.contains(&limit) => {}
        other => panic!("{text}: {:?}", other.map(|it| it.len())),
    }
}

const ENDLESS: &[Limit] = &[Limit::Steps, Limit::Time];
const LARGE: &[Limit] = &[Limit::Memory, Limit::Steps, Limit::Time];
const DEEP: &[Limit] =
    &[Limit::Recursion, Limit::Steps, Limit::Nesting, Limit::Memory, Limit::Time];

#[test]
fn endless() {
    for text in [
        "def f: f; f",
        "def f: def g: f; g; f",
        "def f(g): f(g); f(.)",
        "def f($x): f($x + 1); f(0)",
        "repeat(empty)",
        "last(repeat(1))",
        "last(range(infinite))",
        "reduce range(1e18) as $x (0; . + $x)",
        "[skip(1e18; repeat(1))]",
        "first(range(1e18) | select(. < 0))",
        "isempty(range(1e18) | select(. < 0))",
        "until(false; .)",
        "label $out | foreach repeat(1) as $x (0; . + 1; empty)",
        "path(def f: .a | f; f)",
        "any(repeat(false); .)",
        "limit(1e9; repeat(1)) | empty",
        "[1, 2] | sort_by(last(repeat(1)))",
        "try (def f: try f catch f; f) catch 1",
        "def f: (f, 1)?; first(f | select(false))",
        "[range(3000)] | combinations(4) | select(false)",
        "range(1e18; 0; -1) | select(false)",
        "range(0; 1; 0) | select(. > 0)",
    ] {
        is_stopped(text, DEEP);
    }
    is_stopped("def f: f; f", ENDLESS);
    is_stopped("last(range(1e18))", ENDLESS);
}

#[test]
fn large() {
    for text in [
        "\"a\" * 1e9",
        "\"a\" * 1e18",
        "\"a\" * infinite",
        "[range(1e18)]",
        "[limit(1e9; repeat(1))]",
        "[repeat(\"a\")]",
        "[recurse]|[recurse]|[recurse]|until(false; [recurse])",
        "[(0, 1) | range(1e9)]",
        ".[1e9] = 1 | length",
        ".b[1e17] = 1",
        "null | .[9007199254740993] = 1",
        "until(false; . + {(tostring): .})",
        "[1] | until(false; . + .)",
        "\"x\" | until(false; . + .)",
        "reduce range(1e9) as $i (\"\"; . + \"aaaaaaaaaaaaaaaa\")",
        "reduce range(1e9) as $i ({}; .[$i | tostring] = $i)",
        "[1, 2] | sort_by(range(1e18))",
        "[1] | group_by(range(1e18))",
        "[range(1e5)] | [combinations(3)]",
        "(\"[\" * 100000) + \"1\" | . * 1000 | fromjson",
        "\"[],\" * 1000000 | \"[\" + . + \"1]\" | fromjson | length",
        "[range(100000)] | tojson | [., .] | until(false; tojson)",
        "\"a\" * 30000000 | explode | implode",
        "[\"x\" * 1000000 | match(\"\"; \"g\")] | length",
        "def f: {a: f, b: f}; f",
        "[range(1e6)] | map([range(100)])",
    ] {
        is_stopped(text, DEEP);
    }
    is_stopped("\"a\" * 1e9", LARGE);
    is_stopped("[range(1e18)]", LARGE);
}

#[test]
fn deep() {
    for text in [
        "def f: 1 + f; f",
        "def f: [f]; f",
        "def f: f | f; f",
        "def f: f as $x | f; f",
        "def f(g): g | f(g | g); f(.)",
        "def f(g): f(g | g); f(.a)",
        "def f(g): def h: g; f(h | h); f(.)",
        "def f($a; g): f([$a]; g | [.]); f(1; .)",
        "reduce range(1e6) as $i (null; [.])",
        "reduce range(1e6) as $i (null; {a: .})",
        "last(recurse([.]))",
        "null | until(false; [.])",
        "def f: .a |= f; f",
        "def f: (.a | f); f |= 1",
        "def f: (f | .a); f = 1",
        "def f: try error catch f; f",
        "def f: label $l | f; f",
        "def f: f // 1; f",
        "def f: {(f): 1}; f",
        "def f: reduce f as $x (0; 1); f",
        "def f: foreach f as $x (0; 1); f",
        "def f: -f; f",
        "def f: \"\\(f)\"; f",
        "def f: if f then 1 else 2 end; f",
        "def f: .[f]; f",
        "def f: limit(1; f); f",
        "def f: first(f); f",
        "def f: (.. | f); f |= 1",
        "def f: f, f; [f]",
        "def f: 1, f; [f]",
        "def f: (1, f) | (., .); [f]",
        "def f: f?; f",
    ] {
        is_stopped(text, DEEP);
    }
}

/// Small in memory, because parts are shared, and of astronomical size when written out.
#[test]
fn shared() {
    let bomb = "reduce range(100) as $i (1; [., .])";
    for rest in [
        "",
        "| tojson",
        "| . == (reduce range(100) as $i (1; [., .]))",
        "| tostring | length",
        "| flatten",
        "| [..]",
        "| sort",
        "| [., .] | unique",
        "| contains([[1]])",
        "| [paths]",
        "| walk(.)",
        "| tostream",
        "| @text",
        "| [.. | numbers] | add",
        "| @json",
        "| . - [1] | tojson",
        "| [.[] | .] | group_by(.)",
        "| getpath([0, 1]) |= 1 | tojson",
        "| del(..) | tojson",
        "| [recurse] | length",
        "| [.] | index([.[0], 1]) | tojson",
    ] {
        let text = format!("{bomb} {rest}");
        // Some do not look into it at all, and may give what they have.
        match result(&text, &Json::Null) {
            Err(
                RunError::Stopped(_) | RunError::Failed { .. } | RunError::TooManyOutputs { .. },
            ) => {}
            Ok(outputs) if serde_json::to_string(&outputs).unwrap().len() < 1_000 => {}
            other => panic!("{text}: {:?}", other.map(|it| it.len())),
        }
    }
}

#[test]
fn expressions() {
    for text in [
        r#"("a" * 100000) | test("(a+)+$")"#,
        r#"("a" * 1000000) | test("(x+x+)+y")"#,
        r#"("a" * 1000000) | test("(a|aa)+b")"#,
        r#"("a" * 1000000) | test("(a*)*b")"#,
        r#"("ab" * 500000) | [match("(a?b?){20}x"; "g")]"#,
        r#"("a" * 1000000) | [match(".*b|a"; "g")] | length"#,
        r#"("a" * 1000000) | [match("a.{0,200}b|a"; "g")] | length"#,
        r#"("ab" * 500000) | test("[ab]*a[ab]{300}c")"#,
        r#"("a" * 500000) | gsub("a"; "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")"#,
        r#""a" | test("a{1000}{1000}{1000}")"#,
        r#""a" | test("(((((((((((((((\\w{9}){9}){9}){9}){9})))))))))))")"#,
        r#""a" | test("(" * 2000 + ")" * 2000)"#,
        r#""a" | test("\\w{500}")"#,
        r#""a" * 2000000 | test("b")"#,
        r#"range(100000) | tostring as $t | "a" | test("\\w{10}" + $t)"#,
        r#""a" | test("[^x]*" * 1000)"#,
        r#"("abaab" * 6500) | test("([ab]{1,900})+[ab]{900}[c-z\n]")"#,
        r#"("abaab" * 6500) | [match("([ab]{1,900})+[ab]{900}[c-z\n]|b"; "g")] | length"#,
        r#"("abaab" * 26000) | capture("(?<x>[ab]*a[ab]{300})[c-z\n]")"#,
        r#"[range(9) as $i | ("abaab" * 6500) | test("([ab]{1,900})+[ab]{90\($i)}[c-z\n]")]"#,
    ] {
        match result(text, &Json::Null) {
            Ok(_) | Err(RunError::Stopped(_) | RunError::Raised { .. }) => {}
            Err(other) => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn odd_numbers() {
    for text in [
        ".[nan]",
        ".[infinite]",
        ".[-infinite]",
        ".[1e300:]",
        ".[:-1e300]",
        ".[nan:nan]",
        "[1] | .[nan]",
        "[1] | .[-infinite]",
        "[1] | .[1e300]",
        "\"a\" * nan",
        "5 % 0.1",
        "-9223372036854775808 % -1",
        "-9223372036854775808 / -1",
        "-(-9223372036854775808)",
        "-9223372036854775808 | length, abs",
        "5 % 0",
        "0 / 0",
        "1 / 0",
        "[nan] | sort | unique",
        "1e1000",
        "1e1000 | todate",
        "nan | todate",
        "infinite | strftime(\"%Y\")",
        "[1e18, 1, 1, 1, 1, 1] | mktime",
        "[2024, 100, 1, 1, 1, 1] | mktime",
        "[-1] | implode",
        "[1e10] | implode",
        "[55296] | implode",
        "limit(nan; 1, 2)",
        "limit(-1; 1)",
        "[range(nan; 3)]",
        "range(1; 2; nan) | select(false)",
        "ldexp(1; 2147483647)",
        "scalb(1; 1e18)",
        "frexp, modf, ilogb, significand, logb",
        "[1] | .[1e-300]",
        "[1, 2] | .[0.9]",
        "\"\" | strptime(\"%\")",
        "0 | strftime(\"%999999999Y\")",
        "0 | strftime(\"%\" * 1000)",
        "[1] | .[\"a\"]",
        "[1] | .[{start: nan, end: {}}]",
        "[1] | bsearch(nan)",
        "\"1e99999\" | tonumber",
        "\"nan\" | tonumber",
        "tgamma, lgamma",
        "[9,8] | .[-1] = 1, (try (.[-9] = 1) catch 0)",
        "[0] | .[1:0] = [1]",
        "implode",
    ] {
        for input in [json!(5), json!([1, 2, 3]), json!("abc")] {
            match result(text, &input) {
                Err(RunError::Internal { message }) => panic!("{text}: {message}"),
                Err(RunError::Late | RunError::Stuck) => panic!("{text} is stuck"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_deep_input() {
    let mut input = json!(1);
    for _ in 0..150 {
        input = json!([input]);
    }
    assert_eq!(result("[..] | length", &input), Ok(vec![json!(151)]));
    assert_eq!(result("walk(.) == .", &input), Ok(vec![json!(true)]));
    for _ in 0..100 {
        input = json!({"a": input});
    }
    assert_eq!(result(".", &input), Err(RunError::Stopped(Limit::Nesting)));
}

/// Filters on the event path run on threads with a stack of 2 MiB, or what is left of it.
#[test]
fn small_stacks() {
    let texts = [
        "def f: 1 + f; f",
        "def f(g): f(g | g); f(.a)",
        "def f(g): def h: g; f(h | h); f(.)",
        "reduce range(1e6) as $i (null; [.])",
        "def f: (.a | f) |= 1; f",
        "[..] | walk(.)",
        "path(def f: .a | f; f)",
        "def f: 1, f; [f]",
        "def f: {a: f}; f",
        "def f(g): g | f(g|g); f(.)",
    ];
    let mut input = json!(1);
    for _ in 0..190 {
        input = json!([input]);
    }
    let run = move || {
        for text in texts {
            let program = Program::compile(text).unwrap();
            let _ = program.run_filter_now(&input, &[]);
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn the_runtime_goes_on_meanwhile() {
    let program = Program::compile("def f: f; f").unwrap();
    let running = tokio::spawn(async move { program.run(&Json::Null, &[]).await });
    for _ in 0..20 {
        let start = Instant::now();
        tokio::task::yield_now().await;
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    assert!(matches!(running.await.unwrap(), Err(RunError::Stopped(_) | RunError::Busy)));
}
