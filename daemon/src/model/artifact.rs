//! Artifacts: files that are kept for snap-ins, people and mail. Their bytes are kept in chunks; how a
//! stream of bytes is cut into them is decided here. No I/O.

use serde::{Deserialize, Serialize};

/// Bytes of a chunk. The database has pages of powers of two, and one chunk with its key fills a page of
/// 256 KiB; with a full 256 KiB of bytes it would need one of 512 KiB.
pub const CHUNK_BYTES: usize = 255 * 1024;

/// What of an artifact is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ArtifactState {
    /// Its first bytes, or none.
    Uploading {
        /// So many.
        received: u64,
    },
    /// All of it. It is never changed any more.
    Complete {
        /// Bytes.
        size: u64,
        /// Of these bytes, hex.
        sha256: String,
    },
}

impl ArtifactState {
    /// Bytes that are there.
    pub fn bytes(&self) -> u64 {
        match self {
            ArtifactState::Uploading { received } => *received,
            ArtifactState::Complete { size, .. } => *size,
        }
    }
}

/// Where a byte is: in which chunk, and how far from its beginning.
pub fn place_of(byte: u64) -> (u32, usize) {
    let chunk_bytes = CHUNK_BYTES as u64;
    let index = u32::try_from(byte / chunk_bytes).unwrap_or(u32::MAX);
    (index, usize::try_from(byte % chunk_bytes).unwrap_or_default())
}

/// The first byte of a chunk.
pub fn first_byte_of(index: u32) -> u64 {
    u64::from(index) * CHUNK_BYTES as u64
}

/// A chunk and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChunk {
    /// Counted from 0.
    pub index: u32,
    /// At most [`CHUNK_BYTES`]; fewer only at the end of what came.
    pub bytes: Vec<u8>,
}

/// Cuts a stream of bytes, in whatever pieces it comes, where chunks begin: so equal files have equal
/// chunks, also when one of them came in several goes.
#[derive(Debug)]
pub struct Cutter {
    index: u32,
    begun: Vec<u8>,
}

impl Cutter {
    /// Goes on after bytes that are there: `tail` is what is there of the chunk that is not whole.
    pub fn after(index: u32, tail: Vec<u8>) -> Cutter {
        Cutter { index, begun: tail }
    }

    /// Where the next byte goes.
    pub fn at(&self) -> u64 {
        first_byte_of(self.index) + self.begun.len() as u64
    }

    /// Takes some of `bytes`; answers a chunk when one is whole, and the bytes that are left then.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> (Option<NewChunk>, &'a [u8]) {
        let room = CHUNK_BYTES.saturating_sub(self.begun.len());
        let (taken, left) = bytes.split_at(room.min(bytes.len()));
        if self.begun.capacity() == 0 {
            self.begun.reserve_exact(CHUNK_BYTES);
        }
        self.begun.extend_from_slice(taken);
        if self.begun.len() < CHUNK_BYTES {
            return (None, left);
        }
        let chunk = NewChunk { index: self.index, bytes: std::mem::take(&mut self.begun) };
        self.index += 1;
        (Some(chunk), left)
    }

    /// The chunk that was begun. More may come later: then it is given again, with more in it.
    pub fn begun(&self) -> Option<NewChunk> {
        let is_there = !self.begun.is_empty();
        is_there.then(|| NewChunk { index: self.index, bytes: self.begun.clone() })
    }
}

/// The longest name of a file.
const LONGEST_NAME: usize = 255;
/// The longest id of a parent.
const LONGEST_PARENT: usize = 200;

/// What is wrong with the name of a file. It may hold what file systems do not take: who saves it
/// somewhere chooses what to call it.
pub fn wrong_name(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("is empty".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Some(format!("has {} bytes: at most {LONGEST_NAME} are allowed", name.len()));
    }
    let control = name.chars().find(|it| it.is_control())?;
    Some(format!("has the control character {}, which is not allowed", control.escape_default()))
}

/// Whether a text can be the id of what an artifact belongs to.
pub fn is_parent(text: &str) -> bool {
    (1..=LONGEST_PARENT).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
}

/// Whether a text is a media type, `type/subtype` with parameters (RFC 9110 §8.3.1), that can stand in
/// a header.
pub fn is_media_type(text: &str) -> bool {
    const LONGEST: usize = 127;
    let is_token = |it: &str| {
        !it.is_empty()
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it))
    };
    let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_kind = kind.trim_end().split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b));
    let is_plain = parameters.bytes().all(|it| (0x20..0x7f).contains(&it));
    is_kind && is_plain && text.len() <= LONGEST
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&[u8]], mut cutter: Cutter) -> Vec<NewChunk> {
        let mut chunks = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                let (chunk, left) = cutter.push(piece);
                chunks.extend(chunk);
                piece = left;
            }
        }
        chunks.extend(cutter.begun());
        chunks
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_do_not_depend_on_how_the_bytes_came(
            length in 0..3 * CHUNK_BYTES, cuts in proptest::collection::vec(0..3 * CHUNK_BYTES, 0..6),
        ) {
            let bytes: Vec<u8> = (0..length).map(|it| it.to_le_bytes()[0]).collect();
            let whole = cut(&[&bytes], Cutter::after(0, Vec::new()));
            let joined: Vec<u8> = whole.iter().flat_map(|it| it.bytes.clone()).collect();
            prop_assert_eq!(&joined, &bytes);
            prop_assert!(whole.iter().all(|it| it.bytes.len() <= CHUNK_BYTES));

            let mut cuts: Vec<usize> = cuts.into_iter().map(|it| it.min(length)).collect();
            cuts.extend([0, length]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|it| &bytes[it[0]..it[1]]).collect();
            prop_assert_eq!(cut(&pieces, Cutter::after(0, Vec::new())), whole.clone());

            // The same when it broke off at one of them, and went on from what was kept.
            let middle = cuts[cuts.len() / 2];
            let (index, kept) = place_of(middle as u64);
            let tail = bytes[middle - kept..middle].to_vec();
            let cutter = Cutter::after(index, tail);
            prop_assert_eq!(cutter.at(), middle as u64);
            let rest = cut(&[&bytes[middle..]], cutter);
            let expected: Vec<_> = whole.into_iter().filter(|it| it.index >= index).collect();
            prop_assert_eq!(rest, expected);
        }
    }

    #[test]
    fn names_may_be_odd_but_not_break_lines() {
        for name in ["a.txt", "../../etc/passwd", "ü\u{202e}gpj.exe", "\"; x=\"", " a"] {
            assert_eq!(wrong_name(name), None, "{name}");
        }
        for name in ["", " ", "a\r\nSet-Cookie: x", "a\0b", "\u{85}", &"ä".repeat(128)] {
            assert!(wrong_name(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn media_types_can_stand_in_a_header() {
        for text in ["text/plain", "text/plain; charset=utf-8", "application/vnd.x+json"] {
            assert!(is_media_type(text), "{text}");
        }
        for text in ["", "text", "/", "text/", "a b/c", "text/plain\r\nx: y", "text/pläin"] {
            assert!(!is_media_type(text), "{text}");
        }
        let long = format!("text/{}", "x".repeat(200));
        assert!(!is_media_type(&long));
    }
}
