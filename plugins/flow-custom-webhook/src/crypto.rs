//! `crypto.*` with OPA's semantics: operands are byte strings, results lower-case hexadecimal.
//!
//! Only what checks signatures. Nothing here may tell by its timing where two digests differ
//! ([`equal`]).

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use md5::Md5;
use regorus::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::builtins::{Builtin, Refusal, string};
use crate::bytes;

/// The functions of this module.
pub(crate) const BUILTINS: &[Builtin] = &[
    Builtin { name: "crypto.hmac.md5", arity: 2, run: hmac::<Md5> },
    Builtin { name: "crypto.hmac.sha1", arity: 2, run: hmac::<Sha1> },
    Builtin { name: "crypto.hmac.sha256", arity: 2, run: hmac::<Sha256> },
    Builtin { name: "crypto.hmac.sha512", arity: 2, run: hmac::<Sha512> },
    Builtin { name: "crypto.hmac.equal", arity: 2, run: equal },
    Builtin { name: "crypto.md5", arity: 1, run: hash::<Md5> },
    Builtin { name: "crypto.sha1", arity: 1, run: hash::<Sha1> },
    Builtin { name: "crypto.sha256", arity: 1, run: hash::<Sha256> },
];

/// `crypto.hmac.*(message, key)`.
fn hmac<H: EagerHash>(operands: &[Value]) -> Result<Value, Refusal> {
    let message = bytes::to_bytes(string(operands, 0)?);
    let key = bytes::to_bytes(string(operands, 1)?);
    let mut mac = <Hmac<H> as KeyInit>::new_from_slice(&key)
        .map_err(|_| Refusal::operand("operand 2 is no usable key"))?;
    mac.update(&message);
    Ok(Value::from(hex::encode(mac.finalize().into_bytes())))
}

/// `crypto.md5(text)` and the like.
fn hash<H: Digest>(operands: &[Value]) -> Result<Value, Refusal> {
    let message = bytes::to_bytes(string(operands, 0)?);
    Ok(Value::from(hex::encode(H::digest(&message))))
}

/// `crypto.hmac.equal(a, b)`: as fast for a near miss as for a wild guess.
fn equal(operands: &[Value]) -> Result<Value, Refusal> {
    let a = bytes::to_bytes(string(operands, 0)?);
    let b = bytes::to_bytes(string(operands, 1)?);
    let mut difference = u8::from(a.len() != b.len());
    for (a, b) in a.iter().zip(b.iter()) {
        difference = std::hint::black_box(difference | (a ^ b));
    }
    Ok(Value::Bool(difference == 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(name: &str, operands: &[Value]) -> Result<Value, Refusal> {
        let builtin = BUILTINS.iter().find(|builtin| builtin.name == name).expect(name);
        assert_eq!(usize::from(builtin.arity), operands.len());
        (builtin.run)(operands)
    }

    fn text(name: &str, operands: &[&str]) -> String {
        let operands: Vec<Value> = operands.iter().map(|text| Value::from(*text)).collect();
        call(name, &operands).unwrap().as_string().unwrap().to_string()
    }

    /// The operands of OPA's own tests; the results are those of Python's `hashlib` and `hmac`.
    #[test]
    fn known_vectors() {
        let cases = [
            ("crypto.hmac.md5", &["foo", "bar"][..], "31b6db9e5eb4addb42f1a6ca07367adc"),
            ("crypto.hmac.sha1", &["foo", "bar"], "85d155c55ed286a300bd1cf124de08d87e914f3a"),
            (
                "crypto.hmac.sha256",
                &["foo", "bar"],
                "147933218aaabc0b8b10a2b3a5c34684c8d94341bcf10a4736dc7270f7741851",
            ),
            (
                "crypto.hmac.sha512",
                &["foo", "bar"],
                "24257d7210582a65c731ec55159c8184cc24c02489453e58587f71f44c23a2d61b4b72154a89d17b2d49448a8452ea066f4fc56a2bcead45c088572ffccdb3d8",
            ),
            ("crypto.md5", &["lorem ipsum"], "80a751fde577028640c419000e33eba6"),
            ("crypto.sha1", &["lorem ipsum"], "bfb7759a67daeb65410490b4d98bb9da7d1ea2ce"),
            (
                "crypto.sha256",
                &["lorem ipsum"],
                "5e2bf57d3f40c4b6df69daf1936cb766f832374b4fc0259a7cbff06e2f70f269",
            ),
        ];
        for (name, operands, expected) in cases {
            assert_eq!(text(name, operands), expected, "{name}");
        }
    }

    #[test]
    fn the_seeds_vector() {
        assert_eq!(
            text("crypto.hmac.sha256", &["{\"hello\":\"world\"}", "EnterYourRandomSecretHere"]),
            "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1"
        );
    }

    #[test]
    fn only_strings_are_taken() {
        assert_eq!(
            call("crypto.hmac.sha256", &[Value::from(1u64), Value::from("key")]),
            Err(Refusal::operand("operand 1 must be a string but is a number"))
        );
    }

    #[test]
    fn equality_is_of_bytes() {
        let equal = |a: &str, b: &str| call("crypto.hmac.equal", &[a.into(), b.into()]).unwrap();
        assert_eq!(equal("abc", "abc"), Value::Bool(true));
        assert_eq!(equal("abc", "abd"), Value::Bool(false));
        assert_eq!(equal("abc", "ab"), Value::Bool(false));
        assert_eq!(equal("", ""), Value::Bool(true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_signed_right(message: Vec<u8>, key: Vec<u8>) {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(&message);
            let expected = hex::encode(mac.finalize().into_bytes());
            prop_assert_eq!(
                text("crypto.hmac.sha256", &[&bytes::to_text(&message), &bytes::to_text(&key)]),
                expected
            );
        }
    }
}
