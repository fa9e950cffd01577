//! From places in generated text to places in the source it was made from.
//!
//! A trimmed source map: no names, no columns but the first of each token, a few bytes a token.
//! The source may be one file, which the map does not name, or files that it names.

/// Maps lines and columns of generated text; both count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineMap {
    // Per token four variable-length numbers: how far it is from the token before it (generated
    // line, generated column, source line, source column), zig-zag coded.
    bytes: Vec<u8>,
    // Empty when all tokens come from the one source; else every token has a fifth number, its
    // place in here.
    sources: Vec<String>,
}

/// A place in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePlace<'a> {
    /// The source, when the map names it.
    pub file: Option<&'a str>,
    /// From 0.
    pub line: u32,
    /// From 0.
    pub column: u32,
}

/// The first byte of a stored map that names its sources. No other begins so: the first number of
/// one is a line, never negative, and so coded even.
const NAMES_SOURCES: u8 = 1;

/// One place in generated text and where it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Line and column in the generated text, from 0.
    pub generated: (u32, u32),
    /// Which of the sources, when there are several.
    pub file: u32,
    /// Line and column in the source, from 0.
    pub source: (u32, u32),
}

impl LineMap {
    /// From tokens in order of their generated places, all from one source.
    pub fn new(tokens: impl Iterator<Item = Token>) -> LineMap {
        LineMap::with_sources(Vec::new(), tokens)
    }

    /// From tokens in order of their generated places.
    pub fn with_sources(sources: Vec<String>, tokens: impl Iterator<Item = Token>) -> LineMap {
        let mut bytes = Vec::new();
        let mut last = Token::default();
        for token in tokens {
            put(&mut bytes, last.generated.0, token.generated.0);
            put(&mut bytes, last.generated.1, token.generated.1);
            put(&mut bytes, last.source.0, token.source.0);
            put(&mut bytes, last.source.1, token.source.1);
            if !sources.is_empty() {
                put(&mut bytes, last.file, token.file);
            }
            last = token;
        }
        LineMap { bytes, sources }
    }

    /// Where the last token at or before the generated place on its line came from.
    pub fn place_of(&self, line: u32, column: u32) -> Option<SourcePlace<'_>> {
        let token = self.token_at(line, column)?;
        let file = if self.sources.is_empty() {
            None
        } else {
            Some(self.sources.get(usize::try_from(token.file).ok()?)?.as_str())
        };
        Some(SourcePlace { file, line: token.source.0, column: token.source.1 })
    }

    fn token_at(&self, line: u32, column: u32) -> Option<Token> {
        let mut best = None;
        let mut rest = self.bytes.as_slice();
        let mut last = Token::default();
        while !rest.is_empty() {
            let generated =
                (take(&mut rest, last.generated.0)?, take(&mut rest, last.generated.1)?);
            let source = (take(&mut rest, last.source.0)?, take(&mut rest, last.source.1)?);
            let file = if self.sources.is_empty() { 0 } else { take(&mut rest, last.file)? };
            let token = Token { generated, file, source };
            if token.generated > (line, column) {
                // The first token of the line stands for what is before it.
                if best.is_none() && token.generated.0 == line {
                    return Some(token);
                }
                break;
            }
            if token.generated.0 == line {
                best = Some(token);
            }
            last = token;
        }
        best
    }

    /// The form to store.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        if self.sources.is_empty() {
            return self.bytes.clone();
        }
        let mut bytes = vec![NAMES_SOURCES];
        super::put(&mut bytes, self.sources.join("\n").as_bytes());
        bytes.extend_from_slice(&self.bytes);
        bytes
    }

    /// Reads what [`LineMap::to_bytes`] gave.
    pub(super) fn from_bytes(bytes: &[u8]) -> LineMap {
        let plain = LineMap { bytes: bytes.to_vec(), sources: Vec::new() };
        let Some(mut rest) = bytes.strip_prefix(&[NAMES_SOURCES]) else { return plain };
        match super::take_text(&mut rest) {
            Ok(names) => LineMap {
                sources: names.split('\n').map(str::to_owned).collect(),
                bytes: rest.to_vec(),
            },
            // Places are not worth failing for.
            Err(_) => LineMap { bytes: Vec::new(), sources: Vec::new() },
        }
    }
}

fn put(bytes: &mut Vec<u8>, last: u32, value: u32) {
    let difference = i64::from(value) - i64::from(last);
    let mut rest = (difference << 1) ^ (difference >> 63);
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push((rest & 0x7f) as u8);
}

fn take(rest: &mut &[u8], last: u32) -> Option<u32> {
    let mut coded: i64 = 0;
    for shift in (0..42).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        coded |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let difference = (coded >> 1) ^ -(coded & 1);
            return u32::try_from(i64::from(last) + difference).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_token_before_a_place() {
        let tokens = [(0, 0, 2, 4), (0, 10, 3, 0), (2, 5, 100_000, 7), (3, 0, 1, 1)];
        let tokens =
            tokens.map(|(a, b, c, d)| Token { generated: (a, b), file: c % 2, source: (c, d) });
        let map = LineMap::new(tokens.into_iter());
        let place = |line, column| map.place_of(line, column).map(|it| (it.line, it.column));
        assert_eq!(place(0, 3), Some((2, 4)));
        assert_eq!(place(0, 99), Some((3, 0)));
        assert_eq!(place(1, 0), None);
        assert_eq!(place(2, 0), Some((100_000, 7)));
        assert_eq!(place(3, 0), Some((1, 1)));
        assert_eq!(LineMap::from_bytes(&map.to_bytes()), map);
        assert_eq!(LineMap::from_bytes(&[0x80]).place_of(0, 0), None);
        assert_eq!(LineMap::from_bytes(&[NAMES_SOURCES, 9]).place_of(0, 0), None);

        let sources = vec!["a.ts".to_owned(), "b.ts".to_owned()];
        let map = LineMap::with_sources(sources, tokens.into_iter());
        let map = LineMap::from_bytes(&map.to_bytes());
        let place = map.place_of(0, 10).expect("there");
        assert_eq!((place.file, place.line, place.column), (Some("b.ts"), 3, 0));
        assert_eq!(map.place_of(2, 5).and_then(|it| it.file), Some("a.ts"));
    }
}
