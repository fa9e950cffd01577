//! Signatures as they are presented in a header: one, or a list of several versions.
//!
//! What cannot be a signature is refused as malformed, before anything is computed.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::rejection::Rejection;

/// Most signatures of one request; a rotation has two.
const MOST: usize = 16;

/// How the value of a header is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One signature, behind a prefix.
    One {
        /// Such as `sha256=`, or nothing.
        prefix: Cow<'static, str>,
    },
    /// `t=1,v1=2,v1=3`.
    Pairs,
    /// `v1,2 v1,3`.
    Versioned,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Hex,
    Base64,
}

/// What stands in a header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Presented<'a> {
    /// `t=`.
    pub(super) timestamp: Option<&'a str>,
    /// `h=`: headers that are signed too.
    pub(super) listed: Option<&'a str>,
    /// Version and signature; the version is empty when the layout has none.
    pub(super) candidates: Vec<(&'a str, &'a str)>,
}

/// Takes the value of the header `name` apart.
pub(super) fn read<'a>(
    layout: &Layout,
    name: &str,
    value: &'a str,
) -> Result<Presented<'a>, Rejection> {
    let mut presented = Presented::default();
    match layout {
        Layout::One { prefix } => {
            let Some(signature) = value.strip_prefix(prefix.as_ref()) else {
                return Err(Rejection::malformed(format!(
                    "the header {name} does not begin with `{prefix}`"
                )));
            };
            presented.candidates.push(("", signature));
        }
        Layout::Pairs => {
            for pair in value.split(',') {
                let Some((key, value)) = pair.trim().split_once('=') else {
                    return Err(Rejection::malformed(format!(
                        "the header {name} is no list of `name=value`"
                    )));
                };
                let once = match key {
                    "t" => &mut presented.timestamp,
                    "h" => &mut presented.listed,
                    version => {
                        presented.candidates.push((version, value));
                        continue;
                    }
                };
                if once.replace(value).is_some() {
                    return Err(Rejection::malformed(format!(
                        "the header {name} has `{key}=` twice"
                    )));
                }
            }
        }
        Layout::Versioned => {
            for item in value.split(' ').filter(|it| !it.is_empty()) {
                let Some((version, signature)) = item.split_once(',') else {
                    return Err(Rejection::malformed(format!(
                        "the header {name} is no list of `version,signature`"
                    )));
                };
                presented.candidates.push((version, signature));
            }
        }
    }
    if presented.candidates.len() > MOST {
        let message = format!("the header {name} has more than {MOST} signatures");
        return Err(Rejection::malformed(message));
    }
    Ok(presented)
}

/// The bytes of a signature of `length` bytes, at the start of `out`.
pub(super) fn decode(
    encoding: Encoding,
    text: &str,
    length: usize,
    out: &mut [u8; 96],
) -> Option<()> {
    match encoding {
        Encoding::Hex => hex::decode_to_slice(text, out.get_mut(..length)?).ok(),
        Encoding::Base64 => {
            // As long as the text of so many bytes is; then it fits.
            if text.len() != length.div_ceil(3) * 4 {
                return None;
            }
            (STANDARD.decode_slice(text, out).ok()? == length).then_some(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart() {
        let pairs = read(&Layout::Pairs, "X", "t=1, v1=aa,v1=bb,v0=cc,h=a b").unwrap();
        assert_eq!((pairs.timestamp, pairs.listed), (Some("1"), Some("a b")));
        assert_eq!(pairs.candidates, [("v1", "aa"), ("v1", "bb"), ("v0", "cc")]);
        let versioned = read(&Layout::Versioned, "X", "v1,aa  v1a,b=").unwrap();
        assert_eq!(versioned.candidates, [("v1", "aa"), ("v1a", "b=")]);
        let one = Layout::One { prefix: "sha256=".into() };
        assert_eq!(read(&one, "X", "sha256=aa").unwrap().candidates, [("", "aa")]);
        for (layout, value, said) in [
            (&one, "sha1=aa", "does not begin with `sha256=`"),
            (&Layout::Pairs, "", "no list of `name=value`"),
            (&Layout::Pairs, "t=1,t=2,v1=aa", "`t=` twice"),
            (&Layout::Versioned, "v1=aa", "no list of `version,signature`"),
            (&Layout::Versioned, &"v1,a ".repeat(17), "more than 16"),
        ] {
            let message = read(layout, "X", value).unwrap_err().message;
            assert!(message.contains(said), "{value}: {message}");
        }
    }

    #[test]
    fn only_whole_signatures_are_decoded() {
        let mut out = [0; 96];
        for (encoding, text, length, right) in [
            (Encoding::Hex, "00fF", 2, true),
            (Encoding::Hex, "00f", 2, false),
            (Encoding::Hex, "00ff00", 2, false),
            (Encoding::Hex, "00fg", 2, false),
            (Encoding::Base64, "AAE=", 2, true),
            // Bits that mean nothing could be changed at will.
            (Encoding::Base64, "AAF=", 2, false),
            (Encoding::Base64, "AAE", 2, false),
            (Encoding::Base64, "AAEC", 2, false),
            (Encoding::Base64, "", 2, false),
        ] {
            assert_eq!(decode(encoding, text, length, &mut out).is_some(), right, "{text}");
        }
    }
}
