//! Tests of the JSON reader: it must agree with serde_json on what is JSON, and keep more.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Value {
    parse(text.as_bytes()).expect(text).value
}

#[test]
fn values_are_read() {
    assert_eq!(
        read(" [1, -2, 1.5, true, null, \"a\\u00e9\\ud83d\\ude00\\n\"] ").to_string(),
        "[1,-2,1.5,true,null,\"a\u{e9}\u{1f600}\\n\"]"
    );
    assert_eq!(read("{\"b\":{},\"a\":[]}").to_string(), "{\"a\":[],\"b\":{}}");
}

#[test]
fn integers_of_any_size_are_kept() {
    for text in ["18446744073709551615", "-9223372036854775808", "123456789012345678901234567890"] {
        assert_eq!(crate::render::to_json(&read(text), 100).unwrap(), text);
    }
}

#[test]
fn an_object_is_no_number_in_disguise() {
    let value = read("{\"$serde_json::private::Number\":\"5\"}");
    assert!(value.as_object().is_ok());
}

#[test]
fn doubled_keys_are_noticed() {
    assert!(parse(b"{\"a\":1,\"a\":2}").unwrap().duplicate_keys);
    assert!(!parse(b"{\"a\":1,\"b\":{\"a\":2}}").unwrap().duplicate_keys);
    assert_eq!(read("{\"a\":1,\"a\":2}").to_string(), "{\"a\":2}");
}

#[test]
fn depth_and_numbers_are_bounded() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(matches!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooMuch(_))));
    assert!(matches!(parse("[".repeat(1_000_000).as_bytes()), Err(JsonError::TooMuch(_))));
    for text in ["1e1000000000".to_string(), "9".repeat(2000)] {
        assert!(matches!(parse(text.as_bytes()), Err(JsonError::TooMuch(_))), "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let error = parse(b"{\"a\": 01}").unwrap_err();
    assert_eq!(error.to_string(), "a number with a leading zero at byte 8");
    assert_eq!(parse(b"").unwrap_err().to_string(), "end of text instead of a value at byte 0");
    assert!(parse(b"\"\xff\"").is_err());
    assert!(parse(b"\"\\ud800\"").is_err());
}

proptest! {
    #[test]
    fn agrees_with_serde_json(text in "[\\[\\]{}\",:\\\\u0-9a-f.eE+\\- tn\u{e9}]{0,24}") {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let ours = parse(text.as_bytes());
        prop_assert_eq!(theirs.is_ok(), ours.is_ok(), "{:?} {:?}", theirs, ours);
    }

    #[test]
    fn round_trips(value in arbitrary_json()) {
        let text = value.to_string();
        let ours = parse(text.as_bytes()).unwrap();
        let back = crate::render::to_json(&ours.value, 1 << 20).unwrap();
        prop_assert_eq!(back, text);
    }
}

fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        // Never whole: whole numbers are written without a point.
        (-1_000_000..1_000_000, 1..16_u8)
            .prop_map(|(whole, part)| f64::from(whole) + f64::from(part) / 16.0)
            .prop_map(serde_json::Value::from),
        (1.0e-300..1.0e-290f64).prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
