//! Whole manifests: what is in them arrives, and survives being stored.

use serde_json::json;

use super::check;
use crate::model::manifest::{
    FieldType, HookType, KeyringKind, Level, Manifest, ManifestVersion, Runtime,
};

pub(super) const WEBHOOK: &str = include_str!("samples/webhook.yaml");
pub(super) const SCHEDULE: &str = include_str!("samples/schedule.yaml");
pub(super) const EVERYTHING: &str = include_str!("samples/everything.yaml");
pub(super) const VERSION_1: &str = include_str!("samples/version1.yaml");

const EXAMPLE: &str = include_str!("../../../../contrib/examples/hello-webhook/manifest.yaml");

#[track_caller]
fn read(text: &str) -> Manifest {
    let manifest = check(text, "").expect("no problems, so a manifest");
    let stored = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&stored).unwrap(), manifest);
    manifest
}

#[test]
fn the_signed_webhook() {
    let manifest = read(WEBHOOK);
    let source = manifest.event_source("custom-webhook").unwrap();
    assert_eq!(source.kind, "flow-custom-webhook");
    assert_eq!(source.level, Level::Organization);
    assert_eq!(source.config["parameters"]["secret"], "EnterYourRandomSecretHere");
    let policy = source.config["policy"].as_str().unwrap();
    assert!(policy.starts_with("package rego\npayload_as_string :="));
    assert!(policy.contains("\n  input.request.method == \"POST\"\n"));
    assert!(policy.ends_with("}\n"));
    assert_eq!(
        manifest.event_source_path("custom-webhook").as_deref(),
        Some("event_sources.organization[0]")
    );
    let automation = manifest.automations_of("custom-webhook").next().unwrap();
    assert_eq!(automation.event_types, ["custom:my-event"]);
    assert_eq!(manifest.function(&automation.function).unwrap().runtime, Runtime::Auto);
}

#[test]
fn the_example_for_newcomers() {
    let manifest = read(EXAMPLE);
    assert_eq!(manifest.automations[0].event_types, ["custom:my-event"]);
    let instructions = super::super::render_instructions(
        manifest.event_sources[0].setup_instructions.as_deref().unwrap(),
        "custom-webhook",
        "https://host/hooks/t",
        &manifest.event_sources[0].config,
    );
    assert!(instructions.contains("`https://host/hooks/t`"));
    assert!(!instructions.contains("{{"));
}

#[test]
fn every_source_type_of_the_documents() {
    let manifest = read(SCHEDULE);
    let kinds: Vec<&str> = manifest.event_sources.iter().map(|source| &*source.kind).collect();
    assert_eq!(kinds, ["devrev-webhook", "flow-events", "timer-events", "email-forward"]);
    assert_eq!(manifest.event_source("scheduled-events").unwrap().config, json!({}));
    assert_eq!(
        manifest.event_source("daily-timer-source").unwrap().config,
        json!({"cron": "0 0 * * *", "metadata": {"event_key": "daily_events"}})
    );
}

#[test]
fn one_of_each_section() {
    let manifest = read(EVERYTHING);
    assert_eq!(manifest.version, ManifestVersion::V2);
    assert_eq!(manifest.service_account.as_ref().unwrap().scopes.own[0].scope, "ticket:write");
    let function = manifest.function("on_push").unwrap();
    assert_eq!(function.retry.max_retries, Some(5));
    assert_eq!(function.retry.min_interval, Some(120));
    assert_eq!(function.timeout_seconds, Some(30));
    assert!(function.supports_synchronization && function.fresh_context);
    assert_eq!(manifest.function("life-cycle").unwrap().runtime, Runtime::Node);
    let level = manifest.input(Level::Organization, "level").unwrap();
    assert_eq!(level.default_value, Some(json!("quiet")));
    assert_eq!(level.ui.other["order"], 3);
    let parts = manifest.input(Level::Organization, "parts").unwrap();
    assert_eq!((parts.field_type, parts.base_type), (FieldType::Array, Some(FieldType::Id)));
    assert!(manifest.input(Level::Organization, "state").unwrap().ui.is_hidden);
    assert!(manifest.input(Level::User, "notify").is_some());
    assert!(manifest.keyring("own-forge").unwrap().optional);
    assert!(!manifest.keyring("forge").unwrap().optional);
    let oauth = manifest.keyring_type("forge-oauth").unwrap();
    assert_eq!(oauth.kind, Some(KeyringKind::Oauth2));
    assert_eq!(oauth.authorize.as_ref().unwrap().auth_query_parameters["scope"], "[SCOPES]");
    assert_eq!(oauth.refresh.as_ref().unwrap().query_parameters.len(), 1);
    let secret = manifest.keyring_type("forge-token").unwrap();
    let config = secret.secret_config.as_ref().unwrap();
    assert_eq!(config.token_verification.as_ref().unwrap().query_parameters["verbose"], "1");
    assert!(secret.organization_data.is_some());
    for hook_type in
        [HookType::Validate, HookType::Activate, HookType::Deactivate, HookType::Update]
    {
        assert_eq!(manifest.hook(hook_type).unwrap().function, "life-cycle");
    }
    assert_eq!(manifest.event_source_path("own-items").unwrap(), "event_sources.user[0]");
    assert_eq!(manifest.command("forge", "status").unwrap().surfaces[0].object_types.len(), 2);
    let operation = manifest.operation("make_issue").unwrap();
    assert_eq!(operation.default_timeout_seconds, Some(45));
    assert_eq!(operation.input_fields[0]["name"], "title");
    assert_eq!(manifest.imports[0].loader_function.as_deref(), Some("load"));
    assert_eq!(manifest.configuration_handler.user.as_ref().unwrap().initializer, "page");
    assert_eq!(manifest.views[0].columns[1].title.as_deref(), Some("When"));
    assert_eq!(manifest.views[0].filter["state"], "failed");
    assert_eq!(manifest.object_types[0].input_aliases["name"], "title");
    assert_eq!(manifest.tags[0].name, "from-forge");
    let check = &manifest.object_types[0];
    assert_eq!((check.name.as_str(), check.id_prefix.as_str()), ("check_run", "check"));
    assert!(check.references["previous"].has("check_run"));
    assert_eq!(manifest.snap_kit_action("forge_action").unwrap().function, "page");
    assert_eq!(manifest.snap_components[0].initializer.as_deref(), Some("page"));
}

#[test]
fn version_1_arrives_in_the_shape_of_version_2() {
    let manifest = read(VERSION_1);
    assert_eq!(manifest.version, ManifestVersion::V1);
    let source = manifest.event_source("discord-interactions").unwrap();
    assert_eq!(source.level, Level::Organization);
    assert_eq!(source.connection.as_deref(), Some("discord"));
    assert_eq!(manifest.keyring("discord").unwrap().types, ["devrev-flow-secret"]);
    assert!(manifest.developer_keyring("app").is_some());
    let kinds = manifest.input(Level::Organization, "kinds").unwrap();
    assert_eq!((kinds.field_type, kinds.base_type), (FieldType::Array, Some(FieldType::Enum)));
    assert_eq!(kinds.allowed_values, ["bug", "wish"]);
    assert_eq!(kinds.default_value, Some(json!(["bug"])));
    assert_eq!(manifest.input(Level::Organization, "part").unwrap().id_type, ["product"]);
}

#[test]
fn the_stored_form_stays_as_it_is() {
    let manifest = read(WEBHOOK);
    let stored = serde_json::to_value(&manifest).unwrap();
    assert_eq!(stored["version"], "2");
    assert_eq!(stored["event_sources"][0]["level"], "organization");
    assert_eq!(stored["event_sources"][0]["type"], "flow-custom-webhook");
    assert_eq!(stored["functions"][0]["runtime"], "auto");
    // An older record without the fields that came later.
    let old = json!({"version": "2", "functions": [{"name": "f"}]});
    let manifest: Manifest = serde_json::from_value(old).unwrap();
    assert!(!manifest.function("f").unwrap().fresh_context);
}
