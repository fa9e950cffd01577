//! What a snap-in is and wants, before somebody decides to install it. Pure.

use crate::model::manifest::{HookType, Level, Manifest};

/// The overview.
pub(super) fn text(manifest: &Manifest, scope: &str) -> String {
    let mut lines = vec![manifest.name.clone().unwrap_or_else(|| scope.to_owned())];
    let about = manifest.description.as_deref().unwrap_or_default().trim();
    lines.extend(about.lines().map(|it| format!("  {it}")));
    lines.push(String::new());
    let mut list = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            lines.push(format!("  {title:<14} {}", items.join(", ")));
        }
    };
    let own = |level: Level| level == Level::Organization;
    let sources = manifest.event_sources.iter().map(|it| {
        let whose = if own(it.level) { "" } else { ", for each user" };
        format!("{} ({}{whose})", it.name, it.kind)
    });
    list("event sources", sources.collect());
    list("functions", manifest.functions.iter().map(|it| it.name.clone()).collect());
    let hooks = manifest.hooks.iter().map(|it| {
        let at = match it.hook_type {
            HookType::Validate => "validate",
            HookType::Activate => "activate",
            HookType::Deactivate => "deactivate",
            HookType::Update => "update",
        };
        format!("{at} ({})", it.function)
    });
    list("hooks", hooks.collect());
    let commands = manifest.commands.iter().map(|it| format!("/{} {}", it.namespace, it.name));
    list("commands", commands.collect());
    list("keyrings", manifest.keyrings.iter().map(|it| it.name.clone()).collect());
    let inputs = manifest.inputs.iter().filter(|it| !it.ui.is_hidden);
    list("inputs", inputs.map(|it| it.name.clone()).collect());
    list("tags", manifest.tags.iter().map(|it| it.name.clone()).collect());
    if let Some(account) = &manifest.service_account {
        let rights = account.scopes.own.iter().map(|it| match &it.reason {
            Some(reason) => format!("{} ({reason})", it.scope),
            None => it.scope.clone(),
        });
        list("asks for", rights.collect());
        let acting = account.scopes.impersonate.iter().map(|it| it.act_as.clone());
        list("acts as", acting.collect());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    #[test]
    fn everything_that_matters_is_named() {
        let parsed = manifest::parse(
            "version: '2'\nname: Hello\ndescription: Greets.\nservice_account:\n  display_name: H\n  \
             scopes:\n    self: [{scope: 'ticket:write', reason: to answer}]\nevent_sources:\n  \
             organization:\n    - {name: hook, description: d, display_name: h, type: \
             flow-custom-webhook}\n  user:\n    - {name: mine, description: d, display_name: m, \
             type: timer-events}\nfunctions:\n  - {name: greet, description: d}\nhooks:\n  - \
             {type: activate, function: greet}\nautomations:\n  - {name: a, source: hook, \
             event_types: ['custom:x'], function: greet}\n",
        );
        let manifest = parsed.manifest.unwrap_or_else(|| panic!("{:?}", parsed.problems));
        assert_eq!(
            text(&manifest, "a/b/c"),
            "Hello\n  Greets.\n\n  \
             event sources  hook (flow-custom-webhook), mine (timer-events, for each user)\n  \
             functions      greet\n  hooks          activate (greet)\n  \
             asks for       ticket:write (to answer)"
        );
    }
}
