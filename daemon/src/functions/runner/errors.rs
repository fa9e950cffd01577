//! From whatever JavaScript threw to a [`Failure`], with places in terms of the archive's files.
//!
//! Anything can be thrown, and reading it may run code of the function: nothing here may fail.

use rquickjs::{Ctx, Object, Value};

use super::shared::Shared;
use crate::functions::code::{Code, FileKind};
use crate::functions::outcome::{Failure, FailureKind};

/// Around the text of a CommonJS module, without a line break so that lines stay.
pub(super) const WRAPPER: (&str, &str) =
    ("(function (exports, require, module, __filename, __dirname) {", "\n})");

const MOST_TEXT: usize = 16 * 1024;

/// What was thrown, as a failure of the run.
pub(super) fn describe<'js>(ctx: &Ctx<'js>, shared: &Shared, thrown: &Value<'js>) -> Failure {
    if let Some(message) = shared.not_found.borrow_mut().take() {
        return Failure::new(FailureKind::NotFound, message);
    }
    let kind = if shared.loading.get() { FailureKind::Load } else { FailureKind::Thrown };
    let mut failure = Failure::new(kind, String::new());
    match thrown.as_object() {
        Some(object) => describe_object(ctx, shared, object, &mut failure),
        // What the engine throws when there is no memory left even for an error.
        None if thrown.is_null() && shared.budget.is_exceeded() => return out_of_memory(shared),
        None => {
            failure.message = match text_of(thrown) {
                Some(text) if thrown.is_string() => text,
                Some(text) => format!("{text} was thrown"),
                None => format!("a value of type {} was thrown", thrown.type_name()),
            };
        }
    }
    failure.message = shorten(failure.message);
    match (failure.name.as_str(), failure.message.as_str()) {
        ("InternalError" | "Error" | "RangeError", "out of memory") => out_of_memory(shared),
        ("RangeError" | "InternalError", "Maximum call stack size exceeded" | "stack overflow") => {
            failure.kind = FailureKind::StackOverflow;
            failure
        }
        _ => failure,
    }
}

pub(super) fn out_of_memory(shared: &Shared) -> Failure {
    let limit = shared.memory_bytes.get() / 1024;
    Failure::new(
        FailureKind::Memory,
        format!("the function used more than its {limit} KiB of memory"),
    )
}

fn describe_object<'js>(
    ctx: &Ctx<'js>,
    shared: &Shared,
    object: &Object<'js>,
    failure: &mut Failure,
) {
    let message = property(ctx, object, "message").and_then(|it| text_of(&it));
    let name = property(ctx, object, "name").and_then(|it| text_of(&it)).or_else(|| {
        let constructor = property(ctx, object, "constructor")?.into_object()?;
        text_of(&property(ctx, &constructor, "name")?)
    });
    failure.name = shorten(name.unwrap_or_else(|| "Object".to_owned()));
    failure.message = match message {
        Some(message) => message,
        None => match ctx.json_stringify(object.clone()) {
            Ok(Some(json)) => json.to_string().unwrap_or_default(),
            Ok(None) => format!("a {} was thrown", object.as_value().type_name()),
            Err(_) => {
                clear_exception(ctx);
                "an object that is no JSON was thrown".to_owned()
            }
        },
    };
    if let Some(stack) = property(ctx, object, "stack").and_then(|it| text_of(&it)) {
        let stack = in_source_terms(&shared.code, &shorten(stack));
        failure.stack = (!stack.is_empty()).then_some(stack);
    }
    // By the property, not by class: there may be several copies of the class.
    failure.retry = property(ctx, object, "retry").and_then(|it| it.as_bool());
    failure.refresh =
        property(ctx, object, "refresh").and_then(|it| it.as_bool()).unwrap_or_default();
    if let Some(cause) = property(ctx, object, "cause").and_then(Value::into_object)
        && let Some(message) = property(ctx, &cause, "message").and_then(|it| text_of(&it))
        && !failure.message.contains(&message)
    {
        failure.message.push_str(&format!(" (cause: {message})"));
    }
}

fn property<'js>(ctx: &Ctx<'js>, object: &Object<'js>, name: &str) -> Option<Value<'js>> {
    match object.get::<_, Value>(name) {
        Ok(value) if value.is_undefined() || value.is_null() => None,
        Ok(value) => Some(value),
        Err(_) => {
            clear_exception(ctx);
            None
        }
    }
}

fn clear_exception(ctx: &Ctx<'_>) {
    let _dropped = ctx.catch();
}

fn text_of(value: &Value<'_>) -> Option<String> {
    if let Some(text) = value.as_string() {
        return text.to_string().ok();
    }
    if value.is_undefined() {
        return Some("undefined".to_owned());
    }
    if value.is_null() {
        return Some("null".to_owned());
    }
    value.as_bool().map(|it| it.to_string()).or_else(|| value.as_number().map(|it| it.to_string()))
}

fn shorten(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        let end = (0..=MOST_TEXT).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The stack with the runtime's own frames left out and generated places led back to the source.
pub(super) fn in_source_terms(code: &Code, stack: &str) -> String {
    let mut lines = Vec::new();
    for line in stack.lines() {
        if line.contains("(mortise:") || line.contains("at mortise:") || line.ends_with("(native)")
        {
            continue;
        }
        lines.push(match place_in(line).and_then(|place| source_place(code, &place)) {
            Some((place, source)) => line.replace(&place, &source),
            None => line.to_owned(),
        });
    }
    lines.join("\n")
}

struct Place<'a> {
    text: &'a str,
    file: &'a str,
    line: u32,
    column: u32,
}

/// The `file:line:column` at the end of a frame, inside parentheses or not.
fn place_in(line: &str) -> Option<Place<'_>> {
    let line = line.trim_end();
    let text = match line.strip_suffix(')') {
        Some(line) => line.rsplit_once('(')?.1,
        None => line.trim_start().strip_prefix("at ")?,
    };
    let (rest, column) = text.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Place { text, file, line: line.parse().ok()?, column: column.parse().ok()? })
}

fn source_place(code: &Code, place: &Place<'_>) -> Option<(String, String)> {
    let file = code.file(place.file)?;
    let mut column = place.column;
    if file.kind == FileKind::CommonJs && place.line == 1 {
        column = column.saturating_sub(u32::try_from(WRAPPER.0.len()).unwrap_or_default());
    }
    let (name, line, column) = match &file.lines {
        Some(lines) => {
            let source = lines.place_of(place.line.checked_sub(1)?, column.max(1) - 1)?;
            (source.file.unwrap_or(place.file), source.line + 1, source.column + 1)
        }
        None => (place.file, place.line, column),
    };
    Some((place.text.to_owned(), format!("{name}:{line}:{column}")))
}
