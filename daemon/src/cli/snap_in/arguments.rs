//! The commands about snap-ins, with their help texts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::arguments::Page;

/// What inputs and keyrings are to be.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct ValueOptions {
    /// Set an input, by its type: text, true, 12, a list with commas. NAME:=JSON takes JSON
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) set: Vec<String>,
    /// Set a keyring from standard input (NAME=-) or from a file (NAME=@FILE)
    #[arg(long, value_name = "NAME=-|@FILE")]
    pub(in crate::cli) keyring: Vec<String>,
    /// YAML or JSON with the sections `inputs` and `keyrings`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) values: Option<PathBuf>,
}

/// What a version is made of.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Source {
    /// A directory with manifest.yaml, a tar, tar.gz or zip archive of one, or a URL of that,
    /// which the daemon fetches
    #[arg(value_name = "DIR|FILE|URL", required_unless_present = "manifest")]
    pub(in crate::cli) origin: Option<String>,
    /// The manifest, when it is not in the archive, or alone with --testing-url
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) manifest: Option<PathBuf>,
    /// The server, such as http://localhost:8000, to which events of functions in the runtime
    /// `remote` are posted; may stand in place of an archive
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) testing_url: Option<String>,
    /// SHA-256 that the archive must have
    #[arg(long, value_name = "HEX")]
    pub(in crate::cli) sha256: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Install {
    #[command(flatten)]
    pub(in crate::cli) source: Source,
    /// Slug of the package; made from the manifest's name when absent
    #[arg(long)]
    pub(in crate::cli) package: Option<String>,
    /// Where it is to live: stack/namespace/snap-in (default: `default/default/<package>`)
    #[arg(long)]
    pub(in crate::cli) scope: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) values: ValueOptions,
    /// Ask only for what is missing, and not whether to go on
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
    /// Leave it in DRAFT; things may be missing then
    #[arg(long)]
    pub(in crate::cli) no_activate: bool,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Upgrade {
    /// Id or scope of the snap-in
    pub(in crate::cli) snap_in: String,
    /// A directory, an archive, the URL of one, a manifest (with --testing-url), or a version that is
    /// there: its id or number
    #[arg(value_name = "DIR|FILE|URL|VERSION")]
    pub(in crate::cli) to: String,
    /// Where events of functions in the runtime `remote` are posted
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) testing_url: Option<String>,
    /// SHA-256 that the archive must have
    #[arg(long, value_name = "HEX")]
    pub(in crate::cli) sha256: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) values: ValueOptions,
    /// Do it without asking
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub(in crate::cli) plan: bool,
    /// Move it even to what looks like another snap-in
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Rollback {
    /// Id or scope of the snap-in
    pub(in crate::cli) snap_in: String,
    /// A version that it was of: its id or number; the last one when absent
    #[arg(long)]
    pub(in crate::cli) version: Option<String>,
    /// Do it without asking
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Set {
    /// Id or scope of the snap-in
    pub(in crate::cli) snap_in: String,
    /// Inputs by their type: text, true, 12, a list with commas. NAME:=JSON takes JSON
    #[arg(value_name = "NAME=VALUE")]
    pub(in crate::cli) inputs: Vec<String>,
    /// The same as an option
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) set: Vec<String>,
    /// Put an input back to its default
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) unset: Vec<String>,
    /// Set a keyring from standard input (NAME=-) or from a file (NAME=@FILE)
    #[arg(long, value_name = "NAME=-|@FILE")]
    pub(in crate::cli) keyring: Vec<String>,
    /// YAML or JSON with the sections `inputs` and `keyrings`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) values: Option<PathBuf>,
}

/// What a person sets for himself.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct SetUser {
    /// Id or scope of the snap-in
    pub(in crate::cli) snap_in: String,
    /// User inputs by their type: text, true, 12, a list with commas. NAME:=JSON takes JSON
    #[arg(value_name = "NAME=VALUE")]
    pub(in crate::cli) inputs: Vec<String>,
    /// The same as an option
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) set: Vec<String>,
    /// Put an input back to its default
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) unset: Vec<String>,
    /// The user's id or name; your own when absent
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Enable {
    /// Id or scope of the snap-in
    pub(in crate::cli) snap_in: String,
    /// The user's id or name; your own when absent
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
    /// Set a user input, by its type
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SnapInCommand {
    /// Install what somebody wrote: package, version, snap-in, inputs, keyrings and activation
    #[command(
        after_help = "On a terminal, it asks for what is missing. Elsewhere it names what is \
missing and exits with 2.

Examples:
  mortise snap-in install ./my-snap-in
  mortise snap-in install https://example.com/hello-1.2.0.tar.gz --sha256 2c26b4...
  mortise snap-in install hello.tar.gz --scope prod/payments/hello --set greeting=Hello
  mortise snap-in install hello.tar.gz --values hello.yaml --yes
  pass show github | mortise snap-in install hello.tar.gz --keyring github=-

A file of values, which others must not be able to read:
  inputs:
    greeting: Hello
  keyrings:
    github: ghp_...
    jira: {type: jira-account, subdomain: acme, fields: {user: me, token: ...}}"
    )]
    Install(Install),
    /// Move a snap-in to another version: shows the plan first
    #[command(after_help = "Examples:
  mortise snap-in upgrade prod/payments/hello ./hello --plan
  mortise snap-in upgrade prod/payments/hello https://example.com/hello-1.3.0.tar.gz
  mortise snap-in upgrade prod/payments/hello 3 --set level=high --yes")]
    Upgrade(Upgrade),
    /// Move a snap-in back to a version that it was of: shows the plan first
    #[command(after_help = "Examples:
  mortise snap-in rollback prod/payments/hello
  mortise snap-in rollback prod/payments/hello --version 2 --yes")]
    Rollback(Rollback),
    /// Change inputs and keyrings: all that are given, or none of the inputs
    #[command(
        visible_alias = "update",
        after_help = "Examples:
  mortise snap-in set prod/payments/hello greeting=Hello labels=a,b
  mortise snap-in set prod/payments/hello retries:=3 --unset greeting
  mortise snap-in set prod/payments/hello --keyring github=@token.txt"
    )]
    Set(Set),
    /// Show everything about a snap-in on one page; name it by id or scope
    Show {
        /// Id or scope of the snap-in
        snap_in: String,
    },
    /// Draw the page on which a snap-in is configured, when its author has made one
    #[command(after_help = "Examples:
  mortise snap-in page prod/payments/hello
  mortise snap-in page prod/payments/hello --user
  mortise snap-in page prod/payments/hello --user ada --json")]
    Page {
        /// Id or scope
        snap_in: String,
        /// The page of a user: his id or name, or your own when none is given
        #[arg(long, value_name = "NAME", num_args = 0..=1)]
        user: Option<Option<String>>,
    },
    /// Install a version, in DRAFT
    Create {
        /// Id of the version
        version: String,
        /// Where it is to live: stack/namespace/snap-in
        #[arg(long)]
        scope: Option<String>,
    },
    /// List snap-ins
    #[command(after_help = "Examples:
  mortise snap-in list --scope prod
  mortise snap-in list --state error --json")]
    List {
        /// Only those under this prefix of a scope
        #[arg(long)]
        scope: Option<String>,
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show what the daemon knows of a snap-in, for scripts; `show` is for people
    Get {
        /// Id or scope of the snap-in
        snap_in: String,
    },
    /// Activate a snap-in and wait until it is
    Activate {
        /// Id or scope of the snap-in
        snap_in: String,
    },
    /// Deactivate a snap-in and wait until it is
    Deactivate {
        /// Id or scope of the snap-in
        snap_in: String,
        /// Go on even when the deactivate hook fails, or an event source cannot be removed from
        /// the external system: its registration stays there then
        #[arg(long)]
        force: bool,
    },
    /// Delete a snap-in
    Delete {
        /// Id or scope of the snap-in
        snap_in: String,
        /// Go on even when the deactivate hook fails, or an event source cannot be removed from
        /// the external system: its registration stays there then
        #[arg(long)]
        force: bool,
    },
    /// Enable a snap-in for yourself, or for a user: with user inputs and event sources of his own
    #[command(after_help = "On a terminal, it asks for the user inputs that are missing.

Examples:
  mortise snap-in enable prod/payments/hello
  mortise snap-in enable prod/payments/hello --user ada --set only_mine=true")]
    Enable(Enable),
    /// Disable a snap-in for yourself, or for a user; what was set is kept
    Disable {
        /// Id or scope of the snap-in
        snap_in: String,
        /// The user's id or name; your own when absent
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Change the inputs of a user: all that are given, or none
    #[command(
        visible_alias = "update-user",
        after_help = "Examples:
  mortise snap-in set-user prod/payments/hello only_mine=true
  mortise snap-in set-user prod/payments/hello --user ada --unset only_mine"
    )]
    SetUser(SetUser),
    /// Show what a user has set for himself, and his event sources
    ShowUser {
        /// Id or scope of the snap-in
        snap_in: String,
        /// The user's id or name; your own when absent
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}
