//! Where a snap-kit body is displayed.

use super::id::UserId;

/// A place of a snap-in where people see what a function has drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisplayPlace {
    /// A component, beside an object or alone.
    Component {
        /// Its name in the manifest.
        name: String,
        /// Id of the object.
        object: Option<String>,
    },
    /// The page on which a snap-in is configured, for everybody or for one person.
    ConfigurationPage {
        /// Whose; nobody's for the organization.
        user: Option<UserId>,
    },
    /// What an action answered that was executed from elsewhere, such as a timeline.
    Action {
        /// Its name in the manifest.
        name: String,
        /// Id of the entry or object.
        object: Option<String>,
    },
}

impl DisplayPlace {
    /// One text for each place.
    ///
    /// Invariant: names in manifests have no slash, and the object stands last, so that no two places
    /// have the same.
    pub fn key(&self) -> String {
        let with = |kind: &str, name: &str, object: &Option<String>| match object {
            Some(object) => format!("{kind}/{name}/{object}"),
            None => format!("{kind}/{name}"),
        };
        match self {
            DisplayPlace::Component { name, object } => with("component", name, object),
            DisplayPlace::ConfigurationPage { user: None } => "page/organization".to_owned(),
            DisplayPlace::ConfigurationPage { user: Some(user) } => format!("page/user/{user}"),
            DisplayPlace::Action { name, object } => with("action", name, object),
        }
    }
}
