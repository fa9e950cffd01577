//! Every command and option, with its help text.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::artifact::ArtifactCommand;
use super::audit::AuditCommand;
use super::commands::{OperationCommand, SlashCommand};
use super::integration::{
    DeliveryCommand, IntegrationCommand, Milestone, OccurrenceCommand, SubscriptionCommand,
    SupplyCommand,
};
use super::keyrings::{DeveloperKeyringCommand, KeyringCommand};
use super::object_types::ObjectTypeCommand;
use super::objects::ObjectCommand;
use super::people::{AccountCommand, GroupCommand, UserCommand};
use super::snap_in::arguments::{SnapInCommand, Source};
use super::snap_kit::{ActionCommand, ComponentCommand};
use super::source::SourceCommand;
use super::tokens::{RoleCommand, TokenCommand};
use super::views::ViewCommand;
use super::webhook::WebhookCommand;
use super::{dev, function, init, replay};

/// Runs snap-ins: event sources, automations and functions, on this host.
#[derive(Debug, Parser)]
#[command(name = "mortise", version, max_term_width = 100)]
#[command(after_help = "Examples:
  mortise quickstart                       try everything in a temporary directory
  mortise serve --config /etc/mortise/mortise.toml
  mortise snap-in install ./my-snap-in     package, version, snap-in and activation in one go
  mortise run list --state failed
  mortise run logs --follow RUN

Exit codes: 0 done, 1 refused or failed, 2 wrong or missing options, 3 the daemon cannot be
reached, 4 the daemon itself failed.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// How the daemon is reached.
#[derive(Args, Debug)]
#[command(next_help_heading = "The daemon")]
pub(super) struct Connection {
    /// The daemon's Unix socket [env: MORTISE_SOCKET] [default: /run/mortise/mortise.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// The daemon's URL, instead of its socket [env: MORTISE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) url: Option<String>,
    /// A file that holds the token; it is read from $MORTISE_TOKEN otherwise
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Print the daemon's answer as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon
    Serve {
        /// The configuration file; without one, the defaults
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Delete the secrets whose master key is lost, so that they can be set anew
        #[arg(long)]
        forget_lost_secrets: bool,
    },
    /// Try it: a daemon in a temporary directory, the example snap-in, a signed webhook
    Quickstart {
        /// Exit after the demonstration, with 0 only if all of it was seen
        #[arg(long)]
        once: bool,
    },
    /// Show or check configurations
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Packages: named lines of versions
    Package {
        #[command(subcommand)]
        command: PackageCommand,
    },
    /// Versions: manifests with their code
    Version {
        #[command(subcommand)]
        command: VersionCommand,
    },
    /// Snap-ins: installations of versions
    SnapIn {
        #[command(subcommand)]
        command: SnapInCommand,
    },
    /// Keyrings: secrets and connections of snap-ins
    Keyring {
        #[command(subcommand)]
        command: KeyringCommand,
    },
    /// Secrets that the developer of a package provides for all installations
    DeveloperKeyring {
        #[command(subcommand)]
        command: DeveloperKeyringCommand,
    },
    /// Event sources of snap-ins
    Source {
        #[command(subcommand)]
        command: SourceCommand,
    },
    /// Accepted events
    Event {
        #[command(subcommand)]
        command: EventCommand,
    },
    /// Runs: invocations of functions
    Run {
        #[command(subcommand)]
        command: RunCommand,
    },
    /// Runs that used up their attempts
    DeadLetter {
        #[command(subcommand)]
        command: DeadLetterCommand,
    },
    /// Functions of snap-ins
    Function {
        #[command(subcommand)]
        command: FunctionCommand,
    },
    /// Commands of snap-ins, such as people type them
    #[command(name = "command")]
    Slash {
        #[command(subcommand)]
        command: SlashCommand,
    },
    /// Operations of snap-ins: nodes of workflows
    Operation {
        #[command(subcommand)]
        command: OperationCommand,
    },
    /// Snap components: pieces of user interface that snap-ins draw
    Component {
        #[command(subcommand)]
        command: ComponentCommand,
    },
    /// Snap-kit actions: what people do with what snap-ins draw
    Action {
        #[command(subcommand)]
        command: ActionCommand,
    },
    /// Types of objects: what they look like, and what they are found by
    ObjectType {
        #[command(subcommand)]
        command: ObjectTypeCommand,
    },
    /// Objects: records of types that are defined here
    Object {
        #[command(subcommand)]
        command: ObjectCommand,
    },
    /// Views: saved questions about objects, shown as tables
    View {
        #[command(subcommand)]
        command: ViewCommand,
    },
    /// Artifacts: files that are kept
    Artifact {
        #[command(subcommand)]
        command: ArtifactCommand,
    },
    /// Users: people who may do something here
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Groups of users and service accounts
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// Service accounts: programs that may do something here
    ServiceAccount {
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Roles: who may do what, on the host and with integrations
    Role {
        #[command(subcommand)]
        command: RoleCommand,
    },
    /// Integrations: Slack, mail and others that people are told things through
    Integration {
        #[command(subcommand)]
        command: IntegrationCommand,
    },
    /// Scopes that integrations serve
    Supply {
        #[command(subcommand)]
        command: SupplyCommand,
    },
    /// What people want to be told of
    Subscription {
        #[command(subcommand)]
        command: SubscriptionCommand,
    },
    /// Messages through integrations, with their attempts and dead letters
    Delivery {
        #[command(subcommand)]
        command: DeliveryCommand,
    },
    /// What was worth telling
    Occurrence {
        #[command(subcommand)]
        command: OccurrenceCommand,
    },
    /// Report on a longer piece of work
    Milestone(Milestone),
    /// Say who was told of something, who was not, and why
    #[command(after_help = "\
It takes the right to see occurrences. What went through an integration is in \
mortise delivery list --integration.

Examples:
  mortise why run_01k9...             a run
  mortise why evt_01k9...             an event and what came of it
  mortise why occ_01k9...             an occurrence; or dlv_01k9..., a delivery
  mortise why prod/payments/sync      what happened to a snap-in; or to an event source of it
  mortise why slack/ops               what happened to an integration")]
    Why {
        /// Id of a run, event, occurrence, delivery, snap-in, source or integration; or the scope of a
        /// snap-in, with /NAME an event source of it, or the TYPE/NAME of an integration
        what: String,
    },
    /// Outgoing webhooks: who is told of changes of objects
    Webhook {
        #[command(subcommand)]
        command: WebhookCommand,
    },
    /// API tokens
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// The audit log: who changed what, and what was refused
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Show who you are to the daemon, and what you may do
    Whoami,
    /// The master key, which secrets in the database are sealed with
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Show how the daemon is
    Status,
    /// Show plugins, their types, and what was refused
    Plugins,
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// Where they are written
        directory: PathBuf,
    },
    /// Write the completions of a shell to standard output
    #[command(hide = true)]
    Completions {
        /// Such as bash, zsh or fish
        shell: clap_complete::Shell,
    },
    /// Make any call of the API
    Call {
        /// Such as `runs.list`
        name: String,
        /// The parameters: JSON, @FILE, or - for standard input
        #[arg(default_value = "{}")]
        parameters: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every setting with its default and what it is for
    Defaults,
    /// Say whether a configuration can be used
    Check {
        /// The configuration file
        file: PathBuf,
    },
}

/// Which part of a list.
#[derive(Args, Clone, Debug)]
pub(super) struct Page {
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub(super) limit: usize,
    /// Where the last page ended
    #[arg(long)]
    pub(super) cursor: Option<String>,
}

/// Which snap-ins a list is about.
#[derive(Args, Clone, Debug)]
pub(super) struct About {
    /// Only those of this snap-in: id or scope
    #[arg(long, conflicts_with = "scope")]
    pub(super) snap_in: Option<String>,
    /// Only those of snap-ins under this prefix of a scope, such as prod/payments
    #[arg(long)]
    pub(super) scope: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum PackageCommand {
    /// Create a package
    Create {
        /// Unique on the host, such as hello
        slug: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List packages
    List(Page),
    /// Show a package
    Get {
        /// Id or slug
        package: String,
    },
    /// Delete a package that has no versions
    Delete {
        /// Id or slug
        package: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum VersionCommand {
    /// Create a version from a directory, an archive or a URL
    #[command(after_help = "Examples:
  mortise version create --package hello ./hello
  mortise version create --package hello --create-package hello.tar.gz
  mortise version create --package hello https://example.com/hello-1.2.0.tar.gz --sha256 2c26b4...
  mortise version create --package hello --manifest manifest.yaml --testing-url http://localhost:8000")]
    Create {
        #[command(flatten)]
        source: Source,
        /// Id or slug of the package
        #[arg(long)]
        package: String,
        /// Create the package if there is none
        #[arg(long)]
        create_package: bool,
    },
    /// Say everything that is wrong with a manifest and its code; needs no daemon
    #[command(
        after_help = "Policies and other configurations of event sources are checked by the \
plugins, when they are installed; otherwise it says that they were not checked.

Examples:
  mortise version validate ./hello
  mortise version validate ./hello/manifest.yaml --plugins ./target/debug
  mortise version validate hello.tar.gz --json"
    )]
    Validate {
        /// A directory, an archive, or a manifest alone
        path: PathBuf,
        /// Where plugins are loaded from, rather than where packages put them
        #[arg(long, value_name = "DIR")]
        plugins: Vec<PathBuf>,
        /// The server to which events of functions in the runtime `remote` are posted
        #[arg(long, value_name = "URL")]
        testing_url: Option<String>,
    },
    /// Write a snap-in to begin with: a manifest, a function, a fixture and a test
    #[command(after_help = "Examples:
  mortise version init hello && cd hello
  mortise function run greet --fixture fixtures/event.json
  mortise version dev")]
    Init(init::Init),
    /// Install a directory, again at every save, and show live what happens to it
    #[command(
        after_help = "At every save the directory is checked, made a version, and the snap-in is \
moved to it. What is wrong is shown with file, line and column, and changes nothing. Events, runs and \
logs are shown as they come. Versions of the session that are no longer used are deleted.

Not looked at: node_modules, .git, leftovers of editors, and dist unless `main` of package.json \
leads there.

Examples:
  mortise version dev
  mortise version dev ./hello --scope dev/ada/hello --set greeting=Hello
  mortise version dev --keyring token=@token.txt --remove
  mortise version dev --json | jq -c 'select(.kind == \"run\")'"
    )]
    Dev(dev::Dev),
    /// Show a version: what it is made of, and what runs its functions
    #[command(visible_alias = "show")]
    Get {
        /// Id of the version
        version: String,
    },
    /// List versions
    List {
        /// Only those of this package
        #[arg(long)]
        package: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Delete a version that no snap-in uses
    Delete {
        /// Id of the version
        version: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EventCommand {
    /// List events, newest first
    List {
        #[command(flatten)]
        about: About,
        /// Only those of this type
        #[arg(long = "type")]
        event_type: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show an event with its payload
    Get {
        /// Id of the event
        event: String,
    },
    /// Queue new runs for stored events, for the automations of the present version
    #[command(
        after_help = "Nothing is stored a second time: the new runs name the event, and the runs \
that it had. Runs with a sync_id go behind those that wait.

Examples:
  mortise event replay evt_01k9...
  mortise event replay --snap-in prod/payments/sync --from 2026-01-31T22:00:00Z --dry-run
  mortise event replay --source src_01k9... --type custom:push --from 2026-01-31T22:00:00Z"
    )]
    Replay(replay::Replay),
}

#[derive(Debug, Subcommand)]
pub(super) enum RunCommand {
    /// List runs, newest first
    List {
        #[command(flatten)]
        about: About,
        /// Only those in this state: queued, running, retrying, succeeded, failed, dead, cancelled
        #[arg(long)]
        state: Option<String>,
        /// Only those of this function
        #[arg(long)]
        function: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show a run with what called it, its attempts, its result and what it called out to
    #[command(
        visible_alias = "show",
        after_help = "Examples:
  mortise run show RUN
  mortise run show RUN --wait 60
  mortise run show RUN --json | jq .run.result"
    )]
    Get {
        /// Id of the run
        run: String,
        /// Wait up to so many seconds until it has ended
        #[arg(long, default_value_t = 0)]
        wait: u32,
    },
    /// Show what a run logged, or has logged so far
    Logs {
        /// Id of the run
        run: String,
        /// Go on showing lines as they come until the run has ended; with --json one object a line
        #[arg(long, short)]
        follow: bool,
    },
    /// Try a run again that failed, or now rather than later
    Retry {
        /// Id of the run
        run: String,
    },
    /// Give a run up
    Cancel {
        /// Id of the run
        run: String,
        /// Told to whoever looks at the run
        #[arg(long)]
        reason: Option<String>,
    },
    /// Queue a new run for the event of an old one
    Replay {
        /// Id of the run
        run: String,
    },
}

/// Which dead letters: one, or all of a snap-in, or really all.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct DeadLetters {
    /// This run
    pub(super) run: Option<String>,
    /// All of this snap-in
    #[arg(long)]
    pub(super) snap_in: Option<String>,
    /// Really all
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
    /// List dead letters, oldest first
    List {
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        page: Page,
    },
    /// Try dead letters again
    Replay(DeadLetters),
    /// Forget dead letters
    Purge(DeadLetters),
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Show where the master key is, and how many secrets are sealed with it
    Status,
    /// Make a new master key and seal every secret with it, while the daemon runs
    #[command(
        long_about = "Make a new master key and seal every secret with it, while the daemon runs.

A daemon that is killed in the middle goes on with it at its next start. Backups of the database from \
before open with the key of then only: keep a copy of it with them."
    )]
    Rotate {
        /// Do not wait until all secrets are sealed with the new key
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum FunctionCommand {
    /// Call a function and wait for its result
    #[command(after_help = "Examples:
  mortise function call prod/team/hello greet '{\"name\": \"Ada\"}'
  mortise function call prod/team/hello greet @payload.json
  jq .payload event.json | mortise function call prod/team/hello greet -")]
    Call {
        /// Id or scope of the snap-in
        snap_in: String,
        /// Its name in the manifest
        function: String,
        /// The payload: JSON, @FILE, or - for standard input
        #[arg(default_value = "{}")]
        payload: String,
    },
    /// Run a function of a package on a fixture; needs no daemon
    #[command(
        after_help = "The function runs as in the daemon: in a process of its own, in the same \
sandbox, with the limits of its manifest. Its console goes to standard error as it comes, its result to \
standard output as JSON. Secrets of the event are masked in both.

Exit codes: 0 it returned, 1 it failed, 2 the fixture, the manifest or the code is wrong.

Examples:
  mortise function run greet --fixture fixtures/event.json
  mortise function run greet --fixture - --dir ./hello < event.json
  mortise function run sync --fixture event.json --keyring token=@token.txt --offline
  mortise function run sync --fixture event.json --allow 127.0.0.1:9000 --verbose
  mortise function run greet --fixture event.json --repeat 100"
    )]
    Run(function::Run),
    /// List the functions of a package, with what calls them; needs no daemon
    List {
        /// The package: a directory with manifest.yaml, or an archive of one
        #[arg(long, value_name = "DIR|FILE", default_value = ".")]
        dir: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn no_two_commands_or_options_are_in_each_others_way() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_argument_and_command_says_what_it_is() {
        let top = Arguments::command();
        let mut silent = Vec::new();
        let mut commands = vec![(String::new(), &top)];
        while let Some((above, command)) = commands.pop() {
            let name = format!("{above} {}", command.get_name());
            if command.get_about().is_none() {
                silent.push(name.clone());
            }
            for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
                if argument.get_help().is_none_or(|it| it.to_string().trim().is_empty()) {
                    silent.push(format!("{name}: {}", argument.get_id()));
                }
            }
            let shown = command.get_subcommands().filter(|it| !it.is_hide_set());
            commands.extend(shown.map(|it| (name.clone(), it)));
        }
        assert!(silent.is_empty(), "without a help text:\n{}", silent.join("\n"));
    }

    /// An argument with the name of one that every command has would be taken for it.
    #[test]
    fn no_argument_is_called_as_one_that_all_commands_have() {
        let top = Arguments::command();
        let global: Vec<_> = top.get_arguments().filter(|it| it.is_global_set()).collect();
        assert!(global.len() >= 4);
        let mut commands: Vec<&clap::Command> = top.get_subcommands().collect();
        while let Some(command) = commands.pop() {
            for argument in command.get_arguments() {
                let taken = global.iter().any(|it| it.get_id() == argument.get_id());
                assert!(!taken, "{}: {}", command.get_name(), argument.get_id());
            }
            commands.extend(command.get_subcommands());
        }
    }
}
