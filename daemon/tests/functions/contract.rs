//! How a function is found and called, and what it returns (spec §2.1, §2.4).

use bytes::Bytes;
use mortise::functions::outcome::FailureKind;

use crate::harness::*;

async fn call(files: &[(&str, &str)], function: &str, event: &'static str) -> String {
    let mut invocation = invocation(&stored(files));
    invocation.function = function.to_owned();
    invocation.event = Bytes::from_static(event.as_bytes());
    result(&pool().invoke(invocation).await)
}

#[tokio::test]
async fn a_typescript_function_gets_one_event_in_an_array_and_its_result_comes_back() {
    let files = [(
        "src/index.ts",
        "interface Event { payload: { n: number } }\n\
         export async function run(events: Event[]): Promise<{ n: number; count: number }> {\n\
           return { n: events[0].payload.n + 1, count: events.length };\n\
         }\n",
    )];
    assert_eq!(call(&files, "run", r#"{"payload":{"n":41}}"#).await, r#"{"n":42,"count":1}"#);
}

/// The layout of a built snap-in, compiled to CommonJS.
const BUILT: &[(&str, &str)] = &[
    ("package.json", r#"{"name":"x","main":"./dist/index.js"}"#),
    (
        "dist/index.js",
        "\"use strict\";\n\
         var __exportStar = (m, exports) => { for (var p in m) if (p !== 'default') exports[p] = m[p]; };\n\
         Object.defineProperty(exports, '__esModule', { value: true });\n\
         __exportStar(require('./function-factory'), exports);\n",
    ),
    (
        "dist/function-factory.js",
        "\"use strict\";\n\
         var __importDefault = (m) => (m && m.__esModule) ? m : { default: m };\n\
         Object.defineProperty(exports, '__esModule', { value: true });\n\
         exports.functionFactory = void 0;\n\
         const on_work_1 = __importDefault(require('./functions/on_work'));\n\
         const other_1 = __importDefault(require('./functions/other'));\n\
         exports.functionFactory = { on_work: on_work_1.default, other: other_1.default };\n",
    ),
    (
        "dist/functions/on_work/index.js",
        "\"use strict\";\n\
         Object.defineProperty(exports, '__esModule', { value: true });\n\
         exports.run = void 0;\n\
         const run = async (events) => 'on_work ' + events[0].x;\n\
         exports.run = run;\n\
         exports.default = exports.run;\n",
    ),
    (
        "dist/functions/other/index.js",
        "exports.__esModule = true; exports.default = (events) => events.map((e) => e.x);\n",
    ),
];

#[tokio::test]
async fn a_built_snap_in_runs_unmodified() {
    assert_eq!(call(BUILT, "on_work", r#"{"x":1}"#).await, r#""on_work 1""#);
    assert_eq!(call(BUILT, "other", r#"{"x":1}"#).await, "[1]");
}

#[tokio::test]
async fn a_function_that_is_not_there_is_answered_with_those_that_are() {
    let mut invocation = invocation(&stored(BUILT));
    invocation.function = "on_wrok".to_owned();
    let report = pool().invoke(invocation).await;
    assert_failure(&report, FailureKind::NotFound, "available are on_work, other");
    assert_failure(&run("exports.a = 1").await, FailureKind::NotFound, "hands out no functions");
}

#[tokio::test]
async fn functions_are_found_in_the_documented_order() {
    let run = "exports.run = () => 'module';";
    let main = |text: &'static str| ("index.js", text);
    let module = ("functions/f.js", run);
    assert_eq!(
        call(&[main("exports.functionFactory = { f: () => 'factory' }"), module], "f", "{}").await,
        r#""factory""#
    );
    assert_eq!(call(&[main("exports.f = () => 'export'"), module], "f", "{}").await, r#""module""#);
    assert_eq!(call(&[main("exports.f = () => 'export'")], "f", "{}").await, r#""export""#);
    assert_eq!(call(&[main("exports.run = () => 'run'")], "f", "{}").await, r#""run""#);
    assert_eq!(call(&[main("module.exports = () => 'itself'")], "f", "{}").await, r#""itself""#);
    assert_eq!(
        call(&[("index.mjs", "export default () => 'default'")], "f", "{}").await,
        r#""default""#
    );
    assert_eq!(
        call(&[("functions/f.ts", "export const run = () => 'alone'")], "f", "{}").await,
        r#""alone""#
    );
    assert_eq!(
        call(
            &[main("exports.functionFactory = { f: { run() { return this.me; }, me: 7 } }")],
            "f",
            "{}"
        )
        .await,
        "7"
    );
}

#[tokio::test]
async fn results_are_json() {
    for (source, expected) in [
        ("exports.run = () => undefined", "null"),
        ("exports.run = () => null", "null"),
        ("exports.run = async () => {}", "null"),
        ("exports.run = () => 'é\\n\\ud800'", r#""é\n\ud800""#),
        (
            "exports.run = () => ({ a: undefined, b: new Date(0), c: () => 1 })",
            r#"{"b":"1970-01-01T00:00:00.000Z"}"#,
        ),
        ("exports.run = () => ({ then(resolve) { resolve(5) } })", "5"),
        ("exports.run = () => NaN", "null"),
    ] {
        assert_eq!(result(&run(source).await), expected, "{source}");
    }
}

#[tokio::test]
async fn what_is_no_json_or_too_much_fails_and_says_why() {
    for (source, part) in [
        ("exports.run = () => () => 1", "returned a function"),
        ("exports.run = () => Symbol('x')", "returned a symbol"),
        ("exports.run = () => { const a = {}; a.a = a; return a }", "circular"),
        ("exports.run = () => 1n", "BigInt"),
        ("exports.run = () => ({ toJSON() { throw new Error('no way') } })", "no way"),
    ] {
        assert_failure(&run(source).await, FailureKind::BadOutput, part);
    }
    let report = run("exports.run = () => 'x'.repeat(2 * 1024 * 1024)").await;
    assert_failure(&report, FailureKind::OutputTooLarge, "the limit is 1048576");
}

#[tokio::test]
async fn a_context_is_kept_warm_unless_it_must_not() {
    let files = [(
        "index.js",
        "let n = 0; exports.run = (e) => { n++; if (e[0].fail) throw 1; if (e[0].timer) setTimeout(() => {}, 1000); return n }",
    )];
    let (pool, code) = (pool(), stored(&files));
    let call = async |event: &'static str, fresh: bool| {
        let mut invocation = invocation(&code);
        invocation.event = Bytes::from_static(event.as_bytes());
        invocation.fresh = fresh;
        pool.invoke(invocation).await
    };
    assert_eq!(result(&call("{}", false).await), "1");
    assert_eq!(result(&call("{}", false).await), "2");
    assert_eq!(result(&call("{}", true).await), "1");
    assert_eq!(result(&call("{}", false).await), "1");
    failure(&call(r#"{"fail":true}"#, false).await);
    assert_eq!(result(&call("{}", false).await), "1");
    assert_eq!(result(&call(r#"{"timer":true}"#, false).await), "2");
    assert_eq!(result(&call("{}", false).await), "1");
}
