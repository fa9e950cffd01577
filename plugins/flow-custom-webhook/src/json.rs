//! JSON text to Rego values.
//!
//! A reader of its own, because the stock one loses what this type promises to keep: integers
//! beyond 64 bits, the difference between an object and a number in disguise, and the fact that a
//! key occurred twice. It also bounds depth and the length of numbers, since its input is written
//! by strangers. It must never panic.

use std::collections::BTreeMap;

use regorus::Value;

use crate::bytes;

/// How deep arrays and objects may be nested.
pub(crate) const MAX_DEPTH: usize = 128;

/// Longest number in characters: long ones take quadratic time to convert.
const MAX_NUMBER: usize = 1024;

/// A document that was read.
#[derive(Debug)]
pub(crate) struct Document {
    /// The value.
    pub(crate) value: Value,
    /// Some object has the same key twice; the last one counts. Other readers may see the first.
    pub(crate) duplicate_keys: bool,
}

/// Why a text is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// It is not JSON; the position counts bytes from 0.
    Syntax {
        /// What was expected or found.
        message: &'static str,
        /// Where.
        offset: usize,
    },
    /// It is JSON, but more than is read.
    TooMuch(&'static str),
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JsonError::Syntax { message, offset } => write!(f, "{message} at byte {offset}"),
            JsonError::TooMuch(message) => f.write_str(message),
        }
    }
}

/// Reads one document, with nothing but white space around it.
pub(crate) fn parse(text: &[u8]) -> Result<Document, JsonError> {
    let text = std::str::from_utf8(text).map_err(|error| JsonError::Syntax {
        message: "text that is not UTF-8",
        offset: error.valid_up_to(),
    })?;
    let mut reader = Reader { text, at: 0, duplicate_keys: false };
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.wrong("more text after the end of the document"));
    }
    Ok(Document { value, duplicate_keys: reader.duplicate_keys })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    duplicate_keys: bool,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err(self.wrong("not a JSON value")),
            None => Err(self.wrong("end of text instead of a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.open(depth)?;
        let mut fields = BTreeMap::new();
        if self.take(b'}') {
            return Ok(Value::from(fields));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("an object key must be a string"));
            }
            let key = Value::String(self.string()?);
            if !self.take(b':') {
                return Err(self.wrong("`:` is missing after an object key"));
            }
            let value = self.value(depth + 1)?;
            self.duplicate_keys |= fields.insert(key, value).is_some();
            if self.take(b'}') {
                return Ok(Value::from(fields));
            }
            if !self.take(b',') {
                return Err(self.wrong("`,` or `}` is missing in an object"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.open(depth)?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::from(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Value::from(items));
            }
            if !self.take(b',') {
                return Err(self.wrong("`,` or `]` is missing in an array"));
            }
        }
    }

    fn open(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= MAX_DEPTH {
            return Err(JsonError::TooMuch("arrays and objects are nested more than 128 deep"));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<regorus::Rc<str>, JsonError> {
        self.at += 1;
        let start = self.at;
        let plain = self.plain_run();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(bytes::to_text(&self.text.as_bytes()[start..start + plain]).into());
        }
        let mut text = String::from(&self.text[start..start + plain]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(bytes::to_text(text.as_bytes()).into());
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.wrong("a control character in a string")),
                None => return Err(self.wrong("a string without an end")),
            }
            let start = self.at;
            let plain = self.plain_run();
            text.push_str(&self.text[start..start + plain]);
        }
    }

    /// Moves over text that needs no thought and returns its length.
    fn plain_run(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
            .unwrap_or(rest.len());
        self.at += length;
        length
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.wrong("an unknown escape in a string")),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if self.peek() != Some(b'\\') {
                    return Err(self.wrong("half a surrogate pair"));
                }
                self.at += 1;
                let second = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(self.wrong("half a surrogate pair"));
                }
                0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.wrong("half a surrogate pair"))
    }

    /// Reads `u` and four hexadecimal digits.
    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 5);
        let Some([b'u', digits @ ..]) = digits else {
            return Err(self.wrong("`\\u` needs four hexadecimal digits"));
        };
        let mut code = 0;
        for digit in digits {
            let Some(digit) = char::from(*digit).to_digit(16) else {
                return Err(self.wrong("`\\u` needs four hexadecimal digits"));
            };
            code = code * 16 + digit;
        }
        self.at += 5;
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        if zero && digits > 1 {
            return Err(self.wrong("a number with a leading zero"));
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if text.len() > MAX_NUMBER {
            return Err(JsonError::TooMuch("a number of more than 1024 characters"));
        }
        if integer { integer_value(text) } else { float_value(text) }
    }

    fn digits(&mut self) -> Result<usize, JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.wrong("a digit is missing in a number"));
        }
        self.at += length;
        Ok(length)
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong("not a JSON value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn take(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        if found {
            self.at += 1;
        }
        found
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, message: &'static str) -> JsonError {
        JsonError::Syntax { message, offset: self.at }
    }
}

fn integer_value(text: &str) -> Result<Value, JsonError> {
    if let Ok(number) = text.parse::<u64>() {
        return Ok(Value::from(number));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Value::from(number));
    }
    Value::from_numeric_string(text).map_err(|_| JsonError::TooMuch("a number out of range"))
}

fn float_value(text: &str) -> Result<Value, JsonError> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::from(number)),
        _ => Err(JsonError::TooMuch("a number out of range")),
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
