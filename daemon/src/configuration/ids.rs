//! Which texts can be the id of an object: ours, those of the platform that snap-ins are written
//! for, and whatever an external system calls its own. Must never ask whether the object exists.

use crate::model::id::{
    AutomationId, EventId, KeyringId, PackageId, RunId, ServiceAccountId, SnapInId, SourceId,
    TagId, TokenId, UserId, VersionId,
};

/// More is no id.
pub const MAX_ID_CHARS: usize = 1024;

/// Why a text cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdProblem {
    /// Empty, too long, or with spaces or control characters in it.
    NoId,
    /// It says of itself that it belongs to something else than what is wanted.
    OfAnotherType(String),
}

type IsOne = fn(&str) -> bool;

/// The short name of each kind of object that has ids of ours.
const OURS: [(&str, IsOne); 12] = [
    ("snap_in_package", |it| it.parse::<PackageId>().is_ok()),
    ("snap_in_version", |it| it.parse::<VersionId>().is_ok()),
    ("snap_in", |it| it.parse::<SnapInId>().is_ok()),
    ("event_source", |it| it.parse::<SourceId>().is_ok()),
    ("event", |it| it.parse::<EventId>().is_ok()),
    ("automation", |it| it.parse::<AutomationId>().is_ok()),
    ("run", |it| it.parse::<RunId>().is_ok()),
    ("devu", |it| it.parse::<UserId>().is_ok()),
    ("svcacc", |it| it.parse::<ServiceAccountId>().is_ok()),
    ("keyring", |it| it.parse::<KeyringId>().is_ok()),
    ("tag", |it| it.parse::<TagId>().is_ok()),
    ("token", |it| it.parse::<TokenId>().is_ok()),
];

/// What a name of several types stands for. The long names are those of the platform's API, where
/// ids and manifests have the short ones.
const GROUPS: [(&str, &[&str]); 9] = [
    ("dev_user", &["devu"]),
    ("rev_user", &["revu"]),
    ("sys_user", &["sysu"]),
    ("dev_org", &["devo"]),
    ("rev_org", &["revo"]),
    ("service_account", &["svcacc"]),
    ("user", &["devu", "revu", "sysu", "svcacc"]),
    ("part", &["product", "capability", "feature", "enhancement", "component", "linkable"]),
    ("work", &["issue", "ticket", "task", "opportunity"]),
];

/// Whether `text` can be the id of one of `id_types`; none listed means of anything.
///
/// A text that does not tell its type (`PROD-12`, a number, a UUID) is taken as it is.
pub fn check_id(text: &str, id_types: &[String]) -> Result<(), IdProblem> {
    let is_odd = |it: char| it.is_whitespace() || it.is_control();
    if text.is_empty() || text.chars().nth(MAX_ID_CHARS).is_some() || text.contains(is_odd) {
        return Err(IdProblem::NoId);
    }
    let Some(found) = type_of(text) else { return Ok(()) };
    if id_types.is_empty() || id_types.iter().any(|wanted| covers(wanted, found)) {
        return Ok(());
    }
    Err(IdProblem::OfAnotherType(found.to_owned()))
}

/// The type that an id tells: the last part of `don:core:...:product/12`, or what our prefix says.
fn type_of(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("don:") {
        let last = rest.rsplit(':').next()?;
        return last.split_once('/').map(|(found, _)| found).filter(|it| !it.is_empty());
    }
    OURS.iter().find(|(_, is_one)| is_one(text)).map(|(name, _)| *name)
}

fn covers(wanted: &str, found: &str) -> bool {
    let normal = |it: &str| it.to_lowercase().replace('-', "_");
    let (wanted, found) = (normal(wanted), normal(found));
    let members = GROUPS.iter().find(|(name, _)| *name == wanted).map(|(_, members)| *members);
    wanted == found || members.is_some_and(|it| it.contains(&found.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_several_worlds() {
        let tag = TagId(7).to_string();
        let user = UserId(7).to_string();
        let product = "don:core:dvrv-us-1:devo/0:product/12";
        for (text, id_types, is_one) in [
            (tag.as_str(), &["tag"] as &[&str], true),
            (tag.as_str(), &[], true),
            (tag.as_str(), &["product"], false),
            (tag.as_str(), &["product", "Tag"], true),
            (user.as_str(), &["devu"], true),
            (user.as_str(), &["dev_user"], true),
            (user.as_str(), &["user"], true),
            (user.as_str(), &["group"], false),
            (product, &["product"], true),
            (product, &["part"], true),
            (product, &["capability"], false),
            ("don:integration:x:devo/0:snap_in/1:event-source/2", &["event_source"], true),
            ("don:odd", &["product"], true),
            ("PROD-12", &["product"], true),
            ("42", &["product"], true),
            ("b2ab1c2e-7b0f-4b2c-9d44-0a9c3d0d5f5e", &["group"], true),
            ("tag_short", &["product"], true),
            ("", &[], false),
            ("two words", &[], false),
            ("a\nb", &[], false),
        ] {
            let id_types: Vec<String> = id_types.iter().map(|&it| it.to_owned()).collect();
            assert_eq!(check_id(text, &id_types).is_ok(), is_one, "{text} {id_types:?}");
        }
        assert_eq!(check_id(&"x".repeat(MAX_ID_CHARS + 1), &[]), Err(IdProblem::NoId));
        assert_eq!(
            check_id(product, &["tag".to_owned()]),
            Err(IdProblem::OfAnotherType("product".to_owned()))
        );
    }
}
