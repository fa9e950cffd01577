//! Reads how a trigger URL is registered at an external system. It never sends anything and compiles
//! no jq.

use serde_json::Value;

use crate::model::manifest::{Level, Registration, RegistrationMethod, RegistrationRequest};

use super::fields::{Fields, Reader};
use super::keyrings::text_map;
use super::names::{Need, Space, use_name};
use super::problem::quoted;

/// What an unregistration needs of the registration.
const ID_FIELD: &str = "registration.id";

pub(super) fn registration(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    level: Level,
) -> Option<Registration> {
    let mut fields = fields.fields(r, "registration")?;
    let keyring = keyring(r, &mut fields, level);
    let register = match fields.fields(r, "register") {
        Some(mut inner) => {
            let mut request = request(r, &mut inner, RegistrationMethod::Post);
            request.id_jq = inner.text(r, "id_jq");
            if request.uses(ID_FIELD) {
                let message = "uses `{{registration.id}}`, which only `unregister` knows";
                r.problems.error(inner.place, &inner.path, message);
            }
            inner.finish(r);
            Some(request)
        }
        None => None,
    };
    if fields.get("register").is_none() {
        fields.missing(r, "register", "the request that makes the trigger URL known");
    }
    let unregister = fields.fields(r, "unregister").map(|mut inner| {
        let request = request(r, &mut inner, RegistrationMethod::Delete);
        let has_id = register.as_ref().is_none_or(|it| it.id_jq.is_some());
        if request.uses(ID_FIELD) && !has_id {
            let message = "uses `{{registration.id}}`, but `register` has no `id_jq` to find it";
            r.problems.error(inner.place, &inner.path, message);
        }
        inner.finish(r);
        request
    });
    fields.finish(r);
    Some(Registration { register: register?, unregister, keyring })
}

/// Without one that is declared here nothing could be authorised, so another name is an error.
fn keyring(r: &mut Reader, fields: &mut Fields<'_>, level: Level) -> Option<String> {
    let name = fields.get("keyring").and_then(|_| {
        fields.required_text(r, "keyring", "the keyring that authorises the requests")
    })?;
    let need = match level {
        Level::Organization => Need::Shared,
        Level::User => Need::Declared,
    };
    let (place, path) = (fields.value_place("keyring"), fields.path_of("keyring"));
    use_name(r, need, Space::Keyring, &name, place, path);
    Some(name)
}

fn request(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    method: RegistrationMethod,
) -> RegistrationRequest {
    let url = fields.required_text(r, "url", "the request goes there").unwrap_or_default();
    if !(url.is_empty() || may_be_url(&url)) {
        let message = format!(
            "{} is no URL: it starts with `https://`, `http://` or a placeholder",
            quoted(&url)
        );
        r.problems.error(fields.value_place("url"), &fields.path_of("url"), message);
    }
    RegistrationRequest {
        url,
        method: fields.choice(r, "method", &RegistrationMethod::ALL).unwrap_or(method),
        headers: text_map(r, fields, "headers"),
        body: fields.json(r, "body"),
        id_jq: None,
    }
}

fn may_be_url(text: &str) -> bool {
    ["https://", "http://", "[", "{{"].iter().any(|start| text.starts_with(start))
}

impl RegistrationRequest {
    /// Whether a field stands between braces in one of its texts.
    fn uses(&self, field: &str) -> bool {
        let has = |text: &str| super::instructions::has_field(text, field);
        has(&self.url)
            || self.headers.values().any(|it| has(it))
            || self.body.as_ref().is_some_and(|it| any_text(it, &has))
    }
}

fn any_text(value: &Value, wanted: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => wanted(text),
        Value::Array(items) => items.iter().any(|it| any_text(it, wanted)),
        Value::Object(members) => members.values().any(|it| any_text(it, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
