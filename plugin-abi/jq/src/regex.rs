//! `test`, `match`, `sub` and their like: no backtracking, and bounds on what an expression and a
//! text may be, because a search cannot be stopped in its middle.

use std::cell::RefCell;
use std::collections::HashMap;

use jaq_core::ValT as _;
use regex::{Regex, RegexBuilder};

use super::limits::{allocate, spend};
use super::value::{ITEM, Value};

type Error = jaq_core::Error<Value>;

/// The longest expression, in bytes.
const MOST_PATTERN: usize = 4 << 10;
/// What a compiled expression may take, in bytes: one of these, the smallest that is enough.
const SIZES: [usize; 4] = [8 << 10, 16 << 10, 64 << 10, 256 << 10];
/// The size of an expression times the length of a text: the worst search of so much takes half a
/// second. Usual ones need the time of reading the text.
const MOST_PRODUCT: usize = 8 << 30;
/// How much of that product is a unit of work.
const PRODUCT_PER_UNIT: usize = 8 << 10;
/// How many compiled expressions a thread keeps.
const MOST_KEPT: usize = 64;

/// What the letters after an expression ask for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Flags {
    all: bool,
    skip_empty: bool,
    ignore_case: bool,
    many_lines: bool,
    dot_is_newline: bool,
    lazy: bool,
    spaced: bool,
}

impl Flags {
    fn read(letters: &str) -> Result<Flags, Error> {
        let mut flags = Flags::default();
        for letter in letters.chars() {
            match letter {
                'g' => flags.all = true,
                'n' => flags.skip_empty = true,
                'i' => flags.ignore_case = true,
                'm' => flags.many_lines = true,
                's' => flags.dot_is_newline = true,
                'p' => (flags.many_lines, flags.dot_is_newline) = (true, true),
                'l' => flags.lazy = true,
                'x' => flags.spaced = true,
                _ => {
                    let flags = Value::text(letters);
                    return Err(Error::typ(
                        flags,
                        "flags of a regular expression: g i n m s p l x",
                    ));
                }
            }
        }
        Ok(flags)
    }
}

#[derive(Clone)]
struct Compiled {
    regex: Regex,
    /// At most so many bytes.
    size: usize,
}

thread_local! {
    static COMPILED: RefCell<HashMap<(String, Flags), Compiled>> = RefCell::default();
}

/// The expression, compiled once for this thread.
fn compiled(pattern: &str, flags: Flags) -> Result<Compiled, Error> {
    if pattern.len() > MOST_PATTERN {
        let message = format!("a regular expression is longer than {MOST_PATTERN} bytes");
        return Err(Error::str(message));
    }
    let key = (pattern.to_owned(), flags);
    let kept = COMPILED.with_borrow(|kept| kept.get(&key).cloned());
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let compile = |size| {
        // Some hundred microseconds.
        spend(500);
        RegexBuilder::new(pattern)
            .case_insensitive(flags.ignore_case)
            .multi_line(flags.many_lines)
            .dot_matches_new_line(flags.dot_is_newline)
            .swap_greed(flags.lazy)
            .ignore_whitespace(flags.spaced)
            .size_limit(size)
            .dfa_size_limit(1 << 20)
            .nest_limit(64)
            .build()
            .map(|regex| Compiled { regex, size })
    };
    let mut result = compile(SIZES[0]);
    for size in &SIZES[1..] {
        if let Err(regex::Error::CompiledTooBig(_)) = result {
            result = compile(*size);
        }
    }
    let compiled = result
        .map_err(|error| Error::str(format_args!("a regular expression is wrong: {error}")))?;
    COMPILED.with_borrow_mut(|kept| {
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, compiled.clone());
    });
    Ok(compiled)
}

/// Which parts of a text [`search`] gives.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// What stands between matches, as strings.
    pub between: bool,
    /// The matches, each as a list of what its groups captured.
    pub matches: bool,
}

/// Searches a text, and lists the parts that are asked for in order.
pub(super) fn search(
    text: &Value,
    pattern: &Value,
    flags: &Value,
    parts: Parts,
) -> Result<Value, Error> {
    let (Value::Text(text), Value::Text(pattern)) = (text, pattern) else {
        let wrong = if matches!(text, Value::Text(_)) { pattern } else { text };
        return Err(Error::typ(wrong.clone(), "string to match"));
    };
    let flags = match flags {
        Value::Null => Flags::default(),
        Value::Text(letters) => Flags::read(letters)?,
        other => return Err(Error::typ(other.clone(), "flags, which are a string")),
    };
    let Compiled { regex, size } = compiled(pattern, flags)?;
    let product = size.saturating_mul(text.len());
    if product > MOST_PRODUCT {
        let most = MOST_PRODUCT / size / 1024;
        let message =
            format!("a text is too long to search: this regular expression can take {most} KiB");
        return Err(Error::str(message));
    }
    spend(text.len() / 8 + product / PRODUCT_PER_UNIT);
    let mut found = Vec::new();
    let mut chars = Chars { text, byte: 0, chars: 0 };
    let mut end = 0;
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        // A search goes on to the end of the text, if an expression asks for it.
        spend(8 + (text.len() - whole.start()) / 64);
        if flags.skip_empty && whole.is_empty() {
            continue;
        }
        if parts.between {
            found.push(Value::text(&text[end..whole.start()]));
            end = whole.end();
        }
        if parts.matches {
            let start = chars.at(whole.start());
            chars = start;
            let groups = captures.iter().zip(regex.capture_names());
            let groups = groups.map(|(group, name)| {
                let group = group.map(|it| (start.at(it.start()), it.as_str()));
                captured(group, name)
            });
            found.push(groups.collect::<Result<Value, Error>>()?);
        }
        allocate(ITEM);
        if !flags.all {
            break;
        }
    }
    if parts.between {
        found.push(Value::text(&text[end..]));
    }
    Ok(Value::list(found))
}

/// What a group captured: where (in characters), and what.
fn captured(group: Option<(Chars<'_>, &str)>, name: Option<&str>) -> Result<Value, Error> {
    let (offset, length, string) = match group {
        Some((place, text)) => {
            (Value::from(place.chars), Value::from(text.chars().count()), Value::text(text))
        }
        None => (Value::Int(-1), Value::Int(0), Value::Null),
    };
    let mut fields = vec![("offset", offset), ("length", length), ("string", string)];
    fields.extend(name.map(|it| ("name", Value::text(it))));
    Value::from_map(fields.into_iter().map(|(key, value)| (Value::text(key), value)))
}

/// Counts characters up to a byte, from the last such byte on.
#[derive(Clone, Copy)]
struct Chars<'a> {
    text: &'a str,
    byte: usize,
    chars: usize,
}

impl Chars<'_> {
    fn at(&self, byte: usize) -> Self {
        // A group in a lookaround-free expression never starts before its match.
        let between = self.text.get(self.byte..byte).unwrap_or_default();
        Chars { text: self.text, byte, chars: self.chars + between.chars().count() }
    }
}
