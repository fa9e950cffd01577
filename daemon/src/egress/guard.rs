//! Which addresses a request may go to. Pure.
//!
//! The danger is a function or a webhook that is made to call what only this host can reach: its
//! own services, its cloud's metadata service with credentials, its neighbours on the link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::EgressError;
use crate::model::http::{EgressRules, Place};

/// What is refused and why; carried through the layers of the HTTP client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub String);

impl From<Refusal> for EgressError {
    fn from(refusal: Refusal) -> EgressError {
        EgressError::Refused(refusal.0)
    }
}

/// Checks a host as written, before anything is resolved.
pub(super) fn check_host(rules: &EgressRules, host: &str, port: u16) -> Result<(), Refusal> {
    if let Ok(address) = host.parse() {
        return check_address(rules, host, address, port);
    }
    match &rules.only {
        // A name may still resolve into an allowed network.
        Some(only)
            if !only
                .iter()
                .any(|it| it.names(host, port) || matches!(it.place, Place::Network { .. })) =>
        {
            Err(not_listed(host, port))
        }
        _ => Ok(()),
    }
}

/// Checks one address to which `host` resolves.
pub(super) fn check_address(
    rules: &EgressRules,
    host: &str,
    address: IpAddr,
    port: u16,
) -> Result<(), Refusal> {
    let names =
        |it: &crate::model::http::Destination| it.names(host, port) || it.holds(address, port);
    if rules.only.as_ref().is_some_and(|only| !only.iter().any(names)) {
        return Err(not_listed(host, port));
    }
    if rules.internal.iter().any(names) {
        return Ok(());
    }
    match kind_of(address) {
        Kind::Public => Ok(()),
        Kind::Private if !rules.refuse_private => Ok(()),
        Kind::Private => Err(refuse(host, "a private")),
        Kind::Loopback => Err(refuse(host, "a loopback")),
        Kind::LinkLocal => Err(refuse(host, "a link-local")),
        Kind::Metadata => Err(refuse(host, "a cloud metadata")),
        Kind::Special => Err(refuse(host, "a reserved or multicast")),
    }
}

fn refuse(host: &str, kind: &str) -> Refusal {
    Refusal(format!(
        "{host} has {kind} address, which requests may not go to unless an egress rule allows it"
    ))
}

fn not_listed(host: &str, port: u16) -> Refusal {
    Refusal(format!("{host} port {port} is not among the destinations that the egress rules allow"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    Loopback,
    LinkLocal,
    Metadata,
    Special,
}

fn kind_of(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(it) => kind_of_v4(it),
        IpAddr::V6(it) => kind_of_v6(it),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        // Azure, Alibaba, Oracle; the others are link-local.
        [168, 63, 129, 16] | [100, 100, 100, 200] | [192, 0, 0, 192] => Kind::Metadata,
        [169, 254, 169, 254] => Kind::Metadata,
        [127, ..] => Kind::Loopback,
        // Linux connects 0.0.0.0 to the host itself.
        [0, ..] => Kind::Loopback,
        [169, 254, ..] => Kind::LinkLocal,
        [10, ..] | [192, 168, ..] => Kind::Private,
        [172, second, ..] if (16..32).contains(&second) => Kind::Private,
        // Shared by a provider's customers; benchmarks.
        [100, second, ..] if (64..128).contains(&second) => Kind::Private,
        [198, 18 | 19, ..] => Kind::Private,
        [192, 0, 0, _] => Kind::Special,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => Kind::Special,
        _ => Kind::Public,
    }
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    const AMAZON_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let segments = address.segments();
    if address == Ipv6Addr::LOCALHOST || address.is_unspecified() {
        return Kind::Loopback;
    }
    if address == AMAZON_METADATA {
        return Kind::Metadata;
    }
    // Forms that carry an address of version 4, which is where they lead.
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => kind_of_v4(embedded(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => kind_of_v4(embedded(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => kind_of_v4(embedded(high, low)),
        [0x2002, high, low, ..] => kind_of_v4(embedded(high, low)),
        // NAT64 within a network; tunnels through somebody's relay.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => Kind::Special,
        [first, ..] if first & 0xffc0 == 0xfe80 => Kind::LinkLocal,
        [first, ..] if first & 0xffc0 == 0xfec0 => Kind::Private,
        [first, ..] if first & 0xfe00 == 0xfc00 => Kind::Private,
        [first, ..] if first & 0xff00 == 0xff00 => Kind::Special,
        _ => Kind::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &EgressRules, host: &str, address: &str, port: u16) -> bool {
        check_address(rules, host, address.parse().expect(address), port).is_ok()
    }

    #[test]
    fn every_way_to_write_a_refused_address_is_refused() {
        for (address, kind) in [
            ("127.0.0.1", Kind::Loopback),
            ("127.9.9.9", Kind::Loopback),
            ("0.0.0.0", Kind::Loopback),
            ("::1", Kind::Loopback),
            ("::", Kind::Loopback),
            ("::ffff:127.0.0.1", Kind::Loopback),
            ("::127.0.0.1", Kind::Loopback),
            ("64:ff9b::7f00:1", Kind::Loopback),
            ("2002:7f00:1::", Kind::Loopback),
            ("::ffff:0:127.0.0.1", Kind::Loopback),
            ("169.254.169.254", Kind::Metadata),
            ("::ffff:169.254.169.254", Kind::Metadata),
            ("fd00:ec2::254", Kind::Metadata),
            ("100.100.100.200", Kind::Metadata),
            ("169.254.1.1", Kind::LinkLocal),
            ("fe80::1", Kind::LinkLocal),
            ("febf::1", Kind::LinkLocal),
            ("10.0.0.1", Kind::Private),
            ("172.31.0.1", Kind::Private),
            ("172.32.0.1", Kind::Public),
            ("192.168.1.1", Kind::Private),
            ("100.64.0.1", Kind::Private),
            ("fd12::1", Kind::Private),
            ("224.0.0.1", Kind::Special),
            ("255.255.255.255", Kind::Special),
            ("ff02::1", Kind::Special),
            ("2001::1", Kind::Special),
            ("8.8.8.8", Kind::Public),
            ("2606:4700::1111", Kind::Public),
        ] {
            assert_eq!(kind_of(address.parse().expect(address)), kind, "{address}");
        }
    }

    #[test]
    fn rules_open_and_narrow() {
        let list = |texts: &[&str]| texts.iter().map(|it| it.parse().expect(it)).collect();
        let open = EgressRules::default();
        assert!(!check(&open, "x", "127.0.0.1", 80));
        assert!(check(&open, "x", "10.0.0.1", 80));
        let strict = EgressRules { refuse_private: true, ..EgressRules::default() };
        assert!(!check(&strict, "x", "10.0.0.1", 80));
        let internal = EgressRules {
            internal: list(&["localhost:80", "127.0.0.0/8:81"]),
            ..EgressRules::default()
        };
        assert!(check(&internal, "localhost", "127.0.0.1", 80));
        assert!(!check(&internal, "evil.example", "127.0.0.1", 80));
        assert!(check(&internal, "anything", "127.0.0.5", 81));
        let only = EgressRules::only(list(&["api.example.com:443", "10.0.0.0/8"]));
        assert!(check(&only, "api.example.com", "8.8.8.8", 443));
        assert!(!check(&only, "api.example.com", "8.8.8.8", 80));
        assert!(!check(&only, "api.example.com", "127.0.0.1", 443));
        assert!(check(&only, "db", "10.1.1.1", 5432));
        assert!(!check(&only, "other.example.com", "8.8.8.8", 443));
        let named = EgressRules::only(list(&["api.example.com"]));
        assert!(check_host(&named, "other.example.com", 443).is_err());
        assert!(check_host(&named, "API.example.com", 443).is_ok());
    }
}
