//! Whatever is sent: nothing panics, and what is not exactly what was signed is refused.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use super::vectors_tests::{Vector, vectors};
use crate::testing::{open_with, request};

fn vector() -> impl Strategy<Value = Vector> {
    select(vectors())
}

/// A vector with one of its headers that is signed.
fn signed_header() -> impl Strategy<Value = (Vector, usize)> {
    let mut all = Vec::new();
    for vector in vectors().into_iter().filter(|it| it.timed) {
        for (at, (name, _)) in vector.headers().into_iter().enumerate() {
            let signed = ["webhook-id", "svix-id", "x-id"].contains(&name.as_str());
            if signed || name.contains("time") {
                all.push((vector.clone(), at));
            }
        }
    }
    select(all)
}

/// Headers that have a meaning to some scheme, and others.
fn header() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        select(vectors().iter().flat_map(|it| it.headers()).map(|it| it.0).collect::<Vec<_>>()),
        select(vec!["authorization", "ce-id", "ce-type", "ce-specversion", "ce-source"])
            .prop_map(str::to_owned),
        "[a-z-]{1,12}",
    ];
    let value = prop_oneof![
        select(vectors().iter().flat_map(|it| it.headers()).map(|it| it.1).collect::<Vec<_>>()),
        "(t=|v1=|v1,|sha256=|v0=|Bearer |Basic )?[0-9a-fA-F=+/, ]{0,140}",
        "[\\x00-\u{ff}]{0,40}",
        any::<String>(),
    ];
    (name, value)
}

fn flip(text: &str, place: Index, bit: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let place = place.index(bytes.len());
    bytes[place] ^= 1 << bit;
    // HTTP lets nothing else through, and white space around a value is none of it.
    let printable = (0x21..0x7f).contains(&bytes[place]);
    printable.then(|| String::from_utf8(bytes).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_panics(
        vector in vector(),
        headers in prop::collection::vec(header(), 0..6),
        keep in any::<bool>(),
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), "[\\[\\]{}\":,a-z0-9]{0,64}".prop_map(String::into_bytes)],
        method in select(vec!["POST", "GET", "OPTIONS", "\u{0}"]),
        query in "[a-z=&%+]{0,20}",
        now in any::<u64>(),
    ) {
        let mut all = if keep { vector.headers() } else { Vec::new() };
        all.extend(headers);
        let all: Vec<(&str, &str)> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut call = request(method, &all);
        call.now_ms = now;
        if let mortise_plugin::SourceInput::Http(request) = &mut call.input {
            request.query_raw = query;
        }
        let output = vector.open().source.call(call, &body).unwrap();
        prop_assert!(output.events.is_empty() || body == vector.body());
    }

    /// What is sent by one who may is taken or refused, and never anything else.
    #[test]
    fn no_body_of_a_verified_sender_panics(
        headers in prop::collection::vec(header(), 0..6),
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), "[\\[\\]{}\":,a-z0-9]{0,64}".prop_map(String::into_bytes)],
        content_type in select(vec![
            "application/json", "application/cloudevents+json", "application/cloudevents-batch+json",
            "application/x-www-form-urlencoded", "text/plain", "application/cloudevents+avro",
        ]),
    ) {
        let mut all = headers;
        all.push(("x-token".to_owned(), "s".to_owned()));
        all.push(("content-type".to_owned(), content_type.to_owned()));
        let all: Vec<(&str, &str)> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        for cloudevents in [json!(true), json!(false), json!(null)] {
            let opened = open_with(json!({ "verify": {
                "scheme": "token", "secret": "s", "header": "X-Token", "cloudevents": cloudevents,
                "event_key": { "pointer": "/a" }, "sync_id": { "pointer": "/0" },
            } })).unwrap();
            let output = opened.source.call(request("POST", &all), &body).unwrap();
            for event in &output.events {
                let payload = match event.payload {
                    mortise_plugin::Payload::Input => &body,
                    mortise_plugin::Payload::Body(at) => &output.bodies[at],
                    mortise_plugin::Payload::Json(_) => unreachable!(),
                };
                prop_assert!(serde_json::from_slice::<serde_json::Value>(payload).is_ok());
            }
        }
    }

    #[test]
    fn a_flipped_bit_of_the_body_is_refused(vector in vector(), place in any::<Index>(), bit in 0..8u8) {
        // A token in the clear says nothing of the body.
        prop_assume!(vector.headers.get("x-gitlab-token").is_none_or(|it| it == "wrong"));
        let mut body = vector.body();
        let place = place.index(body.len());
        body[place] ^= 1 << bit;
        let refused = vector.outcome(&*vector.open().source, &vector.headers(), &body, 0);
        prop_assert_eq!(refused.unwrap_err().0, "bad_signature");
    }

    #[test]
    fn a_flipped_bit_of_the_signature_is_refused(vector in vector(), place in any::<Index>(), bit in 0..7u8) {
        let mut headers = vector.headers();
        let at = headers.iter().position(|(name, value)| {
            let name = name.as_str();
            (name.contains("sig") || name.contains("hmac") || name == "x-gitlab-token") && value != "wrong"
                && !name.contains("time")
        });
        let (_, value) = &mut headers[at.unwrap()];
        let flipped = flip(value, place, bit);
        prop_assume!(flipped.is_some());
        let flipped = flipped.unwrap();
        // Capitals are the same in hexadecimal; and of several signatures one suffices.
        prop_assume!(!flipped.eq_ignore_ascii_case(value) || value.ends_with('=') || value == "plain");
        prop_assume!(value.matches("v1").count() + value.matches("v0").count() < 2);
        *value = flipped;
        let refused = vector.outcome(&*vector.open().source, &headers, &vector.body(), 0);
        prop_assert!(refused.is_err(), "{:?}", headers);
    }

    #[test]
    fn a_flipped_bit_of_a_signed_header_is_refused((vector, at) in signed_header(), place in any::<Index>(), bit in 0..7u8) {
        let mut headers = vector.headers();
        let (_, value) = &mut headers[at];
        let flipped = flip(value, place, bit);
        prop_assume!(flipped.is_some());
        *value = flipped.unwrap();
        let refused = vector.outcome(&*vector.open().source, &headers, &vector.body(), 0);
        prop_assert!(refused.is_err(), "{:?}", headers);
    }
}
