//! Calling functions and looking at their runs from the command line: where payloads come from, what
//! is said when one is wrong, and what is shown of a run and of what is allowed.

use mortise_tests::client::script;
use mortise_tests::daemon::Daemon;
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::json;

const PLACE: &str = "default/default/ways";

/// Answers with what it was sent, as each way of calling wants it.
const WAYS: &str = "
export const run = async ([event]) => {
  const { payload, execution_metadata } = event;
  if (execution_metadata.operation_slug) return { output: { values: [payload.data] } };
  return { got: payload.action?.value ?? payload };
};
";

fn ways(daemon: &Daemon) {
    daemon.install(&Parts::new("ways", SIGNED, WAYS).with_sections(
        "operations:
  - {name: File, slug: file, description: Files it., type: action, function: work,
     inputs: {fields: [{name: title, field_type: text}]}}
snap_kit_actions:
  - {name: press, description: Is pressed., function: work}
snap_components:
  - {name: panel, display_name: Panel, description: P., surface: issue, initializer: work}
",
    ));
}

#[test]
fn what_is_allowed_is_said_under_the_message() {
    let daemon = Daemon::start();
    ways(&daemon);
    let unknown = ["component", "render", PLACE, "pannel"];
    let refused = script(&daemon, &unknown, "");
    assert_eq!(refused.code, 1, "{refused:?}");
    let expected = "unknown snap component `pannel`, did you mean `panel`?\n  allowed: panel\n";
    assert!(refused.err.contains(expected), "{refused:?}");
    let as_json = script(&daemon, &[&["--json"], &unknown[..]].concat(), "");
    assert_eq!(as_json.json()["allowed"], json!(["panel"]), "{as_json:?}");
    // Where there is nothing to choose from, there is no such line.
    let missing = script(&daemon, &["run", "show", "run_1"], "");
    assert!(missing.code == 1 && !missing.err.contains("allowed"), "{missing:?}");
}
