//! Bounds on builtins of regorus that could take much memory or time in one step.
//!
//! The evaluation timer is looked at between steps only, so one step must stay small. Here stand
//! the builtins whose step can be large out of proportion: those that make many values from a few
//! numbers (`numbers.range`), that multiply lengths (`replace`, `concat`), that unfold shared
//! values (`walk`), or whose work is a product of two operands (`regex.match`). Each is checked and
//! then handed on to regorus. What works linearly on one operand needs no guard.

use std::sync::OnceLock;

use regorus::unstable::{BUILTINS as STOCK, Expr, Ref, Span};
use regorus::{LimitError, Source, Value};

use crate::builtins::{Builtin, MAX_STRING, Refusal, integer, string};

/// Most elements that one step may make.
const MAX_ELEMENTS: usize = 1_000_000;
/// Most elements of a range or of a walked document.
const MAX_RANGE: u64 = 100_000;
/// Longest pattern and longest text of a regular expression or glob.
const MAX_PATTERN: usize = 4096;
const MAX_MATCHED: usize = 256 << 10;
/// Most pairs that a function may compare.
const MAX_PAIRS: usize = 4_000_000;
/// Widest field of `sprintf`.
const MAX_WIDTH: usize = 1000;
/// Most bits that a number may be shifted by.
const MAX_SHIFT: i64 = 4096;

/// The functions of this module.
pub(crate) const BUILTINS: &[Builtin] = &[
    guard("array.concat", 2, |o| elements("array.concat", o, length(o, 0) + length(o, 1))),
    guard("bits.lsh", 2, |o| match integer(o, 1)? {
        0..=MAX_SHIFT => stock("bits.lsh", o),
        _ => Err(Refusal::operand("a number can be shifted by 0 to 4096 bits")),
    }),
    guard("concat", 2, |o| text("concat", o, tree_size(o) + length(o, 0) * length(o, 1))),
    guard("glob.match", 3, |o| pattern("glob.match", o, 0, 2)),
    guard("indexof", 2, |o| search("indexof", o)),
    guard("indexof_n", 2, |o| search("indexof_n", o)),
    guard("json.filter", 2, |o| tree("json.filter", o)),
    guard("json.marshal_with_options", 2, |o| tree("json.marshal_with_options", o)),
    guard("json.patch", 2, |o| tree("json.patch", o)),
    guard("json.remove", 2, |o| tree("json.remove", o)),
    guard("net.cidr_expand", 1, |o| {
        let network = string(o, 0)?;
        let width: u32 = if network.contains(':') { 128 } else { 32 };
        let prefix = network.rsplit('/').next().and_then(|prefix| prefix.parse::<u32>().ok());
        match prefix.and_then(|prefix| width.checked_sub(prefix)) {
            Some(0..=16) => stock("net.cidr_expand", o),
            _ => Err(Refusal::limit("the network has more than 65,536 addresses")),
        }
    }),
    guard("numbers.range", 2, |o| range("numbers.range", o, 1)),
    guard("numbers.range_step", 3, |o| match integer(o, 2)? {
        step @ 1.. => range("numbers.range_step", o, step.unsigned_abs()),
        _ => Err(Refusal::operand("operand 3 must be positive")),
    }),
    guard("object.subset", 2, |o| pairs("object.subset", o)),
    guard("product", 1, |o| match length(o, 0) {
        0..=1000 => stock("product", o),
        _ => Err(Refusal::limit("more than 1,000 factors")),
    }),
    guard("regex.find_all_string_submatch_n", 3, |o| {
        pattern("regex.find_all_string_submatch_n", o, 0, 1)
    }),
    guard("regex.find_n", 3, |o| pattern("regex.find_n", o, 0, 1)),
    guard("regex.match", 2, |o| pattern("regex.match", o, 0, 1)),
    guard("regex.replace", 3, |o| {
        fits((length(o, 0) + 1).saturating_mul(length(o, 2) + 1))?;
        pattern("regex.replace", o, 1, 0)
    }),
    guard("regex.split", 2, |o| pattern("regex.split", o, 0, 1)),
    guard("regex.template_match", 4, |o| pattern("regex.template_match", o, 0, 1)),
    guard("replace", 3, |o| {
        let (input, old, new) = (string(o, 0)?, string(o, 1)?, string(o, 2)?);
        text("replace", o, input.len() + input.matches(old).count() * new.len())
    }),
    guard("split", 2, |o| elements("split", o, string(o, 0)?.matches(string(o, 1)?).count())),
    guard("sprintf", 2, sprintf),
    guard("strings.any_prefix_match", 2, |o| pairs("strings.any_prefix_match", o)),
    guard("strings.any_suffix_match", 2, |o| pairs("strings.any_suffix_match", o)),
    guard("strings.replace_n", 2, replace_n),
    guard("trim", 2, |o| cutset("trim", o)),
    guard("trim_left", 2, |o| cutset("trim_left", o)),
    guard("trim_right", 2, |o| cutset("trim_right", o)),
    guard("units.parse", 1, |o| units("units.parse", o)),
    guard("units.parse_bytes", 1, |o| units("units.parse_bytes", o)),
    guard("urlquery.encode", 1, |o| text("urlquery.encode", o, 3 * tree_size(o))),
    guard("urlquery.encode_object", 1, |o| text("urlquery.encode_object", o, 3 * tree_size(o))),
    guard("walk", 1, |o| match tree_size(o) {
        0..=MAX_ELEMENTS => stock("walk", o),
        _ => Err(Refusal::limit("the document is too large to be walked")),
    }),
];

const fn guard(
    name: &'static str,
    arity: u8,
    run: fn(&[Value]) -> Result<Value, Refusal>,
) -> Builtin {
    Builtin { name, arity, run }
}

fn elements(name: &str, operands: &[Value], count: usize) -> Result<Value, Refusal> {
    if count > MAX_ELEMENTS {
        return Err(Refusal::limit("the result has more than 1,000,000 elements"));
    }
    stock(name, operands)
}

fn text(name: &str, operands: &[Value], length: usize) -> Result<Value, Refusal> {
    fits(length)?;
    stock(name, operands)
}

fn fits(length: usize) -> Result<(), Refusal> {
    if length > MAX_STRING {
        return Err(Refusal::limit("the result is larger than 16 MiB"));
    }
    Ok(())
}

fn tree(name: &str, operands: &[Value]) -> Result<Value, Refusal> {
    if tree_size(operands) > MAX_STRING {
        return Err(Refusal::limit("the operands are larger than 16 MiB"));
    }
    stock(name, operands)
}

fn range(name: &str, operands: &[Value], step: u64) -> Result<Value, Refusal> {
    let (from, to) = (integer(operands, 0)?, integer(operands, 1)?);
    if from.abs_diff(to) / step > MAX_RANGE {
        return Err(Refusal::limit("the range has more than 100,000 numbers"));
    }
    stock(name, operands)
}

fn pattern(
    name: &str,
    operands: &[Value],
    pattern: usize,
    matched: usize,
) -> Result<Value, Refusal> {
    if length(operands, pattern) > MAX_PATTERN {
        return Err(Refusal::limit("the pattern is longer than 4,096 bytes"));
    }
    if length(operands, matched) > MAX_MATCHED {
        return Err(Refusal::limit("the text is longer than 256 KiB"));
    }
    stock(name, operands)
}

fn pairs(name: &str, operands: &[Value]) -> Result<Value, Refusal> {
    if length(operands, 0).saturating_mul(length(operands, 1)) > MAX_PAIRS {
        return Err(Refusal::limit("more than 4,000,000 pairs to compare"));
    }
    stock(name, operands)
}

fn search(name: &str, operands: &[Value]) -> Result<Value, Refusal> {
    if length(operands, 0).saturating_mul(length(operands, 1)) > 16 * MAX_PAIRS {
        return Err(Refusal::limit("the texts are too long to be searched"));
    }
    stock(name, operands)
}

fn cutset(name: &str, operands: &[Value]) -> Result<Value, Refusal> {
    if length(operands, 1) > MAX_PATTERN {
        return Err(Refusal::limit("more than 4,096 bytes of characters to trim"));
    }
    stock(name, operands)
}

/// An exponent makes a number of any length from a few characters.
fn units(name: &str, operands: &[Value]) -> Result<Value, Refusal> {
    let quantity = string(operands, 0)?;
    let exponent = quantity.split(['e', 'E']).nth(1).unwrap_or_default();
    if quantity.len() > 64 || exponent.chars().filter(char::is_ascii_digit).count() > 3 {
        return Err(Refusal::operand("not a quantity of a sensible size"));
    }
    stock(name, operands)
}

fn sprintf(operands: &[Value]) -> Result<Value, Refusal> {
    let format = string(operands, 0)?;
    let mut characters = format.chars().peekable();
    let mut padding = 0;
    while let Some(character) = characters.next() {
        if character != '%' {
            continue;
        }
        let mut width = 0;
        if characters.peek() == Some(&'.') {
            characters.next();
        }
        while let Some(digit) = characters.next_if(|c| c.is_numeric()) {
            // regorus takes any numeric character for a digit and panics on most.
            let Some(digit) = digit.to_digit(10) else {
                return Err(Refusal::operand("a width must be written with the digits 0 to 9"));
            };
            width = width * 10 + digit as usize;
            if width > MAX_WIDTH {
                return Err(Refusal::limit("a width of more than 1,000"));
            }
        }
        padding += width;
        // The verb: the second `%` of `%%` starts nothing.
        characters.next();
    }
    text("sprintf", operands, padding + 2 * tree_size(operands))
}

/// As Go's `strings.Replacer`: one pass, at each place the first of the sorted patterns that fits.
fn replace_n(operands: &[Value]) -> Result<Value, Refusal> {
    let input = string(operands, 1)?;
    let Some(Value::Object(patterns)) = operands.first() else {
        return Err(Refusal::operand("operand 1 must be an object of strings"));
    };
    let mut replacements = Vec::with_capacity(patterns.len());
    for (old, new) in patterns.iter_sorted() {
        match (old, new) {
            (Value::String(old), Value::String(new)) if !old.is_empty() => {
                replacements.push((old, new));
            }
            _ => return Err(Refusal::operand("operand 1 must map non-empty strings to strings")),
        }
    }
    if replacements.len().saturating_mul(input.len()) > 16 * MAX_PAIRS {
        return Err(Refusal::limit("too many patterns for so long a text"));
    }
    let mut output = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(character) = rest.chars().next() {
        match replacements.iter().find(|(old, _)| rest.starts_with(old.as_ref())) {
            Some((old, new)) => {
                output.push_str(new);
                rest = &rest[old.len()..];
            }
            None => {
                output.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
        if output.len() > MAX_STRING {
            return Err(Refusal::limit("the result is larger than 16 MiB"));
        }
    }
    Ok(Value::from(output))
}

/// Bytes of a string, elements of a collection, 0 for anything else.
fn length(operands: &[Value], position: usize) -> usize {
    match operands.get(position) {
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(items)) => items.len(),
        Some(Value::Set(items)) => items.len(),
        Some(Value::Object(fields)) => fields.len(),
        _ => 0,
    }
}

/// About how many bytes of text the operands stand for when shared parts are unfolded; counting
/// stops beyond [`MAX_STRING`].
fn tree_size(operands: &[Value]) -> usize {
    let mut size = 0;
    let mut open: Vec<&Value> = operands.iter().collect();
    while let Some(value) = open.pop() {
        size += 8;
        match value {
            Value::String(text) => size += text.len(),
            Value::Array(items) => open.extend(items.iter()),
            Value::Set(items) => open.extend(items.iter()),
            Value::Object(fields) => {
                open.extend(fields.iter().flat_map(|(key, value)| [key, value]));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined => {}
        }
        if size > MAX_STRING {
            break;
        }
    }
    size
}

/// Calls the builtin of regorus.
fn stock(name: &str, operands: &[Value]) -> Result<Value, Refusal> {
    /// regorus wants to know where a call stands, for messages that are not used.
    static NOWHERE: OnceLock<Option<(Span, Ref<Expr>)>> = OnceLock::new();
    let nowhere = NOWHERE.get_or_init(|| {
        let source = Source::from_contents(String::new(), String::new()).ok()?;
        let span = Span { source, line: 1, col: 1, start: 0, end: 0 };
        let expr = Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 };
        Some((span, Ref::new(expr)))
    });
    let (Some((span, expr)), Some((function, _))) = (nowhere, STOCK.get(name)) else {
        return Err(Refusal::operand("this function is not offered"));
    };
    let params = vec![expr.clone(); operands.len()];
    function(span, &params, operands, false).map_err(|error| {
        match error.downcast_ref::<LimitError>() {
            Some(limit) => Refusal::limit(limit.to_string()),
            None => Refusal::operand("the operands are not what it takes"),
        }
    })
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
