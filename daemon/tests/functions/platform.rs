//! Globals and built-in modules: each row is an expression and what it must be, as JSON.

use std::time::{Duration, Instant};

use mortise::functions::outcome::LogLevel;

use crate::harness::*;

async fn check(rows: &[(&str, &str)]) {
    let (pool, mut failed) = (pool(), Vec::new());
    for (expression, expected) in rows {
        let source = format!("exports.run = async () => {expression};");
        let report = pool.invoke(invocation(&stored(&[("index.js", &source)]))).await;
        match &report.outcome {
            mortise::functions::outcome::Outcome::Succeeded { result }
                if result.get() == *expected => {}
            other => failed.push(format!("{expression}\n  gave {other:?}\n  not {expected}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test]
async fn web_globals() {
    check(&[
        ("new URL('/a?b=1#c', 'https://x.y:8443').href", r#""https://x.y:8443/a?b=1#c""#),
        ("[...new URLSearchParams('a=1&b=2')]", r#"[["a","1"],["b","2"]]"#),
        ("new TextDecoder().decode(new TextEncoder().encode('é'))", r#""é""#),
        ("[btoa('hi'), atob('aGk=')]", r#"["aGk=","hi"]"#),
        ("structuredClone({ a: new Date(5), b: new Map([[1, new Set([2])]]) }).b.get(1).has(2)", "true"),
        ("structuredClone(new Date(5)).getTime()", "5"),
        ("(() => { const a = { n: null }; a.n = a; const b = structuredClone(a); return b.n === b && b !== a })()", "true"),
        ("[...structuredClone(new Uint16Array([1, 2, 3]).subarray(1))]", "[2,3]"),
        ("(() => { try { structuredClone(() => 1) } catch (e) { return e.name } })()", r#""DataCloneError""#),
        ("structuredClone(new RangeError('x')) instanceof RangeError", "true"),
        ("(() => { const c = new AbortController(); let heard = 0; c.signal.addEventListener('abort', () => heard++); c.abort(); return [c.signal.aborted, heard, c.signal.reason.name] })()", r#"[true,1,"AbortError"]"#),
        ("new Promise((r) => { const s = AbortSignal.timeout(5); s.addEventListener('abort', () => r(s.reason.name)); setTimeout(() => {}, 500) })", r#""TimeoutError""#),
        ("typeof performance.now()", r#""number""#),
        ("[typeof globalThis, globalThis === global, this === undefined]", r#"["object",true,false]"#),
        ("new Response('{\"a\":1}').json()", r#"{"a":1}"#),
        ("new Response(new Blob(['ab', 'c'])).text()", r#""abc""#),
        ("(await new Response('abc').body.getReader().read()).value.length", "3"),
        ("[...new Headers({ B: ' 1 ', a: '2' })]", r#"[["a","2"],["b","1"]]"#),
        ("new Request('https://x.y', { method: 'post', body: new URLSearchParams({ a: 1 }) }).headers.get('content-type')", r#""application/x-www-form-urlencoded;charset=UTF-8""#),
        ("(() => { const e = new EventTarget(); let n = 0; e.addEventListener('x', () => n++); e.dispatchEvent(new Event('x')); return n })()", "1"),
        ("(() => { Buffer; globalThis.fetch = 5; return [fetch, typeof Headers] })()", r#"[5,"function"]"#),
    ])
    .await;
}

#[tokio::test]
async fn node_globals_and_modules() {
    check(&[
        ("Buffer.from('aGk=', 'base64').toString()", r#""hi""#),
        ("Buffer.concat([Buffer.from('a'), Buffer.from([98])]).toString('hex')", r#""6162""#),
        ("[process.env.HOME, Object.keys(process.env), process.platform, process.cwd()]", r#"[null,[],"linux","/"]"#),
        ("new Promise((r) => process.nextTick(r, 5))", "5"),
        ("require('crypto').createHash('sha256').update('a').digest('hex').slice(0, 8)", r#""ca978112""#),
        ("require('crypto').createHmac('sha256', 'k').update('a').digest('base64').length", "44"),
        ("crypto.randomUUID().length", "36"),
        ("crypto.getRandomValues(new Uint8Array(4)).length", "4"),
        ("require('crypto').randomBytes(8).length", "8"),
        ("require('crypto').timingSafeEqual(Buffer.from('a'), Buffer.from('a'))", "true"),
        ("Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode('a'))).toString('hex').slice(0, 8)", r#""ca978112""#),
        ("(() => { const E = require('events'); const e = new E(); let n = 0; e.on('x', (v) => n += v); e.emit('x', 2); return [n, E === E.EventEmitter] })()", "[2,true]"),
        ("require('util').inspect({ a: 1 }).includes('a: 1')", "true"),
        ("require('util').promisify((x, cb) => cb(null, x + 1))(1)", "2"),
        ("require('util').format('%s-%d', 'a', 5)", r#""a-5""#),
        ("require('util').isDeepStrictEqual({ a: [1, new Map([[1, 2]])] }, { a: [1, new Map([[1, 2]])] })", "true"),
        ("new (require('string_decoder').StringDecoder)('utf8').write(Buffer.from('é'))", r#""é""#),
        ("require('url').fileURLToPath('file:///a/b')", r#""/a/b""#),
        ("(() => { try { require('assert').strictEqual(1, 2) } catch (e) { return e.name } })()", r#""AssertionError""#),
        ("require('path').posix ? require('path').extname('a.b') : ''", r#"".b""#),
        ("require('timers/promises').setTimeout(1, 'x')", r#""x""#),
    ])
    .await;
}

#[tokio::test]
async fn timers_fire_in_order_and_can_be_cleared() {
    check(&[
        ("new Promise((r) => { const o = []; setTimeout(() => o.push(2), 20); setTimeout((x) => o.push(x), 1, 1); setTimeout(() => r(o), 40) })", "[1,2]"),
        ("new Promise((r) => { let n = 0; const t = setInterval(() => { if (++n === 3) { clearInterval(t); r(n) } }, 1) })", "3"),
        ("new Promise((r) => { const t = setTimeout(() => r('no'), 1); clearTimeout(+t); setTimeout(r, 10, 'yes') })", r#""yes""#),
        ("new Promise((r) => { setImmediate(() => r('soon')) })", r#""soon""#),
        ("new Promise((r) => { queueMicrotask(() => r('micro')) })", r#""micro""#),
    ])
    .await;
    let before = Instant::now();
    // A timer that guards something is not waited for.
    let report =
        run("exports.run = () => Promise.race([1, new Promise((r) => setTimeout(r, 1e4))])").await;
    assert_eq!(result(&report), "1");
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_console_is_the_log() {
    let report = run("exports.run = () => {
           console.log('a %s', 'b', { c: [1, 'x'], d: new Map([[1, 2]]) });
           console.error(new Error('bad').message);
           console.warn('w'); console.debug('d'); console.info();
           console.group('g'); console.log('in'); console.groupEnd(); console.log('out');
           console.count(); console.assert(false, 'told'); console.assert(true, 'not told');
           process.stdout.write('raw\\n');
           const circle = {}; circle.me = circle; console.log(circle);
           console.log(null, undefined, 1n, Symbol('s'), () => 1, class A {});
         }")
    .await;
    assert_eq!(result(&report), "null");
    let logs: Vec<(LogLevel, &str)> =
        report.logs.iter().map(|it| (it.level, it.message.as_str())).collect();
    assert!(logs[0].1.starts_with("a b {") && logs[0].1.contains("c: [ 1, 'x' ]"), "{}", logs[0].1);
    assert_eq!(logs[1], (LogLevel::Error, "bad"));
    assert_eq!(logs[2..5], [(LogLevel::Warn, "w"), (LogLevel::Debug, "d"), (LogLevel::Info, "")]);
    assert_eq!(
        logs[5..8],
        [(LogLevel::Info, "g"), (LogLevel::Info, "  in"), (LogLevel::Info, "out")]
    );
    assert_eq!(logs[8], (LogLevel::Info, "default: 1"));
    assert_eq!(logs[9], (LogLevel::Error, "Assertion failed: told"));
    assert_eq!(logs[10], (LogLevel::Info, "raw"));
    assert!(logs[11].1.contains("Circular"), "{}", logs[11].1);
    assert_eq!(logs.len(), 13, "{logs:?}");
}
