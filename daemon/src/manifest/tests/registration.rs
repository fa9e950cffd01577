//! How a trigger URL is registered elsewhere.

use serde_json::json;

use super::check;
use crate::model::manifest::RegistrationMethod;

const FRAME: &str = r#"version: "2"
functions: [{name: f}]
automations: [{name: a, source: s, event_types: [x], function: f}]
developer_keyrings: [{name: app}]
keyrings: {organization: [{name: forge, types: [slack]}], user: [{name: own, types: [slack]}]}
"#;

/// A manifest whose source `s` of a level has this registration, in line 9.
fn manifest(level: &str, registration: &str) -> String {
    format!(
        "{FRAME}event_sources:\n  {level}:\n    - {{name: s, type: flow-events, registration:\n        \
         {registration}}}\n"
    )
}

#[test]
fn of_every_kind() {
    let manifest = check(
        &manifest(
            "organization",
            r#"{keyring: forge,
        register: {url: "https://[SUBDOMAIN].forge.example/hooks", headers: {Authorization: "Bearer [ACCESS_TOKEN]"},
          body: {url: "{{source.trigger_url}}", events: [push]}, id_jq: ".id"},
        unregister: {url: "https://forge.example/hooks/{{ registration.id }}"}}"#,
        ),
        "",
    );
    let manifest = manifest.unwrap();
    let registration = manifest.event_source("s").unwrap().registration.clone().unwrap();
    assert_eq!(registration.keyring.as_deref(), Some("forge"));
    assert_eq!(registration.register.method, RegistrationMethod::Post);
    let body = json!({"url": "{{source.trigger_url}}", "events": ["push"]});
    assert_eq!(registration.register.body, Some(body));
    assert_eq!(registration.register.id_jq.as_deref(), Some(".id"));
    assert_eq!(registration.unregister.unwrap().method, RegistrationMethod::Delete);
    let stored = serde_json::to_value(&manifest).unwrap();
    assert_eq!(stored["event_sources"][0]["registration"]["register"]["method"], "POST");
}

#[test]
fn through_keyrings_of_its_level() {
    for (level, keyring) in
        [("organization", "app"), ("user", "own"), ("user", "forge"), ("user", "app")]
    {
        let registration =
            format!("{{keyring: {keyring}, register: {{url: 'http://x', method: put}}}}");
        assert!(check(&manifest(level, &registration), "").is_some());
    }
    check(
        &manifest("organization", "{keyring: own, register: {url: 'http://x'}}"),
        "9:19: error: event_sources.organization[0].registration.keyring: the keyring `own` is each user's own, and this belongs to the organization",
    );
    check(
        &manifest("organization", "{keyring: forg, register: {url: 'http://x'}}"),
        "9:19: error: event_sources.organization[0].registration.keyring: unknown keyring `forg`, did you mean `forge`? (allowed: app, forge)",
    );
}

#[test]
fn with_everything_wrong() {
    check(
        &manifest("user", "{keyring: '', unregister: {url: 'ftp://x', method: HEAD, id_jq: .x}}"),
        "9:9: error: event_sources.user[0].registration.register: the key `register` is missing: the request that makes the trigger URL known
         9:19: error: event_sources.user[0].registration.keyring: must not be empty: the keyring that authorises the requests
         9:41: error: event_sources.user[0].registration.unregister.url: `ftp://x` is no URL: it starts with `https://`, `http://` or a placeholder
         9:60: error: event_sources.user[0].registration.unregister.method: unknown value `HEAD` (allowed: GET, POST, PUT, PATCH, DELETE)
         9:66: warning: event_sources.user[0].registration.unregister.id_jq: unknown key `id_jq` (allowed: url, method, headers, body)",
    );
    check(
        &manifest(
            "user",
            "{register: {url: 'http://x/{{registration.id}}'}, unregister: {url: 'http://x', body: [{id: '{{registration.id}}'}]}}",
        ),
        "9:20: error: event_sources.user[0].registration.register: uses `{{registration.id}}`, which only `unregister` knows
         9:71: error: event_sources.user[0].registration.unregister: uses `{{registration.id}}`, but `register` has no `id_jq` to find it",
    );
    check(
        &manifest("user", "{register: 'http://x', keyrings: own}"),
        "9:20: error: event_sources.user[0].registration.register: expected a mapping, found text
         9:32: warning: event_sources.user[0].registration.keyrings: unknown key `keyrings`, did you mean `keyring`? (allowed: keyring, register, unregister)",
    );
}
