//! From places in generated text to places in the source it was made from.
//!
//! A trimmed source map: no names, no columns but the first of each token, a few bytes a token.

/// Maps lines and columns of generated text; both count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineMap {
    // Per token four variable-length numbers: how far it is from the token before it (generated
    // line, generated column, source line, source column), zig-zag coded.
    bytes: Vec<u8>,
}

/// One place in generated text and where it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Line and column in the generated text, from 0.
    pub generated: (u32, u32),
    /// Line and column in the source, from 0.
    pub source: (u32, u32),
}

impl LineMap {
    /// From tokens in order of their generated places.
    pub fn new(tokens: impl Iterator<Item = Token>) -> LineMap {
        let mut bytes = Vec::new();
        let mut last = Token::default();
        for token in tokens {
            put(&mut bytes, last.generated.0, token.generated.0);
            put(&mut bytes, last.generated.1, token.generated.1);
            put(&mut bytes, last.source.0, token.source.0);
            put(&mut bytes, last.source.1, token.source.1);
            last = token;
        }
        LineMap { bytes }
    }

    /// The source place of the last token at or before the generated one on its line.
    pub fn source_of(&self, line: u32, column: u32) -> Option<(u32, u32)> {
        let mut best = None;
        let mut rest = self.bytes.as_slice();
        let mut last = Token::default();
        while !rest.is_empty() {
            let token = Token {
                generated: (take(&mut rest, last.generated.0)?, take(&mut rest, last.generated.1)?),
                source: (take(&mut rest, last.source.0)?, take(&mut rest, last.source.1)?),
            };
            if token.generated > (line, column) {
                // The first token of the line stands for what is before it.
                if best.is_none() && token.generated.0 == line {
                    return Some(token.source);
                }
                break;
            }
            if token.generated.0 == line {
                best = Some(token.source);
            }
            last = token;
        }
        best
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> LineMap {
        LineMap { bytes: bytes.to_vec() }
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
        let map = LineMap::new(
            tokens.into_iter().map(|(a, b, c, d)| Token { generated: (a, b), source: (c, d) }),
        );
        assert_eq!(map.source_of(0, 3), Some((2, 4)));
        assert_eq!(map.source_of(0, 99), Some((3, 0)));
        assert_eq!(map.source_of(1, 0), None);
        assert_eq!(map.source_of(2, 0), Some((100_000, 7)));
        assert_eq!(map.source_of(3, 0), Some((1, 1)));
        assert_eq!(LineMap::from_bytes(map.as_bytes()), map);
        assert_eq!(LineMap::from_bytes(&[0x80]).source_of(0, 0), None);
    }
}
