//! Occurrences: things worth telling somebody of. The table of all triggers is here, with what each of
//! them says by default and which members it has; so are the selectors that subscriptions name them by.
//!
//! An occurrence holds no secret: it is written from what people may see, and sent to others.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::event::Cause;
use super::id::{IntegrationId, SnapInId};
use super::scope::Scope;

/// Bytes of the members of an occurrence, as JSON.
pub const MOST_OCCURRENCE_BYTES: usize = 16 * 1024;
/// Characters of a text in an occurrence that somebody else wrote, such as the message of an error.
pub const MOST_TEXT: usize = 2_000;
/// Characters of the id of a work.
pub const MOST_WORK: usize = 200;
/// Characters of the kind of a milestone, and of the name of what is published.
const MOST_NAME: usize = 64;

/// How much it matters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to do.
    #[default]
    Info,
    /// Something went well.
    Success,
    /// Somebody should look at it in the morning.
    Warning,
    /// Something does not work.
    Error,
}

impl Level {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Success => "success",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

macro_rules! triggers {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $family:ident, $level:ident, $title:literal, $body:literal;)*) => {
        /// What happened.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Trigger {
            $($(#[$doc])* $name,)*
            /// A longer piece of work has come to a point that its function thinks worth telling.
            Milestone(String),
            /// Somebody published it.
            Custom(String),
        }

        impl Trigger {
            /// Those with a fixed name.
            pub const FIXED: &[Trigger] = &[$(Trigger::$name),*];

            fn fixed_text(&self) -> Option<&'static str> {
                match self {
                    $(Trigger::$name => Some($text),)*
                    Trigger::Milestone(_) | Trigger::Custom(_) => None,
                }
            }

            /// What it belongs to.
            pub fn family(&self) -> Family {
                match self {
                    $(Trigger::$name => Family::$family,)*
                    Trigger::Milestone(_) => Family::Milestone,
                    Trigger::Custom(_) => Family::Custom,
                }
            }

            /// How much it matters, unless it says so itself.
            pub fn level(&self) -> Level {
                match self {
                    $(Trigger::$name => Level::$level,)*
                    Trigger::Milestone(_) | Trigger::Custom(_) => Level::Info,
                }
            }

            /// Title and text of a message about it, as templates.
            pub fn template(&self) -> (&'static str, &'static str) {
                match self {
                    $(Trigger::$name => ($title, $body),)*
                    Trigger::Milestone(_) => ("{{work}}: {{kind}}", "{{message}}"),
                    Trigger::Custom(_) => ("{{title}}", "{{message}}"),
                }
            }
        }
    };
}

triggers! {
    /// A snap-in functions.
    SnapInActivated = "snap_in.activated", SnapIn, Success, "{{scope}} is active", "";
    /// A snap-in was paused.
    SnapInDeactivated = "snap_in.deactivated", SnapIn, Info, "{{scope}} is paused", "";
    /// A snap-in does not function.
    SnapInFailed = "snap_in.failed", SnapIn, Error, "{{scope}} has failed", "{{reason}}";
    /// A snap-in is of another version.
    SnapInUpgraded = "snap_in.upgraded", SnapIn, Info, "{{scope}} is of another version",
        "It was {{previous_version}} and is {{version}} now.";
    /// A snap-in is gone.
    SnapInDeleted = "snap_in.deleted", SnapIn, Info, "{{scope}} was deleted", "";
    /// A run succeeded. Written down only while somebody subscribes to it.
    RunSucceeded = "run.succeeded", Run, Success, "{{function}} of {{scope}} succeeded", "";
    /// A run failed for good.
    RunFailed = "run.failed", Run, Error, "{{function}} of {{scope}} failed", "{{error.message}}";
    /// An attempt failed, and there is another. Written down only while somebody subscribes to it.
    RunWillRetry = "run.will_retry", Run, Warning, "{{function}} of {{scope}} is tried again",
        "{{error.message}}";
    /// A run used up its attempts.
    RunDead = "run.dead", Run, Error, "{{function}} of {{scope}} gave up after {{attempts}} attempts",
        "{{error.message}}";
    /// An event source takes no events: somebody blocked it, or it does not work.
    SourceBlocked = "source.blocked", Source, Error, "The source {{source_name}} of {{scope}} is blocked",
        "{{reason}}";
    /// An event source was paused.
    SourcePaused = "source.paused", Source, Info, "The source {{source_name}} of {{scope}} is paused", "";
    /// An event source takes events again.
    SourceResumed = "source.resumed", Source, Success,
        "The source {{source_name}} of {{scope}} takes events again", "";
    /// An outgoing webhook takes nothing at the moment.
    WebhookDegraded = "webhook.degraded", Webhook, Error, "The webhook to {{host}} is degraded", "{{reason}}";
    /// An outgoing webhook takes events again.
    WebhookRecovered = "webhook.recovered", Webhook, Success, "The webhook to {{host}} works again", "";
    /// An outgoing webhook was switched off.
    WebhookDisabled = "webhook.disabled", Webhook, Warning, "The webhook to {{host}} is off", "{{reason}}";
    /// A plugin was refused, or does not answer.
    PluginFailed = "plugin.failed", Plugin, Error, "The plugin {{plugin}} has failed", "{{reason}}";
    /// An integration takes nothing at the moment; told through others.
    IntegrationDegraded = "integration.degraded", Integration, Error,
        "The integration {{integration_name}} ({{integration_type}}) is degraded", "{{reason}}";
    /// An integration takes messages again; told through others.
    IntegrationRecovered = "integration.recovered", Integration, Success,
        "The integration {{integration_name}} ({{integration_type}}) works again", "";
}

/// Triggers that are about the same kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Snap-ins.
    SnapIn,
    /// Runs.
    Run,
    /// Event sources.
    Source,
    /// Outgoing webhooks.
    Webhook,
    /// Plugins.
    Plugin,
    /// Integrations.
    Integration,
    /// Longer pieces of work.
    Milestone,
    /// What somebody publishes.
    Custom,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 8] = [
        Family::SnapIn,
        Family::Run,
        Family::Source,
        Family::Webhook,
        Family::Plugin,
        Family::Integration,
        Family::Milestone,
        Family::Custom,
    ];

    /// What its triggers start with.
    pub fn name(self) -> &'static str {
        match self {
            Family::SnapIn => "snap_in",
            Family::Run => "run",
            Family::Source => "source",
            Family::Webhook => "webhook",
            Family::Plugin => "plugin",
            Family::Integration => "integration",
            Family::Milestone => "milestone",
            Family::Custom => "custom",
        }
    }

    /// The members that an occurrence has beside [`COMMON`]; what ends in `.*` has any below it.
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Family::SnapIn => &["state", "reason", "package", "version", "previous_version"],
            Family::Run => &[
                "run",
                "function",
                "event",
                "called_by",
                "attempts",
                "next_attempt",
                "error.kind",
                "error.name",
                "error.message",
            ],
            Family::Source => &["source", "source_name", "source_type", "reason", "blocked_by"],
            Family::Webhook => &["webhook", "host", "status", "reason"],
            Family::Plugin => &["plugin", "reason"],
            Family::Integration => {
                &["integration", "integration_name", "integration_type", "reason"]
            }
            Family::Milestone => &["work", "kind", "message", "by", "run", "data.*"],
            Family::Custom => &["name", "title", "message", "by", "run", "data.*"],
        }
    }
}

/// The members that all occurrences have; the last two only where there is a snap-in.
pub const COMMON: &[&str] = &["id", "trigger", "level", "at", "scope", "snap_in"];

/// A text that names no trigger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no trigger `{text}`; they are listed by triggers.list, and the names of milestones and of \
     what is published are 1 to {MOST_NAME} characters of a-z, 0-9, `_`, `-` and `.`"
)]
pub struct UnknownTrigger {
    text: String,
}

fn unknown(text: &str) -> UnknownTrigger {
    UnknownTrigger { text: text.chars().take(80).collect() }
}

/// Whether a text can be the kind of a milestone, or the name of what is published.
pub fn is_name(text: &str) -> bool {
    (1..=MOST_NAME).contains(&text.len())
        && text.bytes().all(|it| {
            it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, b'_' | b'-' | b'.')
        })
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Milestone(kind) => write!(f, "milestone.{kind}"),
            Trigger::Custom(name) => write!(f, "custom.{name}"),
            fixed => f.write_str(fixed.fixed_text().unwrap_or_default()),
        }
    }
}

impl FromStr for Trigger {
    type Err = UnknownTrigger;

    fn from_str(text: &str) -> Result<Trigger, UnknownTrigger> {
        if let Some(kind) = text.strip_prefix("milestone.").filter(|it| is_name(it)) {
            return Ok(Trigger::Milestone(kind.to_owned()));
        }
        if let Some(name) = text.strip_prefix("custom.").filter(|it| is_name(it)) {
            return Ok(Trigger::Custom(name.to_owned()));
        }
        let found = Trigger::FIXED.iter().find(|it| it.fixed_text() == Some(text));
        found.cloned().ok_or_else(|| unknown(text))
    }
}

impl TryFrom<String> for Trigger {
    type Error = UnknownTrigger;

    fn try_from(text: String) -> Result<Trigger, UnknownTrigger> {
        text.parse()
    }
}

impl From<Trigger> for String {
    fn from(trigger: Trigger) -> String {
        trigger.to_string()
    }
}

/// Which triggers a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// All.
    All,
    /// All of a family, such as `run.*`.
    Family(Family),
    /// One.
    One(Trigger),
}

impl Selector {
    /// Whether it is about this one.
    pub fn wants(&self, trigger: &Trigger) -> bool {
        match self {
            Selector::All => true,
            Selector::Family(family) => trigger.family() == *family,
            Selector::One(one) => one == trigger,
        }
    }

    /// The families that it may be about.
    pub fn families(&self) -> Vec<Family> {
        match self {
            Selector::All => Family::ALL.to_vec(),
            Selector::Family(family) => vec![*family],
            Selector::One(trigger) => vec![trigger.family()],
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::All => f.write_str("*"),
            Selector::Family(family) => write!(f, "{}.*", family.name()),
            Selector::One(trigger) => trigger.fmt(f),
        }
    }
}

impl FromStr for Selector {
    type Err = UnknownTrigger;

    fn from_str(text: &str) -> Result<Selector, UnknownTrigger> {
        if text == "*" {
            return Ok(Selector::All);
        }
        if let Some(name) = text.strip_suffix(".*") {
            let family = Family::ALL.into_iter().find(|it| it.name() == name);
            return family.map(Selector::Family).ok_or_else(|| unknown(text));
        }
        text.parse().map(Selector::One)
    }
}

impl TryFrom<String> for Selector {
    type Error = UnknownTrigger;

    fn try_from(text: String) -> Result<Selector, UnknownTrigger> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}

/// What is kept of an occurrence, beside its own members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OccurrenceHead {
    /// What happened.
    pub trigger: Trigger,
    /// How much it matters.
    pub level: Level,
    /// When it was written down, milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// Where; nothing for what concerns the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The snap-in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_in: Option<SnapInId>,
    /// What it is about, by which it is found again: the id of a run, a source and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The longer piece of work that it belongs to: its messages stand together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    /// The integration that it is about, through which it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<IntegrationId>,
    /// Where in a chain of causes it stands.
    #[serde(default)]
    pub cause: Cause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_and_selectors_are_what_they_are_written_as() {
        for trigger in Trigger::FIXED {
            let text = trigger.to_string();
            assert_eq!(text.parse().as_ref(), Ok(trigger));
            assert!(text.starts_with(trigger.family().name()), "{text}");
            let family = Selector::Family(trigger.family());
            for (selector, written) in [
                (Selector::All, "*".to_owned()),
                (Selector::One(trigger.clone()), text.clone()),
                (family.clone(), format!("{}.*", trigger.family().name())),
            ] {
                assert_eq!(written.parse(), Ok(selector.clone()));
                assert_eq!(selector.to_string(), written);
                assert!(selector.wants(trigger));
            }
        }
        let milestone: Trigger = "milestone.review.done".parse().expect("a milestone");
        assert_eq!(milestone, Trigger::Milestone("review.done".to_owned()));
        assert!(Selector::Family(Family::Milestone).wants(&milestone));
        assert!(!Selector::Family(Family::Run).wants(&milestone));
        for bad in [
            "",
            "run",
            "run.",
            "run.exploded",
            "Run.failed",
            "milestone.",
            "custom.A b",
            "x.*",
            "**",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
        assert!("custom.*".parse::<Trigger>().is_err(), "it is no single one");
    }
}
