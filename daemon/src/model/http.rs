//! An outgoing HTTP request and its response, as functions, sinks and webhooks speak of them, and
//! the rules that say where such a request may go.
//!
//! Owns no connection and resolves no name: `egress` does that. Both sides of that border use these
//! types so that no body is copied on the way.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names and values in order; a name may occur more than once.
pub type Headers = Vec<(String, String)>;

/// One request that leaves the daemon.
#[derive(Clone, Debug)]
pub struct OutgoingRequest {
    /// An HTTP method, such as `GET`.
    pub method: String,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Headers as the sender wrote them; hop-by-hop headers are not sent.
    pub headers: Headers,
    /// The body; empty for none.
    pub body: Bytes,
    /// The most that the request may take, redirects and body included.
    pub timeout: Duration,
    /// What to do with a redirect.
    pub redirects: Redirects,
}

/// What to do when the answer is a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redirects {
    /// Go there, up to a bound; each hop is checked like the first.
    #[default]
    Follow,
    /// Hand the redirect back as the response.
    Manual,
    /// Fail.
    Refuse,
}

/// What came back, whatever its status.
#[derive(Clone, Debug)]
pub struct OutgoingResponse {
    /// The status code.
    pub status: u16,
    /// Where the response came from, after redirects.
    pub url: String,
    /// Whether there were redirects.
    pub redirected: bool,
    /// Headers as received.
    pub headers: Headers,
    /// The body, decompressed.
    pub body: Bytes,
}

/// Where the requests of one sender may go.
///
/// Without rules every public and private address may be reached; loopback, link-local, multicast and
/// reserved addresses and cloud metadata services may not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressRules {
    /// When given, only these destinations may be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<Destination>>,
    /// Destinations that may be reached although their addresses are refused otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub internal: Vec<Destination>,
    /// Refuse private addresses (10.0.0.0/8, 192.168.0.0/16, fc00::/7, ...) too.
    pub refuse_private: bool,
}

/// A host, a family of hosts or a network, on one port or on all:
/// `api.example.com`, `*.example.com:8443`, `10.0.0.0/8`, `[fd00::/8]:80`, `127.0.0.1:9000`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination {
    /// Which hosts or addresses.
    pub place: Place,
    /// Which port; every port when missing.
    pub port: Option<u16>,
}

/// The host part of a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Exactly this host name, in lower case.
    Host(String),
    /// Every name below this one, in lower case.
    Below(String),
    /// Every address of a network.
    Network {
        /// An address in the network.
        address: IpAddr,
        /// How many leading bits count.
        bits: u8,
    },
}

impl EgressRules {
    /// The rules that reach nothing but what is listed.
    pub fn only(destinations: Vec<Destination>) -> EgressRules {
        EgressRules { only: Some(destinations), ..EgressRules::default() }
    }
}

impl Destination {
    /// Whether `host` (a name or an address, as in the URL) on `port` is named by this destination.
    pub fn names(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|it| it != port) {
            return false;
        }
        match &self.place {
            Place::Host(name) => host.eq_ignore_ascii_case(name),
            Place::Below(parent) => {
                let host = host.to_ascii_lowercase();
                host.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Place::Network { .. } => host.parse().is_ok_and(|address| self.holds(address, port)),
        }
    }

    /// Whether a resolved address on `port` lies in this destination's network.
    pub fn holds(&self, address: IpAddr, port: u16) -> bool {
        if self.port.is_some_and(|it| it != port) {
            return false;
        }
        match (&self.place, address.to_canonical()) {
            (Place::Network { address: IpAddr::V4(network), bits }, IpAddr::V4(it)) => {
                let shift = 32 - u32::from(*bits);
                network.to_bits().checked_shr(shift) == it.to_bits().checked_shr(shift)
            }
            (Place::Network { address: IpAddr::V6(network), bits }, IpAddr::V6(it)) => {
                let shift = 128 - u32::from(*bits);
                network.to_bits().checked_shr(shift) == it.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// A text that names no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no destination: expected a host (`api.example.com`), hosts below a name \
     (`*.example.com`), an address or a network (`10.0.0.0/8`), each with an optional `:port`"
)]
pub struct InvalidDestination(String);

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Destination, InvalidDestination> {
        let invalid = || InvalidDestination(text.chars().take(100).collect());
        let (place, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']').ok_or_else(invalid)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or_else(invalid)?),
                };
                (inside, port)
            }
            // More than one colon and no brackets: an address of version 6 without a port.
            None if text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((place, port)) => (place, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map(str::parse).transpose().map_err(|_| invalid())?;
        let place = parse_place(place).ok_or_else(invalid)?;
        Ok(Destination { place, port })
    }
}

fn parse_place(text: &str) -> Option<Place> {
    if let Some((address, bits)) = text.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        return (bits <= most).then_some(Place::Network { address, bits });
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Some(Place::Network { address, bits });
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it))
    };
    match text.strip_prefix("*.") {
        Some(parent) => is_name(parent).then(|| Place::Below(parent.to_ascii_lowercase())),
        None => is_name(text).then(|| Place::Host(text.to_ascii_lowercase())),
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.port) {
            (Place::Host(name), None) => write!(f, "{name}"),
            (Place::Host(name), Some(port)) => write!(f, "{name}:{port}"),
            (Place::Below(name), None) => write!(f, "*.{name}"),
            (Place::Below(name), Some(port)) => write!(f, "*.{name}:{port}"),
            (Place::Network { address, bits }, None) => write!(f, "{address}/{bits}"),
            (Place::Network { address, bits }, Some(port)) if address.is_ipv4() => {
                write!(f, "{address}/{bits}:{port}")
            }
            (Place::Network { address, bits }, Some(port)) => {
                write!(f, "[{address}/{bits}]:{port}")
            }
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = InvalidDestination;

    fn try_from(text: String) -> Result<Destination, InvalidDestination> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> String {
        destination.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(text: &str) -> Destination {
        text.parse().expect(text)
    }

    #[test]
    fn destinations_have_one_text_form() {
        for text in [
            "api.example.com",
            "*.example.com:8443",
            "10.0.0.0/8",
            "127.0.0.1/32:9000",
            "fd00::/8",
            "[fd00::/8]:80",
        ] {
            assert_eq!(destination(text).to_string(), text);
        }
        assert_eq!(destination("[::1]:80").to_string(), "[::1/128]:80");
        for text in ["", "*", "a b", "10.0.0.0/33", "host:port", "http://x", "[::1", "a/8"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_destination_names_hosts_and_holds_addresses() {
        assert!(destination("*.example.com").names("a.b.EXAMPLE.com", 443));
        assert!(!destination("*.example.com").names("example.com", 443));
        assert!(!destination("*.example.com").names("badexample.com", 443));
        assert!(!destination("example.com:80").names("example.com", 443));
        let address = |text: &str| text.parse().expect("an address");
        assert!(destination("10.0.0.0/8").holds(address("10.9.8.7"), 1));
        assert!(destination("10.0.0.0/8").holds(address("::ffff:10.9.8.7"), 1));
        assert!(!destination("10.0.0.0/8").holds(address("11.0.0.1"), 1));
        assert!(destination("0.0.0.0/0").holds(address("11.0.0.1"), 1));
        assert!(destination("fd00::/8").holds(address("fd12::1"), 1));
    }
}
