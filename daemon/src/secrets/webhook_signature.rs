//! Signatures of outgoing webhooks: of the raw body with the bytes of the secret's text, as seed 002 has
//! it, and those of Standard Webhooks 1.0.0 beside it, with every secret that is valid.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The secrets of one webhook.
#[derive(Clone)]
pub struct WebhookSecrets {
    /// The one in use.
    pub current: Zeroizing<String>,
    /// The one before, while receivers may still have it.
    pub previous: Option<Zeroizing<String>>,
}

impl WebhookSecrets {
    /// Lowercase hex HMAC-SHA256 of a body, with the secret in use.
    pub fn of_body(&self, body: &[u8]) -> String {
        hex(&mac(&self.current, &[body]))
    }

    /// The same with the secret before, if there is one.
    pub fn of_body_previous(&self, body: &[u8]) -> Option<String> {
        self.previous.as_ref().map(|it| hex(&mac(it, &[body])))
    }

    /// `webhook-signature` of Standard Webhooks: one for each valid secret.
    pub fn standard(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp_seconds}.");
        let secrets = std::iter::once(&self.current).chain(&self.previous);
        let signatures: Vec<String> = secrets
            .map(|it| format!("v1,{}", STANDARD.encode(mac(it, &[head.as_bytes(), body]))))
            .collect();
        signatures.join(" ")
    }
}

/// A secret in the form that libraries for Standard Webhooks take.
pub fn standard_form(secret: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("whsec_{}", STANDARD.encode(secret)))
}

fn mac(secret: &str, parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    parts.iter().for_each(|it| mac.update(it));
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(current: &str, previous: Option<&str>) -> WebhookSecrets {
        let zeroizing = |it: &str| Zeroizing::new(it.to_owned());
        WebhookSecrets { current: zeroizing(current), previous: previous.map(zeroizing) }
    }

    /// The vector of spec §4.4, for the other direction.
    #[test]
    fn a_body_is_signed_in_lowercase_hex() {
        let secrets = secrets("EnterYourRandomSecretHere", None);
        let expected = "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";
        assert_eq!(secrets.of_body(br#"{"hello":"world"}"#), expected);
    }

    /// The vector of the specification of Standard Webhooks.
    #[test]
    fn standard_webhooks_has_every_valid_secret() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        // Its bytes are no text, so this goes below the type of secrets.
        let body = br#"{"test": 2432232314}"#;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
        mac.update(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.");
        mac.update(body);
        let expected = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(STANDARD.encode(mac.finalize().into_bytes()), expected);
        let signed = secrets("new", Some("old")).standard("whe_1", 5, b"{}");
        let alone = secrets("old", None).standard("whe_1", 5, b"{}");
        assert_eq!(signed.split(' ').count(), 2);
        assert_eq!(signed.split(' ').nth(1), Some(alone.as_str()));
        assert_eq!(&**standard_form("old"), "whsec_b2xk");
    }
}
