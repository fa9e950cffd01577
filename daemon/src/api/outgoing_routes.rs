//! The part of the table of all calls that is about what leaves the daemon: outgoing webhooks,
//! integrations, and what is worth telling.

use super::dispatch::{Route, read, write};
use super::rights::Right as R;
use super::{deliveries, integrations, occurrences, subscriptions, webhook_deliveries, webhooks};

/// Its calls.
pub(super) fn routes() -> Vec<Route> {
    vec![
        write(
            "integrations.create",
            R::CreateIntegrations,
            "Makes an integration: a configured sink",
            integrations::create,
        )
        .remembered(),
        read(
            "integrations.get",
            R::ReadIntegrations,
            "Shows an integration, without its connection",
            integrations::get,
        ),
        read(
            "integrations.find",
            R::ReadIntegrations,
            "Shows the integration of a type and a name, without its connection",
            integrations::find_by_name,
        ),
        read(
            "integrations.list",
            R::ListIntegrations,
            "Lists integrations, oldest first",
            integrations::list,
        ),
        write(
            "integrations.update",
            R::WriteIntegrations,
            "Changes an integration; nothing is sent with the connection of before after the answer",
            integrations::update,
        ),
        write(
            "integrations.delete",
            R::WriteIntegrations,
            "Deletes an integration with its connection, supplies and subscriptions",
            integrations::delete,
        ),
        write(
            "integrations.test",
            R::WriteIntegrations,
            "Shows whether an integration works",
            integrations::test,
        ),
        read(
            "integrations.get-connection",
            R::WriteIntegrations,
            "Shows the connection of an integration, with masks in place of its secrets",
            integrations::connection,
        ),
        read(
            "integrations.explain",
            R::ReadOccurrences,
            "Says who was told of something, who was not, and why",
            occurrences::explain,
        ),
        read(
            "integrations.types",
            R::BeKnown,
            "Lists the types of sinks, with the schemas of their connections",
            integrations::types,
        ),
        write(
            "supplies.create",
            R::WriteIntegrations,
            "Supplies an integration to a scope",
            integrations::add_supply,
        ),
        read(
            "supplies.list",
            R::ReadIntegrations,
            "Lists the scopes that an integration is supplied to",
            integrations::supplies,
        ),
        write(
            "supplies.delete",
            R::WriteIntegrations,
            "Takes a supply back",
            integrations::remove_supply,
        ),
        write(
            "subscriptions.create",
            R::WriteIntegrations,
            "Subscribes to a trigger through an integration",
            subscriptions::create,
        )
        .writes_itself()
        .remembered(),
        read("subscriptions.get", R::ReadIntegrations, "Shows a subscription", subscriptions::get),
        read(
            "subscriptions.list",
            R::ReadIntegrations,
            "Lists subscriptions, oldest first",
            subscriptions::list,
        ),
        write(
            "subscriptions.update",
            R::WriteIntegrations,
            "Changes a subscription",
            subscriptions::update,
        ),
        write(
            "subscriptions.delete",
            R::WriteIntegrations,
            "Deletes a subscription",
            subscriptions::delete,
        ),
        read(
            "triggers.list",
            R::BeKnown,
            "Lists what can be subscribed to, with the tokens of templates",
            subscriptions::triggers,
        ),
        read(
            "deliveries.get",
            R::ReadIntegrations,
            "Shows a message on its way through an integration, with its attempts",
            deliveries::get,
        ),
        read(
            "deliveries.list",
            R::ReadIntegrations,
            "Lists messages through integrations, newest first; dead letters too",
            deliveries::list,
        ),
        write(
            "deliveries.redeliver",
            R::WriteIntegrations,
            "Sends an ended message again, or all dead letters of an integration",
            deliveries::redeliver,
        ),
        read(
            "occurrences.get",
            R::ReadOccurrences,
            "Shows an occurrence: something worth telling",
            occurrences::get,
        ),
        read(
            "occurrences.list",
            R::ReadOccurrences,
            "Lists occurrences, newest first",
            occurrences::list,
        ),
        write(
            "occurrences.publish",
            R::PublishOccurrences,
            "Publishes an occurrence, which subscribers to `custom.NAME` are told of",
            occurrences::publish,
        )
        .with_history("occurrences")
        .remembered(),
        write(
            "milestones.report",
            R::PublishOccurrences,
            "Reports on a longer piece of work; messages about it stand together",
            occurrences::report,
        )
        .with_history("occurrences")
        .remembered(),
        write(
            "webhooks.create",
            R::WriteWebhooks,
            "Registers an endpoint for changes of objects, which is asked whether it wants them",
            webhooks::create,
        )
        .writes_itself()
        .creating()
        .remembered_without(&["secret", "standard_secret"]),
        read("webhooks.get", R::ReadWebhooks, "Shows an outgoing webhook", webhooks::get),
        read("webhooks.list", R::ReadWebhooks, "Lists outgoing webhooks", webhooks::list),
        write(
            "webhooks.update",
            R::WriteWebhooks,
            "Changes, activates or deactivates an outgoing webhook",
            webhooks::update,
        ),
        write("webhooks.delete", R::WriteWebhooks, "Deletes an outgoing webhook", webhooks::delete),
        write(
            "webhooks.fetch",
            R::WriteWebhooks,
            "Sends an object to an endpoint, as it is now",
            webhooks::fetch,
        ),
        read(
            "webhooks.deliveries",
            R::ReadWebhooks,
            "Lists what an outgoing webhook was sent or is to be sent, newest first",
            webhook_deliveries::list,
        ),
        read(
            "webhooks.delivery",
            R::ReadWebhooks,
            "Shows one event for an outgoing webhook, with every attempt",
            webhook_deliveries::get,
        ),
        write(
            "webhooks.resend",
            R::WriteWebhooks,
            "Sends events again: some, or those since a time",
            webhook_deliveries::resend,
        ),
    ]
}
