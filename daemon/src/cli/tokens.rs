//! `mortise token`, `mortise role` and `mortise whoami`: how somebody shows who he is, and what he may
//! do.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Failure;
use super::arguments::Page;
use super::client::{paged, without_nulls};
use super::connection::Client;
use super::integration::which::{Names, maybe_id_of};
use super::people::principal_of;
use super::show::{self, View};

const TOKENS: View = View::Table(
    "tokens",
    &[
        ("NAME", "name"),
        ("OF", "said_owner"),
        ("LIMITED TO", "said_limits"),
        ("EXPIRES", "said_expiry"),
        ("USED", "used_date"),
        ("CREATED", "created_date"),
    ],
);
const ROLES: View = View::Table(
    "roles",
    &[
        ("PRINCIPAL", "said_principal"),
        ("ROLE", "role"),
        ("ON", "said_on"),
        ("CREATED", "granted_date"),
    ],
);

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token; it is shown once
    #[command(after_help = "\
Without --for it is your own; root on the Unix socket makes one of the host's own, which may do \
everything. A token never does more than whom it belongs to.

Examples:
  mortise token create laptop --for ada --expires-in 90d
  (umask 077; mortise token create ci --for service-account:deploy --role reader > ci.token)
  mortise token create payments --scope prod/payments
  MORTISE_TOKEN=$(cat ci.token) mortise whoami")]
    Create {
        /// Says what uses it
        name: String,
        /// Whose it is: a user's name, service-account:NAME, or an id
        #[arg(long = "for", value_name = "WHOM")]
        principal: Option<String>,
        /// Limit it to this role; can be given several times
        #[arg(long)]
        role: Vec<String>,
        /// Limit it to the snap-ins under this prefix of a scope
        #[arg(long)]
        scope: Option<String>,
        /// When it expires: a number with s, m, h or d behind it
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires_in: Option<u64>,
    },
    /// List tokens: your own, or for who may see them, all
    List {
        /// Only those of this user, service-account:NAME or id; `host` for the host's own
        #[arg(long = "for", value_name = "WHOM")]
        principal: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Delete a token: whoever has it cannot use it any more
    #[command(after_help = "Examples:
  mortise token delete laptop
  mortise token delete ci --for service-account:deploy")]
    Delete {
        /// Its name
        name: String,
        /// Whose it is: a user's name, service-account:NAME, an id, or `host` for the host's own
        #[arg(long = "for", value_name = "WHOM")]
        principal: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RoleCommand {
    /// Give somebody a role, on the host or on one integration
    #[command(after_help = "\
Roles of the host: owner, contributor, reader, identity-access-manager, integration-creator, \
integration-contributor, integration-reader. Of an integration: owner, contributor, reader, \
identity-access-manager. Nobody gives a role that allows more than he may do himself.

Examples:
  mortise role grant contributor ada
  mortise role grant reader group:auditors
  mortise role grant contributor group:ops --integration slack/ops")]
    Grant {
        /// Such as reader; those that there are stand below
        role: String,
        /// A user's name, group:NAME, service-account:NAME, or an id
        principal: String,
        /// The integration that it is on: type and name as in slack/ops, or id
        #[arg(long)]
        integration: Option<String>,
    },
    /// Take a role from somebody
    #[command(after_help = "Examples:
  mortise role revoke contributor ada
  mortise role revoke reader group:auditors --integration slack/ops")]
    Revoke {
        /// Such as reader; those that there are stand below
        role: String,
        /// A user's name, group:NAME, service-account:NAME, or an id
        principal: String,
        /// The integration that it is on: type and name as in slack/ops, or id
        #[arg(long)]
        integration: Option<String>,
    },
    /// List who has which role
    List {
        /// Only those of this one: a user's name, group:NAME, service-account:NAME, or an id
        #[arg(long = "of", value_name = "WHOM")]
        principal: Option<String>,
        /// Only those on this integration: type and name as in slack/ops, or id
        #[arg(long)]
        integration: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// `90d` and the like as seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time: expected a number with s, m, h or d, such as 90d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        Some(_) | None => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|it| *it > 0).ok_or_else(wrong)
}

/// `mortise token`.
pub(super) fn run(client: &Client, as_json: bool, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { name, principal, role, scope, expires_in } => {
            let asked = without_nulls(json!({
                "name": name,
                "principal": principal.as_deref().map(principal_of),
                "roles": (!role.is_empty()).then_some(role),
                "scope": scope,
                "expires_in_seconds": expires_in,
            }));
            let answer = client.call("tokens.create", &asked)?;
            if as_json {
                return show::answer(&answer, &View::EVERYTHING, true);
            }
            // Alone, so that it can go into a file.
            show::print(answer["token"].as_str().unwrap_or_default())
        }
        TokenCommand::List { principal, page } => {
            let asked = json!({ "principal": principal.as_deref().map(principal_of) });
            let mut answer = client.call("tokens.list", &paged(page, asked))?;
            if !as_json {
                answer["tokens"].as_array_mut().into_iter().flatten().for_each(say_token);
            }
            show::answer(&answer, &TOKENS, as_json)
        }
        TokenCommand::Delete { name, principal } => {
            let principal = principal.as_deref().map(principal_of);
            let asked = without_nulls(json!({ "name": name, "principal": principal }));
            let deleted = client.try_call("tokens.delete", &asked)?.map_err(|refusal| {
                let is_elsewhere = refusal.is_not_found() && principal.is_none();
                let mut failure = Failure::from(refusal);
                if is_elsewhere {
                    failure.message.push_str(
                        " of your own; those of others take --for WHOM, and mortise token list has them",
                    );
                }
                failure
            });
            show::answer(&deleted?, &View::DONE, as_json)
        }
    }
}

fn said(principal: &Value) -> String {
    let text = |key: &str| principal[key].as_str().unwrap_or_default();
    match text("kind") {
        "" => "the host".to_owned(),
        "user" => text("name").to_owned(),
        kind => format!("{}:{}", kind.replace('_', "-"), text("name")),
    }
}

fn say_token(token: &mut Value) {
    let roles = token["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let limits: Vec<&str> = roles.chain(token["scope"].as_str()).collect();
    let limits = limits.join(", ");
    let expiry = match (&token["expired"], token["expires_date"].as_str()) {
        (_, None) => String::new(),
        (Value::Bool(true), Some(_)) => "expired".to_owned(),
        (_, Some(date)) => date.to_owned(),
    };
    token["said_owner"] = said(&token["principal"]).into();
    token["said_limits"] = limits.into();
    token["said_expiry"] = expiry.into();
}

/// `mortise role`.
pub(super) fn role(client: &Client, as_json: bool, command: RoleCommand) -> Result<(), Failure> {
    let asked = |role: String, principal: &str, integration: Option<String>| {
        let integration = maybe_id_of(client, integration.as_deref())?;
        Ok::<_, Failure>(without_nulls(json!({
            "role": role, "principal": principal_of(principal), "integration": integration,
        })))
    };
    match command {
        RoleCommand::Grant { role, principal, integration } => {
            let answer = client.call("roles.grant", &asked(role, &principal, integration)?)?;
            show::answer(&answer, &View::DONE, as_json)
        }
        RoleCommand::Revoke { role, principal, integration } => {
            let answer = client.call("roles.revoke", &asked(role, &principal, integration)?)?;
            show::answer(&answer, &View::DONE, as_json)
        }
        RoleCommand::List { principal, integration, page } => {
            let principal = principal.as_deref().map(principal_of);
            let integration = maybe_id_of(client, integration.as_deref())?;
            let asked = json!({ "principal": principal, "integration": integration });
            let mut answer = client.call("roles.list", &paged(page, asked))?;
            if !as_json && let Some(rows) = answer["roles"].as_array_mut() {
                let names = Names::of(client, rows.iter().map(|it| &it["integration"]))?;
                for row in rows {
                    row["said_principal"] = said(&row["principal"]).into();
                    row["said_on"] = match &row["integration"] {
                        Value::Null => "the host".into(),
                        id => names.say(id).into(),
                    };
                }
            }
            show::answer(&answer, &ROLES, as_json)
        }
    }
}

/// `mortise whoami`.
pub(super) fn whoami(client: &Client, as_json: bool) -> Result<(), Failure> {
    let mut answer = client.call("whoami", &json!({}))?;
    if !as_json {
        let groups = answer["groups"].as_array().into_iter().flatten();
        let groups: Vec<&str> = groups.filter_map(|it| it["name"].as_str()).collect();
        let groups = groups.join(", ");
        let words = |it: &Value| {
            let words = it.as_array().into_iter().flatten().filter_map(Value::as_str);
            words.collect::<Vec<_>>().join(" ")
        };
        let rights = show::wrapped(&words(&answer["rights"]), 76);
        let single = answer["integrations"].as_array().cloned().unwrap_or_default();
        let names = Names::of(client, single.iter().map(|it| &it["id"]))?;
        let single = single.iter().map(|it| {
            show::wrapped(&format!("{}: {}", names.say(&it["id"]), words(&it["rights"])), 76)
        });
        let single = single.collect::<Vec<_>>().join("\n");
        answer["groups"] = groups.into();
        answer["rights"] = rights.into();
        answer["integrations"] = single.into();
        if answer["principal"].is_object() {
            answer["principal"] = said(&answer["principal"]).into();
        }
    }
    show::answer(&answer, &View::EVERYTHING, as_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("90d"), Ok(90 * 24 * 60 * 60));
        assert_eq!(seconds("5m"), Ok(300));
        for wrong in ["", "5", "d", "0s", "1y", "-1d", "99999999999999999999d", "9é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_said_in_one_line() {
        let mut token = json!({
            "name": "ci", "principal": { "kind": "service_account", "name": "deploy" },
            "roles": ["reader"], "scope": "prod", "expired": true, "expires_date": "2026",
        });
        say_token(&mut token);
        assert_eq!(token["said_owner"], "service-account:deploy");
        assert_eq!(token["said_limits"], "reader, prod");
        assert_eq!(token["said_expiry"], "expired");
        assert_eq!(said(&Value::Null), "the host");
    }
}
