//! A snap-kit body as plain text: what stands there, and the ids of what people can press or fill in.
//! Pure; draws whatever it can of a body that it does not understand.

use serde_json::Value;

use crate::cli::table::{Column, Fit, table};

/// The drawing, a line each. `width` is that of the terminal.
pub(super) fn draw(body: &Value, width: Option<usize>) -> Vec<String> {
    let mut drawing = Drawing { lines: Vec::new(), width };
    drawing.all(&body["snaps"], 0);
    drawing.lines
}

struct Drawing {
    lines: Vec<String>,
    width: Option<usize>,
}

impl Drawing {
    fn all(&mut self, elements: &Value, indent: usize) {
        for element in elements.as_array().into_iter().flatten() {
            self.element(element, indent);
        }
    }

    fn element(&mut self, element: &Value, indent: usize) {
        match text(&element["type"]) {
            "plain_text" | "rich_text" => self.say(indent, text(&element["text"])),
            "divider" => self.say(indent, "----"),
            "image" => {
                let (alt, url) = (text(&element["alt_text"]), text(&element["image_url"]));
                self.say(indent, &format!("[image: {alt}] {url}"));
            }
            "table" => self.table(element, indent),
            "card" => {
                let title = text(&element["title"]["text"]);
                if title.is_empty() {
                    self.all(&element["elements"], indent);
                } else {
                    self.say(indent, title);
                    self.say(indent, &"=".repeat(title.chars().count()));
                    self.all(&element["elements"], indent + 2);
                }
            }
            "content" | "actions" => self.all(&element["elements"], indent),
            "form" => {
                self.all(&element["elements"], indent);
                // The form is sent, not its button.
                let id = text(&element["action_id"]);
                self.button(&element["submit_action"], id, indent);
            }
            "input_layout" if element["hidden"] == true => {}
            "input_layout" => self.labelled(element, indent),
            "button" => self.button(element, text(&element["action_id"]), indent),
            _ => self.input(element, "", indent),
        }
    }

    fn button(&mut self, button: &Value, id: &str, indent: usize) {
        let mut line = format!("[{}]", text(&button["text"]["text"]));
        if !id.is_empty() {
            line.push_str(&format!("  -> {id}"));
        }
        if button["disabled"] == true {
            line.push_str("  (disabled)");
        }
        if let Some(href) = button["href"].as_str() {
            line.push_str(&format!("  {href}"));
        }
        self.say(indent, &line);
    }

    /// An input with what stands around it.
    fn labelled(&mut self, layout: &Value, indent: usize) {
        let optional = if layout["optional"] == true { " (optional)" } else { "" };
        let label = format!("{}{optional}", text(&layout["label"]["text"]));
        self.input(&layout["element"], label.trim_start(), indent);
        let hint = text(&layout["hint"]["text"]);
        if !hint.is_empty() {
            self.say(indent + 2, hint);
        }
    }

    /// What people choose or fill in: `label: type -> id = value`.
    fn input(&mut self, input: &Value, label: &str, indent: usize) {
        let mut line = String::new();
        if !label.is_empty() {
            line.push_str(&format!("{label}: "));
        }
        line.push_str(text(&input["type"]));
        let id = text(&input["action_id"]);
        if !id.is_empty() {
            line.push_str(&format!("  -> {id}"));
        }
        match input.get("initial_value").or_else(|| input.get("initial_values")) {
            Some(Value::String(initial)) => line.push_str(&format!("  = {initial}")),
            Some(Value::Null) | None => {}
            Some(initial) => line.push_str(&format!("  = {initial}")),
        }
        self.say(indent, &line);
        let description = text(&input["description"]["text"]);
        if !description.is_empty() {
            self.say(indent + 2, description);
        }
        self.options(input, indent + 2);
    }

    fn options(&mut self, input: &Value, indent: usize) {
        let mut chosen = Vec::new();
        for key in ["initial_options", "initial_selected_options"] {
            chosen.extend(input[key].as_array().into_iter().flatten().map(|it| &it["value"]));
        }
        if let Some(one) = input.get("initial_selected_option") {
            chosen.push(&one["value"]);
        }
        for option in input["options"].as_array().into_iter().flatten() {
            let mark = if chosen.contains(&&option["value"]) { "*" } else { "-" };
            let value = match &option["value"] {
                Value::String(value) => value.clone(),
                value => value.to_string(),
            };
            self.say(indent, &format!("{mark} {} = {value}", text(&option["text"]["text"])));
        }
    }

    fn table(&mut self, element: &Value, indent: usize) {
        let empty = Vec::new();
        let list = |key: &str| element[key].as_array().unwrap_or(&empty);
        let keys: Vec<&str> = list("columns").iter().map(|it| text(&it["key"])).collect();
        let titles: Vec<Column<'_>> = list("columns")
            .iter()
            .map(|it| {
                let title = it["header"]["text"].as_str().unwrap_or(text(&it["key"]));
                (title, Fit::Cut)
            })
            .collect();
        let cell = |row: &Value, key: &str| text(&row[key]["text"]).to_owned();
        let rows: Vec<Vec<String>> = list("rows")
            .iter()
            .map(|row| keys.iter().map(|key| cell(row, key)).collect())
            .collect();
        let width = self.width.map(|it| it.saturating_sub(indent));
        self.say(indent, &table(&titles, &rows, width));
    }

    fn say(&mut self, indent: usize, text: &str) {
        let indent = " ".repeat(indent);
        let lines = text.lines().map(|line| format!("{indent}{line}").trim_end().to_owned());
        self.lines.extend(lines);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_has_a_line() {
        let text = |text: &str| json!({ "type": "plain_text", "text": text });
        let option = |value: &str| json!({ "text": text(value), "value": value });
        let layout = |label: &str, element: Value| json!({ "type": "input_layout", "label": text(label), "element": element });
        let body = json!({ "snaps": [
            { "type": "card", "title": text("Things"), "elements": [
                { "type": "content", "elements": [
                    { "type": "rich_text", "text": "two\nlines" },
                    { "type": "image", "alt_text": "A cat", "image_url": "https://h/cat" },
                ] },
                { "type": "divider" },
                { "type": "table", "columns": [{ "key": "a", "header": text("NAME") }, { "key": "b" }],
                  "rows": [{ "a": text("door"), "b": text("open"), "c": text("unseen") }, {}] },
                { "type": "actions", "elements": [
                    { "type": "button", "action_id": "save", "text": text("Save"), "value": "1" },
                    { "type": "button", "action_id": "go", "text": text("Go"), "disabled": true, "href": "https://h" },
                    { "type": "toggle", "action_id": "t", "initial_value": true, "description": text("On or off") },
                ] },
            ] },
            { "type": "form", "action_id": "send_it", "elements": [
                { "type": "input_layout", "label": text("Name"), "optional": true, "hint": text("Any"),
                  "element": { "type": "plain_text_input", "action_id": "n", "initial_value": "Ada" } },
                layout("Kind", json!({ "type": "radio_buttons", "action_id": "k",
                  "options": [option("bug"), option("wish")], "initial_selected_option": option("wish") })),
                { "type": "input_layout", "hidden": true, "element": { "type": "number_input", "action_id": "h" } },
            ], "submit_action": { "type": "button", "action_id": "s", "text": text("Send"), "value": "s" } },
            { "type": "hologram", "action_id": "x" },
        ] });
        let expected = "\
Things
======
  two
  lines
  [image: A cat] https://h/cat
  ----
  NAME  b
  door  open

  [Save]  -> save
  [Go]  -> go  (disabled)  https://h
  toggle  -> t  = true
    On or off
Name (optional): plain_text_input  -> n  = Ada
  Any
Kind: radio_buttons  -> k
  - bug = bug
  * wish = wish
[Send]  -> send_it
hologram  -> x";
        assert_eq!(draw(&body, None).join("\n"), expected);
    }

    #[test]
    fn what_it_does_not_understand_is_no_panic() {
        for body in
            [json!(null), json!({ "snaps": 5 }), json!({ "snaps": [1, {}, { "type": "table" }] })]
        {
            draw(&body, Some(10));
        }
    }
}
