//! `mortise component`, `mortise action` and `mortise snap-in page`: what snap-ins draw, as plain text,
//! and what people do with it.

mod draw;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::arguments::Page;
use super::connection::Client;
use super::show::{self, View, plain};
use super::{Failure, payload, terminal};

const COMPONENTS: View = View::Table(
    "snap_components",
    &[
        ("SCOPE", "scope"),
        ("NAME", "name"),
        ("SURFACE", "surface"),
        ("DESCRIPTION", "display_name"),
    ],
);

#[derive(Debug, Subcommand)]
pub(super) enum ComponentCommand {
    /// List snap components, by scope and name
    #[command(after_help = "Examples:
  mortise component list
  mortise component list --surface issue --scope prod")]
    List {
        /// Only those of this snap-in: its id or scope
        #[arg(long)]
        snap_in: Option<String>,
        /// Only those of snap-ins under this prefix of a scope
        #[arg(long)]
        scope: Option<String>,
        /// Only those for this surface
        #[arg(long)]
        surface: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show what was drawn of a component last, without drawing it
    Show {
        /// Id or scope of the snap-in
        snap_in: String,
        /// Name of the component
        component: String,
        /// Id of the object beside which it is displayed
        #[arg(long, value_name = "ID")]
        object: Option<String>,
    },
    /// Draw a component anew
    #[command(after_help = "Examples:
  mortise component render prod/payments/hello panel --object TKT-12
  mortise component render prod/payments/hello panel --json")]
    Render {
        /// Id or scope of the snap-in
        snap_in: String,
        /// Name of the component
        component: String,
        /// Id of the object beside which it is displayed
        #[arg(long, value_name = "ID")]
        object: Option<String>,
        /// Id or name of the user who looks; yourself when absent
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ActionCommand {
    /// Press a button or send a form, and wait for what the snap-in answers
    #[command(after_help = "Examples:
  mortise action run prod/payments/hello/snap-kit-actions/click --element save
  mortise action run prod/payments/hello/snap-kit-actions/click --component panel --object TKT-12
  mortise action run prod/payments/hello/snap-kit-actions/setup --page organization \\
    --value '{\"level\": {\"value\": \"high\"}}'
  mortise action run prod/payments/hello/snap-kit-actions/setup --page user --value @form.json
  mortise action run prod/payments/hello/snap-kit-actions/setup --page user --value - < form.json
  mortise action run prod/payments/hello/snap-kit-actions/click --body @shown.json --entry TLE-7 \\
    --do '{\"action_id\": \"choose\", \"value\": \"a\"}' --do '{\"action_id\": \"save\"}'")]
    Run(RunAction),
}

/// Which page of a snap-in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PageLevel {
    Organization,
    User,
}

#[derive(Args, Debug)]
pub(super) struct RunAction {
    /// Id of the action: SNAP-IN/snap-kit-actions/NAME, by id or scope of the snap-in
    action: String,
    /// Action id of the element that was pressed, or of the form; the action's name when absent
    #[arg(long, value_name = "ID")]
    element: Option<String>,
    /// What was chosen or filled in: JSON, @FILE, or - for standard input; the element's own value
    /// when absent
    #[arg(long, value_name = "JSON")]
    value: Option<String>,
    /// Type of the element, when it is not displayed
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// One of several things that were done, in their order: JSON, @FILE or -, with action_id, and
    /// with value, type and block_id when they are not those of what is displayed
    #[arg(long = "do", value_name = "JSON", conflicts_with_all = ["element", "value", "kind"])]
    actions: Vec<String>,
    /// What was displayed: JSON, @FILE or -, such as {"snaps": [...]}; what is kept for the place when
    /// absent
    #[arg(long, value_name = "JSON")]
    body: Option<String>,
    /// Id of the timeline's entry in which it is displayed
    #[arg(long, value_name = "ID")]
    entry: Option<String>,
    /// Id of the object to which that entry belongs
    #[arg(long, value_name = "ID", requires = "entry")]
    entry_object: Option<String>,
    /// The component in which it is displayed
    #[arg(long, value_name = "NAME", conflicts_with = "page")]
    component: Option<String>,
    /// The page on which it is displayed
    #[arg(long, value_name = "LEVEL")]
    page: Option<PageLevel>,
    /// Id of the object beside which it is displayed
    #[arg(long, value_name = "ID")]
    object: Option<String>,
    /// Id or name of the user who acts; yourself when absent
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Does what a command about components says.
pub(super) fn component(
    client: &Client,
    as_json: bool,
    command: ComponentCommand,
) -> Result<(), Failure> {
    match command {
        ComponentCommand::List { snap_in, scope, surface, page } => {
            let parameters = given([
                ("snap_in", snap_in.map(Value::from)),
                ("scope", scope.map(Value::from)),
                ("surface", surface.map(Value::from)),
                ("limit", Some(json!(page.limit))),
                ("cursor", page.cursor.map(Value::from)),
            ]);
            show::answer(&client.call("snap-components.list", &parameters)?, &COMPONENTS, as_json)
        }
        ComponentCommand::Show { snap_in, component, object } => {
            let parameters = given([
                ("snap_in", Some(json!(snap_in))),
                ("name", Some(json!(component))),
                ("object_id", object.map(Value::from)),
            ]);
            let answer = client.call("snap-components.get", &parameters)?;
            if as_json {
                return show::answer(&answer, &View::EVERYTHING, true);
            }
            if answer["displayed"].is_null() {
                eprintln!("nothing was drawn yet; mortise component render draws it");
                return Ok(());
            }
            display(&answer, &answer["snap_component"]["snap_kit_action"])
        }
        ComponentCommand::Render { snap_in, component, object, user } => {
            let parameters = given([
                ("snap_in", Some(json!(snap_in))),
                ("name", Some(json!(component))),
                ("object_id", object.map(Value::from)),
                ("user", user.map(Value::from)),
            ]);
            let answer = client.slow_call("drawing", "snap-components.render", &parameters)?;
            report(as_json, &answer, &answer["snap_component"]["snap_kit_action"])
        }
    }
}

/// Draws the page on which a snap-in is configured; of a user, when one is named, who may be the
/// caller himself.
pub(super) fn page(
    client: &Client,
    as_json: bool,
    snap_in: &str,
    user: Option<Option<String>>,
) -> Result<(), Failure> {
    let level = if user.is_some() { "user" } else { "organization" };
    let parameters = given([
        ("snap_in", Some(json!(snap_in))),
        ("level", Some(json!(level))),
        ("user", user.flatten().map(Value::from)),
    ]);
    let answer = client.slow_call("drawing", "configuration-pages.render", &parameters)?;
    report(as_json, &answer, &answer["snap_kit_action"])
}

/// Does what a command about actions says.
pub(super) fn action(
    client: &Client,
    as_json: bool,
    command: ActionCommand,
) -> Result<(), Failure> {
    let ActionCommand::Run(options) = command;
    let RunAction { action, element, value, kind, actions, body, .. } = options;
    let RunAction { entry, entry_object, component, page, object, user, .. } = options;
    let value = value.as_deref().map(|it| payload::any("the value", it)).transpose()?;
    let body = body.as_deref().map(|it| payload::any("the body", it)).transpose()?;
    let element = element.or_else(|| action.rsplit_once('/').map(|(_, name)| name.to_owned()));
    let page = page.map(|it| match it {
        PageLevel::Organization => "organization",
        PageLevel::User => "user",
    });
    let one = given([
        ("action_id", element.map(Value::from)),
        ("type", kind.map(Value::from)),
        ("value", value),
    ]);
    let actions = match actions.as_slice() {
        [] => vec![one],
        several => {
            several.iter().map(|it| payload::any("an action", it)).collect::<Result<Vec<_>, _>>()?
        }
    };
    let context = given([
        ("object_id", object.map(Value::from)),
        ("entry_id", entry.map(Value::from)),
        ("parent_core_object_id", entry_object.map(Value::from)),
    ]);
    let from = given([
        ("snap_component", component.map(Value::from)),
        ("configuration_page", page.map(Value::from)),
    ]);
    let parameters = given([
        ("id", Some(json!(action))),
        ("actions", Some(json!(actions))),
        ("body", body),
        ("from", Some(from)),
        ("context", Some(context)),
        ("user", user.map(Value::from)),
    ]);
    let name = "snap-kit-action.execute.deferred";
    let answer = client.slow_call("waiting for the snap-in", name, &parameters)?;
    if as_json {
        show::answer(&answer, &View::EVERYTHING, true)?;
    }
    for result in answer["results"].as_array().into_iter().flatten() {
        if !as_json {
            if result["displayed"].is_null() && !result["result"].is_null() {
                show::print(&plain(&format!("{:#}", result["result"])))?;
            }
            display(result, &json!(action))?;
        }
        refuse_failed(result)?;
    }
    Ok(())
}

/// Shows what was drawn, and what is wrong with it.
fn report(as_json: bool, answer: &Value, action: &Value) -> Result<(), Failure> {
    if as_json {
        show::answer(answer, &View::EVERYTHING, true)?;
    } else {
        display(answer, action)?;
    }
    refuse_failed(answer)
}

fn display(answer: &Value, action: &Value) -> Result<(), Failure> {
    let body = &answer["displayed"]["body"];
    if !body.is_null() {
        let lines = draw::draw(body, terminal::width());
        show::print(&plain(&lines.join("\n")))?;
        if let Some(action) = action.as_str()
            && lines.iter().any(|it| it.contains("  -> "))
        {
            eprintln!("what is pressed goes to: mortise action run {action} --element ID");
        }
    }
    for line in show::problem_lines(&answer["problems"]) {
        eprintln!("{}", plain(&line));
    }
    Ok(())
}

/// What failed or cannot be displayed is no success for a script.
fn refuse_failed(outcome: &Value) -> Result<(), Failure> {
    let run = outcome["run"].as_str().map(|it| format!("\n  its log: mortise run logs {it}"));
    let run = run.unwrap_or_default();
    if outcome["state"] == "failed" {
        let message = outcome["error"]["message"].as_str().unwrap_or("no reason was given");
        return Err(Failure::refused(format!("the function failed: {message}{run}")));
    }
    let problems = outcome["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let errors = problems.iter().filter(|it| it["severity"] == "error").count();
    if errors > 0 {
        let errors = match errors {
            1 => "an error".to_owned(),
            many => format!("{many} errors"),
        };
        let message = format!("the body has {errors}, and nothing is displayed{run}");
        return Err(Failure::refused(message));
    }
    Ok(())
}

/// An object of the members that have a value.
fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(members.collect::<Map<_, _>>())
}
