//! What integrations and subscriptions are, as far as it has to be known who is told of what; and the
//! decisions about that, as they are stored and shown. Plain data.

use serde::{Deserialize, Serialize};

use super::id::{DeliveryId, IntegrationId, SubscriptionId};
use super::occurrence::{Level, Selector};
use super::scope::ScopePrefix;

/// An integration, and what it is supplied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub integration: IntegrationId,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it serves everything.
    pub supplied_to_all: bool,
    /// What it serves otherwise.
    pub supplies: Vec<ScopePrefix>,
}

/// What somebody wants to be told of, and through which integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Which.
    pub subscription: SubscriptionId,
    /// Through which.
    pub integration: IntegrationId,
    /// What.
    pub trigger: Selector,
    /// Where; everywhere when absent.
    pub scope: Option<ScopePrefix>,
}

/// What was decided about an occurrence, for one integration and subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Through which integration.
    pub integration: IntegrationId,
    /// For which subscription; absent when the integration has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionId>,
    /// What.
    pub verdict: Verdict,
}

/// Whether it is told, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is: what became of that, the delivery says.
    Told {
        /// The delivery.
        delivery: DeliveryId,
    },
    /// Nobody asked for it there.
    NoDemand(NoDemand),
    /// The integration does not serve that scope.
    NoSupply,
    /// The integration is switched off.
    Disabled,
    /// The filter of the subscription said no.
    Filter,
    /// The filter of the subscription failed.
    FilterFailed {
        /// How.
        problem: String,
        /// The dead letter that can be sent when it is mended.
        delivery: DeliveryId,
    },
    /// It is about this integration's own trouble.
    OwnTrouble,
    /// It stands at the end of a chain of causes that is too long.
    Loop,
}

/// What is missing in a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoDemand {
    /// The integration has no subscription.
    NoSubscription,
    /// The subscription is about other triggers.
    Trigger,
    /// The subscription is about another scope.
    Scope,
}

impl Verdict {
    /// The word that callers tell verdicts apart by.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Told { .. } => "told",
            Verdict::NoDemand(_) => "no_demand",
            Verdict::NoSupply => "no_supply",
            Verdict::Disabled => "disabled",
            Verdict::Filter => "filter",
            Verdict::FilterFailed { .. } => "filter_failed",
            Verdict::OwnTrouble => "own_trouble",
            Verdict::Loop => "loop",
        }
    }
}

/// What is said, without any markup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// One line.
    pub title: String,
    /// The rest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How much it matters.
    pub level: Level,
    /// Particulars, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}
