//! The services, a file each.
//!
//! What each of them takes, answers and forbids is from its vendor's documentation. Texts are cut to the
//! lengths that are written there, and written so that nothing in a message is markup or calls people.

mod discord;
mod google_chat;
mod gotify;
mod markup;
mod matrix;
mod mattermost;
mod ntfy;
mod opsgenie;
mod pagerduty;
mod pushover;
mod teams;
mod telegram;

use crate::custom::Custom;
use crate::service::Entry;

/// Every type of this library.
pub(crate) const ALL: [Entry; 12] = [
    Entry::of::<Custom>("http"),
    Entry::of::<teams::Teams>("microsoft-teams"),
    Entry::of::<discord::Discord>("discord"),
    Entry::of::<mattermost::Mattermost>("mattermost"),
    Entry::of::<google_chat::GoogleChat>("google-chat"),
    Entry::of::<ntfy::Ntfy>("ntfy"),
    Entry::of::<gotify::Gotify>("gotify"),
    Entry::of::<matrix::Matrix>("matrix"),
    Entry::of::<pagerduty::PagerDuty>("pagerduty"),
    Entry::of::<opsgenie::Opsgenie>("opsgenie"),
    Entry::of::<telegram::Telegram>("telegram"),
    Entry::of::<pushover::Pushover>("pushover"),
];
