//! Examples of jq's manual, and the like: what a program means is what jq makes of it.

use serde_json::json;

use super::super::{Program, RunError};
use super::gives;

#[test]
fn paths() {
    gives(".", r#""Hello""#, &[r#""Hello""#]);
    gives(".foo", r#"{"foo": 42, "bar": 1}"#, &["42"]);
    gives(".foo", r#"{"notfoo": 1}"#, &["null"]);
    gives(r#".["foo"]?"#, "[1]", &[]);
    gives(".foo?.bar", r#"{"foo": {"bar": 1}}"#, &["1"]);
    gives(".[2]", "[0, 1, 2]", &["2"]);
    gives(".[-2]", "[1, 2, 3]", &["2"]);
    gives(".[9]", "[1]", &["null"]);
    gives(".[2:4]", r#"["a","b","c","d","e"]"#, &[r#"["c","d"]"#]);
    gives(".[2:4]", r#""abcdefghi""#, &[r#""cd""#]);
    gives(".[:3]", r#""äöü!""#, &[r#""äöü""#]);
    gives(".[-2:]", r#"["a","b","c"]"#, &[r#"["b","c"]"#]);
    gives(".[]", r#"{"a": 1, "b": 2}"#, &["1", "2"]);
    gives(".foo, .bar", r#"{"foo": 42, "bar": "x"}"#, &["42", r#""x""#]);
    gives("[.[] | .name]", r#"[{"name":"JSON"}, {"name":"XML"}]"#, &[r#"["JSON","XML"]"#]);
    gives("..", "[[1]]", &["[[1]]", "[1]", "1"]);
    gives(".a.b.c", "null", &["null"]);
}

#[test]
fn construction() {
    gives(
        "{user, title: .titles[]}",
        r#"{"user":"stedolan","titles":["JQ Primer", "More JQ"]}"#,
        &[r#"{"user":"stedolan","title":"JQ Primer"}"#, r#"{"user":"stedolan","title":"More JQ"}"#],
    );
    gives("{(.user): .titles}", r#"{"user":"a","titles":[1]}"#, &[r#"{"a":[1]}"#]);
    gives("[.[] | . * 2]", "[1, 2, 3]", &["[2, 4, 6]"]);
    gives(
        r#""Basic \("\(.user):\(.token)" | @base64)""#,
        r#"{"user":"a","token":"b"}"#,
        &[r#""Basic YTpi""#],
    );
}

#[test]
fn arithmetic() {
    gives(".a + 1", r#"{"a": 7}"#, &["8"]);
    gives(".a + .b", r#"{"a": [1,2], "b": [3,4]}"#, &["[1,2,3,4]"]);
    gives("{a: 1} + {b: 2} + {c: 3} + {a: 42}", "null", &[r#"{"a":42,"b":2,"c":3}"#]);
    gives(". - [\"xml\", \"yaml\"]", r#"["xml", "yaml", "json"]"#, &[r#"["json"]"#]);
    gives("10 / . * 3", "5", &["6"]);
    gives("1 / 2", "null", &["0.5"]);
    gives(r#". / ", ""#, r#""a, b,c,d, e""#, &[r#"["a","b,c,d","e"]"#]);
    gives(r#". / """#, r#""aé""#, &[r#"["a","é"]"#]);
    gives(r#"{k: {a: 1, b: 2}} * {k: {a: 0, c: 3}}"#, "null", &[r#"{"k":{"a":0,"b":2,"c":3}}"#]);
    gives(r#""ab" * 3, "ab" * 0"#, "null", &[r#""ababab""#, "null"]);
    gives("5 % 3, -5 % 3, 5 % -3, 5.9 % 3.1", "null", &["2", "-2", "2", "2"]);
    gives("9223372036854775807 + 1", "null", &["9.223372036854775807e18"]);
    gives("1.0, 3.5, 1e3, nan, -5", "null", &["1", "3.5", "1000", "null", "-5"]);
    gives("infinite | . > 1e300", "null", &["true"]);
    gives("[.[] | length]", r#"[[1,2], "stringé", {"a":2}, null, -5]"#, &["[2, 7, 1, 0, 5]"]);
    gives("-(1), -(.a)", r#"{"a": 2}"#, &["-1", "-2"]);
    gives("pow(2; 10), sqrt, floor", "16.5", &["1024", "4.06201920231798", "16"]);
}

#[test]
fn comparison_and_logic() {
    gives(".[] == 1", r#"[1, 1.0, "1", "banana"]"#, &["true", "true", "false", "false"]);
    gives(
        "sort",
        r#"[{"a":1}, [2], "b", 3, true, false, null]"#,
        &[r#"[null, false, true, 3, "b", [2], {"a":1}]"#],
    );
    gives("[nan, 1, nan, 0] | sort | length", "null", &["4"]);
    gives("nan < nan, nan == nan", "null", &["true", "false"]);
    gives("42 and \"a string\", (true, false) or false", "null", &["true", "true", "false"]);
    gives(".foo // 42", r#"{"foo": null}"#, &["42"]);
    gives("(false, null, 1) // 42", "null", &["1"]);
    gives(r#"if . == 0 then "zero" elif . == 1 then "one" else "many" end"#, "1", &[r#""one""#]);
    gives(r#".[] | try error catch ."#, r#"["a"]"#, &[r#""a""#]);
    gives(r#"try error("\(.a)") catch ."#, r#"{"a": "b"}"#, &[r#""b""#]);
}

#[test]
fn selection() {
    gives("map(select(. >= 2))", "[1,5,3,0,7]", &["[5,3,7]"]);
    gives(
        ".[] | select(.id == \"second\")",
        r#"[{"id":"first"}, {"id":"second"}]"#,
        &[r#"{"id":"second"}"#],
    );
    gives("map(has(\"foo\"))", r#"[{"foo": 42}, {}]"#, &["[true, false]"]);
    gives("map(in([0,1]))", "[2, 0]", &["[false, true]"]);
    gives(r#"contains(["baz", "bar"])"#, r#"["foobar", "foobaz", "blarp"]"#, &["true"]);
    gives(
        r#"contains({foo: 12, bar: [{barp: 12}]})"#,
        r#"{"foo": 12, "bar":[1,2,{"barp":12}]}"#,
        &["true"],
    );
    gives("any, all", "[true, false]", &["true", "false"]);
    gives(r#"IN("a", "b")"#, r#""b""#, &["true"]);
    gives(
        "[limit(3; .[])], first(range(.[3]; 100)), [skip(2; .[])]",
        "[0,1,2,3]",
        &["[0,1,2]", "3", "[2,3]"],
    );
    gives(
        "unique_by(.a), group_by(.a), min_by(.a), max_by(.a)",
        r#"[{"a":1},{"a":2},{"a":1}]"#,
        &[r#"[{"a":1},{"a":2}]"#, r#"[[{"a":1},{"a":1}],[{"a":2}]]"#, r#"{"a":1}"#, r#"{"a":2}"#],
    );
    gives(
        "[.[] | type]",
        r#"[0, false, [], {}, null, "hello"]"#,
        &[r#"["number","boolean","array","object","null","string"]"#],
    );
}

#[test]
fn objects() {
    gives(
        "to_entries",
        r#"{"a": 1, "b": 2}"#,
        &[r#"[{"key":"a","value":1}, {"key":"b","value":2}]"#],
    );
    gives(
        "from_entries",
        r#"[{"key":"a","value":1}, {"k":"b","v":2}, {"name":"c","value":3}]"#,
        &[r#"{"a":1,"b":2,"c":3}"#],
    );
    gives(r#"with_entries(.key |= "KEY_" + .)"#, r#"{"a": 1}"#, &[r#"{"KEY_a": 1}"#]);
    gives("keys, length", r#"{"abc": 1, "Foo": 3}"#, &[r#"["Foo", "abc"]"#, "2"]);
    gives("paths", r#"[1,[[],{"a":2}]]"#, &["[0]", "[1]", "[1,0]", "[1,1]", r#"[1,1,"a"]"#]);
    gives(r#"getpath(["a","b"])"#, "null", &["null"]);
    gives(
        "[tostream] | length, (fromstream(.[]))",
        r#"{"a":[1,{"b":2}]}"#,
        &["5", r#"{"a":[1,{"b":2}]}"#],
    );
    gives("INDEX(.id)", r#"[{"id":1},{"id":2}]"#, &[r#"{"1":{"id":1},"2":{"id":2}}"#]);
    gives(
        "walk(if type == \"array\" then sort else . end)",
        "[[4,1,7],[8,5,2]]",
        &["[[1,4,7],[2,5,8]]"],
    );
    gives("transpose", "[[1], [2,3]]", &["[[1,2],[null,3]]"]);
    gives("flatten", "[1, [2], [[3]]]", &["[1, 2, 3]"]);
    gives("[combinations]", "[[1,2], [3, 4]]", &["[[1,3],[1,4],[2,3],[2,4]]"]);
    gives("add", r#"["a","b","c"]"#, &[r#""abc""#]);
    gives(
        "tojson, (tojson | fromjson)",
        r#"[1, "foo", {"a": 1.5}]"#,
        &[r#""[1,\"foo\",{\"a\":1.5}]""#, r#"[1, "foo", {"a": 1.5}]"#],
    );
}

#[test]
fn updates() {
    gives(".foo |= .+1", r#"{"foo": 42}"#, &[r#"{"foo": 43}"#]);
    gives(".a.b = 1", "null", &[r#"{"a":{"b":1}}"#]);
    gives(".[2] = 1", "null", &["[null,null,1]"]);
    gives(".a[1:2] = [7, 8]", r#"{"a":[1,2,3]}"#, &[r#"{"a":[1,7,8,3]}"#]);
    gives(".[] += 1, .[0] -= 1", "[1, 2]", &["[2,3]", "[0,2]"]);
    gives(".a //= 3", r#"{"a": null}"#, &[r#"{"a": 3}"#]);
    gives("del(.foo)", r#"{"foo": 42, "bar": 1}"#, &[r#"{"bar": 1}"#]);
    gives("del(.[0, 2])", r#"["a", "b", "c"]"#, &[r#"["b"]"#]);
    gives("del(.a.b)", "{}", &["{}"]);
    gives("del(.a.b)", r#"{"a":{"b":1,"c":2}}"#, &[r#"{"a":{"c":2}}"#]);
    gives("del(.[1:])", "[1,2,3]", &["[1]"]);
    gives(r#"delpaths([["a","b"], ["x"]])"#, r#"{"a":{"b":1},"x":2}"#, &[r#"{"a":{}}"#]);
    gives(
        r#"to_entries | map(select(.value > 1)) | from_entries"#,
        r#"{"a":1,"b":2}"#,
        &[r#"{"b":2}"#],
    );
    gives("map_values(empty)", r#"{"a": 1}"#, &["{}"]);
    gives("setpath([\"a\", 0]; 1)", "null", &[r#"{"a":[1]}"#]);
    gives("pick(.a.b)", r#"{"a":{"b":1,"c":2}}"#, &[r#"{"a":{"b":1}}"#]);
}

#[test]
fn reduction_and_recursion() {
    gives("reduce .[] as $item (0; . + $item)", "[1,2,3,4,5]", &["15"]);
    gives("[foreach .[] as $item (0; . + $item; [$item, .])]", "[1,2]", &["[[1,1],[2,3]]"]);
    gives("[recurse(if . < 3 then . + 1 else empty end)]", "0", &["[0,1,2,3]"]);
    gives("[while(. < 20; . * 2)], until(. > 20; . * 2)", "1", &["[1,2,4,8,16]", "32"]);
    gives("def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; fac", "10", &["3628800"]);
    gives(".[] as [$a, {b: $c}] | $a + $c", r#"[[1, {"b": 2}]]"#, &["3"]);
    gives("[label $out | .[] | if . == 2 then break $out else . end]", "[1,2,3]", &["[1]"]);
    gives("[range(0; 10; 3)], isempty(empty)", "null", &["[0,3,6,9]", "true"]);
}

#[test]
fn strings() {
    gives(r#"test("A.C"; "i"), test("^x")"#, r#""xabcd""#, &["true", "true"]);
    gives(
        r#"[match("(foo)|(bar)"; "g") | .offset, .captures[1].string]"#,
        r#""äfoobar""#,
        &[r#"[1, null, 4, "bar"]"#],
    );
    gives(
        r#"capture("(?<user>[^@]+)@(?<host>.+)")"#,
        r#""me@example.org""#,
        &[r#"{"user":"me","host":"example.org"}"#],
    );
    gives(
        r#"[scan("c"; "g")], [scan("(a+)(b?)")]"#,
        r#""abcdefabcaa""#,
        &[r#"["c","c"]"#, r#"[["a","b"],["a","b"],["aa",""]]"#],
    );
    gives(
        r#"sub("(?<x>[a-z])"; "\(.x | ascii_upcase)"), gsub("\\s+"; "-")"#,
        r#""ab  c d""#,
        &[r#""Ab  c d""#, r#""ab-c-d""#],
    );
    gives(
        r#"split(", "), split(", *"; null), [splits("b")]"#,
        r#""a, b""#,
        &[r#"["a","b"]"#, r#"["a","b"]"#, r#"["a, ",""]"#],
    );
    gives(r#"join(", ")"#, r#"["a", 1, true, null]"#, &[r#""a, 1, true, ""#]);
    gives(r#"join(",")"#, "[]", &[r#""""#]);
    gives(
        r#"startswith("ab"), endswith("c"), ltrimstr("a"), trim"#,
        r#""abc""#,
        &["true", "true", r#""bc""#, r#""abc""#],
    );
    gives(
        r#"ascii_downcase, explode, (explode | implode)"#,
        r#""aZ""#,
        &[r#""az""#, "[97, 90]", r#""aZ""#],
    );
    gives(r#"indices(", "), index("b"), rindex(", ")"#, r#""a, b, cé, d""#, &["[1,4,8]", "3", "8"]);
    gives("indices(1), indices([1, 2])", "[0,1,2,1,3,1,2]", &["[1,3,5]", "[1,5]"]);
    gives("map(tonumber), map(tostring)", r#"[1, "1.5"]"#, &["[1, 1.5]", r#"["1", "1.5"]"#]);
    gives("utf8bytelength", r#""é""#, &["2"]);
}

#[test]
fn formats() {
    gives(
        "@base64, (@base64 | @base64d)",
        r#""This is a message""#,
        &[r#""VGhpcyBpcyBhIG1lc3NhZ2U=""#, r#""This is a message""#],
    );
    gives("@uri, @html", r#""a b&<é>""#, &[r#""a%20b%26%3C%C3%A9%3E""#, r#""a b&amp;&lt;é&gt;""#]);
    gives("@sh", r#""O'Hara's""#, &[r#""'O'\\''Hara'\\''s'""#]);
    gives("@csv", r#"[1, "a\"b", null, true]"#, &[r#""1,\"a\"\"b\",,true""#]);
    gives("@tsv", r#"["a\tb", 2]"#, &[r#""a\\tb\t2""#]);
    gives("@json, @text", r#"{"a": [1]}"#, &[r#""{\"a\":[1]}""#, r#""{\"a\":[1]}""#]);
    gives(r#"@uri "q=\(.q)""#, r#"{"q": "a&b"}"#, &[r#""q=a%26b""#]);
}

#[test]
fn dates() {
    gives("fromdate, fromdateiso8601", r#""2015-03-05T23:51:47Z""#, &["1425599507", "1425599507"]);
    gives("todate", "1425599507", &[r#""2015-03-05T23:51:47Z""#]);
    gives(
        r#"strptime("%Y-%m-%dT%H:%M:%SZ")"#,
        r#""2015-03-05T23:51:47Z""#,
        &["[2015,2,5,23,51,47,4,63]"],
    );
    gives(
        r#"strptime("%Y-%m-%dT%H:%M:%SZ") | mktime"#,
        r#""2015-03-05T23:51:47Z""#,
        &["1425599507"],
    );
    gives(
        r#"strftime("%A, %B %d, %Y"), (gmtime | todate? // "no")"#,
        "1435677542",
        &[r#""Tuesday, June 30, 2015""#, r#""no""#],
    );
}

#[test]
fn what_it_says_is_left_out() {
    gives("debug | debug(\"x\")", "1", &["1"]);
    for name in ["env", "$ENV", "input", "inputs", "now", "halt", "halt_error(1)", "localtime"] {
        let error = Program::compile(name).unwrap_err();
        assert!(error.message.contains("here: "), "{name}: {error}");
    }
}

#[test]
fn one_output_and_filters() {
    let input = json!({"work_created": {"work": {"type": "issue"}}});
    let filter = Program::compile(".work_created.work.type == \"issue\"").unwrap();
    assert_eq!(filter.run_filter_now(&input, &[]), Ok(Some(true)));
    assert_eq!(filter.run_filter_now(&json!({}), &[]), Ok(Some(false)));
    assert_eq!(
        filter.run_filter_now(&json!(7), &[]),
        Err(RunError::Failed { message: "cannot index a number with a string".to_owned() })
    );
    let run = |text: &str| Program::compile(text).unwrap().run_blocking(&input, &[]);
    assert_eq!(run("1"), Ok(json!(1)));
    assert_eq!(run("empty"), Err(RunError::NoOutput));
    assert_eq!(run("1, 2"), Err(RunError::TooManyOutputs { most: 1 }));
    let not_boolean = Program::compile(".work_created").unwrap();
    let error = not_boolean.run_filter_now(&input, &[]).unwrap_err();
    assert_eq!(error.to_string(), "the program gave an object; a filter has to give true or false");
}

#[test]
fn variables() {
    let program = Program::compile_with(".id == $user.id and $max > 3", &["user", "max"]).unwrap();
    let run = |variables: &[_]| program.run_filter_now(&json!({"id": "u1"}), variables);
    assert_eq!(run(&[json!({"id": "u1"}), json!(4)]), Ok(Some(true)));
    assert_eq!(run(&[json!({"id": "u2"}), json!(4)]), Ok(Some(false)));
    assert_eq!(run(&[json!(1)]), Err(RunError::Variables { expected: 2, given: 1 }));
}

#[tokio::test]
async fn threads_share_it() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let program = Program::compile("[range(.)] | add").unwrap();
    shared(&program);
    let runs = [10, 30_000].map(|many| {
        let program = program.clone();
        tokio::spawn(async move { program.run(&json!(many), &[]).await })
    });
    for (run, expected) in runs.into_iter().zip([45u64, 449_985_000]) {
        assert_eq!(run.await.unwrap(), Ok(json!(expected)));
    }
}
