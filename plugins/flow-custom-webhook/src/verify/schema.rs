//! The JSON Schema of `verify`, for people, forms and editors.
//!
//! It describes and does not judge: it stands beside a branch that takes anything, because a schema
//! would say less than `config` about what is wrong, and hide the rest of it.

use serde_json::{Value, json};

use super::config::{MOST_SECRETS, MOST_TOLERANCE_S, TOLERANCE_S};
use super::schemes::SCHEMES;

/// The schema.
pub(crate) fn schema() -> Value {
    let schemes: Vec<&str> = SCHEMES.iter().map(|it| it.name).collect();
    let selector = |description: &str| {
        json!({
            "type": "object",
            "description": description,
            "properties": {
                "header": { "type": "string", "description": "A header of the request." },
                "pointer": {
                    "type": "string", "pattern": "^/",
                    "description": "A JSON pointer into the payload, such as `/event/type`."
                }
            },
            "additionalProperties": false
        })
    };
    let mut event_key = selector(
        "What follows `custom:` in the type of the event. A header, a place in the payload, both \
         with a dot between them, or always the same text. What the request does not have is left \
         out; if nothing is left, the type is `custom:received`. Each scheme has a default.",
    );
    event_key["properties"]["value"] =
        json!({ "type": "string", "minLength": 1, "description": "Always this." });
    let mut dedup_key = selector(
        "Requests with the same key are stored once. Each scheme has a default: the id that the \
         sender gives a delivery. False: none.",
    );
    dedup_key["type"] = json!(["object", "boolean"]);
    let secret = json!({ "type": "string", "minLength": 1 });
    let strict = json!({
        "type": "object",
        "required": ["scheme"],
        "properties": {
            "scheme": { "enum": schemes, "description": "Who sends, or how requests are signed." },
            "secret": {
                "description": "What the sender signs with, best as `${{ keyrings.NAME }}`. Of \
                                several any one suffices, so that a secret can be changed. For \
                                `standard-webhooks`: `whsec_...`, or `whpk_...` for a public key.",
                "anyOf": [
                    secret,
                    { "type": "array", "items": secret, "minItems": 1, "maxItems": MOST_SECRETS }
                ]
            },
            "public_key": {
                "description": "`discord`: the public key of the application, instead of `secret`.",
                "type": "string"
            },
            "tolerance_seconds": {
                "type": "integer", "minimum": 1, "maximum": MOST_TOLERANCE_S, "default": TOLERANCE_S,
                "description": "How far the signed time may be from now, in both directions. For \
                                schemes that sign one."
            },
            "event_key": event_key,
            "sync_id": selector("Events with the same text here are run in order."),
            "dedup_key": dedup_key,
            "cloudevents": {
                "type": "boolean",
                "description": "True: requests are CloudEvents 1.0 in one of the three HTTP modes, \
                                or refused, and their `OPTIONS` handshake is answered. False: they \
                                are never taken for CloudEvents. Otherwise those are that say so."
            },
            "header": {
                "type": "string",
                "description": "`hmac`: the header of the signature. `token`: the header of the \
                                token, `Authorization` if not given."
            },
            "prefix": {
                "type": "string",
                "description": "What stands before the signature or token in its header, such as \
                                `sha256=`. For `Authorization` it is `Bearer ` if not given."
            },
            "user": {
                "type": "string",
                "description": "`token`: the user name of basic authentication; `secret` is the \
                                password."
            },
            "query": {
                "type": "string",
                "description": "`token`: the parameter of the query that is the token."
            },
            "algorithm": {
                "enum": ["sha256", "sha1", "sha512"], "default": "sha256", "description": "`hmac`."
            },
            "encoding": {
                "enum": ["hex", "base64"], "default": "hex",
                "description": "`hmac`: how the signature is written."
            },
            "secret_encoding": {
                "enum": ["text", "hex", "base64"], "default": "text",
                "description": "`hmac`: how the secret is written."
            },
            "timestamp_header": {
                "type": "string",
                "description": "`hmac`: the header of the signed time, in seconds or milliseconds of \
                                the Unix epoch or as RFC 3339. Without one a captured request can be \
                                sent again."
            },
            "id_header": {
                "type": "string",
                "description": "`hmac`: the header of the delivery's id, which is the dedup key too."
            },
            "signed": {
                "type": "string", "default": "{body}",
                "description": "`hmac`: what is signed, of {timestamp}, {id}, {body} and text \
                                between them. `{timestamp}.{body}` with `timestamp_header`."
            }
        },
        "additionalProperties": false
    });
    json!({
        "title": "Verify",
        "description": "Verifies requests of a known sender, or by a known method, on their raw \
                        bytes, and makes events of them. A policy beside it shapes the event.",
        "anyOf": [strict, {}]
    })
}

/// Configurations that work.
pub(crate) fn examples() -> Vec<Value> {
    vec![
        json!({ "verify": { "scheme": "github", "secret": "${{ keyrings.github }}" } }),
        json!({ "verify": {
            "scheme": "github",
            "secret": ["${{ keyrings.old }}", "${{ keyrings.new }}"],
            "event_key": { "header": "X-GitHub-Event", "pointer": "/action" },
            "sync_id": { "pointer": "/repository/full_name" }
        } }),
        json!({ "verify": {
            "scheme": "standard-webhooks",
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "tolerance_seconds": 60
        } }),
        json!({ "verify": {
            "scheme": "discord",
            "public_key": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        } }),
        json!({ "verify": {
            "scheme": "hmac",
            "secret": "EnterYourRandomSecretHere",
            "header": "X-Signature",
            "algorithm": "sha512",
            "encoding": "base64",
            "timestamp_header": "X-Timestamp",
            "signed": "{timestamp}.{body}",
            "event_key": { "pointer": "/kind" },
            "dedup_key": { "header": "X-Delivery" }
        } }),
        json!({ "verify": {
            "scheme": "token",
            "secret": "${{ keyrings.alertmanager }}",
            "event_key": { "value": "alert" }
        } }),
        json!({ "verify": {
            "scheme": "token",
            "user": "grafana",
            "secret": "${{ keyrings.grafana }}",
            "dedup_key": false
        } }),
        json!({ "verify": {
            "scheme": "token",
            "query": "token",
            "secret": "${{ keyrings.eventgrid }}",
            "cloudevents": true
        } }),
        json!({
            "verify": { "scheme": "stripe", "secret": "${{ keyrings.stripe }}" },
            "policy": "package rego\n\noutput = {\"event\": input.request.body.data.object, \
                       \"event_key\": input.request.body.type} { true }\n"
        }),
    ]
}
