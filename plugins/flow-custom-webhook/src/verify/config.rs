//! `verify` of the configuration, from JSON to a check, or all that is wrong with it.
//!
//! A secret may be a reference to a keyring while a manifest is checked: then it is taken as it is,
//! and its form is looked at when the daemon has put the secret in.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use mortise_plugin::Problem;
use mortise_plugin::reference::is_reference;
use serde_json::{Map, Value};

use super::content::{self, Part};
use super::ed25519::{self, PublicKey};
use super::handshake::Handshake;
use super::keys::{Algorithm, MacKey};
use super::members::{Members, any_of, nearest};
use super::presented::{Encoding, Layout};
use super::schemes::{
    self, Answer, DOT, LayoutOf, MacFacts, Origin, ProofOf, SCHEMES, Scheme, StampOf,
};
use super::selector::Selector;
use super::shape::Shape;
use super::signature::{Name, Proof, SignatureCheck, Stamp, Version};
use super::token::{Place, TokenCheck};
use super::walk::Pointer;
use super::{Check, CloudEvents, Verify};

/// Members that every scheme has.
const COMMON: [&str; 6] = ["scheme", "secret", "event_key", "sync_id", "dedup_key", "cloudevents"];
/// Most secrets at a time: two during a rotation, and two kinds at GitLab.
pub(super) const MOST_SECRETS: usize = 4;
/// Farthest that a clock may be off, in seconds.
pub(super) const MOST_TOLERANCE_S: u64 = 86_400;
pub(super) const TOLERANCE_S: u64 = 300;

/// Secrets in base64, whose senders are not of one mind about the `=` at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Compiles `verify`.
pub(crate) fn open(value: &Value) -> Result<Verify, Vec<Problem>> {
    let Value::Object(fields) = value else {
        return Err(vec![Problem {
            path: "verify".to_owned(),
            message: "must be an object such as `{scheme: github, secret: TEXT}`".to_owned(),
            location: None,
        }]);
    };
    let mut members = Members::new("verify", fields);
    let names: Vec<&str> = SCHEMES.iter().map(|it| it.name).collect();
    let scheme = match members.text("scheme") {
        Some(name) => schemes::find(name).or_else(|| {
            let hint = match nearest(name, &names) {
                Some(nearest) => format!("; did you mean `{nearest}`?"),
                None => String::new(),
            };
            members.wrong("scheme", format!("must be {}{hint}", any_of(&names)));
            None
        }),
        None if members.has("scheme") => None,
        None => {
            members.wrong("scheme", format!("is missing; it must be {}", any_of(&names)));
            None
        }
    };
    let mut shape = Shape::default();
    shape_of(&mut members, scheme, &mut shape);
    let handshake = handshake(scheme, &mut shape);
    let cloud_events = cloud_events(&mut members);
    let Some(scheme) = scheme else { return Err(members.problems) };
    let allowed: Vec<&str> = COMMON.iter().chain(scheme.members).copied().collect();
    members.only(&allowed, &format!("for the scheme `{}`", scheme.name));
    let check = check(&mut members, scheme, &mut shape);
    if !members.problems.is_empty() {
        return Err(members.problems);
    }
    let (answer, form_payload) = (scheme.answer, scheme.form_payload);
    Ok(Verify { check, shape, handshake, cloud_events, answer, form_payload })
}

// What proves the sender.

/// A secret with its place in the list.
type Secret<'c> = (usize, &'c str);

fn check(members: &mut Members<'_>, scheme: &Scheme, shape: &mut Shape) -> Check {
    let name = match members.has("public_key") && matches!(scheme.proof, ProofOf::Discord) {
        true => "public_key",
        false => "secret",
    };
    if name == "public_key" && members.has("secret") {
        members.wrong("secret", "give either `public_key` or `secret`: they are the same here");
    }
    let secrets = secrets(members, name);
    let tolerance_ms = tolerance(members) * 1000;
    let pending = secrets.iter().any(|(_, it)| is_reference(it));
    // They are not there yet: what is done with them below must not look at them.
    let secrets = if pending { Vec::new() } else { secrets };
    let check = match &scheme.proof {
        ProofOf::Mac(facts) => Check::Signature(of_facts(facts, &secrets, tolerance_ms)),
        ProofOf::StandardWebhooks => {
            Check::Signature(standard_webhooks(members, &secrets, tolerance_ms))
        }
        ProofOf::Gitlab => {
            let signed = |it: &&Secret<'_>| it.1.starts_with("whsec_");
            let keys: Vec<Secret<'_>> = secrets.iter().filter(signed).copied().collect();
            let tokens: Vec<&str> =
                secrets.iter().filter(|it| !signed(it)).map(|(_, it)| *it).collect();
            let header = Place::Header { name: "X-Gitlab-Token".into(), prefix: String::new() };
            Check::Either {
                signature: (!keys.is_empty())
                    .then(|| standard_webhooks(members, &keys, tolerance_ms)),
                token: (!tokens.is_empty()).then(|| TokenCheck::new(header, &tokens)),
            }
        }
        ProofOf::Discord => Check::Signature(discord(members, name, &secrets, tolerance_ms)),
        ProofOf::Hook0 => Check::Signature(hook0(&secrets, tolerance_ms)),
        ProofOf::AnyMac => Check::Signature(any_mac(members, &secrets, tolerance_ms, shape)),
        ProofOf::Token => {
            let place = token_place(members);
            let secrets: Vec<&str> = secrets.iter().map(|(_, it)| *it).collect();
            let user_pending = matches!(&place, Place::Basic { user } if is_reference(user));
            let check = Check::Token(TokenCheck::new(place, &secrets));
            if user_pending { Check::Pending } else { check }
        }
    };
    if pending { Check::Pending } else { check }
}

fn secrets<'c>(members: &mut Members<'c>, name: &str) -> Vec<Secret<'c>> {
    const WANTED: &str = "must be a text that is not empty, or up to four of them, of which any \
                          one suffices";
    let Some(value) = members.get(name) else {
        members.wrong(name, format!("is missing; it {WANTED}; `${{{{ keyrings.NAME }}}}` is best"));
        return Vec::new();
    };
    let list = match value {
        Value::Array(list) if (1..=MOST_SECRETS).contains(&list.len()) => list.as_slice(),
        Value::String(_) => std::slice::from_ref(value),
        _ => {
            members.wrong(name, WANTED);
            return Vec::new();
        }
    };
    let mut secrets = Vec::with_capacity(list.len());
    for (at, secret) in list.iter().enumerate() {
        match secret.as_str() {
            Some(text) if !text.is_empty() => secrets.push((at, text)),
            _ if value.is_array() => {
                members.wrong(&format!("{name}.{at}"), "must be a text that is not empty")
            }
            _ => members.wrong(name, WANTED),
        }
    }
    secrets
}

fn tolerance(members: &mut Members<'_>) -> u64 {
    let Some(value) = members.get("tolerance_seconds") else { return TOLERANCE_S };
    if let Some(seconds) = value.as_u64().filter(|it| (1..=MOST_TOLERANCE_S).contains(it)) {
        return seconds;
    }
    let message = format!("must be a whole number of seconds from 1 to {MOST_TOLERANCE_S}");
    members.wrong("tolerance_seconds", message);
    TOLERANCE_S
}

fn mac_keys(algorithm: Algorithm, secrets: &[(usize, Vec<u8>)]) -> Proof {
    let keys = secrets.iter().filter_map(|(at, it)| Some((*at, MacKey::new(algorithm, it)?)));
    Proof::Mac(algorithm, keys.collect())
}

fn as_bytes(secrets: &[Secret<'_>]) -> Vec<(usize, Vec<u8>)> {
    secrets.iter().map(|(at, it)| (*at, it.as_bytes().to_vec())).collect()
}

fn names(names: &[&'static str]) -> Vec<Name> {
    names.iter().map(|it| Name::Borrowed(it)).collect()
}

fn of_facts(facts: &MacFacts, secrets: &[Secret<'_>], tolerance_ms: u64) -> SignatureCheck {
    let (layout, version) = match facts.layout {
        LayoutOf::One(prefix) => (Layout::One { prefix: prefix.into() }, ""),
        LayoutOf::Pairs => (Layout::Pairs, "v1"),
    };
    SignatureCheck {
        headers: names(facts.headers),
        layout,
        encoding: facts.encoding,
        versions: vec![Version {
            name: version,
            content: facts.content.to_vec(),
            proof: mac_keys(facts.algorithm, &as_bytes(secrets)),
        }],
        stamp: match facts.stamp {
            StampOf::None => Stamp::None,
            StampOf::Header(name) => Stamp::Headers(names(&[name])),
            StampOf::Pair => Stamp::Pair,
        },
        ids: Vec::new(),
        tolerance_ms,
    }
}

fn standard_webhooks(
    members: &mut Members<'_>,
    secrets: &[Secret<'_>],
    tolerance_ms: u64,
) -> SignatureCheck {
    let (mut keys, mut public_keys) = (Vec::new(), Vec::new());
    for (at, secret) in secrets {
        if secret.starts_with("whsk_") {
            let message = "begins with `whsk_`: that is the sender's own key, which signs; give the \
                           public one, `whpk_` and base64";
            members.wrong("secret", message);
        } else if let Some(key) = secret.strip_prefix("whpk_") {
            match LENIENT.decode(key).ok().and_then(|it| PublicKey::new(&it)) {
                Some(key) => public_keys.push((*at, key)),
                None => members.wrong("secret", "must have 32 bytes in base64 after `whpk_`"),
            }
        } else {
            match LENIENT.decode(secret.strip_prefix("whsec_").unwrap_or(secret)) {
                Ok(key) if !key.is_empty() => keys.push((*at, key)),
                Ok(_) | Err(_) => members.wrong(
                    "secret",
                    "must be `whsec_` and base64, or `whpk_` and base64 for a public key",
                ),
            }
        }
    }
    let content = || vec![Part::Id, DOT, Part::Timestamp, DOT, Part::Body];
    SignatureCheck {
        // Svix had these names before there was a standard, and many of its users still have.
        headers: names(&["webhook-signature", "svix-signature"]),
        layout: Layout::Versioned,
        encoding: Encoding::Base64,
        versions: vec![
            Version { name: "v1", content: content(), proof: mac_keys(Algorithm::Sha256, &keys) },
            Version { name: "v1a", content: content(), proof: Proof::Ed25519(public_keys) },
        ],
        stamp: Stamp::Headers(names(&["webhook-timestamp", "svix-timestamp"])),
        ids: names(&["webhook-id", "svix-id"]),
        tolerance_ms,
    }
}

fn discord(
    members: &mut Members<'_>,
    name: &str,
    secrets: &[Secret<'_>],
    tolerance_ms: u64,
) -> SignatureCheck {
    let mut keys = Vec::new();
    for (at, secret) in secrets {
        match hex::decode(secret).ok().and_then(|it| PublicKey::new(&it)) {
            Some(key) => keys.push((*at, key)),
            None => members.wrong(
                name,
                format!(
                    "must be the public key of the application, {} hexadecimal digits",
                    2 * ed25519::KEY
                ),
            ),
        }
    }
    SignatureCheck {
        headers: names(&["X-Signature-Ed25519"]),
        layout: Layout::One { prefix: "".into() },
        encoding: Encoding::Hex,
        versions: vec![Version {
            name: "",
            content: vec![Part::Timestamp, Part::Body],
            proof: Proof::Ed25519(keys),
        }],
        stamp: Stamp::Headers(names(&["X-Signature-Timestamp"])),
        ids: Vec::new(),
        tolerance_ms,
    }
}

fn hook0(secrets: &[Secret<'_>], tolerance_ms: u64) -> SignatureCheck {
    let version = |name, content| Version {
        name,
        content,
        proof: mac_keys(Algorithm::Sha256, &as_bytes(secrets)),
    };
    let with_headers =
        vec![Part::Timestamp, DOT, Part::ListedNames, DOT, Part::ListedValues, DOT, Part::Body];
    SignatureCheck {
        headers: names(&["X-Hook0-Signature"]),
        layout: Layout::Pairs,
        encoding: Encoding::Hex,
        versions: vec![
            version("v1", with_headers),
            version("v0", vec![Part::Timestamp, DOT, Part::Body]),
        ],
        stamp: Stamp::Pair,
        ids: Vec::new(),
        tolerance_ms,
    }
}

fn any_mac(
    members: &mut Members<'_>,
    secrets: &[Secret<'_>],
    tolerance_ms: u64,
    shape: &mut Shape,
) -> SignatureCheck {
    const ALGORITHMS: [(&str, Algorithm); 3] =
        [("sha256", Algorithm::Sha256), ("sha1", Algorithm::Sha1), ("sha512", Algorithm::Sha512)];
    const ENCODINGS: [(&str, Encoding); 2] = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
    if !members.has("header") {
        members.wrong("header", "is missing; it must be the header that has the signature");
    }
    let header = members.header("header").unwrap_or_default();
    let algorithm = members.choice("algorithm", &ALGORITHMS, Algorithm::Sha256);
    let encoding = members.choice("encoding", &ENCODINGS, Encoding::Hex);
    let prefix = members.any_text("prefix").unwrap_or_default().to_owned();
    let keys = secret_bytes(members, secrets);
    let timestamp = members.header("timestamp_header");
    let id = members.header("id_header");
    if timestamp.is_none() && members.has("tolerance_seconds") {
        members.wrong("tolerance_seconds", "has no meaning without `timestamp_header`");
    }
    let usual = if timestamp.is_some() { "{timestamp}.{body}" } else { "{body}" };
    let content = match content::template(members.text("signed").unwrap_or(usual)) {
        Ok(content) => content,
        Err(message) => {
            members.wrong("signed", message);
            Vec::new()
        }
    };
    for (part, name, word, given) in [
        (Part::Timestamp, "timestamp_header", "{timestamp}", timestamp.is_some()),
        (Part::Id, "id_header", "{id}", id.is_some()),
    ] {
        match (content.contains(&part), given) {
            (true, false) if !members.has(name) => {
                members
                    .wrong("signed", format!("has `{word}`, so `{name}` must say where that is"));
            }
            (false, true) if part == Part::Timestamp && !content.is_empty() => {
                let message = format!("has no `{word}`: a time that is not signed proves nothing");
                members.wrong("signed", message);
            }
            (true | false, true | false) => {}
        }
    }
    let id = id.map(Name::Owned);
    if let Some(id) = &id
        && !shape.own_dedup_key
    {
        shape.dedup_key = vec![Selector::Header(id.clone())];
    }
    let signs_id = content.contains(&Part::Id);
    SignatureCheck {
        headers: vec![header.into()],
        layout: Layout::One { prefix: prefix.into() },
        encoding,
        versions: vec![Version { name: "", content, proof: mac_keys(algorithm, &keys) }],
        stamp: timestamp.map_or(Stamp::None, |it| Stamp::Headers(vec![it.into()])),
        ids: id.filter(|_| signs_id).into_iter().collect(),
        tolerance_ms,
    }
}

fn secret_bytes(members: &mut Members<'_>, secrets: &[Secret<'_>]) -> Vec<(usize, Vec<u8>)> {
    #[derive(Clone, Copy)]
    enum Form {
        Text,
        Hex,
        Base64,
    }
    const FORMS: [(&str, Form); 3] =
        [("text", Form::Text), ("hex", Form::Hex), ("base64", Form::Base64)];
    let form = members.choice("secret_encoding", &FORMS, Form::Text);
    let mut keys = Vec::with_capacity(secrets.len());
    for (at, secret) in secrets {
        let key = match form {
            Form::Text => Some(secret.as_bytes().to_vec()),
            Form::Hex => hex::decode(secret).ok(),
            Form::Base64 => LENIENT.decode(secret).ok(),
        };
        match key.filter(|it| !it.is_empty()) {
            Some(key) => keys.push((*at, key)),
            None => members.wrong("secret", "is not written as `secret_encoding` says"),
        }
    }
    keys
}

fn token_place(members: &mut Members<'_>) -> Place {
    let given = ["header", "user", "query"].iter().filter(|it| members.has(it)).count();
    if given > 1 {
        members.wrong_here("give one of `header`, `user` and `query`: a token is in one place");
    }
    if members.has("prefix") && (members.has("user") || members.has("query")) {
        members.wrong("prefix", "has a meaning for a `header` only");
    }
    if let Some(user) = members.text("user") {
        if user.contains(':') && !is_reference(user) {
            members.wrong("user", "must not contain `:`, which ends it in basic authentication");
        }
        return Place::Basic { user: user.to_owned() };
    }
    if let Some(name) = members.text("query") {
        return Place::Query { name: name.to_owned() };
    }
    let name = members.header("header").unwrap_or_else(|| "Authorization".to_owned());
    let usual = if name.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
    let prefix = members.any_text("prefix").unwrap_or(usual).to_owned();
    Place::Header { name: name.into(), prefix }
}

// What the event is.

fn shape_of(members: &mut Members<'_>, scheme: Option<&Scheme>, shape: &mut Shape) {
    if let Some(value) = members.get("event_key") {
        shape.own_event_key = true;
        let parts = selectors(members, shape, "event_key", value, true);
        shape.event_key = vec![parts];
    } else if let Some(scheme) = scheme {
        for parts in scheme.event_key {
            let parts = parts.iter().filter_map(|it| origin(shape, *it)).collect();
            shape.event_key.push(parts);
        }
    }
    match members.get("dedup_key") {
        Some(Value::Bool(false)) => shape.own_dedup_key = true,
        Some(value) => {
            shape.own_dedup_key = true;
            shape.dedup_key = selectors(members, shape, "dedup_key", value, false);
        }
        None => {
            for from in scheme.map_or(&[][..], |it| it.dedup_key) {
                let from = origin(shape, *from);
                shape.dedup_key.extend(from);
            }
        }
    }
    if let Some(value) = members.get("sync_id") {
        shape.sync_id = selectors(members, shape, "sync_id", value, false).pop();
    }
}

fn origin(shape: &mut Shape, origin: Origin) -> Option<Selector> {
    Some(match origin {
        Origin::Header(name) => Selector::Header(name.into()),
        Origin::Pointer(pointer) => {
            Selector::Pointer(shape.look_for(Pointer::parse(pointer).ok()?))
        }
    })
}

/// `{header: NAME}`, `{pointer: POINTER}`, and for an event key `{value: TEXT}` or header and
/// pointer together.
fn selectors(
    members: &mut Members<'_>,
    shape: &mut Shape,
    name: &str,
    value: &Value,
    is_event_key: bool,
) -> Vec<Selector> {
    let wanted = match (is_event_key, name) {
        (true, _) => {
            "must be `{header: NAME}`, `{pointer: /a/b}`, both of them, or `{value: TEXT}`"
        }
        (false, "dedup_key") => "must be `{header: NAME}`, `{pointer: /a/b}` or false",
        (false, _) => "must be `{header: NAME}` or `{pointer: /a/b}`",
    };
    let empty = Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    let mut inner = Members::new(&format!("verify.{name}"), fields);
    let allowed: &[&str] =
        if is_event_key { &["header", "pointer", "value"] } else { &["header", "pointer"] };
    inner.only(allowed, "here");
    let mut found = Vec::new();
    if is_event_key && let Some(text) = inner.text("value") {
        found.push(Selector::Fixed(text.to_owned()));
    }
    if let Some(header) = inner.header("header") {
        found.push(Selector::Header(header.into()));
    }
    if let Some(text) = inner.text("pointer") {
        match Pointer::parse(text) {
            Ok(pointer) => found.push(Selector::Pointer(shape.look_for(pointer))),
            Err(message) => inner.wrong("pointer", message),
        }
    }
    let given = ["header", "pointer", "value"].map(|it| inner.has(it));
    let right = match given {
        [true, false, false] | [false, true, false] => true,
        [false, false, true] | [true, true, false] => is_event_key,
        [_, _, _] => false,
    };
    if !right {
        inner.wrong_here(wanted);
    }
    members.problems.extend(inner.problems);
    found
}

fn handshake(scheme: Option<&Scheme>, shape: &mut Shape) -> Handshake {
    let mut at = |pointer| Some(shape.look_for(Pointer::parse(pointer).ok()?));
    let handshake = match scheme.map(|it| (it.name, it.answer)) {
        Some(("slack", _)) => at("/type")
            .zip(at("/challenge"))
            .map(|(kind, challenge)| Handshake::Slack { kind, challenge }),
        Some((_, Answer::Discord)) => at("/type")
            .zip(at("/event"))
            .zip(at("/id"))
            .map(|((kind, event), id)| Handshake::Discord { kind, event, id }),
        Some((_, Answer::Ids | Answer::Empty)) | None => None,
    };
    handshake.unwrap_or(Handshake::None)
}

fn cloud_events(members: &mut Members<'_>) -> CloudEvents {
    match members.get("cloudevents") {
        None => CloudEvents::Recognised,
        Some(Value::Bool(true)) => CloudEvents::Required,
        Some(Value::Bool(false)) => CloudEvents::Never,
        Some(_) => {
            let message = "must be true, where requests are CloudEvents or refused, or false, where \
                           they are never taken for any";
            members.wrong("cloudevents", message);
            CloudEvents::Recognised
        }
    }
}
