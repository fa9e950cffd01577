//! `mortise status` for people: how the daemon is, and what each runtime lacks.
//!
//! Shows what `system.status` answers and asks nothing more.

use serde_json::Value;

use super::show::plain;

/// The text; what a runtime lacks is below the table.
pub(super) fn text(status: &Value) -> String {
    let yes = |it: &Value| if it.as_bool() == Some(true) { "yes" } else { "no" };
    let mut lines = vec![
        format!("version        {}", plain(status["version"].as_str().unwrap_or_default())),
        format!("ready          {}", yes(&status["ready"])),
        format!("open sources   {}", status["open_sources"]),
        format!("disk has room  {}", yes(&status["disk_has_room"])),
        String::new(),
        "RUNTIME  RUNS  WHERE".to_owned(),
    ];
    let runtimes = status["runtimes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for runtime in runtimes {
        let name = plain(runtime["runtime"].as_str().unwrap_or_default());
        let words = ["program", "program_version"].map(|key| runtime[key].as_str());
        let place = words.into_iter().flatten().map(plain).collect::<Vec<_>>().join(" ");
        let line = format!("{name:<7}  {:<4}  {place}", yes(&runtime["runs"]));
        lines.push(line.trim_end().to_owned());
    }
    for runtime in runtimes {
        let name = plain(runtime["runtime"].as_str().unwrap_or_default());
        let mut say = |what: &str, text: &str| {
            lines.push(String::new());
            lines.push(format!("{name}: {what}{}", plain(text)));
        };
        if let Some(problem) = runtime["problem"].as_str() {
            say("", problem);
        }
        for (key, what) in [
            ("missing", "not whole: "),
            ("second_layers_missing", "without a second layer: "),
            ("reduced", "less than elsewhere: "),
        ] {
            let all = runtime[key].as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().filter_map(Value::as_str).for_each(|it| say(what, it));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_what_is_wrong_and_where() {
        let status = json!({
            "version": "0.1.0", "ready": true, "open_sources": 3, "disk_has_room": false,
            "runtimes": [
                { "runtime": "quickjs", "runs": true, "reduced": ["slower\u{1b}"] },
                { "runtime": "node", "runs": false, "program": "/usr/bin/node",
                  "program_version": "v20.1.0", "problem": "install the drop-in" },
            ],
        });
        let expected = "version        0.1.0\nready          yes\nopen sources   3\n\
                        disk has room  no\n\nRUNTIME  RUNS  WHERE\nquickjs  yes\n\
                        node     no    /usr/bin/node v20.1.0\n\n\
                        quickjs: less than elsewhere: slower\u{fffd}\n\n\
                        node: install the drop-in";
        assert_eq!(text(&status), expected);
    }
}
