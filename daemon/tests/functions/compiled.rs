//! Compiled code does what its source does, and comes from processes that run nothing.

use mortise::functions::outcome::{FailureKind, Outcome};
use mortise::functions::pool::Pool;
use mortise::model::id::SnapInId;

use crate::harness::*;

/// Waits until the code of so many versions is compiled.
async fn until_compiled(pool: &Pool, versions: usize) {
    until("the code is compiled", || pool.compiled_versions() >= versions).await;
}

#[tokio::test]
async fn compiled_code_gives_the_same_results_and_stacks() {
    let padding = format!("/*{}*/\n", "x".repeat(40_000));
    let index = format!(
        "{padding}import {{ a }} from './a.js';
         import c from './c.cjs';
         import data from './data.json';
         export async function run() {{
           const later = await import('./later.mjs');
           throw new Error([a(), c.d(), later.default, data.x, import.meta.url, run.toString().length,
             c.d.toString()].join());
         }}"
    );
    let files = [
        ("index.mjs", index.as_str()),
        ("a.js", "import { b } from './b.mjs';\nexport function a() { return b }"),
        ("b.mjs", "import { a } from './a.js';\nexport const b = typeof a;"),
        ("c.cjs", "exports.d = () => require('./e.cjs').stack();"),
        (
            "e.cjs",
            "const c = require('./c.cjs');\nexports.stack = () => new Error('e').stack + typeof c.d;",
        ),
        ("later.mjs", "export default 'late';"),
        ("data.json", "{\"x\":7}"),
    ];
    let stored = stored(&files);
    let pool = pool();
    let first = pool.invoke(invocation(&stored)).await;
    until_compiled(&pool, 1).await;
    let mut again = invocation(&stored);
    again.snap_in = SnapInId(2);
    let second = pool.invoke(again).await;
    let mut fresh = invocation(&stored);
    fresh.fresh = true;
    let third = pool.invoke(fresh).await;
    let failed = failure(&first);
    assert_eq!(failed.kind, FailureKind::Thrown);
    assert!(failed.message.starts_with("function,"), "{failed:?}");
    assert!(failed.message.contains("e.cjs:2:"), "{failed:?}");
    assert!(failed.stack.as_deref().is_some_and(|it| it.contains("(index.mjs:8:")), "{failed:?}");
    assert_eq!(failed, failure(&second));
    assert_eq!(failed, failure(&third));
}

#[tokio::test]
async fn small_code_is_not_compiled_and_large_code_that_fails_tells_so_every_time() {
    let pool = pool();
    let small = stored(&[("index.js", "exports.run = () => 1")]);
    assert_eq!(result(&pool.invoke(invocation(&small)).await), "1");
    let broken = "x".repeat(40_000) + " y z(";
    let large = stored(&[
        ("index.js", "exports.run = () => 1; require('broken');"),
        ("node_modules/broken/index.js", &broken),
    ]);
    for snap_in in [1, 2] {
        let mut it = invocation(&large);
        it.snap_in = SnapInId(snap_in);
        let report = pool.invoke(it).await;
        assert_failure(&report, FailureKind::Load, "expecting ';'");
        assert!(!matches!(report.outcome, Outcome::Interrupted { .. }));
        until_compiled(&pool, 1).await;
    }
    assert_eq!(pool.compiled_versions(), 1);
}
