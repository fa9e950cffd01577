//! The table of who may make which call, for people to read: `routes.table.txt`. `tests/tests/rights.rs`
//! walks it against the daemon.

use super::auditing::Audit;
use super::routes::Table;
use crate::access::rights::{ForFunctions, Rule};
use crate::model::access::{HostRole, IntegrationRole};

const HEAD: &str = "\
# Who may make which call. Written anew by a test when it changes; read the diff.
#
# call, the right that it needs, and who has that:
#   of the host: own(er), con(tributor), rea(der), iam (identity-access-manager),
#                icr, ico, ire (integration-creator, -contributor, -reader)
#   of one integration, for that one: Own, Con, Rea, Iam
#   sco: a token for a prefix of scopes, of an owner, for what is under it
#   fun, ord: functions of snap-ins, for what is their snap-in's; on somebody's order
# and what the audit log has of it: a row `ahead` or `with the change`, nothing because what it changes
# has a history of its own (which), or - because it changes nothing.
# Whoever has no token, or a wrong one, may make none of these calls.
# What lets an integration hear of more needs occurrences.read there as well: subscriptions.create and
# .update, supplies.create, and integrations.create and .update with supplied_to_all.

";

/// A mark for each column, in the order of [`COLUMNS`].
fn marks(rule: &Rule) -> Vec<bool> {
    let (function, ordered) = match rule.functions {
        ForFunctions::Yes => (true, true),
        ForFunctions::WhenOrdered => (false, true),
        ForFunctions::No => (false, false),
    };
    let host = HostRole::ALL.iter().map(|it| rule.host.contains(it));
    let one = IntegrationRole::ALL.iter().map(|it| rule.integration.contains(it));
    host.chain(one).chain([rule.scoped, function, ordered]).collect()
}

const COLUMNS: [&str; 14] = [
    "own", "con", "rea", "iam", "icr", "ico", "ire", "Own", "Con", "Rea", "Iam", "sco", "fun",
    "ord",
];

fn line(call: &str, right: &str, marks: &[&str], audit: &str) -> String {
    let marks: String = marks.iter().map(|it| format!("{it:<4}")).collect();
    format!("{call:<34} {right:<22} {marks}{audit}\n")
}

#[test]
fn the_stored_table_is_in_step_with_the_code() {
    let mut text = HEAD.to_owned();
    text.push_str(&line("call", "right", &COLUMNS, "audit"));
    for route in Table::new().all() {
        let rule = route.right.rule();
        let marks: Vec<&str> =
            marks(rule).into_iter().map(|has| if has { "x" } else { "." }).collect();
        let audit = match route.audit {
            Audit::Nothing => "-",
            Audit::History(where_it_is) => where_it_is,
            Audit::WithChange => "with the change",
            Audit::Ahead => "ahead",
        };
        text.push_str(&line(route.name, rule.name, &marks, audit));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/routes.table.txt");
    if std::fs::read_to_string(path).unwrap_or_default() != text {
        std::fs::write(path, text).expect("the table can be written");
        panic!(
            "who may make which call has changed; {path} was written anew, read its diff and commit it"
        );
    }
}
