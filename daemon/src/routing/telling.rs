//! Who is told of an occurrence: what integrations are supplied to, and what subscriptions ask for. A
//! delivery comes about only where both meet. Pure; every integration and every subscription gets a
//! decision, so that "why not" has an answer.

use crate::model::event::MOST_HOPS;
use crate::model::id::{IntegrationId, SubscriptionId};
use crate::model::integration::{Demand, NoDemand, Offer, Verdict};
use crate::model::occurrence::OccurrenceHead;

/// What supplies and demands say, before any filter is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is told, if its filter agrees.
    Meets {
        /// Through which integration.
        integration: IntegrationId,
        /// For which subscription.
        subscription: SubscriptionId,
    },
    /// It is not.
    Not {
        /// Through which integration.
        integration: IntegrationId,
        /// For which subscription; absent when the integration has none.
        subscription: Option<SubscriptionId>,
        /// Why.
        verdict: Verdict,
    },
}

/// Judges an occurrence for all integrations and subscriptions. A subscription whose integration is
/// not among the offers is gone with it.
pub fn judge(occurrence: &OccurrenceHead, offers: &[Offer], demands: &[Demand]) -> Vec<Judged> {
    let mut judged = Vec::new();
    for offer in offers {
        let integration = offer.integration;
        let mut has_some = false;
        for demand in demands.iter().filter(|it| it.integration == integration) {
            has_some = true;
            let subscription = demand.subscription;
            judged.push(match refusal(occurrence, offer, demand) {
                None => Judged::Meets { integration, subscription },
                Some(verdict) => {
                    Judged::Not { integration, subscription: Some(subscription), verdict }
                }
            });
        }
        if !has_some {
            let verdict = Verdict::NoDemand(NoDemand::NoSubscription);
            judged.push(Judged::Not { integration, subscription: None, verdict });
        }
    }
    judged
}

/// Why one demand is not met. What is asked first is what people look at first: who did not ask for
/// something does not care that he would not have got it.
fn refusal(occurrence: &OccurrenceHead, offer: &Offer, demand: &Demand) -> Option<Verdict> {
    if !demand.trigger.wants(&occurrence.trigger) {
        return Some(Verdict::NoDemand(NoDemand::Trigger));
    }
    let is_there = match (&demand.scope, &occurrence.scope) {
        (None, _) => true,
        (Some(wanted), Some(scope)) => wanted.holds(scope),
        // What concerns the whole host is under no scope.
        (Some(_), None) => false,
    };
    if !is_there {
        return Some(Verdict::NoDemand(NoDemand::Scope));
    }
    if occurrence.about == Some(offer.integration) {
        return Some(Verdict::OwnTrouble);
    }
    if !offer.enabled {
        return Some(Verdict::Disabled);
    }
    let is_supplied = offer.supplied_to_all
        || occurrence
            .scope
            .as_ref()
            .is_some_and(|scope| offer.supplies.iter().any(|it| it.holds(scope)));
    if !is_supplied {
        return Some(Verdict::NoSupply);
    }
    (occurrence.cause.hops > MOST_HOPS).then_some(Verdict::Loop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::event::Cause;
    use crate::model::occurrence::{Family, Selector, Trigger};
    use crate::model::scope::{Scope, ScopePrefix};

    fn scope() -> impl Strategy<Value = Scope> {
        let part = prop_oneof![Just("a"), Just("ab"), Just("b")];
        (part.clone(), part.clone(), part)
            .prop_map(|(x, y, z)| format!("{x}/{y}/{z}").parse().expect("a scope"))
    }

    fn prefix() -> impl Strategy<Value = ScopePrefix> {
        (scope(), 1usize..=3).prop_map(|(scope, parts)| {
            let parts: Vec<&str> = scope.as_str().split('/').take(parts).collect();
            parts.join("/").parse().expect("a prefix")
        })
    }

    fn trigger() -> impl Strategy<Value = Trigger> {
        prop_oneof![
            Just(Trigger::SnapInFailed),
            Just(Trigger::RunFailed),
            Just(Trigger::RunDead),
            Just(Trigger::IntegrationDegraded),
            Just(Trigger::Custom("x".to_owned())),
        ]
    }

    fn selector() -> impl Strategy<Value = Selector> {
        prop_oneof![
            Just(Selector::All),
            prop_oneof![Just(Family::Run), Just(Family::SnapIn), Just(Family::Custom)]
                .prop_map(Selector::Family),
            trigger().prop_map(Selector::One),
        ]
    }

    prop_compose! {
        fn occurrence()(
            trigger in trigger(),
            scope in proptest::option::of(scope()),
            about in proptest::option::of(0u128..4),
            hops in prop_oneof![9 => Just(0u8), 1 => Just(MOST_HOPS + 1)],
        ) -> OccurrenceHead {
            OccurrenceHead {
                level: trigger.level(),
                trigger,
                at_ms: 0,
                scope,
                snap_in: None,
                subject: None,
                work: None,
                about: about.map(IntegrationId),
                cause: Cause { run: None, hops },
            }
        }
    }

    fn offers() -> impl Strategy<Value = Vec<Offer>> {
        let offer = (any::<bool>(), any::<bool>(), proptest::collection::vec(prefix(), 0..3));
        proptest::collection::vec(offer, 0..4).prop_map(|all| {
            let offers = all.into_iter().enumerate();
            offers
                .map(|(at, (enabled, supplied_to_all, supplies))| Offer {
                    integration: IntegrationId(at as u128),
                    enabled,
                    supplied_to_all,
                    supplies,
                })
                .collect()
        })
    }

    fn demands() -> impl Strategy<Value = Vec<Demand>> {
        let demand = (0u128..5, selector(), proptest::option::of(prefix()));
        proptest::collection::vec(demand, 0..8).prop_map(|all| {
            let demands = all.into_iter().enumerate();
            demands
                .map(|(at, (integration, trigger, scope))| Demand {
                    subscription: SubscriptionId(at as u128),
                    integration: IntegrationId(integration),
                    trigger,
                    scope,
                })
                .collect()
        })
    }

    /// The same with texts and loops, and nothing of what it is compared with.
    fn naive(it: &OccurrenceHead, offers: &[Offer], demands: &[Demand]) -> BTreeSet<u128> {
        let under =
            |prefix: &str, scope: &str| format!("{scope}/").starts_with(&format!("{prefix}/"));
        let scope = it.scope.as_ref().map(Scope::as_str);
        let mut told = BTreeSet::new();
        for demand in demands {
            for offer in offers {
                let name = it.trigger.to_string();
                let wanted = demand.trigger.to_string();
                let by_trigger = wanted == "*"
                    || wanted == name
                    || (wanted.ends_with(".*") && name.starts_with(wanted.trim_end_matches('*')));
                let by_scope = match &demand.scope {
                    None => true,
                    Some(prefix) => scope.is_some_and(|it| under(prefix.as_str(), it)),
                };
                let mut supplied = offer.supplied_to_all;
                for supply in &offer.supplies {
                    supplied |= scope.is_some_and(|it| under(supply.as_str(), it));
                }
                if demand.integration == offer.integration
                    && offer.enabled
                    && by_trigger
                    && by_scope
                    && supplied
                    && it.about != Some(offer.integration)
                    && it.cause.hops <= 16
                {
                    told.insert(demand.subscription.0);
                }
            }
        }
        told
    }

    proptest! {
        #[test]
        fn supply_and_demand_meet_where_both_say_so(
            occurrence in occurrence(), offers in offers(), demands in demands()
        ) {
            let judged = judge(&occurrence, &offers, &demands);
            let told: BTreeSet<u128> = judged
                .iter()
                .filter_map(|it| match it {
                    Judged::Meets { subscription, .. } => Some(subscription.0),
                    Judged::Not { .. } => None,
                })
                .collect();
            prop_assert_eq!(told, naive(&occurrence, &offers, &demands));
            // Everybody has exactly one answer.
            for offer in &offers {
                let own = demands.iter().filter(|it| it.integration == offer.integration).count();
                let answers = judged
                    .iter()
                    .filter(|it| match it {
                        Judged::Meets { integration, .. } | Judged::Not { integration, .. } => {
                            *integration == offer.integration
                        }
                    })
                    .count();
                prop_assert_eq!(answers, own.max(1));
            }
        }
    }
}
