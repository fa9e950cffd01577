//! What each error means that Slack documents for the methods called here: is the configuration to be
//! mended, is it worth another try, or will this message never go out.
//!
//! Whatever is not known is permanent and told by its name: it is about this message, as far as anybody
//! knows, and must not hold up the others.

use mortise_plugin::{Fault, FaultKind};

/// How an error is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Somebody has to mend something: the text says what.
    Config(&'static str),
    /// Slack is busy or in trouble.
    Transient,
    /// The message is the matter.
    Permanent(&'static str),
    /// The thread is the matter; the message can stand alone.
    Thread,
}

use Meaning::{Config, Permanent, Thread, Transient};

const TOKEN: &str = "the bot token is wrong, revoked or expired, or of a workspace that is gone; set the \
                     one that the app shows under OAuth & Permissions";
const SCOPES: &str = "the app lacks a right; add the scope `chat:write`, install the app again and set the \
                      new token";
const POLICY: &str = "a rule of the workspace does not let the bot post there; ask its administrators, or \
                      choose another channel";
const OURS: &str = "Slack does not understand the request; that is a fault of this plugin";

/// By name. Those of `chat.postMessage`, then what `auth.test` and `conversations.info` have beside.
pub(crate) const ERRORS: [(&str, Meaning); 66] = [
    ("access_denied", Config(POLICY)),
    (
        "accesslimited",
        Config("the workspace does not let this host's network in; ask its administrators"),
    ),
    ("account_inactive", Config(TOKEN)),
    ("as_user_not_supported", Permanent(OURS)),
    ("attachment_payload_limit_exceeded", Permanent("the message is too long")),
    ("cannot_reply_to_message", Thread),
    (
        "channel_not_found",
        Config(
            "there is no such channel, or it is private and the bot is not in it; check `default_channel`, or \
         invite the bot",
        ),
    ),
    ("deprecated_endpoint", Permanent(OURS)),
    ("duplicate_channel_not_found", Permanent(OURS)),
    ("duplicate_message_not_found", Permanent(OURS)),
    ("ekm_access_denied", Config(POLICY)),
    (
        "enterprise_is_restricted",
        Config("the token is of an organization; set that of a workspace"),
    ),
    ("external_channel_migrating", Transient),
    ("fatal_error", Transient),
    ("internal_error", Transient),
    ("invalid_arg_name", Permanent(OURS)),
    ("invalid_arguments", Permanent(OURS)),
    ("invalid_array_arg", Permanent(OURS)),
    ("invalid_auth", Config(TOKEN)),
    ("invalid_blocks", Permanent("Slack does not take the message as it is written")),
    ("invalid_blocks_format", Permanent("Slack does not take the message as it is written")),
    ("invalid_charset", Permanent(OURS)),
    ("invalid_form_data", Permanent(OURS)),
    ("invalid_metadata_format", Permanent(OURS)),
    ("invalid_metadata_schema", Permanent(OURS)),
    ("invalid_post_type", Permanent(OURS)),
    ("invalid_thread_ts", Thread),
    ("is_archived", Config("the channel is archived; choose another, or bring it back")),
    ("is_inactive", Config("the channel is frozen; choose another")),
    ("markdown_text_conflict", Permanent(OURS)),
    ("message_limit_exceeded", Config("the workspace has reached its limit of messages")),
    ("message_not_found", Thread),
    (
        "messages_tab_disabled",
        Config("the app does not take messages: switch on its Messages Tab, or choose a channel"),
    ),
    ("metadata_must_be_sent_from_app", Permanent(OURS)),
    ("metadata_too_large", Permanent(OURS)),
    ("method_deprecated", Permanent(OURS)),
    (
        "method_not_supported_for_channel_type",
        Config("the bot cannot look at this kind of channel"),
    ),
    ("missing_argument", Permanent(OURS)),
    ("missing_post_type", Permanent(OURS)),
    ("missing_scope", Config(SCOPES)),
    ("msg_blocks_too_long", Permanent("the message is too long")),
    ("msg_too_long", Permanent("the message is too long")),
    ("no_permission", Config("the bot may not post there; invite it to the channel")),
    ("no_text", Permanent("the message is empty")),
    ("not_allowed_token_type", Config("the token is of another kind; set the bot's, `xoxb-`")),
    ("not_authed", Config(TOKEN)),
    (
        "not_in_channel",
        Config(
            "the bot is not in the channel; invite it, or give the app the scope `chat:write.public`",
        ),
    ),
    ("org_login_required", Transient),
    ("rate_limited", Transient),
    ("ratelimited", Transient),
    ("request_timeout", Transient),
    ("restricted_action", Config(POLICY)),
    ("restricted_action_non_threadable_channel", Thread),
    (
        "restricted_action_read_only_channel",
        Config("nobody can post to this channel; choose another"),
    ),
    ("restricted_action_thread_locked", Thread),
    (
        "restricted_action_thread_only_channel",
        Config("only replies can be posted to this channel; choose another"),
    ),
    ("service_unavailable", Transient),
    (
        "slack_connect_file_link_sharing_blocked",
        Permanent("administrators do not let links to files be shared with other organizations"),
    ),
    (
        "team_access_not_granted",
        Config("the app is not let into the workspace of this channel; ask its administrators"),
    ),
    ("team_added_to_org", Transient),
    ("thread_not_found", Thread),
    ("token_expired", Config(TOKEN)),
    ("token_revoked", Config(TOKEN)),
    ("too_many_attachments", Permanent(OURS)),
    ("too_many_contact_cards", Permanent(OURS)),
    (
        "two_factor_setup_required",
        Config("the token's owner has to set up two-factor authentication first"),
    ),
];

/// What an error means; nothing when it is not known.
pub(crate) fn meaning(error: &str) -> Option<Meaning> {
    let found = ERRORS.iter().find(|(name, _)| *name == error);
    found.map(|(_, meaning)| *meaning)
}

/// The fault of an error. `details` is what Slack says beside, in one line.
pub(crate) fn fault(error: &str, details: &str, retry_after_ms: Option<u64>) -> Fault {
    let details = if details.is_empty() { String::new() } else { format!(" ({details})") };
    let of = |kind, what: &str| Fault::new(kind, format!("Slack says `{error}`{details}: {what}"));
    match meaning(error) {
        Some(Config(what)) => of(FaultKind::Config, what),
        Some(Transient) => of(FaultKind::Transient, "it may work later").not_before(retry_after_ms),
        Some(Permanent(what)) => of(FaultKind::Permanent, what),
        Some(Thread) => of(FaultKind::Permanent, "the thread takes no replies"),
        None => of(FaultKind::Permanent, "this error is not known here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_has_every_kind() {
        let names: Vec<&str> = ERRORS.iter().map(|it| it.0).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        for (error, kind) in [
            ("invalid_auth", FaultKind::Config),
            ("channel_not_found", FaultKind::Config),
            ("ratelimited", FaultKind::Transient),
            ("internal_error", FaultKind::Transient),
            ("team_added_to_org", FaultKind::Transient),
            ("msg_too_long", FaultKind::Permanent),
            ("invalid_blocks", FaultKind::Permanent),
            ("too_many_contact_cards", FaultKind::Permanent),
            ("brand_new_error", FaultKind::Permanent),
        ] {
            let fault = fault(error, "more", Some(5));
            assert_eq!(fault.kind, kind, "{error}");
            assert!(fault.message.starts_with(&format!("Slack says `{error}` (more): ")));
            let waits = kind == FaultKind::Transient;
            assert_eq!(fault.retry_after_ms, waits.then_some(5), "{error}");
        }
    }
}
