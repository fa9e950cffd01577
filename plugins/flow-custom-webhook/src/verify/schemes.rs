//! The table of senders: what each signs, how it names its events, and what identifies a delivery.
//!
//! Facts only; `config` makes checks of them. Where a sender can name an event in several ways, the
//! first that is there counts.

use std::borrow::Cow;

use super::content::Part;
use super::keys::Algorithm;
use super::presented::Encoding;

/// A sender that is known by name.
pub(super) struct Scheme {
    pub(super) name: &'static str,
    pub(super) proof: ProofOf,
    /// Members of `verify` beside those that every scheme has.
    pub(super) members: &'static [&'static str],
    /// Alternatives, each of parts with a dot between them.
    pub(super) event_key: &'static [&'static [Origin]],
    pub(super) dedup_key: &'static [Origin],
    pub(super) answer: Answer,
    pub(super) form_payload: bool,
}

/// Where a text of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Header(&'static str),
    Pointer(&'static str),
}

/// How a sender proves who it is.
pub(super) enum ProofOf {
    /// An HMAC.
    Mac(MacFacts),
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks,
    /// The same, or a token in the clear.
    Gitlab,
    /// Ed25519 with a public key.
    Discord,
    /// A signature that says which headers it covers.
    Hook0,
    /// As configured.
    AnyMac,
    /// A token in the clear, where it is configured.
    Token,
}

/// How a sender signs by HMAC.
pub(super) struct MacFacts {
    /// The first that is there.
    pub(super) headers: &'static [&'static str],
    pub(super) layout: LayoutOf,
    pub(super) encoding: Encoding,
    pub(super) algorithm: Algorithm,
    pub(super) content: &'static [Part],
    pub(super) stamp: StampOf,
}

/// How the value of the header is laid out.
pub(super) enum LayoutOf {
    /// One signature behind this prefix.
    One(&'static str),
    /// `t=1,v1=2`.
    Pairs,
}

/// Where the time of signing is.
pub(super) enum StampOf {
    /// Not signed.
    None,
    Header(&'static str),
    /// `t=`.
    Pair,
}

/// What the sender wants to hear when an event is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What the daemon answers: 200 and the ids of the events.
    Ids,
    /// 200 and nothing: Slack shows bodies to people.
    Empty,
    /// 204 for webhook events.
    Discord,
}

use Origin::{Header, Pointer};

const BODY: &[Part] = &[Part::Body];
const V0: Part = Part::Text(Cow::Borrowed("v0:"));
const COLON: Part = Part::Text(Cow::Borrowed(":"));
/// What stands between the pieces of most.
pub(super) const DOT: Part = Part::Text(Cow::Borrowed("."));
const TOLERANCE: &[&str] = &["tolerance_seconds"];

/// All senders that are known.
pub(super) const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "github",
        proof: hex_of_body(&["X-Hub-Signature-256"], "sha256="),
        members: &[],
        event_key: &[&[Header("X-GitHub-Event")]],
        dedup_key: &[Header("X-GitHub-Delivery")],
        answer: Answer::Ids,
        form_payload: true,
    },
    Scheme {
        name: "gitlab",
        proof: ProofOf::Gitlab,
        members: TOLERANCE,
        event_key: &[&[Pointer("/object_kind")], &[Pointer("/event_name")]],
        dedup_key: &[Header("webhook-id"), Header("Idempotency-Key")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "gitea",
        proof: hex_of_body(&["X-Gitea-Signature"], ""),
        members: &[],
        event_key: &[&[Header("X-Gitea-Event")]],
        dedup_key: &[Header("X-Gitea-Delivery")],
        answer: Answer::Ids,
        form_payload: true,
    },
    Scheme {
        name: "forgejo",
        proof: hex_of_body(&["X-Forgejo-Signature", "X-Gitea-Signature"], ""),
        members: &[],
        event_key: &[&[Header("X-Forgejo-Event")], &[Header("X-Gitea-Event")]],
        dedup_key: &[Header("X-Forgejo-Delivery"), Header("X-Gitea-Delivery")],
        answer: Answer::Ids,
        form_payload: true,
    },
    Scheme {
        name: "stripe",
        proof: ProofOf::Mac(MacFacts {
            headers: &["Stripe-Signature"],
            layout: LayoutOf::Pairs,
            encoding: Encoding::Hex,
            algorithm: Algorithm::Sha256,
            content: &[Part::Timestamp, DOT, Part::Body],
            stamp: StampOf::Pair,
        }),
        members: TOLERANCE,
        event_key: &[&[Pointer("/type")]],
        dedup_key: &[Pointer("/id")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "slack",
        proof: ProofOf::Mac(MacFacts {
            headers: &["X-Slack-Signature"],
            layout: LayoutOf::One("v0="),
            encoding: Encoding::Hex,
            algorithm: Algorithm::Sha256,
            content: &[V0, Part::Timestamp, COLON, Part::Body],
            stamp: StampOf::Header("X-Slack-Request-Timestamp"),
        }),
        members: TOLERANCE,
        // Of the events API, of a slash command, of an interaction.
        event_key: &[&[Pointer("/event/type")], &[Pointer("/command/0")], &[Pointer("/type")]],
        dedup_key: &[Pointer("/event_id")],
        answer: Answer::Empty,
        form_payload: true,
    },
    Scheme {
        name: "shopify",
        proof: ProofOf::Mac(MacFacts {
            headers: &["X-Shopify-Hmac-Sha256"],
            layout: LayoutOf::One(""),
            encoding: Encoding::Base64,
            algorithm: Algorithm::Sha256,
            content: BODY,
            stamp: StampOf::None,
        }),
        members: &[],
        event_key: &[&[Header("X-Shopify-Topic")]],
        dedup_key: &[Header("X-Shopify-Webhook-Id")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "standard-webhooks",
        proof: ProofOf::StandardWebhooks,
        members: TOLERANCE,
        event_key: &[&[Pointer("/type")]],
        dedup_key: &[Header("webhook-id"), Header("svix-id")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "pagerduty",
        proof: ProofOf::Mac(MacFacts {
            headers: &["X-PagerDuty-Signature"],
            layout: LayoutOf::Pairs,
            encoding: Encoding::Hex,
            algorithm: Algorithm::Sha256,
            content: BODY,
            stamp: StampOf::None,
        }),
        members: &[],
        event_key: &[&[Pointer("/event/event_type")]],
        dedup_key: &[Pointer("/event/id")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "zendesk",
        proof: ProofOf::Mac(MacFacts {
            headers: &["X-Zendesk-Webhook-Signature"],
            layout: LayoutOf::One(""),
            encoding: Encoding::Base64,
            algorithm: Algorithm::Sha256,
            content: &[Part::Timestamp, Part::Body],
            stamp: StampOf::Header("X-Zendesk-Webhook-Signature-Timestamp"),
        }),
        members: TOLERANCE,
        event_key: &[&[Pointer("/type")]],
        dedup_key: &[Header("X-Zendesk-Webhook-Invocation-Id")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "discord",
        proof: ProofOf::Discord,
        members: &["public_key", "tolerance_seconds"],
        event_key: &[&[Pointer("/event/type")], &[Pointer("/data/name")]],
        dedup_key: &[Pointer("/id")],
        answer: Answer::Discord,
        form_payload: false,
    },
    Scheme {
        name: "customerio",
        proof: ProofOf::Mac(MacFacts {
            headers: &["X-CIO-Signature"],
            layout: LayoutOf::One(""),
            encoding: Encoding::Hex,
            algorithm: Algorithm::Sha256,
            content: &[V0, Part::Timestamp, COLON, Part::Body],
            stamp: StampOf::Header("X-CIO-Timestamp"),
        }),
        members: TOLERANCE,
        event_key: &[&[Pointer("/object_type"), Pointer("/metric")]],
        dedup_key: &[Pointer("/event_id")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "hook0",
        proof: ProofOf::Hook0,
        members: TOLERANCE,
        event_key: &[&[Header("X-Event-Type")]],
        dedup_key: &[Header("X-Event-Id")],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "hmac",
        proof: ProofOf::AnyMac,
        members: &[
            "header",
            "algorithm",
            "encoding",
            "prefix",
            "secret_encoding",
            "timestamp_header",
            "id_header",
            "signed",
            "tolerance_seconds",
        ],
        event_key: &[],
        dedup_key: &[],
        answer: Answer::Ids,
        form_payload: false,
    },
    Scheme {
        name: "token",
        proof: ProofOf::Token,
        members: &["header", "prefix", "user", "query"],
        event_key: &[],
        dedup_key: &[],
        answer: Answer::Ids,
        form_payload: false,
    },
];

const fn hex_of_body(headers: &'static [&'static str], prefix: &'static str) -> ProofOf {
    ProofOf::Mac(MacFacts {
        headers,
        layout: LayoutOf::One(prefix),
        encoding: Encoding::Hex,
        algorithm: Algorithm::Sha256,
        content: BODY,
        stamp: StampOf::None,
    })
}

/// A sender by its name.
pub(super) fn find(name: &str) -> Option<&'static Scheme> {
    SCHEMES.iter().find(|it| it.name == name)
}
