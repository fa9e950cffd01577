//! Finds secrets in text, in the forms that they take by accident: as they are, escaped as JSON or
//! as a literal (also several times over), percent-encoded, in base 64 and hexadecimal.
//!
//! One pass over the text, with a table of what a secret can begin with; only there is anything
//! compared. What a text costs is limited by its length: functions choose their texts, and one that
//! takes more is a secret from there on. Not a guard against a function that wants to give a secret
//! away: nothing could be.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Shorter texts occur by chance, and tell nothing when they are masked.
pub(super) const SHORTEST: usize = 6;
/// Encoded forms are known by so many bytes of a secret; where they end is seen from the text.
const ENCODED_BYTES: usize = 48;
/// Shorter encoded forms occur by chance.
const SHORTEST_ENCODED: usize = 10;
/// What stands where something was cut off: at the end of what is left, or at its beginning.
const CUT: &[u8] = "…".as_bytes();
/// How many comparisons each byte of a text is worth, on average. Ordinary texts take one or two.
const STEPS_PER_BYTE: usize = 256;
/// How many any text is worth.
const STEPS: usize = 16 * 1024;
/// So many bytes of an escaped character may be left where a text was cut off.
const MOST_DEBRIS: usize = 8;
/// Runs of backslashes from this length on are counted once and looked up.
const LONG_RUN: usize = 8;

/// What to look for.
pub(super) struct SecretForms<'a> {
    forms: Vec<Form<'a>>,
    /// For each byte, the forms that begin with it.
    beginnings: Vec<Vec<usize>>,
    /// For each byte, where texts have it: what is left of a secret may begin there. Made when a text
    /// was cut off.
    insides: OnceLock<Vec<Vec<Inside<'a>>>>,
}

/// A place in a secret from which on enough of it follows.
#[derive(Clone, Copy)]
struct Inside<'a>(&'a str);

enum Form<'a> {
    /// Character by character, each as it is or escaped somehow.
    Text(&'a str),
    /// In the alphabet of base 64, also that of URLs.
    Base64(Zeroizing<String>),
    /// In hexadecimal digits, also capital ones.
    Hex(Zeroizing<String>),
}

/// A text that is searched.
struct Searched<'t> {
    bytes: &'t [u8],
    /// Where many backslashes follow each other.
    long_runs: Vec<Range<usize>>,
}

/// What a search may still cost.
struct Work {
    left: usize,
}

/// It cost too much.
#[derive(Debug)]
struct TooLaborious;

impl Work {
    fn spend(&mut self, steps: usize) -> Result<(), TooLaborious> {
        self.left = self.left.checked_sub(steps).ok_or(TooLaborious)?;
        Ok(())
    }
}

impl<'a> SecretForms<'a> {
    pub(super) fn of(secrets: impl Iterator<Item = &'a str>) -> SecretForms<'a> {
        let mut forms = Vec::new();
        let secrets: BTreeSet<&str> = secrets.filter(|it| it.len() >= SHORTEST).collect();
        for secret in secrets {
            forms.push(Form::Text(secret));
            forms.extend(encoded(secret));
            // A key of several lines is often printed line by line.
            if secret.contains('\n') {
                let lines = secret.lines().map(str::trim).filter(|it| it.len() >= 16);
                forms.extend(lines.map(Form::Text));
            }
        }
        let mut beginnings = vec![Vec::new(); 256];
        for (at, form) in forms.iter().enumerate() {
            for byte in form.beginnings() {
                beginnings[usize::from(byte)].push(at);
            }
        }
        SecretForms { forms, beginnings, insides: OnceLock::new() }
    }

    fn insides(&self) -> &[Vec<Inside<'a>>] {
        self.insides.get_or_init(|| {
            let mut insides = vec![Vec::new(); 256];
            for form in &self.forms {
                let Form::Text(secret) = form else { continue };
                for (at, _) in secret.char_indices() {
                    let rest = &secret[at..];
                    if let Some(first) = rest.bytes().next().filter(|_| rest.len() >= SHORTEST) {
                        insides[usize::from(first)].push(Inside(rest));
                    }
                }
            }
            insides
        })
    }

    /// Where secrets are in `text`, in order and apart from each other.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let left = text.len().saturating_mul(STEPS_PER_BYTE).saturating_add(STEPS);
        self.find_within(text, &mut Work { left })
    }

    fn find_within(&self, text: &str, work: &mut Work) -> Vec<Range<usize>> {
        let text = Searched::new(text);
        let mut found: Vec<Range<usize>> = Vec::new();
        // An encoded form reaches as far as its digits do: it does not begin again among them.
        let mut seen_until = vec![0; self.forms.len()];
        for at in 0..text.bytes.len() {
            if let Err(TooLaborious) = self.find_at(&text, at, &mut seen_until, &mut found, work) {
                add(&mut found, at..text.bytes.len());
                break;
            }
        }
        found
    }

    /// Finds what begins at `at`. An error leaves `at` at the beginning of a character.
    fn find_at(
        &self,
        text: &Searched<'_>,
        at: usize,
        seen_until: &mut [usize],
        found: &mut Vec<Range<usize>>,
        work: &mut Work,
    ) -> Result<(), TooLaborious> {
        let byte = text.bytes[at];
        if byte == CUT[0] && text.from(at).starts_with(CUT) {
            self.find_after_cut(text, at + CUT.len(), found, work)?;
        }
        for &form in &self.beginnings[usize::from(byte)] {
            if at < seen_until[form] {
                continue;
            }
            if let Some(range) = self.forms[form].at(text, at, work)? {
                if !matches!(self.forms[form], Form::Text(_)) {
                    seen_until[form] = range.end;
                }
                add(found, range);
            }
        }
        // Nothing begins within a run of backslashes that does not begin with the run.
        let hidden = match byte {
            b'%' => percent_first(&text.bytes[at..]),
            b'\\' if !text.is_after_backslash(at) => text.escaped_first(at),
            _ => None,
        };
        let Some(first) = hidden.filter(|it| *it != byte) else { return Ok(()) };
        for &form in &self.beginnings[usize::from(first)] {
            if let Form::Text(_) = self.forms[form]
                && let Some(range) = self.forms[form].at(text, at, work)?
            {
                add(found, range);
            }
        }
        Ok(())
    }

    /// Finds what is left of a secret whose front was cut off, right after the mark. The cut may have
    /// gone through an escaped character.
    fn find_after_cut(
        &self,
        text: &Searched<'_>,
        start: usize,
        found: &mut Vec<Range<usize>>,
        work: &mut Work,
    ) -> Result<(), TooLaborious> {
        for at in start..=start + MOST_DEBRIS {
            let rest = text.from(at);
            let Some(&byte) = rest.first() else { break };
            if rest.starts_with(CUT) {
                break;
            }
            let hidden = match byte {
                b'%' => percent_first(rest),
                b'\\' => text.escaped_first(at),
                _ => None,
            };
            for first in [Some(byte), hidden.filter(|it| *it != byte)].into_iter().flatten() {
                for Inside(secret) in &self.insides()[usize::from(first)] {
                    work.spend(1)?;
                    if first == byte && !goes_on(secret, rest) {
                        continue;
                    }
                    if let Some(range) = text_at(secret, text, at, work)? {
                        add(found, start..range.end);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether the second byte may be the secret's too, or the beginning of something that stands for it.
fn goes_on(secret: &str, text: &[u8]) -> bool {
    let [_, second, ..] = text else { return false };
    secret.as_bytes().get(1) == Some(second) || b"\\%+".contains(second)
}

impl<'t> Searched<'t> {
    fn new(text: &'t str) -> Searched<'t> {
        let bytes = text.as_bytes();
        let mut long_runs = Vec::new();
        let mut at = 0;
        while let Some(next) = bytes[at..].iter().position(|it| *it == b'\\') {
            let start = at + next;
            at = start + bytes[start..].iter().take_while(|it| **it == b'\\').count();
            if at - start >= LONG_RUN {
                long_runs.push(start..at);
            }
        }
        Searched { bytes, long_runs }
    }

    fn from(&self, at: usize) -> &'t [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    fn is_after_backslash(&self, at: usize) -> bool {
        at > 0 && self.bytes[at - 1] == b'\\'
    }

    /// How many backslashes there are from `at` on.
    fn backslashes(&self, at: usize) -> usize {
        let few = self.from(at).iter().take(LONG_RUN).take_while(|it| **it == b'\\').count();
        if few < LONG_RUN {
            return few;
        }
        let run = self.long_runs.partition_point(|it| it.end <= at);
        self.long_runs.get(run).map_or(few, |it| it.end - at)
    }

    /// Where the mark of a cut is that goes through the escaped character at `at`, after so many others
    /// that this one counts.
    fn cut_within(&self, at: usize, matched: usize) -> Option<usize> {
        let rest = self.from(at);
        let is_escaped = matches!(rest.first(), Some(b'\\' | b'%'));
        if matched <= SHORTEST || !is_escaped {
            return None;
        }
        let most = (self.backslashes(at) + MOST_DEBRIS).max(MOST_DEBRIS);
        let near = rest.get(..rest.len().min(most + CUT.len()))?;
        near.windows(CUT.len()).position(|it| it == CUT).map(|it| at + it)
    }

    /// The first byte of the character that the backslashes at `at` and what follows them stand for.
    fn escaped_first(&self, at: usize) -> Option<u8> {
        let (letter, digits) = self.from(at + self.backslashes(at)).split_first()?;
        let code = match letter {
            b'n' => 0xa,
            b'r' => 0xd,
            b't' => 0x9,
            b'b' => 0x8,
            b'v' => 0xb,
            b'f' => 0xc,
            b'0' => 0,
            b'x' => hex_value(digits, 2)?,
            // The first of two halves says enough of the character.
            b'u' => match hex_value(digits, 4)? {
                high @ 0xd800..=0xdbff => 0x1_0000 + ((high - 0xd800) << 10),
                code => code,
            },
            it if it.is_ascii_punctuation() => u32::from(*it),
            _ => return None,
        };
        let mut buffer = [0; 4];
        char::from_u32(code)?.encode_utf8(&mut buffer).bytes().next()
    }
}

/// The byte that stands in percent-encoding at the beginning of `text`.
fn percent_first(text: &[u8]) -> Option<u8> {
    hex_value(text.get(1..)?, 2).and_then(|it| u8::try_from(it).ok())
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
        let mut padded = Zeroizing::new(vec![0; shift]);
        padded.extend_from_slice(bytes);
        let text = Zeroizing::new(STANDARD.encode(&*padded));
        // Digits that hold nothing but bits of the secret.
        let digits = (shift * 8).div_ceil(6)..padded.len() * 8 / 6;
        Form::Base64(text.get(digits).unwrap_or_default().to_owned().into())
    });
    let all = shifted.chain([Form::Hex(hex::encode(bytes).into())]);
    all.filter(|it| match it {
        Form::Base64(digits) | Form::Hex(digits) => digits.len() >= SHORTEST_ENCODED,
        Form::Text(_) => true,
    })
    .collect::<Vec<_>>()
    .into_iter()
}

impl Form<'_> {
    /// What it begins with, when nothing is escaped.
    fn beginnings(&self) -> Vec<u8> {
        match self {
            Form::Text(secret) => secret.bytes().take(1).collect(),
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
                match first.to_ascii_uppercase() {
                    capital if capital != first => vec![first, capital],
                    _ => vec![first],
                }
            }
        }
    }

    /// Where it is, if what stands at `at` is it.
    fn at(
        &self,
        text: &Searched<'_>,
        at: usize,
        work: &mut Work,
    ) -> Result<Option<Range<usize>>, TooLaborious> {
        match self {
            Form::Text(secret) => text_at(secret, text, at, work),
            Form::Base64(digits) => {
                let same = |found: u8| match found {
                    b'-' => b'+',
                    b'_' => b'/',
                    other => other,
                };
                let is_digit = |it: u8| it.is_ascii_alphanumeric() || b"+/-_=".contains(&it);
                encoded_at(digits, text.bytes, at, work, same, is_digit)
            }
            Form::Hex(digits) => {
                let same = |found: u8| found.to_ascii_lowercase();
                encoded_at(digits, text.bytes, at, work, same, |it| it.is_ascii_hexdigit())
            }
        }
    }
}

/// The digits, and all that was encoded together with them.
fn encoded_at(
    digits: &str,
    text: &[u8],
    at: usize,
    work: &mut Work,
    same: impl Fn(u8) -> u8,
    is_digit: impl Fn(u8) -> bool,
) -> Result<Option<Range<usize>>, TooLaborious> {
    let rest = &text[at..];
    let alike = digits.bytes().zip(rest).take_while(|(digit, it)| *digit == same(**it)).count();
    work.spend(alike + 1)?;
    let is_cut = alike >= SHORTEST_ENCODED && rest[alike..].starts_with(CUT);
    if alike < digits.len() && !is_cut {
        return Ok(None);
    }
    let before = text[..at].iter().rev().take_while(|it| is_digit(**it)).count();
    let after = rest[alike..].iter().take_while(|it| is_digit(**it)).count();
    work.spend(before + after)?;
    Ok(Some(at - before..at + alike + after))
}

/// Where the secret is that stands at `start`, however it is escaped.
fn text_at(
    secret: &str,
    text: &Searched<'_>,
    start: usize,
    work: &mut Work,
) -> Result<Option<Range<usize>>, TooLaborious> {
    let alike = secret.bytes().zip(text.from(start)).take_while(|(a, b)| a == *b).count();
    work.spend(alike + 1)?;
    if alike == secret.len() {
        return Ok(Some(start..start + alike));
    }
    let (mut at, mut matched, mut after_slashes) = (start, 0, false);
    let mut chars = secret.chars().peekable();
    while let Some(char) = chars.next() {
        work.spend(1)?;
        let rest = text.from(at);
        if matched >= SHORTEST && rest.starts_with(CUT) {
            return Ok(Some(start..at));
        }
        matched += 1;
        let slashes = text.backslashes(at);
        if char == '\\' && slashes > 0 {
            if let Some(length) = text.escape_at(char, at + slashes) {
                at += slashes + length;
                continue;
            }
            // Each escaping doubles them, and adds those of the character that follows.
            let mut wanted = 1;
            while chars.next_if_eq(&'\\').is_some() {
                wanted += 1;
            }
            work.spend(wanted)?;
            if slashes < wanted {
                return Ok(text.cut_within(at, matched).map(|end| start..end));
            }
            (at, after_slashes) = (at + slashes, true);
            continue;
        }
        let length = if after_slashes {
            raw_at(char, rest).or_else(|| text.escape_at(char, at))
        } else if slashes > 0 {
            text.escape_at(char, at + slashes).map(|it| slashes + it)
        } else {
            percent_at(char, rest).or_else(|| raw_at(char, rest))
        };
        let Some(length) = length else {
            return Ok(text.cut_within(at, matched).map(|end| start..end));
        };
        at += length;
        after_slashes = false;
    }
    Ok(Some(start..at))
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

impl Searched<'_> {
    /// How many bytes at `at`, after backslashes, stand for `char`.
    fn escape_at(&self, char: char, at: usize) -> Option<usize> {
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
        let (first, rest) = self.from(at).split_first()?;
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
                let slashes = self.backslashes(at + 5);
                let (b'u', digits) = self.from(at + 5 + slashes).split_first()? else {
                    return None;
                };
                let is_second = slashes > 0 && hex_value(digits, 4)? == u32::from(*second);
                is_second.then_some(5 + slashes + 5)
            }
            _ => None,
        }
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
