//! Fields of an object against the schema of its type: everything that is wrong, each by its path and
//! with what is allowed. Must never follow a reference out of the schema.

use std::fmt::{self, Write as _};

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::{FieldProblem, estimate};
use crate::configuration::suggest;

/// More than that nobody reads at once, and a long array can have a problem in every element.
const MOST_PROBLEMS: usize = 100;
/// As many choices as still help.
const MOST_ALLOWED: usize = 50;
/// Forms that are described when none of them fits, and things that are wrong with each.
const MOST_FORMS: usize = 8;
const MOST_IN_FORM: usize = 8;
/// Characters of one thing that is said, and bytes of all of them.
const MOST_SAID: usize = 4_000;
const MOST_SAID_TOGETHER: usize = 64 * 1024;
/// Errors that may be collected, which have some hundred bytes each.
const MOST_ERRORS: usize = 200_000;

/// A schema, compiled once.
#[derive(Debug)]
pub struct Checker {
    validator: Validator,
    schema: Value,
    /// The names of the fields that it describes.
    names: Vec<String>,
}

impl Checker {
    /// Compiles a schema. What is wrong with it is for its author.
    pub fn compile(schema: &Value) -> Result<Checker, String> {
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(true)
            // Takes time in proportion to the text, whatever the pattern.
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map_err(|error| {
                let place = error.instance_path().as_str();
                let place =
                    if place.is_empty() { String::new() } else { format!("at `{place}`: ") };
                format!("it is no JSON Schema of draft 2020-12: {place}{}", cut(&error.to_string()))
            })?;
        let names = schema.get("properties").and_then(Value::as_object);
        let names = names.map(|it| it.keys().cloned().collect()).unwrap_or_default();
        Ok(Checker { validator, schema: schema.clone(), names })
    }

    /// Everything that is wrong with the fields of an object, at most [`MOST_PROBLEMS`] things.
    pub fn problems(&self, fields: &Value) -> Vec<FieldProblem> {
        if self.validator.is_valid(fields) {
            return Vec::new();
        }
        if !estimate::has_at_most(&self.schema, fields, MOST_ERRORS) {
            let message = "this is not as the schema of the type says; it has too many parts, or the \
                           schema too many alternatives, to say where: look at one part alone";
            return vec![FieldProblem::new("", message)];
        }
        let mut problems = Vec::new();
        for error in self.validator.iter_errors(fields) {
            self.add(&error, &mut problems, true);
            if problems.len() >= MOST_PROBLEMS {
                break;
            }
        }
        bounded(problems)
    }

    /// How many errors the library makes of fields.
    #[cfg(test)]
    pub fn count_errors(&self, fields: &Value) -> usize {
        fn count(error: &ValidationError<'_>) -> usize {
            match error.kind() {
                Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                    1 + context.iter().flatten().map(count).sum::<usize>()
                }
                _ => 1,
            }
        }
        self.validator.iter_errors(fields).map(|it| count(&it)).sum()
    }

    /// Whether nothing is.
    pub fn is_right(&self, fields: &Value) -> bool {
        self.validator.is_valid(fields)
    }

    /// Adds what an error says; with what each form lacks, if it says that none of several fits.
    fn add(&self, error: &ValidationError<'_>, problems: &mut Vec<FieldProblem>, with_forms: bool) {
        let at = dotted(error.instance_path().as_str());
        match error.kind() {
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                problems.push(FieldProblem::new(&below(&at, name), "is required"));
            }
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                for name in unexpected.iter().take(MOST_PROBLEMS) {
                    let names = self.names.iter().map(String::as_str);
                    let names: Vec<&str> = if at.is_empty() { names.collect() } else { Vec::new() };
                    let near = suggest::nearest(name, names.iter().copied());
                    let near = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
                    let mut problem = FieldProblem::new(
                        &below(&at, name),
                        format!("is no field of this type{near}"),
                    );
                    problem.allowed = names.into_iter().map(str::to_owned).collect();
                    problem.allowed.truncate(MOST_ALLOWED);
                    problems.push(problem);
                }
            }
            Kind::Enum { options } => {
                let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
                problems.push(choice(&at, error.instance(), options));
            }
            Kind::Constant { expected_value } => {
                problems.push(choice(&at, error.instance(), std::slice::from_ref(expected_value)));
            }
            Kind::Type { kind } => {
                let types: Vec<String> = match kind {
                    TypeKind::Single(one) => vec![one.to_string()],
                    TypeKind::Multiple(several) => {
                        several.iter().map(|it| it.to_string()).collect()
                    }
                };
                let found = name_of(error.instance());
                let mut problem = FieldProblem::new(
                    &at,
                    format!("expected {}, found {found}", types.join(" or ")),
                );
                problem.allowed = types;
                problems.push(problem);
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                let count = context.len();
                let mut message = format!("has none of the {count} forms that are allowed");
                if with_forms {
                    let forms = context.iter().take(MOST_FORMS).map(|form| self.form(form));
                    let forms: Vec<String> = forms.collect();
                    message.push_str(&format!(": {}", forms.join("; or: ")));
                    if let more @ 1.. = count.saturating_sub(MOST_FORMS) {
                        message.push_str(&format!("; or one of {more} more"));
                    }
                }
                problems.push(FieldProblem::new(&at, message));
            }
            Kind::FalseSchema => problems.push(FieldProblem::new(&at, "is not allowed")),
            _ => problems.push(FieldProblem::new(&at, cut(&error.masked().to_string()))),
        }
    }

    /// What one form lacks. Forms within it are not gone into: nobody reads that, and it multiplies.
    fn form(&self, errors: &[ValidationError<'_>]) -> String {
        let mut inner = Vec::new();
        errors.iter().take(MOST_IN_FORM).for_each(|it| self.add(it, &mut inner, false));
        let inner: Vec<String> = inner.iter().take(MOST_IN_FORM).map(FieldProblem::line).collect();
        cut(&inner.join(", "))
    }
}

/// As many as fit, each cut.
fn bounded(mut problems: Vec<FieldProblem>) -> Vec<FieldProblem> {
    problems.truncate(MOST_PROBLEMS);
    let mut left = MOST_SAID_TOGETHER;
    for (number, problem) in problems.iter_mut().enumerate() {
        problem.message = suggest::shorten(&problem.message, MOST_SAID);
        problem.field = suggest::shorten(&problem.field, MOST_SAID);
        if problem.allowed.iter().map(String::len).sum::<usize>() > MOST_SAID {
            problem.allowed.clear();
        }
        let allowed: usize = problem.allowed.iter().map(String::len).sum();
        let Some(rest) = left.checked_sub(problem.message.len() + problem.field.len() + allowed)
        else {
            problems.truncate(number);
            break;
        };
        left = rest;
    }
    problems
}

fn choice(at: &str, found: &Value, options: &[Value]) -> FieldProblem {
    let options: Vec<String> = options.iter().take(MOST_ALLOWED).map(shown).collect();
    let near =
        found.as_str().and_then(|it| suggest::nearest(it, options.iter().map(String::as_str)));
    let near = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
    let found = suggest::quoted(&beginning(found));
    let message = match options.as_slice() {
        [one] => format!("is {found}: expected `{one}`"),
        _ => format!("is {found}: expected one of {}{near}", options.join(", ")),
    };
    FieldProblem { field: at.to_owned(), message, allowed: options }
}

/// As much of a value as a message has room for: it may be large.
fn beginning(value: &Value) -> String {
    struct Short(String);
    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(&suggest::shorten(text, MOST_SAID));
            if self.0.len() < MOST_SAID { Ok(()) } else { Err(fmt::Error) }
        }
    }
    if let Value::String(text) = value {
        return suggest::shorten(text, MOST_SAID);
    }
    let mut short = Short(String::new());
    // It fails when there is enough.
    let _ = write!(short, "{value}");
    short.0
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn cut(message: &str) -> String {
    const MOST: usize = 400;
    suggest::shorten(message, MOST)
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `/tags/0/name` becomes `tags[0].name`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        if !step.is_empty() && step.bytes().all(|it| it.is_ascii_digit()) {
            path.push_str(&format!("[{step}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&step.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_bad_field_is_named_with_what_is_allowed() {
        let checker = Checker::compile(&json!({
            "type": "object",
            "properties": {
                "title": { "type": "string", "minLength": 1 },
                "priority": { "enum": ["p0", "p1"] },
                "tags": { "type": "array", "items": { "type": "object", "required": ["name"] } },
                "due": { "type": "string", "format": "date-time" },
                "size": { "anyOf": [{ "type": "integer" }, { "enum": ["large"] }] },
            },
            "required": ["title", "owner"],
            "additionalProperties": false,
        }))
        .unwrap();
        let problems = checker.problems(&json!({
            "title": 5, "priority": "p2", "tags": [{ "name": "a" }, {}, 3], "due": "soon",
            "size": "small", "titel": "x",
        }));
        let mut lines: Vec<String> = problems.iter().map(FieldProblem::line).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "`due`: value is not a \"date-time\"",
                "`owner`: is required",
                "`priority`: is `p2`: expected one of p0, p1; did you mean `p0`?",
                "`size`: has none of the 2 forms that are allowed: `size`: expected integer, found \
                 string; or: `size`: is `small`: expected `large`",
                "`tags[1].name`: is required",
                "`tags[2]`: expected object, found integer",
                "`titel`: is no field of this type; did you mean `title`?",
                "`title`: expected string, found integer",
            ]
        );
        assert_eq!(
            problems.iter().find(|it| it.field == "priority").unwrap().allowed,
            ["p0", "p1"]
        );
        assert!(!checker.is_right(&json!({ "title": "a" })));
    }

    #[test]
    fn what_is_said_of_many_alternatives_is_bounded() {
        let form = |it: usize| {
            json!({ "type": "object", "required": ["a", "b"], "properties": {
                "a": { "const": format!("form {it}") }, "b": { "anyOf": [{ "type": "null" }] },
            } })
        };
        let forms: Vec<Value> = (0..400).map(form).collect();
        let checker = Checker::compile(&json!({
            "properties": { "list": { "items": { "oneOf": forms } }, "text": { "maxLength": 1 } },
        }))
        .unwrap();
        let problems = checker.problems(&json!({ "list": [{ "a": "x", "b": 1 }], "text": "ab" }));
        assert_eq!(problems.len(), 2, "{problems:?}");
        let message = &problems.iter().find(|it| it.field == "list[0]").unwrap().message;
        assert!(message.starts_with("has none of the 400 forms"), "{message}");
        assert!(
            message.contains("expected `form 7`") && !message.contains("`form 8`"),
            "{message}"
        );
        assert!(message.ends_with("; or one of 392 more"), "{message}");
        let some = vec![json!({ "a": "x".repeat(10_000), "b": 1 }); 20];
        assert_eq!(checker.problems(&json!({ "list": some })).len(), 20);
        // More than is said together, and more than is collected.
        let long = FieldProblem::new("a", "ä".repeat(10_000));
        let said: usize = bounded(vec![long; 300]).iter().map(|it| it.message.len()).sum();
        assert!((MOST_SAID_TOGETHER / 2..=MOST_SAID_TOGETHER).contains(&said), "{said}");
        let many = vec![json!({ "a": "x", "b": 1 }); 10_000];
        let problems = checker.problems(&json!({ "list": many }));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("too many alternatives"), "{problems:?}");
        assert!(!checker.is_right(&json!({ "list": many })));
    }

    #[test]
    fn patterns_take_linear_time_and_nothing_is_fetched() {
        assert!(Checker::compile(&json!({ "pattern": "(?=a)b" })).is_err());
        assert!(Checker::compile(&json!({ "$ref": "https://example.org/x.json" })).is_err());
    }
}
