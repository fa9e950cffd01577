//! Rego values to JSON text, never more than asked for.
//!
//! Values share their parts, so that a small one can stand for a text of any size: whoever writes
//! a value that a policy made says how long the text may become.

use regorus::Value;

use crate::bytes;

/// How deep a value may be nested to be written.
const MAX_DEPTH: usize = 256;

/// Why a value cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RenderError {
    /// The text would be longer than allowed, or nested too deeply.
    TooMuch,
    /// A number that JSON does not know, or no value at all.
    NotJson,
}

/// How text is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// The world outside.
    Outside,
    /// The policy itself, in the words of Go's encoder: `json.marshal`.
    Policy,
}

/// Compact JSON for the world outside, of at most `limit` bytes.
pub(crate) fn to_json(value: &Value, limit: usize) -> Result<String, RenderError> {
    write(value, limit, Audience::Outside)
}

/// Compact JSON as OPA's `json.marshal` gives it: `<`, `>` and `&` are escaped.
pub(crate) fn to_marshalled(value: &Value, limit: usize) -> Result<String, RenderError> {
    write(value, limit, Audience::Policy)
}

fn write(value: &Value, limit: usize, audience: Audience) -> Result<String, RenderError> {
    let mut writer = Writer { out: Vec::with_capacity(limit.min(256)), limit, audience };
    writer.value(value, 0)?;
    String::from_utf8(writer.out).map_err(|_| RenderError::NotJson)
}

struct Writer {
    out: Vec<u8>,
    limit: usize,
    audience: Audience,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), RenderError> {
        if depth > MAX_DEPTH {
            return Err(RenderError::TooMuch);
        }
        match value {
            Value::Null => self.raw("null"),
            Value::Bool(true) => self.raw("true"),
            Value::Bool(false) => self.raw("false"),
            Value::Number(_) => {
                let text = number(value)?;
                self.raw(&text)
            }
            Value::String(text) => self.string(text),
            Value::Array(items) => self.list(items.iter(), depth),
            Value::Set(items) => self.list(items.iter(), depth),
            Value::Object(fields) => {
                self.raw("{")?;
                for (i, (key, value)) in fields.iter_sorted().enumerate() {
                    if i > 0 {
                        self.raw(",")?;
                    }
                    match key {
                        Value::String(key) => self.string(key)?,
                        // As in OPA, any other key becomes the text of its JSON.
                        key => {
                            let key = write(key, self.limit, self.audience)?;
                            self.string(&key)?;
                        }
                    }
                    self.raw(":")?;
                    self.value(value, depth + 1)?;
                }
                self.raw("}")
            }
            Value::Undefined => Err(RenderError::NotJson),
        }
    }

    fn list<'v>(
        &mut self,
        items: impl Iterator<Item = &'v Value>,
        depth: usize,
    ) -> Result<(), RenderError> {
        self.raw("[")?;
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.raw(",")?;
            }
            self.value(item, depth + 1)?;
        }
        self.raw("]")
    }

    fn string(&mut self, text: &str) -> Result<(), RenderError> {
        if self.out.len() + text.len() > self.limit {
            return Err(RenderError::TooMuch);
        }
        let start = self.out.len();
        match self.audience {
            Audience::Outside => {
                serde_json::to_writer(&mut self.out, bytes::to_unicode(text).as_ref())
            }
            Audience::Policy => serde_json::to_writer(&mut self.out, text),
        }
        .map_err(|_| RenderError::NotJson)?;
        if self.audience == Audience::Policy {
            self.escape_html(start)?;
        }
        self.check()
    }

    /// Go escapes what could end a script element or a line of JavaScript.
    fn escape_html(&mut self, start: usize) -> Result<(), RenderError> {
        let needed = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let written = std::str::from_utf8(&self.out[start..]).map_err(|_| RenderError::NotJson)?;
        if !written.contains(needed) {
            return Ok(());
        }
        let mut escaped = String::with_capacity(written.len() + 16);
        for character in written.chars() {
            if needed(character) {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            } else {
                escaped.push(character);
            }
        }
        self.out.truncate(start);
        self.out.extend_from_slice(escaped.as_bytes());
        Ok(())
    }

    fn raw(&mut self, text: &str) -> Result<(), RenderError> {
        self.out.extend_from_slice(text.as_bytes());
        self.check()
    }

    fn check(&self) -> Result<(), RenderError> {
        if self.out.len() > self.limit { Err(RenderError::TooMuch) } else { Ok(()) }
    }
}

fn number(value: &Value) -> Result<String, RenderError> {
    let number = value.as_number().map_err(|_| RenderError::NotJson)?;
    let text = if number.is_integer() {
        number.format_decimal()
    } else {
        let float = number.as_f64().ok_or(RenderError::NotJson)?;
        serde_json::Number::from_f64(float).ok_or(RenderError::NotJson)?.to_string()
    };
    match text.trim_start_matches('-').as_bytes().first() {
        Some(b'0'..=b'9') => Ok(text),
        _ => Err(RenderError::NotJson),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rego(text: &str) -> Value {
        crate::json::parse(text.as_bytes()).unwrap().value
    }

    #[test]
    fn json_is_compact_and_sorted() {
        assert_eq!(
            to_json(&rego("{\"b\": [1, \"<\"], \"a\": null}"), 99).unwrap(),
            "{\"a\":null,\"b\":[1,\"<\"]}"
        );
    }

    #[test]
    fn marshalled_text_is_escaped_as_go_does() {
        assert_eq!(
            to_marshalled(&rego("{\"<\": \"a&b\\u2028\"}"), 99).unwrap(),
            "{\"\\u003c\":\"a\\u0026b\\u2028\"}"
        );
    }

    #[test]
    fn a_value_that_unfolds_without_end_is_cut_off() {
        let mut value = Value::from("x");
        for _ in 0..60 {
            value = Value::from(vec![value.clone(), value]);
        }
        assert_eq!(to_json(&value, 1 << 20), Err(RenderError::TooMuch));
    }

    #[test]
    fn fractions_are_short() {
        assert_eq!(to_json(&rego("[0.1, 1e-300, 1.0]"), 99).unwrap(), "[0.1,1e-300,1]");
    }
}
