//! ES modules from prepared code, and the bridge on which they import CommonJS, JSON and built-in
//! modules.
//!
//! A bridged module is loaded when it is linked, because only then are its names known; so CommonJS
//! runs before the ES modules around it. Its default export is `module.exports`, or what compilers
//! mean by it: `exports.default` when `exports.__esModule` is set.

use std::rc::Rc;

use rquickjs::function::Function;
use rquickjs::loader::{Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Exception, JsLifetime, Module, Object, Result, Value};

use super::shared::Shared;
use super::{builtins, bytecode};
use crate::functions::code::{Asking, Code, FileKind, Unresolved};

/// The functions of prelude.js that Rust calls.
pub(super) struct Hooks<'js> {
    pub start: Function<'js>,
    pub fire: Function<'js>,
    pub settle: Function<'js>,
    pub load_sync: Function<'js>,
    pub require_from: Function<'js>,
}

// SAFETY: the only lifetime of the type is that of its JavaScript values, and `Changed` differs in
// nothing but that lifetime.
unsafe impl<'js> JsLifetime<'js> for Hooks<'js> {
    type Changed<'to> = Hooks<'to>;
}

/// What kind of module a resolved name is, in the words of prelude.js.
pub(super) fn kind(code: &Code, name: &str) -> Option<&'static str> {
    if name.starts_with("node:") {
        return Some("builtin");
    }
    code.file(name).map(|it| match it.kind {
        FileKind::Module => "module",
        FileKind::CommonJs => "commonjs",
        FileKind::Json => "json",
    })
}

/// The full name of what `specifier` means to the module `base`, or a message for its author.
pub(super) fn resolve(
    code: &Code,
    base: &str,
    specifier: &str,
    asking: Asking,
) -> std::result::Result<String, String> {
    let bare = specifier.strip_prefix("node:").unwrap_or(specifier);
    if builtins::AVAILABLE.contains(&bare) {
        return Ok(format!("node:{bare}"));
    }
    let unresolved = match code.resolve(base, specifier, asking) {
        Ok(path) => return Ok(path.to_owned()),
        Err(_) if specifier == builtins::SDK => return Ok(format!("node:{specifier}")),
        Err(unresolved) => unresolved,
    };
    let from = if base.is_empty() { String::new() } else { format!(" (from {base})") };
    Err(match unresolved {
        Unresolved::NoFile => format!("the archive has no module `{specifier}`{from}"),
        Unresolved::NoPackage
            if specifier.starts_with("node:") || builtins::is_other_node_module(bare) =>
        {
            format!(
                "the module `{specifier}`{from} is not available in the quickjs runtime; available \
                 are {}; for packages that need more of Node.js use the runtime `node`",
                builtins::AVAILABLE.join(", ")
            )
        }
        Unresolved::NoPackage => format!(
            "the package `{specifier}`{from} is not in the archive: bundle it into the code or \
             add its node_modules folder; packages that need Node.js itself or native code need \
             the runtime `node`"
        ),
    })
}

pub(super) struct ArchiveResolver(pub Rc<Shared>);

impl Resolver for ArchiveResolver {
    fn resolve<'js>(&mut self, ctx: &Ctx<'js>, base: &str, name: &str) -> Result<String> {
        resolve(&self.0.code, base, name, Asking::Import)
            .map_err(|message| throw_not_found(ctx, &message))
    }
}

/// The error that Node.js throws, with its code.
pub(super) fn throw_not_found(ctx: &Ctx<'_>, message: &str) -> rquickjs::Error {
    match Exception::from_message(ctx.clone(), message) {
        Ok(exception) => match exception.as_object().set("code", "MODULE_NOT_FOUND") {
            Ok(()) => exception.throw(),
            Err(error) => error,
        },
        Err(error) => error,
    }
}

pub(super) struct ArchiveLoader(pub Rc<Shared>);

impl Loader for ArchiveLoader {
    fn load<'js>(&mut self, ctx: &Ctx<'js>, name: &str) -> Result<Module<'js, Declared>> {
        let code = Rc::clone(&self.0.code);
        match code.file(name) {
            Some(file) if file.kind == FileKind::Module => {
                let compiled = self.0.compiled.file(name);
                let module = match compiled.and_then(|it| bytecode::read_module(ctx, it)) {
                    Some(module) => module,
                    None => {
                        self.0.note_loaded(name, &file.text);
                        Module::declare(ctx.clone(), name, file.text.as_str())?
                    }
                };
                let meta = module.meta()?;
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                meta.set("url", format!("file:///{name}"))?;
                meta.set("filename", format!("/{name}"))?;
                meta.set("dirname", format!("/{folder}"))?;
                if file.text.starts_with("const {") {
                    meta.set("commonjs", commonjs_names(ctx, name, folder)?)?;
                }
                Ok(module)
            }
            _ => {
                let load_sync = hook(ctx, |hooks| &hooks.load_sync)?;
                let exports: Value = load_sync.call((name,))?;
                bridge(ctx, name, exports)
            }
        }
    }
}

pub(super) fn hook<'js>(
    ctx: &Ctx<'js>,
    choose: impl for<'a> Fn(&'a Hooks<'js>) -> &'a Function<'js>,
) -> Result<Function<'js>> {
    match ctx.userdata::<Hooks<'js>>() {
        Some(hooks) => Ok(choose(&hooks).clone()),
        None => Err(Exception::throw_internal(ctx, "the context is not ready")),
    }
}

fn commonjs_names<'js>(ctx: &Ctx<'js>, name: &str, folder: &str) -> Result<Object<'js>> {
    let require_from = hook(ctx, |hooks| &hooks.require_from)?;
    let names = Object::new(ctx.clone())?;
    names.set("require", require_from.call::<_, Value>((name,))?)?;
    names.set("__filename", format!("/{name}"))?;
    names.set("__dirname", format!("/{folder}"))?;
    Ok(names)
}

fn bridge<'js>(ctx: &Ctx<'js>, name: &str, exports: Value<'js>) -> Result<Module<'js, Declared>> {
    let mut source = String::from("const it = import.meta.exports;\n");
    let mut default = "it";
    if let Some(object) = exports.as_object() {
        if object.get::<_, Option<bool>>("__esModule").ok().flatten() == Some(true)
            && object.contains_key("default")?
        {
            default = "it.default";
        }
        for (number, key) in object.keys::<String>().enumerate() {
            let key = key?;
            if key != "default" {
                // JSON texts are JavaScript texts.
                let quoted = serde_json::Value::String(key);
                source.push_str(&format!(
                    "const v{number} = it[{quoted}]; export {{ v{number} as {quoted} }};\n"
                ));
            }
        }
    }
    source.push_str(&format!("export default {default};\n"));
    let module = Module::declare(ctx.clone(), name, source)?;
    module.meta()?.set("exports", exports)?;
    Ok(module)
}
