//! What is right, what is wrong and how it is said, and that nothing takes long or panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::schema::type_names;
use super::*;

const KNOWN: Surroundings<'static> =
    Surroundings { actions: Some(&["click", "send"]), has_handler: true };

fn text(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text })
}

fn option(value: &str) -> Value {
    json!({ "text": text(value), "value": value })
}

fn body(snaps: Value) -> Value {
    json!({ "body": { "snaps": snaps } })
}

/// `severity path: message (allowed: ...)`, a line each.
fn said(given: &Value) -> Vec<String> {
    let checked = check(given, KNOWN);
    let has_errors = checked.problems.iter().any(|it| it.severity == Severity::Error);
    assert_eq!(checked.body.is_none(), has_errors, "{checked:?}");
    let lines = checked.problems.iter().map(|it| match it.severity {
        Severity::Error => format!("error {it}"),
        Severity::Warning => format!("warning {it}"),
    });
    lines.collect()
}

/// One element of every type, each where it belongs.
fn everything() -> Value {
    let button = |id: &str| {
        json!({
            "type": "button", "action_id": id, "action_type": "remote", "style": "primary",
            "text": text("Press"), "value": id,
        })
    };
    let input =
        |element: Value| json!({ "type": "input_layout", "element": element, "label": text("L") });
    let options = json!([option("a"), option("b")]);
    json!([
        {
            "type": "card", "block_id": "b1", "title": text("A card"), "is_collapsible": true,
            "default_collapsed": false, "direction": "column", "justify": "between",
            "elements": [
                { "type": "content", "alignment": "center", "elements": [
                    text("plain"),
                    { "type": "rich_text", "text": "*rich*" },
                    { "type": "image", "image_url": "https://h/i.png", "alt_text": "I", "fill_container": true },
                    { "type": "content", "elements": [] },
                ] },
                { "type": "divider" },
                { "type": "table",
                  "columns": [{ "key": "a", "header": text("A") }, { "key": "b" }],
                  "rows": [{ "a": text("1"), "hidden": text("2") }, {}] },
                { "type": "actions", "disable_on_action": true, "elements": [
                    button("b"),
                    { "type": "upload", "action_id": "u", "upload_button": button("ub"), "max_files": 2 },
                    { "type": "actions", "elements": [] },
                    { "type": "toggle", "action_id": "t", "initial_value": true, "description": text("d") },
                ] },
            ],
        },
        {
            "type": "form", "action_id": "f", "action_type": "remote",
            "submit_action": { "type": "button", "action_id": "s", "text": text("Send"), "value": "s" },
            "elements": [
                input(json!({ "type": "plain_text_input", "action_id": "1", "min_length": 1, "max_length": 9 })),
                input(json!({ "type": "number_input", "action_id": "2", "initial_value": 3, "min_value": 0 })),
                input(json!({ "type": "email_text_input", "action_id": "3", "placeholder": text("p") })),
                input(json!({ "type": "rich_text_input", "action_id": "4", "focus_on_load": true })),
                input(json!({ "type": "string_list", "action_id": "5", "initial_values": ["x"] })),
                input(json!({ "type": "number_list", "action_id": "6", "min_item_value": 1, "max_item_value": 1 })),
                input(json!({ "type": "email_list", "action_id": "7", "max_items": 3 })),
                input(json!({ "type": "checkboxes", "action_id": "8", "options": options, "initial_options": [option("a")] })),
                input(json!({ "type": "radio_buttons", "action_id": "9", "options": options, "initial_selected_option": option("b") })),
                input(json!({ "type": "static_select", "action_id": "10", "options": options })),
                input(json!({ "type": "multi_static_select", "action_id": "11", "options": options, "max_selected_items": 1 })),
                { "type": "divider" },
                input(json!({ "type": "part_picker", "action_id": "12", "allowed_part_types": ["feature"] })),
                input(json!({ "type": "tag_picker", "action_id": "13", "max_selected_items": 5 })),
                input(json!({ "type": "user_picker", "action_id": "14", "user_types": ["dev_user"] })),
            ],
        },
    ])
}

#[test]
fn every_type_has_a_place() {
    assert_eq!(said(&body(everything())), Vec::<String>::new());
    let all = everything().to_string();
    for name in type_names() {
        assert!(all.contains(&format!("\"{name}\"")), "nothing here is of type {name}");
    }
    let inside = body(json!([]));
    assert_eq!(check(&inside, KNOWN).body, Some(Body::empty()));
}

#[test]
fn the_level_body_may_be_left_out_as_the_documents_do() {
    assert_eq!(said(&json!({ "snaps": [text("x")] })), Vec::<String>::new());
    let named =
        json!({ "snap_in_id": "x", "snap_in_action_name": "click", "body": { "snaps": [] } });
    assert_eq!(said(&named), Vec::<String>::new());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let given = json!({
        "snap_in_action_name": "clack",
        "bodys": 1,
        "body": { "snaps": [
            { "type": "plain_text", "text": 5, "colour": "red" },
            { "type": "crad", "elements": [] },
            { "type": "card", "elements": [
                { "type": "content", "elements": ["hello", { "type": "imgae" }, { "text": "x" }] },
                { "type": "plain_text", "text": "loose" },
                { "type": "actions", "direction": "rows", "elements": [
                    { "type": "button", "text": "Save", "action_id": "", "style": "primry" },
                    { "type": "button", "text": text("x"), "action_id": "a", "value": {} },
                    { "type": "toggle", "action_id": "a", "initial_value": "yes" },
                ] },
            ] },
            { "type": "form", "action_id": "f", "elements": {} },
        ] },
    });
    let expected = [
        "warning snap_in_action_name: unknown snap-kit action `clack`, did you mean `click`? (allowed: click, send)",
        "warning bodys: unknown property `bodys`, did you mean `body`? (allowed: snap_in_id, snap_in_action_name, body)",
        "error body.snaps[0].text: expected text, found a number",
        "warning body.snaps[0].colour: unknown property `colour` (allowed: type, block_id, text)",
        "warning body.snaps[1].type: unknown element `crad`, did you mean `card`?",
        "error body.snaps[2].elements[0].elements[0]: expected an element `{\"type\": \"plain_text\", \"text\": ...}`, found text",
        "warning body.snaps[2].elements[0].elements[1].type: unknown element `imgae`, did you mean `image`?",
        "error body.snaps[2].elements[0].elements[2].type: an element needs a `type`",
        "warning body.snaps[2].elements[1]: an element `plain_text` has no place here",
        "error body.snaps[2].elements[2].elements[0].action_id: must not be empty",
        "error body.snaps[2].elements[2].elements[0].text: expected an element `{\"type\": \"plain_text\", \"text\": ...}`, found text",
        "error body.snaps[2].elements[2].elements[0].value: `button` needs a `value`",
        "warning body.snaps[2].elements[2].elements[0].style: unknown value `primry`, did you mean `primary`?",
        "error body.snaps[2].elements[2].elements[1].value: expected text, a number or a boolean, found an object",
        "warning body.snaps[2].elements[2].elements[2].action_id: the action id `a` is there already",
        "error body.snaps[2].elements[2].elements[2].initial_value: expected a boolean, found text",
        "warning body.snaps[2].elements[2].direction: unknown value `rows`, did you mean `row`?",
        "error body.snaps[3].elements: expected a list, found an object",
        "error body.snaps[3].submit_action: `form` needs a `submit_action`",
    ];
    let said = said(&given);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}\nis not\n{expected}");
    }
}

#[test]
fn what_belongs_together_is_compared() {
    let given = body(json!([
        { "type": "number_input", "action_id": "n", "min_value": 5, "max_value": 1, "focus_on_load": true },
        { "type": "actions", "elements": [
            { "type": "radio_buttons", "action_id": "r", "options": [option("a")],
              "initial_selected_option": option("b") },
            { "type": "checkboxes", "action_id": "c", "options": [], "focus_on_load": true },
            { "type": "static_select", "action_id": "s", "options": [{ "text": text("a") }, { "value": 1 }],
              "focus_on_load": true },
        ] },
        { "type": "table", "columns": [], "rows": [{ "a": "cell" }, 7] },
    ]));
    let said = said(&given);
    let codes = [
        "error body.snaps[0].min_value: 5 is more than the `max_value`, 1",
        "warning body.snaps[1].elements[0].initial_selected_option: the value `\"b\"` is none of the options",
        "warning body.snaps[1].elements[1].options: there is nothing to choose from",
        "warning body.snaps[1].elements[2].focus_on_load: only one element can have the focus",
        "error body.snaps[1].elements[2].options[0].value: an option needs a `value`",
        "error body.snaps[1].elements[2].options[1].text: an option needs a `text`",
        "warning body.snaps[2].columns: a table without columns is empty",
        "error body.snaps[2].rows[0].a: expected an element",
        "error body.snaps[2].rows[1]: expected a row",
    ];
    assert_eq!(said.len(), codes.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(codes) {
        assert!(said.starts_with(expected), "{said}\nis not\n{expected}");
    }
}

#[test]
fn what_nobody_hears_is_questioned() {
    let nobody = Surroundings { actions: Some(&[]), has_handler: false };
    let codes = |given: &Value| -> Vec<ProblemCode> {
        check(given, nobody).problems.iter().map(|it| it.code).collect()
    };
    assert_eq!(codes(&body(everything())), [ProblemCode::Unhandled]);
    assert_eq!(codes(&body(json!([text("x")]))), []);
}

#[test]
fn bounds() {
    let code = |given: &Value| check(given, KNOWN).problems.last().map(|it| it.code);
    let long = body(json!([text(&"x".repeat(MAX_BYTES))]));
    assert_eq!(code(&long), Some(ProblemCode::TooLarge));
    let mut deep = json!({ "type": "content", "elements": [] });
    for _ in 0..MAX_DEPTH {
        deep = json!({ "type": "content", "elements": [deep] });
    }
    assert_eq!(code(&body(json!([deep]))), Some(ProblemCode::TooDeep));
    let many = body(json!(vec![json!({ "type": "divider" }); MAX_ELEMENTS + 1]));
    assert_eq!(code(&many), Some(ProblemCode::TooMany));
    let wrong = body(json!(vec![json!({ "type": "divide", "x": 1 }); MAX_ELEMENTS]));
    assert_eq!(check(&wrong, KNOWN).problems.len(), 100);
    // Errors are not pushed out by warnings.
    let mut snaps = vec![json!({ "type": "divider", "x": 1 }); 200];
    snaps.push(json!({ "type": "plain_text" }));
    assert_eq!(code(&body(json!(snaps))), Some(ProblemCode::Missing));
}

#[test]
fn results_of_functions() {
    let code = |result: &str| {
        let checked = returned(result, KNOWN)?;
        Some(checked.problems.first().map(|it| it.code))
    };
    for nothing in ["null", "5", "[]", "{}", "\"snap_kit_body\"", r#"{"snap_kit_body": null}"#] {
        assert_eq!(code(nothing), None, "{nothing}");
    }
    assert_eq!(code(r#"{"a": 1, "snap_kit_body": {"body": {"snaps": []}}}"#), Some(None));
    let deep = format!(r#"{{"snap_kit_body": {}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(code(&deep), Some(Some(ProblemCode::TooDeep)));
    let elsewhere = format!(
        r#"{{"x": {}1{}, "snap_kit_body": {{"snaps": []}}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(code(&elsewhere), Some(None));
    let spaced = format!(r#"{{"snap_kit_body": {{{}}}}}"#, " ".repeat(MAX_BYTES));
    assert_eq!(code(&spaced), Some(Some(ProblemCode::TooLarge)));
    assert_eq!(code(r#"{"snap_kit_body": {"a": "\ud800"}}"#), Some(Some(ProblemCode::Unreadable)));
}

#[test]
fn actions_are_found_by_their_ids() {
    let checked = check(&body(everything()), KNOWN).body.expect("it is right");
    assert_eq!(checked.action("b").expect("it is there")["value"], "b");
    assert_eq!(checked.action("s").expect("it is there")["text"]["text"], "Send");
    assert_eq!(checked.action("plain"), None);
    let kept = Body::kept(checked.as_value().to_string().as_bytes());
    assert_eq!(kept, Some(checked));
}

/// JSON that is nearly a body: known words in places where they may or may not belong.
fn nearly() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        proptest::sample::select(type_names()).prop_map(|it| json!(it)),
        ".*".prop_map(|it| json!(it)),
        any::<i64>().prop_map(|it| json!(it)),
        any::<bool>().prop_map(|it| json!(it)),
        Just(Value::Null),
    ];
    let keys = proptest::sample::select(vec![
        "type",
        "text",
        "elements",
        "element",
        "options",
        "value",
        "action_id",
        "columns",
        "rows",
        "key",
        "header",
        "snaps",
        "body",
        "snap_kit_body",
        "initial_options",
        "title",
        "style",
    ]);
    words.prop_recursive(8, 200, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec((keys.clone(), inner), 0..8).prop_map(|members| {
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_input_is_too_odd(given in nearly(), text in ".*") {
        for given in [given.clone(), body(json!([given.clone()])), body(given.clone())] {
            let checked = check(&given, KNOWN);
            let has_errors = checked.problems.iter().any(|it| it.severity == Severity::Error);
            prop_assert_eq!(checked.body.is_none(), has_errors);
            prop_assert!(checked.problems.len() <= 100);
            let result = json!({ "snap_kit_body": given }).to_string();
            let again = returned(&result, KNOWN).map(|it| it.problems).unwrap_or_default();
            prop_assert!(given.is_null() || again == checked.problems);
        }
        returned(&text, KNOWN);
    }
}
