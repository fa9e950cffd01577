//! Finds secrets in text, in the forms that they take by accident: as they are, escaped as JSON or
//! as a literal (also several times over), percent-encoded, in base 64 and hexadecimal.
//!
//! One pass over the text, with a table of what a secret can begin with; only there is anything
//! compared. Not a guard against a function that wants to give a secret away: nothing could be.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Shorter texts occur by chance, and tell nothing when they are masked.
pub(super) const SHORTEST: usize = 6;
/// Encoded forms are known by so many bytes of a secret; where they end is seen from the text.
const ENCODED_BYTES: usize = 48;
/// Shorter encoded forms occur by chance.
const SHORTEST_ENCODED: usize = 10;
/// What a text that was cut off ends with, or goes on with.
const CUT: &[u8] = "…".as_bytes();

/// What to look for.
pub(super) struct SecretForms<'a> {
    forms: Vec<Form<'a>>,
    /// For each byte, which of the forms may begin with it: form `n` is bit `n % 64`.
    beginnings: Box<[u64; 256]>,
}

enum Form<'a> {
    /// Character by character, each as it is or escaped somehow.
    Text(&'a str),
    /// In the alphabet of base 64, also that of URLs.
    Base64(String),
    /// In hexadecimal digits, also capital ones.
    Hex(String),
}

impl<'a> SecretForms<'a> {
    pub(super) fn of(secrets: impl Iterator<Item = &'a str>) -> SecretForms<'a> {
        let mut forms = Vec::new();
        for secret in secrets.filter(|it| it.len() >= SHORTEST) {
            forms.push(Form::Text(secret));
            forms.extend(encoded(secret));
            // A key of several lines is often printed line by line.
            if secret.contains('\n') {
                let lines = secret.lines().map(str::trim).filter(|it| it.len() >= 16);
                forms.extend(lines.map(Form::Text));
            }
        }
        let mut this = SecretForms { forms, beginnings: Box::new([0; 256]) };
        for (at, form) in this.forms.iter().enumerate() {
            for byte in form.beginnings() {
                this.beginnings[usize::from(byte)] |= 1 << (at % 64);
            }
        }
        this
    }

    /// Where secrets are in `text`, in order and apart from each other.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let text = text.as_bytes();
        let mut found: Vec<Range<usize>> = Vec::new();
        for (at, byte) in text.iter().enumerate() {
            let mut bits = self.beginnings[usize::from(*byte)];
            while bits != 0 {
                let first = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                for form in self.forms.iter().skip(first).step_by(64) {
                    if let Some(range) = form.at(text, at) {
                        add(&mut found, range);
                    }
                }
            }
        }
        found
    }
}

/// Adds a range, and makes one of those that overlap: a secret within another must not leave the
/// rest of that readable.
fn add(found: &mut Vec<Range<usize>>, mut range: Range<usize>) {
    while let Some(last) = found.last()
        && range.start <= last.end
    {
        range = range.start.min(last.start)..range.end.max(last.end);
        found.pop();
    }
    found.push(range);
}

fn encoded<'a>(secret: &str) -> impl Iterator<Item = Form<'a>> {
    let bytes = &secret.as_bytes()[..secret.len().min(ENCODED_BYTES)];
    // What comes before it in what is encoded shifts it by none, one or two bytes.
    let shifted = (0..3usize).map(move |shift| {
        let mut padded = vec![0; shift];
        padded.extend_from_slice(bytes);
        let text = STANDARD.encode(&padded);
        // Digits that hold nothing but bits of the secret.
        let digits = (shift * 8).div_ceil(6)..padded.len() * 8 / 6;
        Form::Base64(text.get(digits).unwrap_or_default().to_owned())
    });
    let all = shifted.chain([Form::Hex(hex::encode(bytes))]);
    all.filter(|it| match it {
        Form::Base64(digits) | Form::Hex(digits) => digits.len() >= SHORTEST_ENCODED,
        Form::Text(_) => true,
    })
    .collect::<Vec<_>>()
    .into_iter()
}

impl Form<'_> {
    fn beginnings(&self) -> Vec<u8> {
        match self {
            Form::Text(secret) => {
                let raw = secret.bytes().next().unwrap_or_default();
                vec![raw, b'\\', b'%']
            }
            Form::Base64(digits) => {
                let first = digits.bytes().next().unwrap_or_default();
                match first {
                    b'+' => vec![b'+', b'-'],
                    b'/' => vec![b'/', b'_'],
                    first => vec![first],
                }
            }
            Form::Hex(digits) => {
                let first = digits.bytes().next().unwrap_or_default();
                vec![first, first.to_ascii_uppercase()]
            }
        }
    }

    /// Where it is, if what stands at `at` is it.
    fn at(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        match self {
            Form::Text(secret) => text_at(secret, &text[at..]).map(|length| at..at + length),
            Form::Base64(digits) => {
                let same = |found: u8| match found {
                    b'-' => b'+',
                    b'_' => b'/',
                    other => other,
                };
                let is_digit = |it: u8| it.is_ascii_alphanumeric() || b"+/-_=".contains(&it);
                encoded_at(digits, text, at, same, is_digit)
            }
            Form::Hex(digits) => {
                let same = |found: u8| found.to_ascii_lowercase();
                encoded_at(digits, text, at, same, |it| it.is_ascii_hexdigit())
            }
        }
    }
}

/// The digits, and all that was encoded together with them.
fn encoded_at(
    digits: &str,
    text: &[u8],
    at: usize,
    same: impl Fn(u8) -> u8,
    is_digit: impl Fn(u8) -> bool,
) -> Option<Range<usize>> {
    let rest = &text[at..];
    let alike = digits.bytes().zip(rest).take_while(|(digit, it)| *digit == same(**it)).count();
    let is_cut = alike >= SHORTEST_ENCODED && rest[alike..].starts_with(CUT);
    if alike < digits.len() && !is_cut {
        return None;
    }
    let before = text[..at].iter().rev().take_while(|it| is_digit(**it)).count();
    let after = rest[alike..].iter().take_while(|it| is_digit(**it)).count();
    Some(at - before..at + alike + after)
}

/// How long the secret is that `text` begins with, however it is escaped.
fn text_at(secret: &str, text: &[u8]) -> Option<usize> {
    if text.starts_with(secret.as_bytes()) {
        return Some(secret.len());
    }
    let (mut at, mut matched, mut after_slashes) = (0, 0, false);
    let mut chars = secret.chars().peekable();
    while let Some(char) = chars.next() {
        let rest = &text[at..];
        if matched >= SHORTEST && rest.starts_with(CUT) {
            return Some(at);
        }
        matched += 1;
        let slashes = backslashes(rest);
        if char == '\\' && slashes > 0 {
            if let Some(length) = escape_at(char, &rest[slashes..]) {
                at += slashes + length;
                continue;
            }
            // Each escaping doubles them, and adds those of the character that follows.
            let mut wanted = 1;
            while chars.next_if_eq(&'\\').is_some() {
                wanted += 1;
            }
            (slashes >= wanted).then_some(())?;
            (at, after_slashes) = (at + slashes, true);
            continue;
        }
        at += if after_slashes {
            raw_at(char, rest).or_else(|| escape_at(char, rest))?
        } else if slashes > 0 {
            slashes + escape_at(char, &rest[slashes..])?
        } else {
            percent_at(char, rest).or_else(|| raw_at(char, rest))?
        };
        after_slashes = false;
    }
    Some(at)
}

fn backslashes(text: &[u8]) -> usize {
    text.iter().take_while(|it| **it == b'\\').count()
}

/// How many bytes are `char` itself at the beginning of `text`.
fn raw_at(char: char, text: &[u8]) -> Option<usize> {
    let mut buffer = [0; 4];
    let raw = char.encode_utf8(&mut buffer).as_bytes();
    text.starts_with(raw).then_some(raw.len())
}

/// How many bytes are `char` in percent-encoding, also that of forms.
fn percent_at(char: char, text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'+' if char == ' ' => return Some(1),
        b'%' => {}
        _ => return None,
    }
    let mut buffer = [0; 4];
    let raw = char.encode_utf8(&mut buffer).as_bytes();
    for (at, byte) in raw.iter().enumerate() {
        let (b'%', digits) = text.get(at * 3..)?.split_first()? else { return None };
        (hex_value(digits, 2)? == u32::from(*byte)).then_some(())?;
    }
    Some(raw.len() * 3)
}

/// How many bytes after backslashes stand for `char`.
fn escape_at(char: char, text: &[u8]) -> Option<usize> {
    let letter = match char {
        '\n' => Some(b'n'),
        '\r' => Some(b'r'),
        '\t' => Some(b't'),
        '\u{8}' => Some(b'b'),
        '\u{b}' => Some(b'v'),
        '\u{c}' => Some(b'f'),
        '\0' => Some(b'0'),
        // Quotes and slashes are escaped as themselves.
        it if it.is_ascii_punctuation() => u8::try_from(it).ok(),
        _ => None,
    };
    let (first, rest) = text.split_first()?;
    if Some(*first) == letter {
        return Some(1);
    }
    match first {
        b'x' => (hex_value(rest, 2)? == u32::from(char)).then_some(3),
        b'u' => {
            let mut units = [0; 2];
            let units = char.encode_utf16(&mut units);
            (hex_value(rest, 4)? == u32::from(*units.first()?)).then_some(())?;
            let Some(second) = units.get(1) else { return Some(5) };
            let rest = rest.get(4..)?;
            let slashes = backslashes(rest);
            let (b'u', digits) = rest.get(slashes..)?.split_first()? else { return None };
            let is_second = slashes > 0 && hex_value(digits, 4)? == u32::from(*second);
            is_second.then_some(5 + slashes + 5)
        }
        _ => None,
    }
}

fn hex_value(text: &[u8], digits: usize) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(..digits)?).ok()?;
    digits.bytes().all(|it| it.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
#[path = "secret_forms_tests.rs"]
mod tests;
