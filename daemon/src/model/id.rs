//! Typed, sortable ids such as `evt_01k9…`: a prefix that names the kind and 128 bits in Crockford
//! base 32, of which the first 48 are milliseconds of the Unix epoch.
//!
//! Invariant: within one [`IdSource`] ids only grow, whatever the clock does, so that rows keyed by
//! id are appended and order of ids is order of creation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LENGTH: usize = 26;

/// A text that is no id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind} id: expected `{prefix}_` and {TEXT_LENGTH} characters of 0-9a-z")]
pub struct InvalidId {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $kind:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// What the text form starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str("_")?;
                f.write_str(encode(self.0, &mut [0; TEXT_LENGTH]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<$name, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map($name)
                    .ok_or_else(|| InvalidId { text: shorten(text), kind: $kind, prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*

        /// What ids of the daemon's own things start with.
        pub const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

ids! {
    /// A package: a named line of versions.
    PackageId = "pkg", "package";
    /// A version: manifest and code, immutable.
    VersionId = "ver", "version";
    /// A snap-in: one installation of a version.
    SnapInId = "snp", "snap-in";
    /// An event source of a snap-in.
    SourceId = "src", "event source";
    /// One accepted occurrence at a source.
    EventId = "evt", "event";
    /// An automation of a snap-in.
    AutomationId = "aut", "automation";
    /// One invocation of a function.
    RunId = "run", "run";
    /// One request to the API, or one hook invocation.
    RequestId = "req", "request";
    /// One effect in the outbox.
    EffectId = "eff", "effect";
    /// A person.
    UserId = "usr", "user";
    /// An identity under which a snap-in acts.
    ServiceAccountId = "sva", "service account";
    /// A secret or OAuth2 connection that is bound to a snap-in.
    KeyringId = "krg", "keyring";
    /// A tag.
    TagId = "tag", "tag";
    /// A request that was recorded at a trigger URL.
    RecordedId = "rec", "recorded request";
    /// An outgoing webhook.
    WebhookId = "whk", "webhook";
    /// What a webhook is told once: a change, a challenge.
    WebhookEventId = "whe", "webhook event";
    /// A token of the API.
    TokenId = "tok", "token";
    /// A change to an object.
    ChangeId = "chg", "change";
    /// A file that is kept.
    ArtifactId = "art", "artifact";
    /// The bytes of an artifact; others when they are sent anew.
    ContentId = "cnt", "content";
    /// A view.
    ViewId = "view", "view";
    /// A group of users and service accounts.
    GroupId = "grp", "group";
    /// A service account of the host, for a program that is no snap-in.
    HostAccountId = "svc", "service account of the host";
    /// An integration: something outside that is told of what happens.
    IntegrationId = "itg", "integration";
    /// What somebody wants to be told of through an integration.
    SubscriptionId = "sub", "subscription";
    /// Something worth telling.
    OccurrenceId = "occ", "occurrence";
    /// An occurrence on its way through an integration.
    DeliveryId = "dlv", "delivery";
}

/// Gives out ids that only grow.
#[derive(Debug)]
pub struct IdSource {
    last: u128,
}

impl IdSource {
    /// Continues after `last`, the greatest id ever given out (0 for none).
    pub fn after(last: u128) -> IdSource {
        IdSource { last }
    }

    /// The next id: `now_ms` in the first 48 bits and `random` in the rest, or the last id and a
    /// little more when the clock has not moved (or has moved back).
    pub fn next(&mut self, now_ms: u64, random: u128) -> u128 {
        const RANDOM_BITS: u32 = 80;
        let fresh = (u128::from(now_ms) << RANDOM_BITS) | (random >> 48);
        // The step is odd and random, so that ids of one millisecond cannot be guessed from
        // each other by counting.
        let step = (random & 0xffff_ffff) | 1;
        self.last = if fresh >> RANDOM_BITS > self.last >> RANDOM_BITS {
            fresh
        } else {
            self.last.wrapping_add(step)
        };
        self.last
    }
}

/// Milliseconds of the Unix epoch at which an id was made.
pub fn created_ms(id: u128) -> u64 {
    u64::try_from(id >> 80).unwrap_or(u64::MAX)
}

/// The smallest id that is made at a time, or later.
pub fn first_id_at(ms: u64) -> u128 {
    u128::from(ms) << 80
}

/// The text form of an id whose kind is only known at run time.
pub fn text_of(prefix: &str, id: u128) -> String {
    format!("{prefix}_{}", encode(id, &mut [0; TEXT_LENGTH]))
}

/// Prefix and number of a text in the form of an id, whatever its kind.
pub fn parts_of(text: &str) -> Option<(&str, u128)> {
    let (prefix, id) = text.rsplit_once('_')?;
    Some((prefix, decode(id)?))
}

fn encode(value: u128, text: &mut [u8; TEXT_LENGTH]) -> &str {
    let mut rest = value;
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(rest & 31).unwrap_or_default();
        *place = ALPHABET[digit];
        rest >>= 5;
    }
    std::str::from_utf8(text).unwrap_or_default()
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != TEXT_LENGTH {
        return None;
    }
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|it| *it == byte)?;
        value = value.checked_mul(32)?.checked_add(digit as u128)?;
    }
    Some(value)
}

/// A stranger's text may be long; an error message must not be.
fn shorten(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_form_is_reversible_and_keeps_order(a: u128, b: u128) {
            let (x, y) = (EventId(a).to_string(), EventId(b).to_string());
            prop_assert_eq!(x.parse::<EventId>(), Ok(EventId(a)));
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        }

        #[test]
        fn ids_only_grow(steps in proptest::collection::vec((0u64..1000, any::<u128>()), 1..50)) {
            let mut ids = IdSource::after(0);
            let mut last = 0;
            for (now, random) in steps {
                let next = ids.next(now, random);
                prop_assert!(next > last);
                last = next;
            }
        }
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in ["", "evt_", "run_00000000000000000000000000", "evt_0000000000000000000000000u"]
        {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
        let error = "x".repeat(1000).parse::<EventId>().expect_err("no prefix").to_string();
        assert!(error.len() < 400, "{error}");
    }
}
