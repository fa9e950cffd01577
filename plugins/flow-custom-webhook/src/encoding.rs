//! `base64.*`, `base64url.*`, `hex.*`, `urlquery.decode*` and `json.*` on byte strings.
//!
//! They replace the builtins of regorus, which lose bytes that are not UTF-8 or follow another
//! grammar than OPA's. Results are bounded.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use regorus::Value;

use crate::builtins::{Builtin, MAX_STRING, Refusal, string};
use crate::render::{self, RenderError};
use crate::{bytes, json, query};

/// The functions of this module.
pub(crate) const BUILTINS: &[Builtin] = &[
    Builtin { name: "base64.decode", arity: 1, run: base64_decode },
    Builtin { name: "base64.encode", arity: 1, run: base64_encode },
    Builtin { name: "base64.is_valid", arity: 1, run: base64_is_valid },
    Builtin { name: "base64url.decode", arity: 1, run: base64url_decode },
    Builtin { name: "base64url.encode", arity: 1, run: base64url_encode },
    Builtin { name: "base64url.encode_no_pad", arity: 1, run: base64url_encode_no_pad },
    Builtin { name: "hex.decode", arity: 1, run: hex_decode },
    Builtin { name: "hex.encode", arity: 1, run: hex_encode },
    Builtin { name: "urlquery.decode", arity: 1, run: urlquery_decode },
    Builtin { name: "urlquery.decode_object", arity: 1, run: urlquery_decode_object },
    Builtin { name: "json.is_valid", arity: 1, run: json_is_valid },
    Builtin { name: "json.marshal", arity: 1, run: json_marshal },
    Builtin { name: "json.unmarshal", arity: 1, run: json_unmarshal },
];

fn base64_decode(operands: &[Value]) -> Result<Value, Refusal> {
    let decoded = STANDARD
        .decode(without_breaks(string(operands, 0)?).as_bytes())
        .map_err(|error| Refusal::operand(format!("not base64: {}", place(&error))))?;
    Ok(text(&decoded))
}

fn base64_encode(operands: &[Value]) -> Result<Value, Refusal> {
    encoded(&bytes::to_bytes(string(operands, 0)?), |bytes| STANDARD.encode(bytes))
}

fn base64_is_valid(operands: &[Value]) -> Result<Value, Refusal> {
    Ok(Value::Bool(STANDARD.decode(without_breaks(string(operands, 0)?).as_bytes()).is_ok()))
}

/// Padding is optional, as in OPA.
fn base64url_decode(operands: &[Value]) -> Result<Value, Refusal> {
    let encoded = without_breaks(string(operands, 0)?);
    let decoded = if encoded.ends_with('=') {
        URL_SAFE.decode(encoded.as_bytes())
    } else {
        URL_SAFE_NO_PAD.decode(encoded.as_bytes())
    };
    let decoded =
        decoded.map_err(|error| Refusal::operand(format!("not base64url: {}", place(&error))))?;
    Ok(text(&decoded))
}

fn base64url_encode(operands: &[Value]) -> Result<Value, Refusal> {
    encoded(&bytes::to_bytes(string(operands, 0)?), |bytes| URL_SAFE.encode(bytes))
}

fn base64url_encode_no_pad(operands: &[Value]) -> Result<Value, Refusal> {
    encoded(&bytes::to_bytes(string(operands, 0)?), |bytes| URL_SAFE_NO_PAD.encode(bytes))
}

fn hex_decode(operands: &[Value]) -> Result<Value, Refusal> {
    let decoded =
        hex::decode(string(operands, 0)?).map_err(|_| Refusal::operand("not hexadecimal"))?;
    Ok(text(&decoded))
}

fn hex_encode(operands: &[Value]) -> Result<Value, Refusal> {
    encoded(&bytes::to_bytes(string(operands, 0)?), |bytes| hex::encode(bytes))
}

fn urlquery_decode(operands: &[Value]) -> Result<Value, Refusal> {
    query::unescape(bytes::to_bytes(string(operands, 0)?).as_ref())
        .map(|decoded| text(&decoded))
        .ok_or_else(|| Refusal::operand("not a query string"))
}

fn urlquery_decode_object(operands: &[Value]) -> Result<Value, Refusal> {
    query::parse(bytes::to_bytes(string(operands, 0)?).as_ref())
        .map_err(|_| Refusal::limit("the query string has more than 10000 fields"))
}

fn json_is_valid(operands: &[Value]) -> Result<Value, Refusal> {
    Ok(Value::Bool(json::parse(&bytes::to_bytes(string(operands, 0)?)).is_ok()))
}

fn json_marshal(operands: &[Value]) -> Result<Value, Refusal> {
    let value = operands.first().unwrap_or(&Value::Undefined);
    match render::to_marshalled(value, MAX_STRING) {
        Ok(text) => Ok(Value::from(text)),
        Err(RenderError::TooMuch) => Err(Refusal::limit("the JSON text is larger than 16 MiB")),
        Err(RenderError::NotJson) => Err(Refusal::operand("a value that JSON does not know")),
    }
}

fn json_unmarshal(operands: &[Value]) -> Result<Value, Refusal> {
    match json::parse(&bytes::to_bytes(string(operands, 0)?)) {
        Ok(document) => Ok(document.value),
        Err(error) => Err(Refusal::operand(format!("not JSON: {error}"))),
    }
}

fn text(decoded: &[u8]) -> Value {
    Value::from(bytes::to_text(decoded).as_ref())
}

fn encoded(decoded: &[u8], encode: impl Fn(&[u8]) -> String) -> Result<Value, Refusal> {
    if decoded.len() > MAX_STRING / 2 {
        return Err(Refusal::limit("the result is larger than 16 MiB"));
    }
    Ok(Value::from(encode(decoded)))
}

/// Go's decoders skip line breaks.
fn without_breaks(encoded: &str) -> std::borrow::Cow<'_, str> {
    if encoded.contains(['\r', '\n']) {
        encoded.replace(['\r', '\n'], "").into()
    } else {
        encoded.into()
    }
}

/// The error without the offending character: it may be part of a secret.
fn place(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(offset, _)
        | base64::DecodeError::InvalidLastSymbol(offset, _) => {
            format!("wrong character at {offset}")
        }
        base64::DecodeError::InvalidLength(_) => "wrong length".to_owned(),
        base64::DecodeError::InvalidPadding => "wrong padding".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(name: &str, operand: &str) -> Result<Value, Refusal> {
        let builtin = BUILTINS.iter().find(|builtin| builtin.name == name).expect(name);
        (builtin.run)(&[Value::from(operand)])
    }

    fn text_of(name: &str, operand: &str) -> String {
        call(name, operand).unwrap().as_string().unwrap().to_string()
    }

    #[test]
    fn text_is_coded_as_usual() {
        assert_eq!(text_of("base64.decode", "aGVsbG8="), "hello");
        assert_eq!(text_of("base64.decode", "aGVs\nbG8="), "hello");
        assert_eq!(text_of("base64url.decode", "_-8"), bytes::to_text(&[0xff, 0xef]));
        assert_eq!(text_of("base64url.decode", "_-8="), bytes::to_text(&[0xff, 0xef]));
        assert_eq!(text_of("hex.encode", "hi"), "6869");
        assert_eq!(text_of("hex.decode", "68F6"), bytes::to_text(&[0x68, 0xf6]));
        assert_eq!(text_of("urlquery.decode", "a+b%20%ff"), bytes::to_text(b"a b \xff"));
    }

    #[test]
    fn what_is_not_encoded_is_undefined() {
        assert_eq!(
            call("base64.decode", "a*b="),
            Err(Refusal::operand("not base64: wrong character at 1"))
        );
        assert_eq!(call("base64.is_valid", "a*b="), Ok(Value::Bool(false)));
        assert!(call("hex.decode", "6").is_err());
        assert!(call("json.unmarshal", "{").is_err());
        assert!(call("urlquery.decode", "%f").is_err());
    }

    proptest! {
        #[test]
        fn bytes_survive_every_code(bytes: Vec<u8>) {
            let inside = bytes::to_text(&bytes).into_owned();
            for (decode, encode) in [
                ("base64.decode", "base64.encode"),
                ("base64url.decode", "base64url.encode"),
                ("base64url.decode", "base64url.encode_no_pad"),
                ("hex.decode", "hex.encode"),
            ] {
                prop_assert_eq!(text_of(decode, &text_of(encode, &inside)), inside.clone());
            }
            prop_assert_eq!(text_of("base64.decode", &STANDARD.encode(&bytes)), inside);
        }
    }
}
