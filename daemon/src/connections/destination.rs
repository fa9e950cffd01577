//! Which values decide where the requests of a type go. A stored secret goes only where it went when
//! it was set: somebody who may set a keyring must not learn what another has stored in it.

use std::collections::BTreeSet;

use super::placeholders::Values;
use super::types::{ConnectionKind, ConnectionType};

/// Where requests go, as far as whoever sets a keyring decides it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Whether something other than a field leads elsewhere than before: another subdomain.
    pub is_other: bool,
    /// Ids of the fields that stand in a host.
    pub fields: BTreeSet<String>,
}

impl Destination {
    /// What the requests of a type say, and those of registrations that are made with it.
    pub fn of<'a>(
        connection: &'a ConnectionType,
        registrations: impl Iterator<Item = &'a str>,
        is_other: bool,
    ) -> Destination {
        let ConnectionKind::Secret(config) = &connection.kind else {
            return Destination { is_other, fields: BTreeSet::new() };
        };
        let requests = [&connection.token_verification, &connection.organization_data];
        let urls = requests.into_iter().flatten().map(|it| it.url.as_str()).chain(registrations);
        let hosts: Vec<String> = urls.map(|it| authority(it).to_ascii_lowercase()).collect();
        let stands = |name: &str| {
            let name = name.to_ascii_lowercase();
            hosts.iter().any(|it| Values::mentions(it, &name))
        };
        // These are made of all fields.
        let made = stands("api_key") || stands("access_token");
        let ids = config.fields.iter().map(|it| &it.id);
        Destination { is_other, fields: ids.filter(|it| made || stands(it)).cloned().collect() }
    }
}

/// What of a URL with placeholders says where it leads: all up to its path.
fn authority(url: &str) -> &str {
    let url = url.trim();
    let start = url.find("://").map_or(0, |it| it + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |it| start + it);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::{ExternalRequest, SecretConfig, SecretField};

    fn fields_of(urls: [Option<&str>; 2], registration: Option<&str>) -> Vec<String> {
        let field = |id: &str| SecretField { id: id.to_owned(), ..SecretField::default() };
        let fields = ["url", "host", "token"].map(field).to_vec();
        let request = |url: &str| ExternalRequest { url: url.to_owned(), ..Default::default() };
        let [token_verification, organization_data] = urls.map(|it| it.map(request));
        let connection = ConnectionType {
            id: "t".to_owned(),
            name: None,
            description: None,
            is_subdomain: false,
            kind: ConnectionKind::Secret(SecretConfig { fields, ..SecretConfig::default() }),
            token_verification,
            organization_data,
            warning: None,
        };
        Destination::of(&connection, registration.into_iter(), false).fields.into_iter().collect()
    }

    #[test]
    fn fields_in_a_host_lead_somewhere() {
        for (urls, registration, expected) in [
            ([None, None], None, &[][..]),
            ([Some("[url]/me"), None], None, &["url"]),
            ([Some("https://[HOST]/me?key=[token]"), None], None, &["host"]),
            ([None, Some("https://api.[host].e.com:80")], None, &["host"]),
            ([Some("https://e.com/[host]/[url]"), None], None, &[]),
            ([Some("https://e.com?at=https://[host]/"), None], None, &[]),
            ([Some("https://e.com"), None], Some("[url]/hooks"), &["url"]),
            ([Some("https://[API_KEY].e.com"), None], None, &["host", "token", "url"]),
        ] {
            assert_eq!(fields_of(urls, registration), expected, "{urls:?}");
        }
    }
}
