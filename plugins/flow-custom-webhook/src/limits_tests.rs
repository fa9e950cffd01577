//! Policies that would take all time or memory, as whole requests.

use std::time::Duration;

use mortise_plugin::FaultKind;

use crate::testing::*;

#[test]
#[expect(clippy::disallowed_methods, reason = "wall time is what is tested")]
fn policies_that_explode_are_stopped() {
    let range = "x := numbers.range(1, 2000)";
    for policy in [
        // More steps than time.
        format!(
            "package rego\n{range}\noutput = {{\"event\": count([1 | a := x[_]; b := x[_]; c := x[_]; a + b == c]), \"event_key\": \"k\"}}"
        ),
        format!(
            "package rego\nimport rego.v1\n{range}\nf(a) := count([1 | some b in x; some c in x; b + c == a])\noutput := {{\"event\": [f(a) | some a in x], \"event_key\": \"k\"}}"
        ),
        // More memory than is given.
        "package rego\noutput = {\"event\": numbers.range(1, 1000000000000), \"event_key\": \"k\"}"
            .to_owned(),
        "package rego\noutput = {\"event\": sprintf(\"%9999999999d\", [1]), \"event_key\": \"k\"}"
            .to_owned(),
    ] {
        let source = open(&policy);
        let start = std::time::Instant::now();
        let fault = source.source.call(post(&[]), b"").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Transient, "{policy}");
        assert!(fault.message.starts_with("policy ran out of time"), "{fault}");
        assert!(start.elapsed() < Duration::from_secs(2), "{policy}");
        assert!(source.log.lock().unwrap()[0].starts_with("the policy ran out of time or memory"));
    }
}

#[test]
fn text_that_doubles_is_stopped() {
    use std::fmt::Write;
    for (step, start) in [
        ("concat(\"\", [x, x])", "\"aaaaaaaa\""),
        ("replace(x, \"a\", \"aa\")", "\"aaaaaaaa\""),
        ("sprintf(\"%s%s\", [x, x])", "\"aaaaaaaa\""),
        ("array.concat(x, x)", "[1, 2]"),
        ("json.marshal([x, x])", "\"\\\"\\\"\""),
        ("base64.encode(x)", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
        ("regex.replace(x, \"a\", \"aa\")", "\"aaaaaaaa\""),
        ("strings.replace_n({\"a\": \"aa\"}, x)", "\"aaaaaaaa\""),
    ] {
        let mut policy = format!("package rego\nx0 := {start}\n");
        for n in 1..=48 {
            let step = step.replace("regex", "REGE").replace('x', &format!("x{}", n - 1));
            let step = step.replace("REGE", "regex");
            writeln!(policy, "x{n} := {step}").unwrap();
        }
        policy.push_str("output = {\"event\": count(x48), \"event_key\": \"k\"}\n");
        let source = open(&policy);
        let fault = source.source.call(post(&[]), b"").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Transient, "{step}");
    }
}

#[test]
fn an_event_that_unfolds_is_refused() {
    use std::fmt::Write;
    let mut policy = "package rego\nx0 := [1]\n".to_owned();
    for n in 1..=40 {
        writeln!(policy, "x{n} := [x{0}, x{0}]", n - 1).unwrap();
    }
    policy.push_str("output = {\"event\": x40, \"event_key\": \"k\"}\n");
    let (status, log) = open(&policy).refused(post(&[]), b"");
    assert_eq!(status, 500);
    assert!(log.contains("`event` is larger than 16 MiB"), "{log}");
}
