//! Signatures over a body, by which a receiver knows who sent it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

/// How a body is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scheme {
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`, as standardwebhooks.com has it.
    #[default]
    StandardWebhooks,
    /// `x-hub-signature-256: sha256=HEX` over the body.
    Sha256,
}

/// The headers of a signature.
pub(crate) fn headers(
    scheme: Scheme,
    secret: &str,
    id: &str,
    now_ms: u64,
    body: &[u8],
) -> Vec<(String, String)> {
    match scheme {
        Scheme::StandardWebhooks => {
            let seconds = (now_ms / 1_000).to_string();
            let signed = [id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat();
            let signature = STANDARD.encode(mac(&key(secret), &signed));
            vec![
                ("webhook-id".to_owned(), id.to_owned()),
                ("webhook-timestamp".to_owned(), seconds),
                ("webhook-signature".to_owned(), format!("v1,{signature}")),
            ]
        }
        Scheme::Sha256 => {
            let signature = hex::encode(mac(secret.as_bytes(), body));
            vec![("x-hub-signature-256".to_owned(), format!("sha256={signature}"))]
        }
    }
}

/// `whsec_` and base 64, or the text itself.
fn key(secret: &str) -> Vec<u8> {
    let decoded = secret.strip_prefix("whsec_").and_then(|it| STANDARD.decode(it).ok());
    decoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        // Keys may have any length.
        return Vec::new();
    };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_documentation() {
        // The example of the specification of Standard Webhooks.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let (id, now) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_000);
        let made = headers(Scheme::StandardWebhooks, secret, id, now, b"{\"test\": 2432232314}");
        assert_eq!(made[1].1, "1614265330");
        assert_eq!(made[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        // The example of GitHub's documentation.
        let secret = "It's a Secret to Everybody";
        let made = headers(Scheme::Sha256, secret, id, now, b"Hello, World!");
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(made[0], ("x-hub-signature-256".to_owned(), expected.to_owned()));
    }
}
