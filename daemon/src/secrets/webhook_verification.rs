//! The other end of [`super::webhook_signature`]: whether what somebody received was signed with a
//! secret, and if not, what is wrong. Pure: the time is handed in. Must never say what the right
//! signature would have been.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// How old a request may be, and how far ahead, seconds: what libraries for Standard Webhooks allow.
pub const TOLERANCE_SECONDS: u64 = 300;

const OWN: &str = "x-mortise-signature";
const OWN_PREVIOUS: &str = "x-mortise-signature-previous";
const DEVREV: &str = "x-devrev-signature";
const STANDARD_WEBHOOKS: &str = "webhook-signature";

/// What a receiver verifies with.
pub struct VerificationKeys(Vec<Zeroizing<Vec<u8>>>);

impl VerificationKeys {
    /// Of a secret as it is shown when a webhook is made: its text, or the form of it that libraries for
    /// Standard Webhooks take.
    pub fn of(secret: &str) -> VerificationKeys {
        let mut keys = vec![Zeroizing::new(secret.as_bytes().to_vec())];
        // A text may look like the other form by chance, so it is not taken from what it looks like.
        let decoded = secret.strip_prefix("whsec_").and_then(|it| STANDARD.decode(it).ok());
        keys.extend(decoded.filter(|it| !it.is_empty()).map(Zeroizing::new));
        VerificationKeys(keys)
    }

    fn signed(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        self.0.iter().any(|key| {
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
            parts.iter().for_each(|it| mac.update(it));
            mac.verify_slice(signature).is_ok()
        })
    }
}

/// What became of the signatures of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Headers whose signature is right.
    pub right: Vec<&'static str>,
    /// What is wrong, for whoever writes a receiver.
    pub problems: Vec<String>,
    /// Whether it is signed with another secret too, and this one is the one before.
    pub is_previous: bool,
}

impl Verification {
    /// Whether nothing is wrong with it.
    pub fn is_right(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies every signature that a request has. Names of headers are in lower case.
pub fn verify(
    keys: &VerificationKeys,
    headers: &[(String, String)],
    body: &[u8],
    now_seconds: u64,
) -> Verification {
    let header =
        |name: &str| headers.iter().find(|it| it.0 == name).map(|(_, value)| value.as_str());
    let mut found = Verification::default();
    let of_body = |name: &str| header(name).map(|it| check_hex(keys, name, it, body));
    let by_previous = of_body(OWN_PREVIOUS).is_some_and(|it| it.is_ok());
    for name in [OWN, DEVREV] {
        match of_body(name) {
            Some(Ok(())) => found.right.push(name),
            // Both of these are by the new secret alone.
            Some(Err(_)) if by_previous => found.is_previous = true,
            Some(Err(problem)) => found.problems.push(problem),
            None => {}
        }
    }
    if found.is_previous {
        found.right.push(OWN_PREVIOUS);
    }
    if let Some(signatures) = header(STANDARD_WEBHOOKS) {
        let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
        match check_standard(keys, id, timestamp, signatures, body, now_seconds) {
            Ok(()) => found.right.push(STANDARD_WEBHOOKS),
            Err(problem) => found.problems.push(format!("{STANDARD_WEBHOOKS}: {problem}")),
        }
    }
    if found.right.is_empty() && found.problems.is_empty() {
        let message =
            format!("it has no signature: neither {OWN}, {DEVREV} nor {STANDARD_WEBHOOKS}");
        found.problems.push(message);
    }
    found
}

fn check_hex(keys: &VerificationKeys, name: &str, value: &str, body: &[u8]) -> Result<(), String> {
    let is_hex = value.len() == 64
        && value.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
    let bytes = hex::decode(value).ok().filter(|_| is_hex);
    let Some(bytes) = bytes else {
        return Err(format!("{name}: expected 64 lowercase hexadecimal digits"));
    };
    if !keys.signed(&[body], &bytes) {
        return Err(format!("{name}: not that of this body by this secret"));
    }
    Ok(())
}

fn check_standard(
    keys: &VerificationKeys,
    id: Option<&str>,
    timestamp: Option<&str>,
    signatures: &str,
    body: &[u8],
    now_seconds: u64,
) -> Result<(), String> {
    let missing = |name: &str| format!("{name} is missing, which is signed too");
    let id = id.ok_or_else(|| missing("webhook-id"))?;
    let timestamp = timestamp.ok_or_else(|| missing("webhook-timestamp"))?;
    let seconds: u64 = timestamp
        .parse()
        .map_err(|_| "webhook-timestamp is no number of seconds since 1970".to_owned())?;
    let head = format!("{id}.{timestamp}.");
    let parts = [head.as_bytes(), body];
    let mut of_version = signatures.split(' ').filter_map(|it| it.strip_prefix("v1,")).peekable();
    if of_version.peek().is_none() {
        return Err("it has no signature of version `v1`".to_owned());
    }
    let is_signed = of_version
        .filter_map(|it| STANDARD.decode(it).ok())
        .any(|signature| keys.signed(&parts, &signature));
    if !is_signed {
        return Err("not that of this id, time and body by this secret".to_owned());
    }
    // Last: a clock that is wrong is not what is wrong with a forgery.
    let (off, how) = match now_seconds.checked_sub(seconds) {
        Some(old) => (old, "old"),
        None => (seconds - now_seconds, "ahead of the clock here"),
    };
    if off > TOLERANCE_SECONDS {
        return Err(format!("webhook-timestamp is {off} s {how}, more than {TOLERANCE_SECONDS} s"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::webhook_signature::{WebhookSecrets, standard_form};
    use super::*;

    const BODY: &[u8] = br#"{"hello":"world"}"#;
    const SECRET: &str = "EnterYourRandomSecretHere";
    /// The vector of spec §4.4.
    const OF_BODY: &str = "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";
    const NOW: u64 = 1_614_265_330;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        verify(&VerificationKeys::of(SECRET), &headers(pairs), BODY, NOW).problems
    }

    /// A request as the daemon signs it.
    fn signed(current: &str, previous: Option<&str>) -> Vec<(String, String)> {
        let zeroizing = |it: &str| Zeroizing::new(it.to_owned());
        let secrets =
            WebhookSecrets { current: zeroizing(current), previous: previous.map(zeroizing) };
        let of_body = secrets.of_body(BODY);
        let standard = secrets.standard("whe_1", NOW, BODY);
        let mut all = headers(&[
            (OWN, &of_body),
            (DEVREV, &of_body),
            ("webhook-id", "whe_1"),
            ("webhook-timestamp", &NOW.to_string()),
            (STANDARD_WEBHOOKS, &standard),
        ]);
        all.extend(secrets.of_body_previous(BODY).map(|it| (OWN_PREVIOUS.to_owned(), it)));
        all
    }

    #[test]
    fn known_signatures_are_right() {
        assert_eq!(problems(&[(OWN, OF_BODY)]), [""; 0]);
        assert_eq!(problems(&[(DEVREV, OF_BODY)]), [""; 0]);
        // The vector of the specification of Standard Webhooks.
        let keys = VerificationKeys::of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let vector = headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (STANDARD_WEBHOOKS, "v2,xyz v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ]);
        let found = verify(&keys, &vector, br#"{"test": 2432232314}"#, NOW);
        assert!(found.is_right(), "{found:?}");
        let found = verify(&keys, &vector, br#"{"test": 2432232315}"#, NOW);
        assert!(!found.is_right());
    }

    #[test]
    fn what_the_daemon_signs_is_right_in_either_form_of_the_secret() {
        for secret in [SECRET, &standard_form(SECRET)] {
            let keys = VerificationKeys::of(secret);
            let found = verify(&keys, &signed(SECRET, None), BODY, NOW + TOLERANCE_SECONDS);
            assert_eq!(found.right, [OWN, DEVREV, STANDARD_WEBHOOKS]);
            assert!(found.is_right() && !found.is_previous, "{found:?}");
        }
        let looks_like_it = "whsec_b2xkb2xk";
        let keys = VerificationKeys::of(looks_like_it);
        assert!(verify(&keys, &signed(looks_like_it, None), BODY, NOW).is_right());
    }

    #[test]
    fn while_a_secret_is_rotated_the_one_before_is_right_and_known_as_such() {
        let keys = VerificationKeys::of(SECRET);
        let found = verify(&keys, &signed("the new one", Some(SECRET)), BODY, NOW);
        assert!(found.is_right() && found.is_previous, "{found:?}");
        let found = verify(&keys, &signed(SECRET, Some("the one before")), BODY, NOW);
        assert!(found.is_right() && !found.is_previous, "{found:?}");
        let found = verify(&keys, &signed("the new one", Some("another one")), BODY, NOW);
        assert_eq!(found.problems.len(), 3, "{found:?}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let at = NOW.to_string();
        let late = (NOW - 301).to_string();
        let early = (NOW + 301).to_string();
        let keys = WebhookSecrets { current: Zeroizing::new(SECRET.to_owned()), previous: None };
        let of_late = keys.standard("a", NOW - 301, BODY);
        let of_early = keys.standard("a", NOW + 301, BODY);
        let upper = OF_BODY.to_uppercase();
        let other = "0".repeat(64);
        let standard = |timestamp: &str, signature: &str| {
            let all = [("webhook-id", "a"), ("webhook-timestamp", timestamp)];
            problems(&[all[0], all[1], (STANDARD_WEBHOOKS, signature)])
        };
        for (found, what) in [
            (problems(&[]), "no signature"),
            (problems(&[(OWN_PREVIOUS, OF_BODY)]), "no signature"),
            (problems(&[(OWN, &upper)]), "lowercase"),
            (problems(&[(OWN, "sha256=f18")]), "64 lowercase"),
            (problems(&[(DEVREV, &other)]), "x-devrev-signature: not that"),
            (problems(&[(OWN, OF_BODY), (DEVREV, &other)]), "x-devrev-signature: not that"),
            (problems(&[(STANDARD_WEBHOOKS, "v1,x")]), "webhook-id is missing"),
            (standard("soon", "v1,x"), "no number"),
            (standard(&at, "v1a,x"), "`v1`"),
            (standard(&at, "v1,AAAA"), "by this secret"),
            (standard(&late, &of_late), "301 s old"),
            (standard(&early, &of_early), "301 s ahead"),
            (standard(&at, &of_late), "by this secret"),
        ] {
            assert!(found.len() == 1 && found[0].contains(what), "{what}: {found:?}");
        }
    }
}
