//! `mortise user`, `group` and `service-account`: who there is on this host.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::arguments::Page;
use super::client::paged;
use super::connection::Client;
use super::integration::which::Names;
use super::show::{self, View};

const USERS: View = View::Table("users", COLUMNS);
const ACCOUNTS: View = View::Table("service_accounts", COLUMNS);
const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("ROLES", "said_roles"),
    ("GROUPS", "said_groups"),
    ("TOKENS", "tokens"),
    ("CREATED", "created_date"),
    ("DESCRIPTION", "description"),
];
const GROUPS: View = View::Table(
    "groups",
    &[
        ("NAME", "name"),
        ("ROLES", "said_roles"),
        ("MEMBERS", "members"),
        ("CREATED", "created_date"),
        ("DESCRIPTION", "description"),
    ],
);
const MEMBERS: View = View::Table("members", &[("NAME", "name"), ("KIND", "kind"), ("ID", "id")]);

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a user
    #[command(after_help = "\
A user has no password: make him a token, or name his user id under access.peers in the configuration. \
Snap-ins know him by the same name.

Examples:
  mortise user create ada --role contributor
  mortise user create ada --description \"Payments team\"
  mortise token create laptop --for user:ada --expires-in 90d")]
    Create(New),
    /// List users
    List(Page),
    /// Show a user, with roles and groups
    Show {
        /// Name or id
        user: String,
    },
    /// Describe a user otherwise
    Describe {
        /// Name or id
        user: String,
        /// What people are told of it
        description: String,
    },
    /// Delete a user; tokens and roles are gone at once
    Delete {
        /// Name or id
        user: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Make a service account, for a program
    #[command(after_help = "Examples:
  mortise service-account create deploy --role contributor
  mortise token create ci --for service-account:deploy --expires-in 30d > ci.token")]
    Create(New),
    /// List service accounts
    List(Page),
    /// Show a service account, with roles and groups
    Show {
        /// Name or id
        account: String,
    },
    /// Describe a service account otherwise
    Describe {
        /// Name or id
        account: String,
        /// What people are told of it
        description: String,
    },
    /// Delete a service account; tokens and roles are gone at once
    Delete {
        /// Name or id
        account: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// Make a group of users and service accounts
    #[command(after_help = "Examples:
  mortise group create payments --role reader
  mortise group add payments ada grace service-account:deploy
  mortise role grant contributor group:payments")]
    Create(New),
    /// List groups
    List(Page),
    /// Show a group, with its roles
    Show {
        /// Name or id
        group: String,
    },
    /// Describe a group otherwise
    Describe {
        /// Name or id
        group: String,
        /// What people are told of it
        description: String,
    },
    /// Delete a group; what it was granted, its members have no more
    Delete {
        /// Name or id
        group: String,
    },
    /// Put somebody into a group
    Add {
        /// Name or id
        group: String,
        /// Users by name, others as service-account:NAME, or ids
        #[arg(required = true)]
        member: Vec<String>,
    },
    /// Take somebody out of a group
    Remove {
        /// Name or id
        group: String,
        /// Users by name, others as service-account:NAME, or ids
        #[arg(required = true)]
        member: Vec<String>,
    },
    /// List who is in a group
    Members {
        /// Name or id
        group: String,
        #[command(flatten)]
        page: Page,
    },
}

/// Somebody new.
#[derive(Args, Debug)]
pub(super) struct New {
    /// Unique: A-Z, a-z, 0-9 and `-_.@+`
    name: String,
    /// What people are told of it
    #[arg(long, default_value = "")]
    description: String,
    /// A role on the host to begin with; can be given several times
    #[arg(long)]
    role: Vec<String>,
}

/// What is the same for the three.
struct Kind {
    /// What its calls begin with.
    calls: &'static str,
    /// Where it is in answers.
    key: &'static str,
    /// What stands before its name.
    prefix: &'static str,
    list: &'static View,
}

const USER: Kind = Kind { calls: "users", key: "user", prefix: "user", list: &USERS };
const ACCOUNT: Kind = Kind {
    calls: "service-accounts",
    key: "service_account",
    prefix: "service-account",
    list: &ACCOUNTS,
};
const GROUP: Kind =
    Kind { calls: "principal-groups", key: "group", prefix: "group", list: &GROUPS };

impl Kind {
    fn create(&self, client: &Client, as_json: bool, new: &New) -> Result<(), Failure> {
        let asked = json!({ "name": new.name, "description": new.description });
        let made = client.call(&format!("{}.create", self.calls), &asked)?;
        let principal = format!("{}:{}", self.prefix, new.name);
        for role in &new.role {
            let grant = json!({ "principal": principal, "role": role });
            client.call("roles.grant", &grant).map_err(|mut failure| {
                failure.message.push_str(&format!("\n{principal} was made, without this role"));
                failure
            })?;
        }
        if new.role.is_empty() {
            return self.shown(client, &made, as_json);
        }
        self.show(client, as_json, &new.name)
    }

    fn list(&self, client: &Client, as_json: bool, page: Page) -> Result<(), Failure> {
        let mut answer = client.call(&format!("{}.list", self.calls), &paged(page, json!({})))?;
        if !as_json
            && let View::Table(key, _) = self.list
            && let Some(rows) = answer[*key].as_array_mut()
        {
            let roles_of_all = rows.iter().map(|it| &it["roles"]);
            let integrations = Names::of(client, roles_of_all.flat_map(integrations_of))?;
            for row in rows {
                row["said_roles"] = roles(&row["roles"], &integrations).into();
                row["said_groups"] = names(&row["groups"]).into();
            }
        }
        show::answer(&answer, self.list, as_json)
    }

    fn show(&self, client: &Client, as_json: bool, name: &str) -> Result<(), Failure> {
        let answer = client.call(&format!("{}.get", self.calls), &json!({ "id": name }))?;
        self.shown(client, &answer, as_json)
    }

    fn shown(&self, client: &Client, answer: &Value, as_json: bool) -> Result<(), Failure> {
        if as_json {
            return show::answer(answer, &View::EVERYTHING, true);
        }
        let mut answer = answer.clone();
        let of = &mut answer[self.key];
        let integrations = Names::of(client, integrations_of(&of["roles"]))?;
        of["roles"] = roles(&of["roles"], &integrations).into();
        of["groups"] = names(&of["groups"]).into();
        show::answer(&answer, &View::One(self.key), false)
    }

    fn describe(
        &self,
        client: &Client,
        as_json: bool,
        name: &str,
        description: &str,
    ) -> Result<(), Failure> {
        let asked = json!({ "id": name, "description": description });
        let answer = client.call(&format!("{}.update", self.calls), &asked)?;
        self.shown(client, &answer, as_json)
    }

    fn delete(&self, client: &Client, as_json: bool, name: &str) -> Result<(), Failure> {
        let answer = client.call(&format!("{}.delete", self.calls), &json!({ "id": name }))?;
        show::answer(&answer, &View::DONE, as_json)
    }
}

/// The integrations that roles are on.
fn integrations_of(roles: &Value) -> impl Iterator<Item = &Value> {
    roles.as_array().into_iter().flatten().map(|it| &it["integration"])
}

/// `owner, reader of slack/ops`.
fn roles(roles: &Value, integrations: &Names) -> String {
    let said = roles.as_array().into_iter().flatten().map(|it| {
        let role = it["role"].as_str().unwrap_or_default();
        match &it["integration"] {
            Value::Null => role.to_owned(),
            integration => format!("{role} of {}", integrations.say(integration)),
        }
    });
    said.collect::<Vec<_>>().join(", ")
}

fn names(refs: &Value) -> String {
    let names = refs.as_array().into_iter().flatten().filter_map(|it| it["name"].as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// `mortise user`.
pub(super) fn user(client: &Client, as_json: bool, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Create(new) => USER.create(client, as_json, &new),
        UserCommand::List(page) => USER.list(client, as_json, page),
        UserCommand::Show { user } => USER.show(client, as_json, &user),
        UserCommand::Describe { user, description } => {
            USER.describe(client, as_json, &user, &description)
        }
        UserCommand::Delete { user } => USER.delete(client, as_json, &user),
    }
}

/// `mortise service-account`.
pub(super) fn account(
    client: &Client,
    as_json: bool,
    command: AccountCommand,
) -> Result<(), Failure> {
    match command {
        AccountCommand::Create(new) => ACCOUNT.create(client, as_json, &new),
        AccountCommand::List(page) => ACCOUNT.list(client, as_json, page),
        AccountCommand::Show { account } => ACCOUNT.show(client, as_json, &account),
        AccountCommand::Describe { account, description } => {
            ACCOUNT.describe(client, as_json, &account, &description)
        }
        AccountCommand::Delete { account } => ACCOUNT.delete(client, as_json, &account),
    }
}

/// `mortise group`.
pub(super) fn group(client: &Client, as_json: bool, command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::Create(new) => GROUP.create(client, as_json, &new),
        GroupCommand::List(page) => GROUP.list(client, as_json, page),
        GroupCommand::Show { group } => GROUP.show(client, as_json, &group),
        GroupCommand::Describe { group, description } => {
            GROUP.describe(client, as_json, &group, &description)
        }
        GroupCommand::Delete { group } => GROUP.delete(client, as_json, &group),
        GroupCommand::Add { group, member } => {
            change_members(client, as_json, "principal-groups.add-member", &group, &member)
        }
        GroupCommand::Remove { group, member } => {
            change_members(client, as_json, "principal-groups.remove-member", &group, &member)
        }
        GroupCommand::Members { group, page } => {
            let asked = paged(page, json!({ "id": group }));
            show::answer(&client.call("principal-groups.members", &asked)?, &MEMBERS, as_json)
        }
    }
}

fn change_members(
    client: &Client,
    as_json: bool,
    call: &str,
    group: &str,
    members: &[String],
) -> Result<(), Failure> {
    for (at, member) in members.iter().enumerate() {
        let asked = json!({ "id": group, "member": principal_of(member) });
        client.call(call, &asked).map_err(|mut failure| {
            if at > 0 {
                let before = members[..at].join(", ");
                failure.message.push_str(&format!("\nthis was done before: {before}"));
            }
            failure
        })?;
    }
    GROUP.show(client, as_json, group)
}

/// A user by his plain name; others say what they are.
pub(super) fn principal_of(text: &str) -> String {
    let is_id = ["usr_", "svc_", "grp_"].iter().any(|it| text.starts_with(it) && text.len() == 30);
    if is_id || text.contains(':') || text == "host" {
        return text.to_owned();
    }
    format!("user:{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_that_of_a_user() {
        assert_eq!(principal_of("ada"), "user:ada");
        assert_eq!(principal_of("group:ops"), "group:ops");
        let id = "usr_01k00000000000000000000000";
        assert_eq!(principal_of(id), id);
    }

    #[test]
    fn roles_are_said_in_one_line() {
        let all = json!([{ "role": "reader" }, { "role": "owner", "integration": "itg_1" }]);
        assert_eq!(roles(&all, &Names::default()), "reader, owner of itg_1");
        assert_eq!(names(&json!([{ "name": "ops" }, { "name": "dev" }])), "ops, dev");
    }
}
