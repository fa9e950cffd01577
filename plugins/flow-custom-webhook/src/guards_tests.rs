//! Tests of the guards: sensible calls work, bombs do not.

use super::*;

fn call(name: &str, operands: &str) -> Result<Value, Refusal> {
    let builtin = BUILTINS.iter().find(|builtin| builtin.name == name).expect(name);
    let operands = crate::json::parse(operands.as_bytes()).unwrap().value;
    let operands = operands.as_array().unwrap().to_vec();
    assert_eq!(usize::from(builtin.arity), operands.len());
    (builtin.run)(&operands)
}

#[test]
fn every_guard_is_of_a_builtin_with_that_arity() {
    for builtin in BUILTINS {
        let (_, arity) = STOCK.get(builtin.name).expect(builtin.name);
        assert_eq!(*arity, builtin.arity, "{}", builtin.name);
    }
}

#[test]
fn sensible_calls_work() {
    for (name, operands, expected) in [
        ("array.concat", "[[1],[2]]", "[1,2]"),
        ("bits.lsh", "[1, 4]", "16"),
        ("concat", "[\",\",[\"a\",\"b\"]]", "\"a,b\""),
        ("glob.match", "[\"*.com\", [], \"a.com\"]", "true"),
        ("numbers.range", "[3, 1]", "[3,2,1]"),
        ("numbers.range_step", "[1, 6, 2]", "[1,3,5]"),
        ("product", "[[2,3]]", "6"),
        ("regex.match", "[\"^a+$\", \"aaa\"]", "true"),
        ("regex.replace", "[\"abc\", \"b\", \"x\"]", "\"axc\""),
        ("replace", "[\"abab\", \"b\", \"cc\"]", "\"accacc\""),
        ("split", "[\"a,b\", \",\"]", "[\"a\",\"b\"]"),
        ("sprintf", "[\"sha256=%s %5d%%\", [\"x\", 7]]", "\"sha256=x     7%\""),
        ("strings.replace_n", "[{\"<\":\"&lt;\",\"&\":\"&amp;\"},\"<&\"]", "\"&lt;&amp;\""),
        ("trim", "[\"..a.\", \".\"]", "\"a\""),
        ("units.parse_bytes", "[\"2KiB\"]", "2048"),
    ] {
        let value = call(name, operands).unwrap();
        assert_eq!(crate::render::to_json(&value, 1000).unwrap(), expected, "{name}");
    }
}

#[test]
fn bombs_are_refused() {
    let long = "a".repeat(300_000);
    for (name, operands) in [
        ("numbers.range", "[0, 1000000000000]".to_owned()),
        ("numbers.range", "[-9223372036854775808, 9223372036854775807]".to_owned()),
        ("numbers.range_step", "[0, 1000000000000, 2]".to_owned()),
        ("sprintf", "[\"%999999999d\", [1]]".to_owned()),
        ("sprintf", "[\"%.99999999999999999999f\", [1.5]]".to_owned()),
        ("net.cidr_expand", "[\"::/0\"]".to_owned()),
        ("regex.match", format!("[\"(a*)*b\", \"{long}\"]")),
        ("regex.match", format!("[\"{long}\", \"a\"]")),
        ("replace", format!("[\"{long}\", \"\", \"{}\"]", &long[..100])),
    ] {
        assert!(matches!(call(name, &operands), Err(Refusal::Limit(_))), "{name}");
    }
    for (name, operands) in [
        ("bits.lsh", "[1, 1000000000000]"),
        ("numbers.range_step", "[1, 2, 0]"),
        ("sprintf", "[\"%\u{bd}d\", [1]]"),
        ("units.parse_bytes", "[\"1e1000000000\"]"),
    ] {
        assert!(matches!(call(name, operands), Err(Refusal::Operand(_))), "{name}");
    }
}
