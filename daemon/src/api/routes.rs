//! The table of all calls: name, right, handler. Nothing is served under `/api/v1/` that is not
//! here (or in `outgoing_routes`, which is a part of it), and the OpenAPI document is made from it.

use super::dispatch::{Route, read, write};
use super::rights::Right;
use super::{
    artifacts, audit, commands, configuration_pages, dead_letters, developer_keyrings, dry_runs,
    event_sources, events, functions, keyrings, keys, object_types, objects, operations,
    outgoing_routes, packages, principals, recordings, replays, roles, runs, scheduled,
    snap_components, snap_ins, snap_kit_actions, source_control, source_view, system,
    system_update, tags, tokens, upgrades, user_level, versions, views,
};

/// Every call of the API.
pub(super) struct Table(Vec<Route>);

impl Table {
    pub(super) fn new() -> Table {
        use Right as R;
        let mut routes = vec![
            write("packages.create", R::WritePackages, "Creates a package", packages::create)
            .writes_itself()
                .remembered(),
            read("packages.get", R::ReadPackages, "Shows a package", packages::get),
            read("packages.list", R::ReadPackages, "Lists packages, oldest first", packages::list),
            write(
                "packages.delete",
                R::WritePackages,
                "Deletes a package that has no versions",
                packages::delete,
            )
            .writes_itself(),
            write(
                "versions.validate",
                R::ReadPackages,
                "Says everything that is wrong with a manifest, and with its code when that is sent",
                versions::validate,
            )
            .changes_nothing()
            .with_archive(),
            write(
                "versions.create",
                R::WritePackages,
                "Creates a version from a manifest and an archive, which may be at a URL",
                versions::create,
            )
            .with_archive()
            .remembered(),
            read("versions.get", R::ReadPackages, "Shows a version", versions::get),
            read("versions.list", R::ReadPackages, "Lists versions, oldest first", versions::list),
            write(
                "versions.delete",
                R::WritePackages,
                "Deletes a version that no snap-in uses",
                versions::delete,
            )
            .writes_itself(),
            write(
                "snap-ins.create",
                R::WriteSnapIns,
                "Installs a version, in DRAFT",
                snap_ins::create,
            )
            .remembered(),
            read("snap-ins.get", R::ReadSnapIns, "Shows a snap-in", snap_ins::get),
            read("snap-ins.list", R::ReadSnapIns, "Lists snap-ins, oldest first", snap_ins::list),
            write("snap-ins.activate", R::WriteSnapIns, "Activates a snap-in", snap_ins::activate),
            write(
                "snap-ins.deactivate",
                R::WriteSnapIns,
                "Deactivates a snap-in",
                snap_ins::deactivate,
            ),
            write(
                "snap-ins.update",
                R::ConfigureSnapIns,
                "Changes inputs of a snap-in, after its hooks agreed",
                upgrades::update,
            ),
            write(
                system_update::NAME,
                R::ConfigureSnapIns,
                "Takes what a snap-in reports of its own state, after a hook on a server of its own",
                system_update::update,
            ),
            read(
                "snap-ins.plan-upgrade",
                R::ReadSnapIns,
                "Shows what moving a snap-in to another version would change",
                upgrades::plan,
            ),
            write(
                "snap-ins.upgrade",
                R::WriteSnapIns,
                "Moves a snap-in to another version of its package",
                upgrades::upgrade,
            ),
            write(
                "snap-ins.rollback",
                R::WriteSnapIns,
                "Moves a snap-in back to a version that it was of",
                upgrades::rollback,
            ),
            write(
                "snap-ins.enable",
                R::UseSnapIns,
                "Enables a snap-in for a user",
                user_level::enable,
            ),
            write(
                "snap-ins.disable",
                R::UseSnapIns,
                "Disables a snap-in for a user; what he has set is kept",
                user_level::disable,
            ),
            write(
                "snap-ins.update-user",
                R::UseSnapIns,
                "Changes what a user has set for himself in a snap-in",
                user_level::update,
            ),
            read(
                "snap-ins.get-user",
                R::UseSnapIns,
                "Shows what a user has set for himself in a snap-in",
                user_level::get,
            ),
            read(
                "snap-ins.list-users",
                R::WriteSnapIns,
                "Lists those who have set something for themselves in a snap-in",
                user_level::list,
            ),
            read(
                "snap-ins.resources",
                R::ReadUserResources,
                "Shows a function what a user has set, with the secrets of his keyrings",
                user_level::resources,
            ),
            read("tags.get", R::ReadSnapIns, "Shows a tag", tags::get),
            read("tags.list", R::ReadSnapIns, "Lists tags, oldest first", tags::list),
            write("snap-ins.delete", R::WriteSnapIns, "Deletes a snap-in", snap_ins::delete),
            read(
                "event-sources.get",
                R::ReadSnapIns,
                "Shows an event source and its trigger URL",
                event_sources::get,
            ),
            read(
                "event-sources.list",
                R::ReadSnapIns,
                "Lists event sources, oldest first",
                event_sources::list,
            ),
            read(
                "event-sources.logs",
                R::ReadSnapIns,
                "Shows what an event source had to say lately",
                event_sources::logs,
            ),
            write(
                "event-sources.pause",
                R::WriteSnapIns,
                "Pauses an event source",
                event_sources::pause,
            ),
            write(
                "event-sources.resume",
                R::WriteSnapIns,
                "Resumes an event source",
                event_sources::resume,
            ),
            read(
                "event-sources.refusals",
                R::ReadSnapIns,
                "Shows what did not become an event lately, where it came from, and why",
                source_view::refusals,
            ),
            write(
                "event-sources.block",
                R::WriteSnapIns,
                "Blocks an event source, with a reason, until somebody unblocks it",
                source_control::block,
            ),
            write(
                "event-sources.unblock",
                R::WriteSnapIns,
                "Unblocks an event source",
                source_control::unblock,
            ),
            write(
                "event-sources.rotate-token",
                R::WriteSnapIns,
                "Gives an event source another trigger URL; the one before goes on working for a while",
                source_control::rotate_token,
            ),
            // Secrets could be probed with it, so it is for those who may set the source up.
            write(
                "event-sources.test",
                R::WriteSnapIns,
                "Tries an input at an event source and shows what it would come to; stores nothing",
                dry_runs::test,
            )
            .changes_nothing(),
            write(
                "event-sources.record",
                R::WriteSnapIns,
                "Keeps the next requests that reach the trigger URL, for looking at them",
                recordings::record,
            ),
            write(
                "event-sources.record-stop",
                R::WriteSnapIns,
                "Records no more requests; those that were are kept",
                recordings::stop,
            ),
            write(
                "event-sources.record-clear",
                R::WriteSnapIns,
                "Forgets the requests that were recorded",
                recordings::clear,
            ),
            read(
                "event-sources.recorded",
                R::WriteSnapIns,
                "Lists the requests that were recorded, oldest first",
                recordings::list,
            ),
            read(
                "event-sources.get-recorded",
                R::WriteSnapIns,
                "Shows a request that was recorded, raw",
                recordings::get,
            ),
            write(
                "event-sources.publish",
                R::PublishEvents,
                "Publishes an event by hand",
                event_sources::publish,
            )
            .with_history("events"),
            write(
                "event-sources.schedule",
                R::PublishEvents,
                "Publishes an event at a time, or at once",
                scheduled::schedule,
            )
            .with_history("events")
            .remembered(),
            write(
                "event-sources.unschedule",
                R::PublishEvents,
                "Takes back an event that is to be published later",
                scheduled::unschedule,
            )
            .writes_itself(),
            read(
                "event-sources.list-scheduled",
                R::PublishEvents,
                "Lists events that are to be published later, next due first",
                scheduled::list,
            ),
            write(
                "keyrings.set",
                R::UseSnapIns,
                "Sets the secret of a keyring, after trying it at the external system",
                keyrings::set,
            ),
            write(
                "keyrings.connect",
                R::UseSnapIns,
                "Begins an OAuth2 connection: says where a person grants access",
                keyrings::connect,
            ),
            read(
                "keyrings.get",
                R::ReadSnapIns,
                "Shows a keyring, without its secret",
                keyrings::get,
            ),
            read(
                "keyrings.list",
                R::ReadSnapIns,
                "Lists the keyrings of a snap-in, also those that are missing, or all that are set",
                keyrings::list,
            ),
            write(
                "keyrings.delete",
                R::UseSnapIns,
                "Deletes a keyring with its secret",
                keyrings::delete,
            ),
            write(
                "keyrings.verify",
                R::UseSnapIns,
                "Tries the secret of a keyring at the external system",
                keyrings::verify,
            ),
            write(
                "keyrings.refresh",
                R::UseSnapIns,
                "Renews the access token of a connection now",
                keyrings::refresh,
            ),
            write(
                "keyrings.revoke",
                R::UseSnapIns,
                "Gives up a connection at the external system",
                keyrings::revoke,
            ),
            write(
                "developer-keyrings.set",
                R::WritePackages,
                "Sets a secret that the developer of a package provides for all installations",
                developer_keyrings::set,
            ),
            read(
                "developer-keyrings.list",
                R::WritePackages,
                "Lists the keyrings of developers, without their secrets",
                developer_keyrings::list,
            ),
            write(
                "developer-keyrings.delete",
                R::WritePackages,
                "Deletes a keyring of a developer",
                developer_keyrings::delete,
            )
            .writes_itself(),
            read("events.get", R::ReadEvents, "Shows an event", events::get),
            read("events.list", R::ReadEvents, "Lists events, newest first", events::list),
            read(
                "runs.get",
                R::ReadRuns,
                "Shows a run, waiting for its end if asked to",
                runs::get,
            ),
            write(
                "events.replay",
                R::WriteRuns,
                "Queues new runs for stored events",
                replays::replay,
            )
            .with_history("runs")
            .remembered(),
            read("runs.list", R::ReadRuns, "Lists runs, newest first", runs::list),
            read("runs.logs", R::ReadRuns, "Shows what a run logged", runs::logs),
            write(
                "runs.retry",
                R::WriteRuns,
                "Tries a run again that failed, or now rather than later",
                runs::retry,
            )
            .with_history("runs"),
            write("runs.cancel", R::WriteRuns, "Gives a run up", runs::cancel)
            .with_history("runs"),
            write(
                "runs.replay",
                R::WriteRuns,
                "Queues a new run for the event of an old one",
                runs::replay,
            )
            .with_history("runs")
            .remembered(),
            read(
                "dead-letters.list",
                R::ReadRuns,
                "Lists runs that used up their attempts, oldest first",
                dead_letters::list,
            ),
            write(
                "dead-letters.replay",
                R::WriteRuns,
                "Tries dead letters again",
                dead_letters::replay,
            )
            .with_history("runs"),
            write("dead-letters.purge", R::WriteRuns, "Forgets dead letters", dead_letters::purge)
            .writes_itself(),
            write(
                "functions.call",
                R::WriteRuns,
                "Calls a function and waits for its result",
                functions::call,
            )
            .with_history("runs"),
            read(
                "snap-components.list",
                R::UseSnapIns,
                "Lists snap components, by scope and name",
                snap_components::list,
            ),
            read(
                "snap-components.get",
                R::UseSnapIns,
                "Shows a snap component and what was drawn of it last",
                snap_components::get,
            ),
            write(
                "snap-components.render",
                R::UseSnapIns,
                "Draws a snap component anew",
                snap_components::render,
            )
            .with_history("runs"),
            write(
                "configuration-pages.render",
                R::UseSnapIns,
                "Draws the page on which a snap-in is configured",
                configuration_pages::render,
            )
            .with_history("runs"),
            write(
                "snap-kit-action.execute.deferred",
                R::UseSnapIns,
                "Hands what people did with what is displayed to the snap-in, and waits for it",
                snap_kit_actions::execute,
            )
            .with_history("runs"),
            read("commands.list", R::ReadSnapIns, "Lists commands, by name", commands::list),
            read("commands.get", R::ReadSnapIns, "Shows a command", commands::get),
            write(
                "commands.execute",
                R::UseSnapIns,
                "Gives a command and waits for its result",
                commands::execute,
            )
            .with_history("runs"),
            read(
                "operations.list",
                R::ReadSnapIns,
                "Lists operations, by scope and slug",
                operations::list,
            ),
            write(
                "operations.execute",
                R::UseSnapIns,
                "Carries an operation out and waits for what it makes",
                operations::execute,
            )
            .with_history("runs"),
            write(
                "views.create",
                R::WriteObjectTypes,
                "Saves a question about objects as a view",
                views::create,
            )
            .writes_itself()
            .remembered(),
            read("views.get", R::ReadObjects, "Shows a view", views::get),
            read("views.list", R::ReadObjects, "Lists views, oldest first", views::list),
            write("views.update", R::WriteObjectTypes, "Changes a view", views::update)
            .writes_itself(),
            write("views.delete", R::WriteObjectTypes, "Deletes a view", views::delete)
            .writes_itself(),
            read("views.run", R::ReadObjects, "Shows the table of a view", views::run),
            write(
                "artifacts.prepare",
                R::WriteArtifacts,
                "Prepares an artifact and gives the URL to which its bytes are sent",
                artifacts::prepare,
            )
            .with_history("artifacts"),
            read("artifacts.get", R::ReadArtifacts, "Shows an artifact", artifacts::get),
            read(
                "artifacts.list",
                R::ReadArtifacts,
                "Lists artifacts, newest first",
                artifacts::list,
            ),
            read(
                "artifacts.locate",
                R::ReadArtifacts,
                "Gives a URL at which an artifact can be read for a while without a token",
                artifacts::locate,
            ),
            write(
                "artifacts.attach",
                R::WriteArtifacts,
                "Says what an artifact belongs to",
                artifacts::attach,
            )
            .with_history("artifacts"),
            write(
                "artifacts.detach",
                R::WriteArtifacts,
                "Takes an artifact from what it belongs to",
                artifacts::detach,
            )
            .with_history("artifacts"),
            write("artifacts.delete", R::WriteArtifacts, "Deletes an artifact", artifacts::delete),
            read("whoami", R::BeKnown, "Says who the caller is and what he may do", principals::whoami),
            write(
                "tokens.create",
                R::OwnTokens,
                "Makes an API token of the caller's own, or of a principal",
                tokens::create,
            )
            .writes_itself()
            .remembered_without(&["token"]),
            read("tokens.list", R::OwnTokens, "Lists API tokens", tokens::list),
            write("tokens.delete", R::OwnTokens, "Deletes an API token", tokens::delete)
            .writes_itself(),
            write(
                "users.create",
                R::ManagePrincipals,
                "Makes a user",
                principals::users::create,
            )
            .writes_itself()
            .remembered(),
            read("users.get", R::ReadPrincipals, "Shows a user", principals::users::get),
            read(
                "users.list",
                R::ReadPrincipals,
                "Lists users, oldest first",
                principals::users::list,
            ),
            write(
                "users.update",
                R::ManagePrincipals,
                "Describes a user otherwise",
                principals::users::update,
            )
            .writes_itself(),
            write(
                "users.delete",
                R::ManagePrincipals,
                "Deletes a user, with all tokens and roles, at once",
                principals::users::delete,
            )
            .writes_itself(),
            write(
                "principal-groups.create",
                R::ManagePrincipals,
                "Makes a group",
                principals::groups::create,
            )
            .writes_itself()
            .remembered(),
            read("principal-groups.get", R::ReadPrincipals, "Shows a group", principals::groups::get),
            read(
                "principal-groups.list",
                R::ReadPrincipals,
                "Lists groups, oldest first",
                principals::groups::list,
            ),
            write(
                "principal-groups.update",
                R::ManagePrincipals,
                "Describes a group otherwise",
                principals::groups::update,
            )
            .writes_itself(),
            write(
                "principal-groups.delete",
                R::ManagePrincipals,
                "Deletes a group, with its roles, at once",
                principals::groups::delete,
            )
            .writes_itself(),
            write(
                "principal-groups.add-member",
                R::ManagePrincipals,
                "Puts a user or service account into a group",
                principals::add_member,
            )
            .writes_itself(),
            write(
                "principal-groups.remove-member",
                R::ManagePrincipals,
                "Takes a user or service account out of a group",
                principals::remove_member,
            )
            .writes_itself(),
            read(
                "principal-groups.members",
                R::ReadPrincipals,
                "Lists who is in a group",
                principals::members,
            ),
            write(
                "service-accounts.create",
                R::ManagePrincipals,
                "Makes a service account of the host",
                principals::accounts::create,
            )
            .writes_itself()
            .remembered(),
            read("service-accounts.get", R::ReadPrincipals, "Shows a service account of the host", principals::accounts::get),
            read(
                "service-accounts.list",
                R::ReadPrincipals,
                "Lists service accounts, oldest first",
                principals::accounts::list,
            ),
            write(
                "service-accounts.update",
                R::ManagePrincipals,
                "Describes a service account of the host otherwise",
                principals::accounts::update,
            )
            .writes_itself(),
            write(
                "service-accounts.delete",
                R::ManagePrincipals,
                "Deletes a service account of the host, with all tokens and roles, at once",
                principals::accounts::delete,
            )
            .writes_itself(),
            // What is on the host needs the right to manage principals beside it.
            write(
                "roles.grant",
                R::GrantIntegrations,
                "Gives a principal a role on the host, or on an integration",
                roles::grant,
            )
            .writes_itself(),
            write(
                "roles.revoke",
                R::GrantIntegrations,
                "Takes a role from a principal",
                roles::revoke,
            )
            .writes_itself(),
            read(
                "roles.list",
                R::GrantIntegrations,
                "Lists who has which role, on the host and on integrations",
                roles::list,
            ),
            read("audit.list", R::ReadAudit, "Lists what was changed and refused, newest first", audit::list),
            read(
                "audit.verify",
                R::ReadAudit,
                "Says whether the audit log is as it was written, some rows at a time",
                audit::verify,
            ),
            read(
                "audit.export",
                R::ReadAudit,
                "Gives the audit log as lines of JSON, oldest first",
                audit::export,
            ),
            read(
                "keys.status",
                R::WriteSecrets,
                "Shows where the master key is, and how many secrets are sealed with it",
                keys::status,
            ),
            write(
                "keys.rotate",
                R::WriteSecrets,
                "Makes a new master key and seals every secret with it",
                keys::rotate,
            ),
            write(
                "object-types.create",
                R::WriteObjectTypes,
                "Defines a type of objects, which gets calls of its own",
                object_types::create,
            )
            .remembered(),
            write(
                "object-types.apply",
                R::WriteObjectTypes,
                "Makes several types of objects what is sent, new or not",
                object_types::apply,
            ),
            read("object-types.get", R::ReadObjects, "Shows a type of objects", object_types::get),
            read(
                "object-types.list",
                R::ReadObjects,
                "Lists the types of objects, by name",
                object_types::list,
            ),
            write(
                "object-types.update",
                R::WriteObjectTypes,
                "Changes a type of objects, if all its objects are right by it",
                object_types::update,
            ),
            write(
                "object-types.delete",
                R::WriteObjectTypes,
                "Deletes a type of objects that has none",
                object_types::delete,
            ),
            write("objects.create", R::WriteObjects, "Makes an object", objects::create)
            .with_history("objects")
                .remembered(),
            read("objects.get", R::ReadObjects, "Shows an object", objects::get),
            read(
                "objects.list",
                R::ReadObjects,
                "Lists objects of a type, filtered and sorted by its indexed fields",
                objects::list,
            ),
            read("objects.count", R::ReadObjects, "Counts objects of a type", objects::count),
            write("objects.update", R::WriteObjects, "Changes an object", objects::update)
            .with_history("objects"),
            write(
                "objects.delete",
                R::WriteObjects,
                "Deletes an object that no other refers to",
                objects::delete,
            )
            .with_history("objects"),
            read("system.status", R::ReadSystem, "Shows how the daemon is", system::status),
            read(
                "system.plugins",
                R::ReadSystem,
                "Shows plugins, their types, and what was refused",
                system::plugins,
            ),
        ];
        routes.extend(outgoing_routes::routes());
        routes.sort_by_key(|it| it.name);
        let views: Vec<_> = routes.iter().map(|it| view_of(it, &routes)).collect();
        for (route, view) in routes.iter_mut().zip(views) {
            route.view = view;
        }
        Table(routes)
    }

    /// The call that shows what another one changes, and the parameters by which both name it.
    pub(super) fn view_for<'a>(&'a self, route: &'a Route) -> Option<(&'a Route, &'a [String])> {
        let (get, names) = route.view.as_ref()?;
        Some((self.find(get)?, names))
    }

    pub(super) fn find(&self, name: &str) -> Option<&Route> {
        let place = self.0.binary_search_by_key(&name, |it| it.name).ok()?;
        self.0.get(place)
    }

    pub(super) fn all(&self) -> &[Route] {
        &self.0
    }
}

/// `x.get` for `x.update` and the like. What is made is not there before.
fn view_of(route: &Route, all: &[Route]) -> Option<(&'static str, Vec<String>)> {
    let (resource, verb) = route.name.rsplit_once('.')?;
    if route.reads || verb == "create" {
        return None;
    }
    let get = all.iter().find(|it| it.name.strip_suffix(".get") == Some(resource))?;
    let mut generator = schemars::SchemaGenerator::default();
    let named = (get.request)(&mut generator).to_value();
    let name = named.get("$ref").and_then(|it| it.as_str()?.rsplit('/').next());
    let schema = name.and_then(|it| generator.definitions().get(it)).unwrap_or(&named);
    let names = schema.get("properties")?.as_object()?.keys().cloned().collect();
    Some((get.name, names))
}
