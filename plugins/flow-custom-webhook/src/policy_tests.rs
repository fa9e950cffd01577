//! Tests of compiling and evaluating, above all of what could take the thread down.

use std::fmt::Write;

use super::*;

fn compile(policy: &str) -> Result<Policy, String> {
    Policy::compile(policy).map_err(|problems| sentence(&problems[0]))
}

/// Evaluates on a thread with half of the stack that threads have by default.
fn run(policy: &str) -> Verdict {
    let policy = compile(policy).unwrap_or_else(|problem| panic!("{problem}"));
    let thread = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || policy.evaluate(Value::new_object(), 0, Duration::from_secs(5)).verdict);
    thread.unwrap().join().unwrap()
}

/// `count` rules, each of which uses the one before it as `step` says.
fn chain(step: &str, count: usize) -> String {
    let mut policy = "package rego\nr0(x) := 1\nr0 := 1\n".to_owned();
    policy = policy.replace(if step.contains("PREV(") { "r0 := 1\n" } else { "r0(x) := 1\n" }, "");
    for n in 1..=count {
        let step = step.replace("PREV", &format!("r{}", n - 1)).replace("THIS", &format!("r{n}"));
        writeln!(policy, "{step}").unwrap();
    }
    let last = if step.contains("PREV(") { format!("r{count}(1)") } else { format!("r{count}") };
    writeln!(policy, "output := {{\"event\": {last}, \"event_key\": \"k\"}}").unwrap();
    policy
}

#[test]
fn the_deepest_policy_that_compiles_does_not_exhaust_the_stack() {
    for step in [
        "THIS := PREV",
        "THIS = PREV { true }",
        "THIS := x { x := PREV }",
        "THIS := [x | x := PREV; true][0]",
        "THIS(x) := PREV(x)",
        "THIS(x) = y { y := PREV(x) }",
        "THIS(x) := [y | y := PREV(x)][0]",
        "THIS(x) := {\"a\": [[[[PREV(x)]]]]}.a[0][0][0][0]",
        "THIS(x) := y { some i; [y | y := PREV(x)][i] == 1; y := 1 }",
    ] {
        let (mut deepest, mut refused) = (0, 600);
        while refused - deepest > 1 {
            let middle = (deepest + refused) / 2;
            match compile(&chain(step, middle)) {
                Ok(_) => deepest = middle,
                Err(_) => refused = middle,
            }
        }
        assert!(deepest < 599, "{step} is not bounded");
        assert!(deepest >= 15, "{step} is bounded to {deepest}");
        println!("{step}: {deepest}");
        assert!(matches!(run(&chain(step, deepest)), Verdict::Output(_)), "{step}");
    }
}

#[test]
fn rules_that_depend_on_themselves_are_refused() {
    for policy in [
        "a := b\nb := a\noutput := a",
        "f(x) := f(x)\noutput := f(1)",
        "f(x) := [y | y := g(x)]\ng(x) := 1 { count(f(x)) > 0 }\noutput := f(1)",
        "f(x) := y { y := g(x) with g as f }\ng(x) := x\noutput := f(1)",
        "f(x) := data.rego.f(x)\noutput := f(1)",
        "f(x) := a\na := f(1)\noutput := a",
    ] {
        let problem = compile(&format!("package rego\n{policy}")).map(|_| ()).unwrap_err();
        assert!(problem.contains("depends on itself"), "{policy}: {problem}");
    }
}

#[test]
fn long_and_deep_texts_are_refused() {
    for (policy, expected) in [
        (format!("package rego\noutput := {}", "1+".repeat(60_000) + "1"), "nested too deeply"),
        (format!("package rego\noutput := {}", "[".repeat(5_000)), "nested too deeply"),
        (format!("package rego\noutput := input{}", ".a".repeat(60_000)), "nested too deeply"),
        (format!("package rego\noutput := x{{x:={}", "{y|y:=".repeat(5_000)), "nested too deeply"),
        (format!("package rego\n{}", "#".repeat(300_000)), "262144 are allowed"),
        ("package rego\noutput := \"\u{10f790}\"".to_owned(), "reserved"),
    ] {
        let problem = compile(&policy).map(|_| ()).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn names_are_resolved() {
    for policy in [
        "output := 1 { input.a[i].b == i }",
        "output := x { walk(input, [p, x]); p == [] }",
        "output := x { [x, {\"k\": y}] = [1, {\"k\": 2}]; y > 1 }",
        "output := c { c := count([k | input[k]]) }",
        "import input.request as req\noutput := req.method",
        "import input.request\noutput := request.method",
        "import future.keywords\noutput := [i, x] { some i, x in [1] } ",
        "import future.keywords\noutput := 1 { every i, x in [1] { i < x } }",
        "output := t { t := time.now_ns() with time.now_ns as 7 }",
        "output := data.rego.other\nother := 1",
        "f(a, [b, _]) := a + b\noutput := f(1, [2, 3])",
        "f(x) = x { x > 1 } else = 1\noutput := f(1)",
        "default output = 1",
        "p[x] { x := 1 }\noutput := p",
        "p[x] = y { x := 1; y := 2 }\noutput := p",
        "a.b := 1\na.c := data.rego.a.b\noutput := a",
    ] {
        if let Err(problem) = compile(&format!("package rego\n{policy}")) {
            panic!("{policy}: {problem}");
        }
    }
    for (policy, name) in [
        ("output := evnt { event := 1 }", "evnt"),
        ("output := x { y := 1 }", "x"),
        ("output := 1 { y := zz }", "zz"),
        ("output := [zz | true]", "zz"),
        ("output := x { x := 1 } else = y { true }", "y"),
    ] {
        let problem = compile(&format!("package rego\n{policy}")).map(|_| ()).unwrap_err();
        assert!(problem.contains(&format!("variable `{name}` has no value")), "{problem}");
    }
}

#[test]
fn an_engine_that_failed_is_not_used_again() {
    let policy = compile("package rego\noutput := 1 + input.x").unwrap();
    let number = crate::json::parse(b"{\"x\": 1}").unwrap().value;
    let text = crate::json::parse(b"{\"x\": \"s3cret\"}").unwrap().value;
    for _ in 0..3 {
        let evaluate =
            |input: &Value| policy.evaluate(input.clone(), 0, Duration::from_secs(5)).verdict;
        assert!(matches!(evaluate(&number), Verdict::Output(value) if value == Value::from(2u64)));
        let Verdict::Failed(message) = evaluate(&text) else { panic!("it does not fail") };
        assert_eq!(message, "line 2, column 20: `add` expects numeric argument");
    }
    assert_eq!(policy.idle.lock().unwrap().len(), 0);
}
