//! Preparation of code, through its public face only.

use super::*;

fn files(files: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn prepared(list: &[(&str, &str)]) -> Code {
    prepare(files(list)).expect("the code is fine")
}

fn problems(list: &[(&str, &str)]) -> String {
    let problems = prepare(files(list)).expect_err("the code has problems");
    let lines: Vec<String> = problems
        .into_iter()
        .map(|it| format!("{}:{}:{}: {}", it.file, it.line, it.column, it.message))
        .collect();
    lines.join("\n")
}

#[test]
fn types_go_and_what_runs_stays() {
    let code = prepared(&[(
        "index.ts",
        "import type { A } from './a';\n\
         enum Color { Red, Green = 'g' }\n\
         namespace Tools { export const two = 2; }\n\
         class Point { x!: number; constructor(private readonly y: number, public z = 1) {} }\n\
         export const run = async (events: A[]): Promise<number> => events!.length as number;\n",
    )]);
    let file = code.file("index.ts").expect("prepared");
    assert_eq!(file.kind, FileKind::Module);
    for gone in ["import", ": A[]", "private", "enum", "namespace", " as ", "\tx"] {
        assert!(!file.text.contains(gone), "{gone} is still in:\n{}", file.text);
    }
    for kept in ["Color[\"Red\"]", "this.y = y", "this.z = z", "two"] {
        assert!(file.text.contains(kept), "{kept} is gone from:\n{}", file.text);
    }
}

#[test]
fn problems_name_file_line_and_column_and_come_together() {
    let found = problems(&[
        ("src/index.ts", "export const a = 1;\nexport const b: = 2;\n"),
        ("src/other.js", "function f( {\n"),
        ("broken.json", "{\n  nope\n}"),
        ("../out.js", ""),
        ("bad.js", "let a; let a;"),
    ]);
    assert!(found.contains("src/index.ts:2:17: "), "{found}");
    assert!(found.contains("src/other.js:2:1: ") || found.contains("src/other.js:1:"), "{found}");
    assert!(found.contains("broken.json:2:3: no JSON"), "{found}");
    assert!(found.contains("../out.js:0:0: the path leaves the archive"), "{found}");
    assert!(found.contains("bad.js:1:"), "{found}");
    assert!(problems(&[("package.json", "{}")]).contains("no code"));
    assert!(problems(&[]).contains("dist/index.js"));
}

#[test]
fn module_kinds_follow_extension_package_and_syntax() {
    let code = prepared(&[
        ("a.js", "module.exports = 1; return;"),
        ("b.js", "export default 1;"),
        ("c.mjs", "1;"),
        ("d.cjs", "module.exports = 1;"),
        ("e.ts", "const x: number = 1;"),
        ("f.ts", "import fs = require('./a'); export = { fs };"),
        ("g.ts", "import fs = require('./a'); export const h = fs;"),
        ("g2.ts", "export const here: string = __dirname;"),
        ("esm/package.json", r#"{"type":"module"}"#),
        ("esm/h.js", "1;"),
        ("esm/i.ts", "1;"),
        ("node_modules/dep/index.js", "this is not even JavaScript"),
        ("types.d.ts", "declare const x: number;"),
    ]);
    let kind = |path: &str| code.file(path).map(|it| it.kind);
    assert_eq!(kind("a.js"), Some(FileKind::CommonJs));
    assert_eq!(kind("b.js"), Some(FileKind::Module));
    assert_eq!(kind("c.mjs"), Some(FileKind::Module));
    assert_eq!(kind("d.cjs"), Some(FileKind::CommonJs));
    assert_eq!(kind("e.ts"), Some(FileKind::CommonJs));
    assert_eq!(kind("f.ts"), Some(FileKind::CommonJs));
    assert_eq!(kind("g.ts"), Some(FileKind::Module));
    assert_eq!(kind("esm/h.js"), Some(FileKind::Module));
    assert_eq!(kind("esm/i.ts"), Some(FileKind::Module));
    assert_eq!(kind("node_modules/dep/index.js"), Some(FileKind::CommonJs));
    assert_eq!(kind("types.d.ts"), None);
    let text = |path: &str| code.file(path).expect(path).text.as_str();
    assert!(
        text("g.ts").starts_with("const {require} = import.meta.commonjs;"),
        "{}",
        text("g.ts")
    );
    assert!(text("g2.ts").starts_with("const {__dirname}"), "{}", text("g2.ts"));
    assert!(text("f.ts").contains("module.exports = "), "{}", text("f.ts"));
}

#[test]
fn finds_the_main_module() {
    let main = |list: &[(&str, &str)]| prepared(list).main().map(str::to_owned);
    let package = ("package.json", r#"{"main":"./dist/index.js"}"#);
    assert_eq!(main(&[package, ("dist/index.js", "1")]).as_deref(), Some("dist/index.js"));
    assert_eq!(main(&[package, ("src/index.ts", "1")]).as_deref(), Some("src/index.ts"));
    assert_eq!(main(&[("dist/index.js", "1")]).as_deref(), Some("dist/index.js"));
    assert_eq!(main(&[("index.ts", "1"), ("src/index.ts", "1")]).as_deref(), Some("index.ts"));
    assert_eq!(main(&[("functions/a.ts", "1")]), None);
    // A whole repository: the manifest lies beside the folder with the code.
    let package = ("code/package.json", r#"{"main":"./dist/index.js"}"#);
    let sources = [package, ("code/src/index.ts", "1"), ("code/src/functions/a/index.ts", "1")];
    assert_eq!(main(&sources).as_deref(), Some("code/src/index.ts"));
    assert_eq!(prepared(&sources).modules_named("a"), ["code/src/functions/a/index.ts"]);
}

#[test]
fn resolves_like_node_and_typescript() {
    let code = prepared(&[
        ("src/index.ts", "1"),
        ("src/a.ts", "1"),
        ("src/lib/index.js", "1"),
        ("src/data.json", "{}"),
        ("node_modules/plain/package.json", r#"{"main":"lib/main"}"#),
        ("node_modules/plain/lib/main.js", ""),
        ("node_modules/plain/other.js", ""),
        (
            "node_modules/@s/modern/package.json",
            r#"{"exports":{".":{"import":"./m.mjs","require":"./c.cjs"},"./sub":"./s.js"}}"#,
        ),
        ("node_modules/@s/modern/m.mjs", ""),
        ("node_modules/@s/modern/c.cjs", ""),
        ("node_modules/@s/modern/s.js", ""),
    ]);
    let from_index = |specifier: &str| code.resolve("src/index.ts", specifier, Asking::Require);
    assert_eq!(from_index("./a"), Ok("src/a.ts"));
    assert_eq!(from_index("./a.js"), Ok("src/a.ts"));
    assert_eq!(from_index("./lib"), Ok("src/lib/index.js"));
    assert_eq!(from_index("./data.json"), Ok("src/data.json"));
    assert_eq!(from_index("../src/a"), Ok("src/a.ts"));
    assert_eq!(from_index("/src/a"), Ok("src/a.ts"));
    assert_eq!(from_index("plain"), Ok("node_modules/plain/lib/main.js"));
    assert_eq!(from_index("plain/other"), Ok("node_modules/plain/other.js"));
    assert_eq!(from_index("@s/modern"), Ok("node_modules/@s/modern/c.cjs"));
    assert_eq!(from_index("@s/modern/sub"), Ok("node_modules/@s/modern/s.js"));
    assert_eq!(from_index("@s/modern/c.cjs"), Err(Unresolved::NoPackage));
    assert_eq!(from_index("./missing"), Err(Unresolved::NoFile));
    assert_eq!(from_index("../../../etc/passwd"), Err(Unresolved::NoFile));
    assert_eq!(from_index("axios"), Err(Unresolved::NoPackage));
}

#[test]
fn packages_are_resolved_like_node() {
    let code = prepared(&[
        (
            "package.json",
            r##"{"name":"me","imports":{"#conf":"./conf/x.js","#dep":"dual"},"exports":{"./own":"./conf/x.js"}}"##,
        ),
        ("index.js", ""),
        ("conf/x.js", ""),
        ("both.js", ""),
        ("both/index.js", ""),
        ("both/package.json", r#"{"main":"./main.js"}"#),
        ("both/main.js", ""),
        (
            "node_modules/dual/package.json",
            r#"{"exports":{".":{"import":"./i.mjs","require":"./r.cjs"},"./f/*":"./f/*.js","./f/private/*":null}}"#,
        ),
        ("node_modules/dual/i.mjs", ""),
        ("node_modules/dual/r.cjs", ""),
        ("node_modules/dual/f/a.js", ""),
        ("node_modules/dual/f/private/b.js", ""),
        ("node_modules/dual/node_modules/inner/index.json", "{}"),
        ("node_modules/folder/package.json", r#"{"main":"lib"}"#),
        ("node_modules/folder/lib/index.js", ""),
        ("node_modules/folder/lib.json", "{}"),
        ("node_modules/@s/plain/index.js", ""),
        ("node_modules/@s/plain/sub/package.json", r#"{"main":"../other.js","type":"weird"}"#),
        ("node_modules/@s/plain/other.js", ""),
        ("node_modules/empty/package.json", r#"{"main":"gone.js"}"#),
        ("node_modules/empty/index.js", ""),
    ]);
    use Asking::{Import, Require};
    let of = |base: &str, it: &str, asking| code.resolve(base, it, asking);
    let required = |it: &str| code.resolve("index.js", it, Require);
    assert_eq!(required("dual"), Ok("node_modules/dual/r.cjs"));
    assert_eq!(of("index.js", "dual", Import), Ok("node_modules/dual/i.mjs"));
    assert_eq!(required("dual/f/a"), Ok("node_modules/dual/f/a.js"));
    assert_eq!(required("dual/f/private/b"), Err(Unresolved::NoPackage));
    assert_eq!(required("dual/r.cjs"), Err(Unresolved::NoPackage));
    let inner = "node_modules/dual/node_modules/inner/index.json";
    assert_eq!(of("node_modules/dual/f/a.js", "inner", Require), Ok(inner));
    assert_eq!(required("inner"), Err(Unresolved::NoPackage));
    assert_eq!(required("#conf"), Ok("conf/x.js"));
    assert_eq!(of("conf/x.js", "#dep", Import), Ok("node_modules/dual/i.mjs"));
    assert_eq!(of("node_modules/dual/r.cjs", "#conf", Require), Err(Unresolved::NoPackage));
    assert_eq!(required("me/own"), Ok("conf/x.js"));
    assert_eq!(required("me/other"), Err(Unresolved::NoPackage));
    assert_eq!(required("./both"), Ok("both.js"));
    assert_eq!(required("./both/"), Ok("both/main.js"));
    assert_eq!(of("both/main.js", ".", Require), Ok("both/main.js"));
    assert_eq!(of("both/main.js", "..", Require), Ok("index.js"));
    assert_eq!(required("folder"), Ok("node_modules/folder/lib.json"));
    assert_eq!(required("folder/lib/"), Ok("node_modules/folder/lib/index.js"));
    assert_eq!(required("@s/plain"), Ok("node_modules/@s/plain/index.js"));
    assert_eq!(required("@s/plain/sub"), Ok("node_modules/@s/plain/other.js"));
    assert_eq!(required("@s/plain/other"), Ok("node_modules/@s/plain/other.js"));
    assert_eq!(required("empty"), Ok("node_modules/empty/index.js"));
    assert_eq!(required("../out"), Err(Unresolved::NoFile));
}

#[test]
fn functions_are_found_by_name() {
    let code = prepared(&[
        ("dist/index.js", "1"),
        ("dist/functions/greet/index.js", "1"),
        ("dist/functions/leave.js", "1"),
        ("dist/functions/leave.test.js", "1"),
        ("functions/leave.js", "1"),
    ]);
    assert_eq!(code.modules_named("greet"), ["dist/functions/greet/index.js"]);
    assert_eq!(code.modules_named("leave"), ["dist/functions/leave.js", "functions/leave.js"]);
    assert_eq!(code.modules_named("../index"), Vec::<&str>::new());
    assert_eq!(code.function_names_hint(), ["greet", "leave"]);
}

#[test]
fn stored_form_is_read_back_and_damage_is_noticed() {
    let code = prepared(&[("index.ts", "export const a: number = 1;\n"), ("d.json", "[1]")]);
    let bytes = code.to_bytes();
    assert_eq!(Code::from_bytes(&bytes).expect("just written"), code);
    assert!(Code::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(Code::from_bytes(b"mrtcode\x02").is_err());
}

#[test]
fn lines_lead_back_to_the_source() {
    let code = prepared(&[(
        "index.ts",
        "interface A {\n  a: number;\n}\n\nexport function run() {\n  throw new Error('x');\n}\n",
    )]);
    let file = code.file("index.ts").expect("prepared");
    let line = file.text.lines().position(|it| it.contains("throw")).expect("kept");
    let line = u32::try_from(line).expect("short");
    assert_eq!(file.lines.as_ref().and_then(|it| it.place_of(line, 5)).map(|it| it.line), Some(5));
}

#[test]
fn broken_maps_warn_and_change_nothing() {
    let (code, warnings) = prepare_with_warnings(files(&[
        ("dist/index.js", "exports.run = 1;\n//# sourceMappingURL=index.js.map"),
        ("dist/index.js.map", "{"),
        ("node_modules/a/index.js", "1\n//# sourceMappingURL=index.js.map"),
        ("node_modules/a/index.js.map", "{"),
    ]))
    .expect("the code is fine");
    assert!(code.file("dist/index.js").is_some_and(|it| it.lines.is_none()));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].file, "dist/index.js");
    assert!(warnings[0].message.contains("source map is ignored"), "{warnings:?}");
}
