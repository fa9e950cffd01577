//! The Web and Node APIs that come from the llrt crates, each attached to a context on first use,
//! and our own scripts.
//!
//! Owns the list of what functions can `import` or `require` besides files. Attaching everything
//! costs a fresh context more than ten times what it costs without, hence one group at a time.
//! llrt's timers are not used: they outlive their engine and want a tokio runtime.

use llrt_modules as llrt;
use llrt_modules::module_builder::GlobalAttachment;
use rquickjs::module::ModuleDef;
use rquickjs::{Ctx, Exception, Module, Object, Result, Value};

/// Modules that functions can have, without `node:`.
pub(in crate::functions) const AVAILABLE: [&str; 14] = [
    "assert",
    "buffer",
    "console",
    "crypto",
    "events",
    "path",
    "perf_hooks",
    "process",
    "stream/web",
    "string_decoder",
    "timers",
    "timers/promises",
    "url",
    "util",
];

/// The package for authors, which functions can have without bringing it: as if it were in the
/// `node_modules` of every archive. One that is there comes first.
pub(in crate::functions) const SDK: &str = "@mortise/snap-in-sdk";

/// Whether `name` (without `node:`) is a module of Node.js that functions cannot have here.
pub(in crate::functions) fn is_other_node_module(name: &str) -> bool {
    const OTHER: [&str; 29] = [
        "async_hooks",
        "child_process",
        "cluster",
        "constants",
        "dgram",
        "diagnostics_channel",
        "dns",
        "domain",
        "fs",
        "http",
        "http2",
        "https",
        "inspector",
        "module",
        "net",
        "os",
        "punycode",
        "querystring",
        "readline",
        "repl",
        "sqlite",
        "stream",
        "test",
        "tls",
        "tty",
        "v8",
        "vm",
        "worker_threads",
        "zlib",
    ];
    OTHER.contains(&name.split('/').next().unwrap_or(name))
}

/// The names of our scripts.
pub(super) const SCRIPTS: [&str; 9] =
    ["prelude", "builtins", "clone", "console", "fetch", "find", "helpers", "process", "sdk"];

/// Our scripts, each an expression that is a function.
pub(super) fn script(name: &str) -> Option<&'static str> {
    match name {
        "prelude" => Some(include_str!("js/prelude.js")),
        "builtins" => Some(include_str!("js/builtins.js")),
        "clone" => Some(include_str!("js/clone.js")),
        "console" => Some(include_str!("js/console.js")),
        "fetch" => Some(include_str!("js/fetch.js")),
        "find" => Some(include_str!("js/find.js")),
        "helpers" => Some(include_str!("js/helpers.js")),
        "process" => Some(include_str!("js/process.js")),
        "sdk" => Some(concat!(
            "(function (exports) {",
            include_str!("../../../../contrib/sdk/index.js"),
            "return exports; })"
        )),
        _ => None,
    }
}

/// By which its frames are left out of stacks.
pub(super) fn name_in_stacks(name: &str) -> String {
    format!("mortise:{name}")
}

/// Puts one group of globals into the context.
pub(super) fn attach(ctx: &Ctx<'_>, group: &str) -> Result<()> {
    let attachment = GlobalAttachment::default();
    let attachment = match group {
        "exceptions" => attachment.add_function(llrt::exceptions::init),
        "events" => attachment.add_function(llrt::events::init),
        "abort" => attachment.add_function(abort),
        "buffer" => attachment.add_function(llrt::buffer::init),
        "url" => attachment.add_function(llrt::url::init),
        "util" => attachment.add_function(llrt::util::init),
        "crypto" => attachment.add_function(crypto),
        "performance" => attachment.add_function(performance),
        "streams" => attachment.add_function(llrt::stream_web::init),
        _ => return Err(Exception::throw_internal(ctx, "no such group of globals")),
    };
    attachment.attach(ctx)
}

/// llrt reaches for these when it throws; it does not attach them itself.
fn touch(ctx: &Ctx<'_>, names: &[&str]) -> Result<()> {
    for name in names {
        let _attached: Value = ctx.globals().get(*name)?;
    }
    Ok(())
}

fn abort(ctx: &Ctx<'_>) -> Result<()> {
    touch(ctx, &["DOMException", "EventTarget"])?;
    llrt::abort::init(ctx)
}

fn crypto(ctx: &Ctx<'_>) -> Result<()> {
    touch(ctx, &["DOMException", "Buffer"])?;
    llrt::crypto::init(ctx)
}

fn performance(ctx: &Ctx<'_>) -> Result<()> {
    touch(ctx, &["EventTarget"])?;
    llrt::perf_hooks::init(ctx)
}

/// The default export of a module of llrt.
pub(super) fn builtin<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Value<'js>> {
    match name {
        "assert" => evaluate::<llrt::assert::AssertModule>(ctx, name),
        "buffer" => evaluate::<llrt::buffer::BufferModule>(ctx, name),
        "crypto" => evaluate::<llrt::crypto::CryptoModule>(ctx, name),
        "events" => evaluate::<llrt::events::EventsModule>(ctx, name),
        "path" => evaluate::<llrt::path::PathModule>(ctx, name),
        "string_decoder" => evaluate::<llrt::string_decoder::StringDecoderModule>(ctx, name),
        "url" => evaluate::<llrt::url::UrlModule>(ctx, name),
        "util" => evaluate::<llrt::util::UtilModule>(ctx, name),
        _ => Err(Exception::throw_internal(ctx, "no such module")),
    }
}

fn evaluate<'js, D: ModuleDef>(ctx: &Ctx<'js>, name: &str) -> Result<Value<'js>> {
    touch(ctx, &["DOMException", "Buffer"])?;
    let (module, promise) = Module::evaluate_def::<D, _>(ctx.clone(), format!("mortise:{name}"))?;
    promise.finish::<()>()?;
    let namespace: Object = module.namespace()?;
    namespace.get("default")
}
