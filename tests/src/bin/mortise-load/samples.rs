//! The snap-ins that are measured.

use std::path::Path;

use crate::Failure;

/// The signed request of every measurement.
pub(crate) const BODY: &str = r#"{"hello":"world"}"#;
/// How GitHub writes it.
pub(crate) const GITHUB_PREFIX: &str = "sha256=";
/// HMAC-SHA256 of [`BODY`] with the secret of [`MANIFEST`].
pub(crate) const SIGNATURE: &str =
    "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";
/// The same length, another signature.
pub(crate) const WRONG_SIGNATURE: &str =
    "00000d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";

const MANIFEST: &str = r#"version: "2"
name: Load
service_account:
  display_name: Load
event_sources:
  organization:
    - name: custom-webhook
      display_name: Custom external webhook
      type: flow-custom-webhook
      config:
        policy: |
          package rego
          payload_as_string := base64.decode(input.request.body_raw)
          expected_signature := crypto.hmac.sha256(payload_as_string, input.parameters.secret)
          output = {"event": event, "event_key": event_key} {
            input.request.method == "POST"
            expected_signature == input.request.headers["X-Signature-256"]
            event := input.request.body
            event_key := "my-event"
          } else = {"response": response} {
            response := {
              "status_code": 401,
              "body": "Unauthenticated"
            }
          }
        parameters:
          secret: "EnterYourRandomSecretHere"
functions:
  - name: trivial
    description: Answers.
    timeout_seconds: 10
"#;

const AUTOMATION: &str = r#"automations:
  - name: Every event
    source: custom-webhook
    event_types:
      - custom:my-event
    function: trivial
"#;

const FUNCTION: &str = "export const run = async (events) => ({ events: events.length });\n\
                        export default run;\n";

/// Writes a snap-in with the policy of the seed and a trivial function, bound to the events or not.
pub(crate) fn write(directory: &Path, with_automation: bool) -> Result<(), Failure> {
    let function = directory.join("src/functions/trivial");
    std::fs::create_dir_all(&function)?;
    std::fs::write(function.join("index.ts"), FUNCTION)?;
    let factory = "import trivial from './functions/trivial';\n\
                   export const functionFactory = { trivial } as const;\n";
    std::fs::write(directory.join("src/function-factory.ts"), factory)?;
    std::fs::write(directory.join("src/index.ts"), "export * from './function-factory';\n")?;
    let package = r#"{ "name": "load", "version": "1.0.0", "main": "src/index.ts" }"#;
    std::fs::write(directory.join("package.json"), package)?;
    let automation = if with_automation { AUTOMATION } else { "" };
    std::fs::write(directory.join("manifest.yaml"), format!("{MANIFEST}{automation}"))?;
    Ok(())
}

/// The source of the native preset, in place of that with the policy.
const PRESET: &str = "      config:
        verify:
          scheme: github
          secret: EnterYourRandomSecretHere
          event_key: {value: my-event}
";

/// Writes the snap-in that verifies the same signature without a policy.
pub(crate) fn write_preset(directory: &Path) -> Result<(), Failure> {
    write(directory, false)?;
    let start = MANIFEST.find("      config:\n").ok_or("the manifest has no config")?;
    let end = MANIFEST.find("functions:\n").ok_or("the manifest has no functions")?;
    let manifest = format!("{}{PRESET}{}", &MANIFEST[..start], &MANIFEST[end..]);
    std::fs::write(directory.join("manifest.yaml"), manifest)?;
    Ok(())
}

/// Writes a snap-in of timers alone.
pub(crate) fn write_timers(directory: &Path, count: usize, cron: &str) -> Result<(), Failure> {
    write(directory, false)?;
    let mut manifest = "version: \"2\"\nname: Timers\nservice_account:\n  display_name: Load\n\
                        event_sources:\n  organization:\n"
        .to_owned();
    for number in 0..count {
        manifest.push_str(&format!(
            "    - name: t{number}\n      type: timer-events\n      config: {{cron: \"{cron}\"}}\n"
        ));
    }
    manifest.push_str("functions:\n  - name: trivial\n    description: Answers.\n");
    std::fs::write(directory.join("manifest.yaml"), manifest)?;
    Ok(())
}

/// Milliseconds of the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a measurement has no daemon's clock")]
pub(crate) fn now_ms() -> Result<u64, Failure> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_millis())?)
}

/// A snap-in that shows what a call costs.
#[derive(Clone, Copy)]
pub(crate) enum Sample {
    /// A trivial function.
    Quickjs,
    /// The same, with 1 MiB of code around it that is loaded and not called.
    QuickjsLarge,
    /// The trivial function in Node.js.
    Node,
    /// A shell script that answers.
    Process,
    /// A server in this program that answers at once.
    Remote,
}

impl Sample {
    pub(crate) const ALL: [Sample; 5] =
        [Sample::Quickjs, Sample::QuickjsLarge, Sample::Node, Sample::Process, Sample::Remote];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Sample::Quickjs => "quickjs",
            Sample::QuickjsLarge => "quickjs-1-mib",
            Sample::Node => "node",
            Sample::Process => "process",
            Sample::Remote => "remote",
        }
    }
}

/// Reads its event and answers, without starting anything.
const TOOL: &str = "#!/bin/sh\nread -r event\necho '{\"events\":1}'\n";

/// Writes the snap-in of a sample.
pub(crate) fn write_for(directory: &Path, sample: Sample) -> Result<(), Failure> {
    write(directory, false)?;
    let runtime = match sample {
        Sample::Quickjs | Sample::QuickjsLarge => "quickjs",
        Sample::Node => "node",
        Sample::Process => "process\n    entry_point: bin/tool",
        Sample::Remote => "remote",
    };
    let manifest = format!("{MANIFEST}    runtime: {runtime}\n");
    std::fs::write(directory.join("manifest.yaml"), manifest)?;
    if matches!(sample, Sample::Process) {
        std::fs::create_dir(directory.join("bin"))?;
        let tool = directory.join("bin/tool");
        std::fs::write(&tool, TOOL)?;
        std::fs::set_permissions(tool, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    if matches!(sample, Sample::QuickjsLarge) {
        let mut text = String::from("import './large.js';\n");
        text.push_str(FUNCTION);
        std::fs::write(directory.join("src/functions/trivial/index.ts"), text)?;
        std::fs::write(directory.join("src/functions/trivial/large.js"), large())?;
    }
    Ok(())
}

/// Code as bundlers write it, 1 MiB of it.
fn large() -> String {
    let mut text = String::from("export const all = [];\n");
    let mut number = 0;
    while text.len() < 1024 * 1024 {
        text.push_str(&format!(
            "function f{number}(a, options) {{\n  const list = [a, {number}].map((it) => String(it));\n  \
             if (options?.deep) for (const key of Object.keys(options)) list.push(`${{key}}: x`);\n  \
             try {{ return list.join(','); }} catch (error) {{ throw new TypeError('bad ' + error); }}\n}}\n\
             all.push(f{number});\n"
        ));
        number += 1;
    }
    text
}
