//! Instruction templates of event sources: `{{source.name}}`, `{{source.trigger_url}}` and
//! `{{source.config.FIELD}}`, nested as in `{{source.config.parameters.secret}}`.
//!
//! Pure. It fills in what it is given: a caller that must not show secrets masks them in the config
//! first. What is no known field stays visible as it was written, so that a slip is seen and text in
//! another template language survives.

use serde_json::Value;

/// The template with its fields filled in. The result is Markdown.
pub fn render_instructions(
    template: &str,
    name: &str,
    trigger_url: &str,
    config: &Value,
) -> String {
    let mut rendered = String::with_capacity(template.len());
    for part in parts(template) {
        match part {
            Part::Text(text) => rendered.push_str(text),
            Part::Field { field: "source.name", .. } => rendered.push_str(name),
            Part::Field { field: "source.trigger_url", .. } => rendered.push_str(trigger_url),
            Part::Field { field, written } => match config_field(field, config) {
                Some(Value::String(text)) => rendered.push_str(text),
                Some(value) => rendered.push_str(&value.to_string()),
                None => rendered.push_str(written),
            },
        }
    }
    rendered
}

/// Whether a template has this field.
pub(super) fn has_field(template: &str, wanted: &str) -> bool {
    parts(template).iter().any(|part| matches!(part, Part::Field { field, .. } if *field == wanted))
}

/// The fields of a template that nothing will fill in.
pub(super) fn unknown_fields(template: &str, config: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    for part in parts(template) {
        let Part::Field { field, .. } = part else { continue };
        let is_known = matches!(field, "source.name" | "source.trigger_url")
            || config_field(field, config).is_some();
        if !is_known && !unknown.iter().any(|known| known == field) {
            unknown.push(field.to_owned());
        }
    }
    unknown
}

enum Part<'t> {
    Text(&'t str),
    /// A field without its braces and the spaces inside them, and as it was written.
    Field {
        field: &'t str,
        written: &'t str,
    },
}

fn parts(template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let Some(length) = rest[start..].find("}}") else { break };
        // Of `{{ {{source.name}}` only the inner pair is a field.
        let start = start + rest[start..start + length].rfind("{{").unwrap_or_default();
        let end = start + rest[start..].find("}}").map_or(rest.len() - start, |at| at + 2);
        let written = &rest[start..end];
        parts.push(Part::Text(&rest[..start]));
        parts.push(Part::Field { field: written[2..written.len() - 2].trim(), written });
        rest = &rest[end..];
    }
    parts.push(Part::Text(rest));
    parts
}

fn config_field<'c>(field: &str, config: &'c Value) -> Option<&'c Value> {
    let path = field.strip_prefix("source.config.")?;
    path.split('.').try_fold(config, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => value.get(step),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(template: &str, expected: &str) {
        let config = json!({
            "parameters": {"secret": "s3", "{{source.name}}": 1},
            "event_types": ["a", "b"],
            "interval_seconds": 30,
            "recursive": "{{source.name}}",
        });
        let rendered = render_instructions(template, "hook", "https://h/hooks/t", &config);
        assert_eq!(rendered, expected, "{template}");
    }

    #[test]
    fn fills_in_fields() {
        check("", "");
        check("# Plain *Markdown*", "# Plain *Markdown*");
        check("`{{source.trigger_url}}` of {{ source.name }}.", "`https://h/hooks/t` of hook.");
        check("{{source.config.parameters.secret}}", "s3");
        check("every {{source.config.interval_seconds}} s", "every 30 s");
        check("{{source.config.event_types}}", r#"["a","b"]"#);
        check("{{source.config.event_types.1}}", "b");
    }

    #[test]
    fn leaves_what_it_does_not_know() {
        check("{{}} {{source}} {{source.config.nope}}", "{{}} {{source}} {{source.config.nope}}");
        check("{{source.config.event_types.7}}", "{{source.config.event_types.7}}");
        check("${{ secrets.X }}", "${{ secrets.X }}");
        check("{{source.name", "{{source.name");
        check("}} {{source.name}}", "}} hook");
        check("{{ {{source.name}}", "{{ hook");
        check("{{{source.name}}}", "{hook}");
    }

    #[test]
    fn does_not_expand_what_it_filled_in() {
        check("{{source.config.recursive}}", "{{source.name}}");
    }

    #[test]
    fn lists_unknown_fields_once() {
        let unknown = unknown_fields(
            "{{}} {{ source.nmae }} {{source.nmae}} {{source.config.a}} {{source.config.b}}",
            &json!({"a": 1}),
        );
        assert_eq!(unknown, ["", "source.nmae", "source.config.b"]);
    }
}
