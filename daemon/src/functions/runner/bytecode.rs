//! Modules as the engine has compiled them, so that a new context need not parse them again.
//!
//! The engine trusts its bytecode blindly: whoever can forge it can do anything within the process
//! that reads it. So it is only ever made by a process that compiles and does nothing else
//! ([`compile`] runs no code of the version), goes to runs of that very version only, and is not
//! kept longer than the daemon that asked for it. What cannot be compiled is left out: its source
//! is used, and tells its problem then.

use std::collections::HashMap;
use std::ffi::{CStr, CString};

use rquickjs::loader::{Loader, Resolver};
use rquickjs::module::{Declared, WriteOptions};
use rquickjs::{Context, Ctx, Module, Result, Runtime, Value, qjs};

use super::errors::WRAPPER;
use crate::functions::code::{Code, CodeFile, FileKind};

/// The most bytes that one version may have compiled.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The most memory that compiling may take.
const MOST_MEMORY: usize = 512 * 1024 * 1024;

/// Compiled files, by their paths in the archive.
#[derive(Default)]
pub(super) struct Compiled {
    files: HashMap<String, Vec<u8>>,
}

impl Compiled {
    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Reads what [`compile`] wrote; nothing of what another engine wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Compiled {
        let mut files = HashMap::new();
        let mut rest = bytes;
        if take(&mut rest) == Some(engine_version()) {
            while let (Some(name), Some(code)) = (take(&mut rest), take(&mut rest)) {
                files.insert(String::from_utf8_lossy(name).into_owned(), code.to_vec());
            }
        }
        Compiled { files }
    }
}

fn engine_version() -> &'static [u8] {
    // SAFETY: the engine gives out a text that is part of its program.
    unsafe { CStr::from_ptr(qjs::JS_GetVersion()) }.to_bytes()
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
    bytes.extend_from_slice(field);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let (field, after) =
        after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    *rest = after;
    Some(field)
}

/// Compiles files of a version. Nothing of it is run.
pub(super) fn compile(code: &Code, names: &[String]) -> Vec<u8> {
    let files = names.iter().filter_map(|it| Some((it.as_str(), code.file(it)?)));
    compile_all(files, |ctx, name, file| match file.kind {
        FileKind::Module => compile_module(ctx, name, file),
        FileKind::CommonJs => compile_script(ctx, name, wrapped(file), 0),
        FileKind::Json => Err(rquickjs::Error::Unknown),
    })
}

/// Compiles our own scripts, by the names that they have in stacks.
pub(super) fn compile_own(scripts: &[(String, &str)]) -> Vec<u8> {
    let scripts = scripts.iter().map(|(name, text)| (name.as_str(), *text));
    compile_all(scripts, |ctx, name, text| {
        compile_script(ctx, name, text.to_owned(), qjs::JS_EVAL_FLAG_STRICT)
    })
}

fn compile_all<'a, T>(
    files: impl Iterator<Item = (&'a str, T)>,
    compile: impl Fn(&Ctx<'_>, &str, T) -> Result<Vec<u8>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, engine_version());
    let Ok(runtime) = Runtime::new() else { return bytes };
    runtime.set_memory_limit(MOST_MEMORY);
    runtime.set_max_stack_size(super::engine::STACK_BYTES);
    runtime.set_loader(Nowhere, Nothing);
    let Ok(context) = Context::full(&runtime) else { return bytes };
    context.with(|ctx| {
        for (name, file) in files {
            match compile(&ctx, name, file) {
                Ok(compiled) if bytes.len() + compiled.len() <= MOST_BYTES => {
                    put(&mut bytes, name.as_bytes());
                    put(&mut bytes, &compiled);
                }
                Ok(_) => {}
                Err(_) => drop(ctx.catch()),
            }
        }
    });
    // The process ends after this; taking the engine apart would only cost time.
    std::mem::forget((context, runtime));
    bytes
}

/// While compiling, every import leads to the same empty module: what a module imports is looked up
/// again, by its own words, where it is run.
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve<'js>(&mut self, _ctx: &Ctx<'js>, _base: &str, _name: &str) -> Result<String> {
        Ok("mortise:nothing".to_owned())
    }
}

struct Nothing;

impl Loader for Nothing {
    fn load<'js>(&mut self, ctx: &Ctx<'js>, name: &str) -> Result<Module<'js, Declared>> {
        Module::declare(ctx.clone(), name, "")
    }
}

fn compile_module(ctx: &Ctx<'_>, name: &str, file: &CodeFile) -> Result<Vec<u8>> {
    // With its source: packages ask functions for their text.
    Module::declare(ctx.clone(), name, file.text.as_str())?.write(WriteOptions::default())
}

fn compile_script(ctx: &Ctx<'_>, name: &str, source: String, flags: u32) -> Result<Vec<u8>> {
    let source = CString::new(source)?;
    let name = CString::new(name)?;
    let flags = flags | qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY;
    // SAFETY: the texts outlive the call and end in zeros; the value that comes back is owned by
    // `script`; with this flag nothing is run.
    let script = unsafe {
        let raw = qjs::JS_Eval(
            ctx.as_raw().as_ptr(),
            source.as_ptr(),
            source.as_bytes().len() as _,
            name.as_ptr(),
            flags as i32,
        );
        Value::from_raw(ctx.clone(), raw)
    };
    let mut length = 0;
    // SAFETY: the value lives; what is written is copied and given back to the engine that made it.
    unsafe {
        let written = qjs::JS_WriteObject(
            ctx.as_raw().as_ptr(),
            &raw mut length,
            script.as_raw(),
            qjs::JS_WRITE_OBJ_BYTECODE as i32,
        );
        if written.is_null() {
            return Err(rquickjs::Error::Exception);
        }
        let copy =
            std::slice::from_raw_parts(written, usize::try_from(length).unwrap_or(0)).to_vec();
        qjs::js_free(ctx.as_raw().as_ptr(), written.cast());
        Ok(copy)
    }
}

/// The text of a CommonJS module as the function that it is run as.
pub(super) fn wrapped(file: &CodeFile) -> String {
    // A first line for the shell is no JavaScript inside a function.
    let comment = if file.text.starts_with("#!") { "//" } else { "" };
    format!("{}{comment}{}{}", WRAPPER.0, file.text, WRAPPER.1)
}

/// A module from what [`compile`] made of it; `None` if the engine does not take it.
pub(super) fn read_module<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Option<Module<'js, Declared>> {
    // SAFETY: the bytes come from this engine, by way of a process that only compiles, see above.
    let module = unsafe { Module::load(ctx.clone(), bytes) };
    module.map_err(|_| drop(ctx.catch())).ok()
}

/// The function of a CommonJS module or a script of ours from what was made of it.
pub(super) fn read_script<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Option<Value<'js>> {
    // SAFETY: the bytes come from this engine, by way of a process that only compiles, see above;
    // evaluating takes the value over and gives one back.
    let value = unsafe {
        let raw = ctx.as_raw().as_ptr();
        let flags = qjs::JS_READ_OBJ_BYTECODE as i32;
        let read = qjs::JS_ReadObject(raw, bytes.as_ptr(), bytes.len() as _, flags);
        if qjs::JS_VALUE_GET_TAG(read) == qjs::JS_TAG_EXCEPTION {
            drop(ctx.catch());
            return None;
        }
        Value::from_raw(ctx.clone(), qjs::JS_EvalFunction(raw, read))
    };
    if value.is_function() {
        return Some(value);
    }
    drop(ctx.catch());
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(files: &[(&str, &str)]) -> Code {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        crate::functions::code::prepare(files.collect()).expect("the code is fine")
    }

    fn compiled(files: &[(&str, &str)]) -> Vec<u8> {
        let names: Vec<String> = files.iter().map(|it| it.0.to_owned()).collect();
        compile(&code(files), &names)
    }

    #[test]
    fn compiling_runs_nothing_and_leaves_out_what_is_wrong() {
        let bytes = compiled(&[
            ("a.js", "for (;;);"),
            ("b.mjs", "import './a.js'; import 'nowhere'; for (;;); await 1;"),
            ("node_modules/c/index.js", "this is no JavaScript"),
            ("d.json", "{}"),
        ]);
        let compiled = Compiled::from_bytes(&bytes);
        assert!(compiled.file("a.js").is_some() && compiled.file("b.mjs").is_some());
        assert_eq!(compiled.files.len(), 2);
    }

    #[test]
    fn what_was_compiled_runs_with_its_lines_and_its_text() {
        let bytes = compiled(&[
            (
                "a.js",
                "#!/usr/bin/env node\nexports.f = function f() { return 1 };\nexports.g = () => {\n  throw new Error('x') };",
            ),
            ("b.mjs", "export const b = import.meta.url;"),
        ]);
        let compiled = Compiled::from_bytes(&bytes);
        let runtime = Runtime::new().expect("an engine");
        let context = Context::full(&runtime).expect("a context");
        context.with(|ctx| {
            let function = read_script(&ctx, compiled.file("a.js").expect("compiled"));
            let function = function.and_then(Value::into_function).expect("a function");
            let exports = rquickjs::Object::new(ctx.clone()).expect("an object");
            function.call::<_, ()>((exports.clone(),)).expect("it runs");
            ctx.globals().set("it", exports).expect("set");
            let stack: String = ctx.eval("try { it.g() } catch (e) { e.stack }").expect("a stack");
            assert!(stack.contains("(a.js:4:13)"), "{stack}");
            let text: String = ctx.eval("it.f.toString()").expect("a text");
            assert_eq!(text, "function f() { return 1 }");
            let module = read_module(&ctx, compiled.file("b.mjs").expect("compiled"));
            let module = module.expect("a module");
            assert_eq!(module.name::<String>().expect("a name"), "b.mjs");
        });
    }

    #[test]
    fn code_of_another_engine_is_no_code() {
        let bytes = compiled(&[("a.js", "1")]);
        let mut other = bytes.clone();
        other[8] ^= 1;
        assert!(Compiled::from_bytes(&other).files.is_empty());
        assert!(Compiled::from_bytes(&bytes[..bytes.len() - 1]).files.is_empty());
        assert!(Compiled::from_bytes(b"").files.is_empty());
        assert_eq!(Compiled::from_bytes(&bytes).files.len(), 1);
        let runtime = Runtime::new().expect("an engine");
        let context = Context::full(&runtime).expect("a context");
        // The engine's own mark is looked at as well.
        context.with(|ctx| assert!(read_script(&ctx, b"\xff nonsense").is_none()));
    }

    #[test]
    fn our_own_scripts_all_compile() {
        let names = super::super::builtins::SCRIPTS;
        let compiled = Compiled::from_bytes(&compile_own(&super::super::own_scripts()));
        assert_eq!(compiled.files.len(), names.len());
    }
}
