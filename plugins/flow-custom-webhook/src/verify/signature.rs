//! A signed request: which headers, over what, by which key, how old.
//!
//! The order is fixed: what is missing, what cannot be a signature, the signature, its age. So a
//! stale timestamp is told of requests only that really were from the sender.

use std::borrow::Cow;

use super::Passed;
use super::content::{Part, Sources};
use super::ed25519::{self, PublicKey};
use super::headers::Headers;
use super::keys::{Algorithm, MacKey};
use super::presented::{self, Encoding, Layout, Presented};
use super::rejection::{Reason, Rejection};
use super::timestamp;

/// The name of a header.
pub(super) type Name = Cow<'static, str>;

/// Where the time of signing stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// None is signed.
    None,
    /// In the first of these headers that is there.
    Headers(Vec<Name>),
    /// In the header of the signature, as `t=`.
    Pair,
}

/// One version of the signature; its name is empty when there is only one.
pub(super) struct Version {
    pub(super) name: &'static str,
    pub(super) content: Vec<Part>,
    pub(super) proof: Proof,
}

/// The keys of a version, each with the place of its secret in the configuration.
pub(super) enum Proof {
    Mac(Algorithm, Vec<(usize, MacKey)>),
    Ed25519(Vec<(usize, PublicKey)>),
}

/// How signed requests are checked.
pub(super) struct SignatureCheck {
    /// The signature stands in the first of these that is there.
    pub(super) headers: Vec<Name>,
    pub(super) layout: Layout,
    pub(super) encoding: Encoding,
    /// The better ones first; of those that are presented and have keys, the first counts.
    pub(super) versions: Vec<Version>,
    pub(super) stamp: Stamp,
    /// The id of the delivery, when it is signed too.
    pub(super) ids: Vec<Name>,
    pub(super) tolerance_ms: u64,
}

impl SignatureCheck {
    /// Whether a request claims to be signed this way.
    pub(super) fn concerns(&self, headers: Headers<'_>) -> bool {
        self.headers.iter().any(|it| headers.has(it))
    }

    pub(super) fn verify(
        &self,
        now_ms: u64,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Result<Passed, Rejection> {
        let (name, value) = required(headers, &self.headers)?;
        let presented = presented::read(&self.layout, name, value)?;
        let (stamp_name, stamp) = match &self.stamp {
            Stamp::None => ("", ""),
            Stamp::Headers(names) => required(headers, names)?,
            Stamp::Pair => (name, presented.timestamp.ok_or_else(|| missing_pair(name, "t="))?),
        };
        let then_ms = match &self.stamp {
            Stamp::None => now_ms,
            Stamp::Headers(_) | Stamp::Pair => timestamp::read(stamp).ok_or_else(|| {
                let message = format!("the timestamp in the header {stamp_name} is none");
                Rejection::malformed(message)
            })?,
        };
        let (_, id) = if self.ids.is_empty() { ("", "") } else { required(headers, &self.ids)? };
        let version = self.version(name, &presented)?;
        let listed = listed(version, headers, name, presented.listed)?;
        let sources = Sources { headers, timestamp: stamp, id, listed, body };
        let Some(secret) = self.suits(version, name, &presented, &sources)? else {
            return Err(Rejection::unauthenticated(
                Reason::BadSignature,
                format!("{} the signature in the header {name}", nobody(version)),
            ));
        };
        if let Some(far) = timestamp::too_far(then_ms, now_ms, self.tolerance_ms) {
            return Err(Rejection::unauthenticated(
                Reason::StaleTimestamp,
                format!(
                    "the signature is right, its timestamp in the header {stamp_name} is {far}"
                ),
            ));
        }
        Ok(Passed { secret })
    }

    fn version(&self, name: &str, presented: &Presented<'_>) -> Result<&Version, Rejection> {
        let mut there = self
            .versions
            .iter()
            .filter(|version| presented.candidates.iter().any(|(it, _)| *it == version.name))
            .peekable();
        if there.peek().is_none() {
            let wanted: Vec<&str> = self.versions.iter().map(|it| it.name).collect();
            return Err(missing_pair(name, &wanted.join(" or ")));
        }
        there.find(|it| !it.proof.is_empty()).ok_or_else(|| {
            let message = format!(
                "the header {name} has no signature of a version for which there is a secret"
            );
            Rejection::unauthenticated(Reason::BadSignature, message)
        })
    }

    /// Which secret made one of the presented signatures.
    fn suits(
        &self,
        version: &Version,
        name: &str,
        presented: &Presented<'_>,
        sources: &Sources<'_>,
    ) -> Result<Option<usize>, Rejection> {
        let length = version.proof.length();
        let mut decoded = Vec::with_capacity(1);
        for (_, text) in presented.candidates.iter().filter(|(it, _)| *it == version.name) {
            let mut out = [0; 96];
            presented::decode(self.encoding, text, length, &mut out).ok_or_else(|| {
                let form = match self.encoding {
                    Encoding::Hex => "hexadecimal",
                    Encoding::Base64 => "base64",
                };
                let message =
                    format!("the signature in the header {name} is not {length} bytes in {form}");
                Rejection::malformed(message)
            })?;
            decoded.push(out);
        }
        let signatures = || decoded.iter().map(|it| &it[..length]);
        match &version.proof {
            Proof::Mac(_, keys) => {
                for (place, key) in keys {
                    let tag = key.tag(|to| sources.feed(&version.content, to));
                    if signatures().any(|it| tag.is(it)) {
                        return Ok(Some(*place));
                    }
                }
            }
            Proof::Ed25519(keys) => {
                let mut content = Vec::with_capacity(sources.body.len() + 128);
                sources.feed(&version.content, &mut |piece| content.extend_from_slice(piece));
                for (place, key) in keys {
                    if signatures().any(|it| key.made(it, &content)) {
                        return Ok(Some(*place));
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Proof {
    fn is_empty(&self) -> bool {
        match self {
            Proof::Mac(_, keys) => keys.is_empty(),
            Proof::Ed25519(keys) => keys.is_empty(),
        }
    }

    fn length(&self) -> usize {
        match self {
            Proof::Mac(algorithm, _) => algorithm.length(),
            Proof::Ed25519(_) => ed25519::SIGNATURE,
        }
    }
}

/// The headers that are signed too, when the version has them; each must be there once.
fn listed<'a>(
    version: &Version,
    headers: Headers<'a>,
    name: &str,
    listed: Option<&'a str>,
) -> Result<&'a str, Rejection> {
    const MOST_LISTED: usize = 32;
    if !version.content.contains(&Part::ListedNames) {
        return Ok("");
    }
    let listed = listed.ok_or_else(|| missing_pair(name, "h="))?;
    for (at, header) in listed.split(' ').enumerate() {
        if at >= MOST_LISTED || headers.one(header)?.is_none() {
            let message =
                format!("the header {name} says that headers are signed which are not there");
            return Err(Rejection::malformed(message));
        }
    }
    Ok(listed)
}

/// The first of the headers that is there.
fn required<'n, 'a>(
    headers: Headers<'a>,
    names: &'n [Name],
) -> Result<(&'n str, &'a str), Rejection> {
    headers.first(names)?.ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let message = match all.as_slice() {
            [one] => format!("the header {one} is missing"),
            several => format!("none of the headers {} is there", several.join(", ")),
        };
        Rejection::unauthenticated(Reason::MissingSignature, message)
    })
}

fn missing_pair(name: &str, what: &str) -> Rejection {
    Rejection::malformed(format!("the header {name} has no {what}"))
}

fn nobody(version: &Version) -> String {
    let (count, what) = match &version.proof {
        Proof::Mac(_, keys) => (keys.len(), "secret"),
        Proof::Ed25519(keys) => (keys.len(), "public key"),
    };
    match count {
        1 => format!("the configured {what} does not make"),
        count => format!("none of the {count} configured {what}s makes"),
    }
}
