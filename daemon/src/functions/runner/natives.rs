//! The functions that the scripts of a context call: the only way out of it.
//!
//! None of them blocks, and none reaches beyond this process but through the host's frames.

use std::rc::Rc;
use std::time::Duration;

use rquickjs::context::EvalOptions;
use rquickjs::function::{Func, Function, Opt};
use rquickjs::{ArrayBuffer, Ctx, Exception, Module, Object, Promise, Result, TypedArray, Value};
use tokio::time::Instant;

use super::errors;
use super::shared::Shared;
use super::{builtins, bytecode, modules};
use crate::functions::code::Asking;
use crate::functions::outcome::{Failure, FailureKind, LogLevel};
use crate::functions::protocol::{FetchHeader, FromRunner};

pub(super) fn make<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    add_code(ctx, &native, shared)?;
    add_modules(ctx, &native, shared)?;
    add_ends(ctx, &native, shared)?;
    add_timers(&native, shared)?;
    add_log(&native, shared)?;
    add_fetch(ctx, &native, shared)?;
    native
        .set("arch", Func::from(|| if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" }))?;
    Ok(native)
}

fn add_code<'js>(ctx: &Ctx<'js>, native: &Object<'js>, shared: &Rc<Shared>) -> Result<()> {
    let code = Rc::clone(&shared.code);
    native.set("main", Func::from(move || code.main().map(str::to_owned)))?;
    let code = Rc::clone(&shared.code);
    let names = move || -> Vec<String> {
        code.function_names_hint().into_iter().map(str::to_owned).collect()
    };
    native.set("functionNames", Func::from(names))?;
    let code = Rc::clone(&shared.code);
    let named = move |name: String| -> Vec<String> {
        code.modules_named(&name).into_iter().map(str::to_owned).collect()
    };
    native.set("modulesNamed", Func::from(named))?;
    let code = Rc::clone(&shared.code);
    let kind = move |name: String| modules::kind(&code, &name).unwrap_or("none");
    native.set("kind", Func::from(kind))?;
    let code = Rc::clone(&shared.code);
    let text = move |name: String| code.file(&name).map(|it| it.text.clone());
    native.set("text", Func::from(text))?;
    let code = Rc::clone(&shared.code);
    let resolve = move |ctx: Ctx<'js>, base: String, specifier: String| {
        modules::resolve(&code, &base, &specifier, Asking::Require)
            .map_err(|message| modules::throw_not_found(&ctx, &message))
    };
    native.set("resolve", Function::new(ctx.clone(), resolve)?)
}

fn add_modules<'js>(ctx: &Ctx<'js>, native: &Object<'js>, shared: &Rc<Shared>) -> Result<()> {
    let it = Rc::clone(shared);
    let compile = move |ctx: Ctx<'js>, name: String| -> Result<Function<'js>> {
        let Some(file) = it.code.file(&name) else {
            return Err(modules::throw_not_found(&ctx, "no such file"));
        };
        let compiled = it.compiled.file(&name);
        if let Some(function) = compiled.and_then(|it| bytecode::read_script(&ctx, it)) {
            return function.into_function().ok_or(rquickjs::Error::Unknown);
        }
        it.note_loaded(&name, &file.text);
        let mut options = EvalOptions::default();
        options.strict = false;
        options.filename = Some(name);
        ctx.eval_with_options(bytecode::wrapped(file), options)
    };
    native.set("compile", Function::new(ctx.clone(), compile)?)?;
    let import = |ctx: Ctx<'js>, name: String| Module::import(&ctx, format!("/{name}"));
    native.set("import", Function::new(ctx.clone(), import)?)?;
    native.set("importSync", Function::new(ctx.clone(), import_sync)?)?;
    let it = Rc::clone(shared);
    let script = move |ctx: Ctx<'js>, name: String| evaluate_own(&ctx, &it, &name);
    native.set("script", Function::new(ctx.clone(), script)?)?;
    let attach = |ctx: Ctx<'js>, group: String| builtins::attach(&ctx, &group);
    native.set("attach", Function::new(ctx.clone(), attach)?)?;
    let builtin = |ctx: Ctx<'js>, name: String| builtins::builtin(&ctx, &name);
    native.set("builtin", Function::new(ctx.clone(), builtin)?)
}

/// Evaluates a script of ours, whose frames are left out of stacks by its name.
pub(super) fn evaluate_own<'js>(ctx: &Ctx<'js>, it: &Shared, name: &str) -> Result<Value<'js>> {
    let Some(source) = builtins::script(name) else {
        return Err(Exception::throw_internal(ctx, "no such script"));
    };
    let name = builtins::name_in_stacks(name);
    if let Some(made) = it.own.file(&name).and_then(|it| bytecode::read_script(ctx, it)) {
        return Ok(made);
    }
    let mut options = EvalOptions::default();
    options.filename = Some(name);
    ctx.eval_with_options(source, options)
}

fn import_sync<'js>(ctx: Ctx<'js>, name: String) -> Result<Value<'js>> {
    let promise: Promise<'js> = Module::import(&ctx, format!("/{name}"))?;
    match promise.finish::<Value>() {
        Err(rquickjs::Error::WouldBlock) => Err(Exception::throw_message(
            &ctx,
            &format!("the module {name} awaits at its top level and cannot be required: import it"),
        )),
        result => result,
    }
}

fn add_ends<'js>(ctx: &Ctx<'js>, native: &Object<'js>, shared: &Rc<Shared>) -> Result<()> {
    let it = Rc::clone(shared);
    native.set("loading", Func::from(move |loading: bool| it.loading.set(loading)))?;
    let it = Rc::clone(shared);
    let not_found = move |message: String| {
        it.not_found.replace(Some(message));
    };
    native.set("notFound", Func::from(not_found))?;
    let it = Rc::clone(shared);
    let succeeded = move |ctx: Ctx<'js>, value: Opt<Value<'js>>| {
        let value = value.0.unwrap_or_else(|| Value::new_undefined(ctx.clone()));
        let output = output_of(&ctx, &it, value);
        it.end(output);
    };
    native.set("succeeded", Function::new(ctx.clone(), succeeded)?)?;
    let it = Rc::clone(shared);
    let failed = move |ctx: Ctx<'js>, thrown: Opt<Value<'js>>| {
        let thrown = thrown.0.unwrap_or_else(|| Value::new_undefined(ctx.clone()));
        let failure = errors::describe(&ctx, &it, &thrown);
        it.end(Err(failure));
    };
    native.set("failed", Function::new(ctx.clone(), failed)?)
}

/// The result as JSON; `undefined` is `null`.
fn output_of<'js>(
    ctx: &Ctx<'js>,
    shared: &Shared,
    value: Value<'js>,
) -> std::result::Result<String, Failure> {
    if value.is_undefined() {
        return Ok("null".to_owned());
    }
    let type_name = value.type_name();
    let json = match ctx.json_stringify(value) {
        Ok(Some(json)) => json.to_string().unwrap_or_default(),
        Ok(None) => {
            return Err(Failure::new(
                FailureKind::BadOutput,
                format!("the function returned a {type_name}, which is no JSON"),
            ));
        }
        Err(_) => {
            let reason = errors::describe(ctx, shared, &ctx.catch());
            let kind = match reason.kind {
                FailureKind::Memory => return Err(reason),
                _ => FailureKind::BadOutput,
            };
            return Err(Failure::new(
                kind,
                format!("the function's result is no JSON: {}", reason.message),
            ));
        }
    };
    let limit = shared.output_bytes.get();
    if json.len() as u64 > limit {
        return Err(Failure::new(
            FailureKind::OutputTooLarge,
            format!("the function's result is {} bytes, the limit is {limit}", json.len()),
        ));
    }
    Ok(json)
}

fn add_timers<'js>(native: &Object<'js>, shared: &Rc<Shared>) -> Result<()> {
    fn delay(milliseconds: f64) -> Duration {
        Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()
    }
    let it = Rc::clone(shared);
    let arm = move |milliseconds: f64, held: bool| {
        it.timers.borrow_mut().arm(Instant::now(), delay(milliseconds), held)
    };
    native.set("arm", Func::from(arm))?;
    let it = Rc::clone(shared);
    let rearm = move |id: u32, milliseconds: f64, held: bool| {
        it.timers.borrow_mut().arm_as(id, Instant::now(), delay(milliseconds), held);
    };
    native.set("rearm", Func::from(rearm))?;
    let it = Rc::clone(shared);
    native.set("disarm", Func::from(move |id: u32| it.timers.borrow_mut().disarm(id)))?;
    let it = Rc::clone(shared);
    let hold = move |id: u32, held: bool| it.timers.borrow_mut().hold(id, held);
    native.set("hold", Func::from(hold))
}

fn add_log<'js>(native: &Object<'js>, shared: &Rc<Shared>) -> Result<()> {
    let it = Rc::clone(shared);
    native.set("logIsFull", Func::from(move || it.log.borrow().is_full()))?;
    let it = Rc::clone(shared);
    let log = move |level: String, message: String| {
        let level = match level.as_str() {
            "debug" => LogLevel::Debug,
            "warn" => LogLevel::Warn,
            "error" => LogLevel::Error,
            _ => LogLevel::Info,
        };
        it.log.borrow_mut().push(level, &message);
    };
    native.set("log", Func::from(log))
}

fn add_fetch<'js>(ctx: &Ctx<'js>, native: &Object<'js>, shared: &Rc<Shared>) -> Result<()> {
    let it = Rc::clone(shared);
    let fetch = move |ctx: Ctx<'js>, request: String, body: Option<TypedArray<'js, u8>>| {
        let request: FetchHeader = serde_json::from_str(&request)
            .map_err(|error| Exception::throw_type(&ctx, &format!("no request: {error}")))?;
        let id = it.next_fetch.get() + 1;
        it.next_fetch.set(id);
        it.fetches.set(it.fetches.get() + 1);
        let body = body.as_ref().and_then(TypedArray::as_bytes).unwrap_or_default();
        // Goes out with the next wait: a promise cannot settle before that anyway.
        it.host.queue(&FromRunner::Fetch { id, request }, body);
        Ok::<_, rquickjs::Error>(id)
    };
    native.set("fetch", Function::new(ctx.clone(), fetch)?)?;
    let it = Rc::clone(shared);
    let abandon = move |id: u64| {
        it.fetches.set(it.fetches.get().saturating_sub(1));
        it.host.queue(&FromRunner::Abandon { id }, &[]);
    };
    native.set("abandon", Func::from(abandon))
}

/// The body of a response as JavaScript sees it.
pub(super) fn array_buffer<'js>(ctx: &Ctx<'js>, body: Vec<u8>) -> Result<ArrayBuffer<'js>> {
    ArrayBuffer::new(ctx.clone(), body)
}
