//! The snap-in at the daemon: made when it is not there, moved to a new version at every save, put into
//! service as soon as nothing is missing. Keeps account of what it made, to remove nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Dev;
use super::feed::Feed;
use super::say::Say;
use crate::cli::Failure;
use crate::cli::connection::{Client, variable};
use crate::cli::show;
use crate::cli::snap_in::fill::{self, Keyrings};
use crate::cli::snap_in::given::Given;
use crate::cli::snap_in::origin;
use crate::cli::snap_in::settle::{WAIT_SECONDS, settled};
use crate::model::manifest::{Level, Manifest};
use crate::model::scope::{InvalidScope, Scope};

/// Versions that are kept although no snap-in is of them: the present one and the one before.
const KEPT: usize = 2;

/// What became of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// It is in place.
    Installed,
    /// It cannot be; what is wrong was said.
    Wrong,
}

pub(super) struct Site<'a> {
    client: &'a Client,
    options: &'a Dev,
    given: Given,
    /// The snap-in, as it was last seen.
    snap_in: Value,
    made: Made,
    /// What was missing, or refused, when it was last tried to put it into service.
    held_up: Option<String>,
    /// What happens to the snap-in from before the first touch on, until somebody looks.
    feed: Option<Feed>,
}

/// What this session made, and may remove.
#[derive(Default)]
struct Made {
    package: Option<String>,
    snap_in: bool,
    versions: Vec<String>,
}

impl<'a> Site<'a> {
    pub(super) fn new(client: &'a Client, options: &'a Dev, given: Given) -> Site<'a> {
        let (snap_in, made) = (Value::Null, Made::default());
        Site { client, options, given, snap_in, made, held_up: None, feed: None }
    }

    /// Whether there is a snap-in.
    pub(super) fn is_there(&self) -> bool {
        self.snap_in.is_object()
    }

    /// The id of the snap-in.
    pub(super) fn id(&self) -> &str {
        self.snap_in["id"].as_str().unwrap_or_default()
    }

    /// What happens to it, once: hooks of the first installation are in it.
    pub(super) fn take_feed(&mut self) -> Option<Feed> {
        self.feed.take()
    }

    /// Its event sources.
    pub(super) fn sources(&self) -> Result<Vec<Value>, Failure> {
        let filter = json!({ "snap_in": self.id() });
        self.client.list_all("event-sources.list", "event_sources", &filter)
    }

    /// Puts a save in place, as far as that is possible.
    pub(super) fn reload(&mut self, archive: &[u8], say: &mut Say) -> Result<Reload, Failure> {
        let mut upload = json!({ "archive": STANDARD.encode(archive) });
        if let Some(url) = &self.options.testing_url {
            upload["testing_url"] = json!(url);
        }
        let checked = self.client.slow_call("checking", "versions.validate", &upload)?;
        let is_wrong = checked["valid"] != true;
        say.problems(&checked["problems"], is_wrong)?;
        if is_wrong {
            return Ok(Reload::Wrong);
        }
        let manifest = origin::read_manifest(checked["manifest"].as_str().unwrap_or_default())?;
        if self.is_there() {
            let package = text(&self.snap_in["package"]);
            return self.replace(upload, &package, &manifest, &Map::new(), say);
        }
        let values = self.values(&manifest)?;
        let package = self.package(&manifest)?;
        let scope = self.scope(&package)?;
        match self.client.try_call("snap-ins.get", &json!({ "id": scope }))? {
            Ok(found) => {
                let found = found["snap_in"].clone();
                if found["package_slug"] != package.as_str() && found["package"] != package.as_str()
                {
                    return Err(Failure::refused(format!(
                        "a snap-in of another package, {}, lives at {scope}: name another place \
                         with --scope, or its package with --package",
                        text(&found["package_slug"])
                    )));
                }
                self.may_touch(&found)?;
                self.snap_in = found;
                self.feed = Some(Feed::begin(self.client, self.id())?);
                let replaced = self.replace(upload, &package, &manifest, &values, say);
                if replaced.is_err() {
                    self.snap_in = Value::Null;
                }
                replaced
            }
            Err(refusal) if refusal.is_not_found() => {
                self.install(upload, &package, &scope, &manifest, &values, say)
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn values(&self, manifest: &Manifest) -> Result<Map<String, Value>, Failure> {
        let wrong = fill::unknown_keyrings(manifest, &self.given);
        match self.given.values(manifest, Level::Organization) {
            Ok(values) if wrong.is_empty() => Ok(values),
            Ok(_) => Err(Failure::usage(wrong.join("\n"))),
            Err(more) => Err(Failure::usage([more, wrong].concat().join("\n"))),
        }
    }

    fn package(&self, manifest: &Manifest) -> Result<String, Failure> {
        let named = self.options.package.clone();
        named.or_else(|| origin::slug_of(manifest.name.as_deref()?)).ok_or_else(|| {
            let message =
                "the manifest has no name that a package can have: name it with --package";
            Failure::usage(message)
        })
    }

    fn scope(&self, package: &str) -> Result<String, Failure> {
        let text = match &self.options.scope {
            Some(scope) => scope.clone(),
            None => format!("{}{package}", own_place()),
        };
        let scope: Scope =
            text.parse().map_err(|error: InvalidScope| Failure::usage(error.to_string()))?;
        Ok(scope.as_str().to_owned())
    }

    /// Whether a snap-in that was there before this session may be moved: it may be in use. Those
    /// in the place that is the default are what earlier sessions left.
    fn may_touch(&self, found: &Value) -> Result<(), Failure> {
        let scope = text(&found["scope"]);
        if self.options.take_over || scope.starts_with(&own_place()) {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "{scope} is there already, {}, and may be in use: --take-over has it moved to what is \
             in {} at every save, and out of service while it lacks something; or name a place of \
             your own with --scope, such as {}{}",
            text(&found["state"]),
            self.options.dir.display(),
            own_place(),
            text(&found["package_slug"]),
        )))
    }

    fn install(
        &mut self,
        upload: Value,
        package: &str,
        scope: &str,
        manifest: &Manifest,
        values: &Map<String, Value>,
        say: &mut Say,
    ) -> Result<Reload, Failure> {
        let found = self.client.try_call("packages.get", &json!({ "id": package }))?;
        match found {
            Ok(_) => {}
            Err(refusal) if refusal.is_not_found() => {
                self.client.call("packages.create", &json!({ "slug": package }))?;
                self.made.package = Some(package.to_owned());
            }
            Err(refusal) => return Err(refusal.into()),
        }
        let version = self.version(upload, package)?;
        let parameters =
            json!({ "version": version["id"], "scope": scope, "inputs_values": values });
        self.snap_in = self.client.call("snap-ins.create", &parameters)?["snap_in"].clone();
        self.made.snap_in = true;
        self.feed = Some(Feed::of_new(self.id()));
        self.set_keyrings(manifest, package)?;
        self.in_place(&version, say)
    }

    /// Moves the snap-in to what was saved.
    fn replace(
        &mut self,
        upload: Value,
        package: &str,
        manifest: &Manifest,
        values: &Map<String, Value>,
        say: &mut Say,
    ) -> Result<Reload, Failure> {
        // Somebody may have changed it meanwhile.
        self.refresh()?;
        let version = self.version(upload, package)?;
        if version["id"] == self.snap_in["version"] {
            if !values.is_empty() {
                let parameters = json!({ "id": self.id(), "inputs_values": values });
                self.client.slow_call("changing inputs", "snap-ins.update", &parameters)?;
            }
        } else if let Err(failure) = self.upgrade(&version, values, say) {
            // Nothing refers to it.
            self.forget(&version);
            return Err(failure);
        }
        self.set_keyrings(manifest, package)?;
        self.in_place(&version, say)
    }

    fn upgrade(
        &mut self,
        version: &Value,
        values: &Map<String, Value>,
        say: &Say,
    ) -> Result<(), Failure> {
        let id = self.id().to_owned();
        let planned = json!({ "id": id, "version": version["id"] });
        let planned = self.client.call("snap-ins.plan-upgrade", &planned)?;
        let missing = planned["plan"]["missing"].as_array().into_iter().flatten();
        let is_lacked = |it: &&Value| {
            let name = it["name"].as_str().unwrap_or_default();
            !values.contains_key(name)
        };
        let lacked: Vec<&Value> = missing.filter(is_lacked).collect();
        // What it lacks can be set only once it is of the new version, and it is not in service then.
        if self.snap_in["state"] == "ACTIVE" && !lacked.is_empty() {
            self.take_out_of_service(version, &lacked, say)?;
        }
        let parameters = json!({
            "id": id, "version": version["id"], "inputs_values": values, "wait_seconds": WAIT_SECONDS,
        });
        let what = "upgrading";
        let answer = self.client.slow_call(what, "snap-ins.upgrade", &parameters)?;
        self.snap_in = settled(self.client, what, answer)?;
        Ok(())
    }

    /// Says that it goes out of service and why. Never with force: what its hook or an external
    /// system holds up is for a person to see.
    fn take_out_of_service(
        &mut self,
        version: &Value,
        lacked: &[&Value],
        say: &Say,
    ) -> Result<(), Failure> {
        let (scope, number) = (text(&self.snap_in["scope"]), &version["number"]);
        let thing = json!({
            "kind": "out_of_service", "scope": scope, "version": version["id"], "number": number,
            "missing": lacked,
        });
        say.line(&thing, || {
            let head = format!("{scope} goes out of service: version {number} needs");
            let lacked = lacked.iter().map(|it| format!("  {}", show::missing_thing(it)));
            std::iter::once(head).chain(lacked).collect()
        })?;
        let parameters = json!({ "id": self.id(), "wait_seconds": WAIT_SECONDS });
        let what = "deactivating";
        let answer = self.client.slow_call(what, "snap-ins.deactivate", &parameters)?;
        self.snap_in = settled(self.client, what, answer)?;
        if self.snap_in["state"] == "INACTIVE" {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "{scope} stays at the version it has: it could not be taken out of service, and is {}: \
             {}\nafter mending: save again; or mortise snap-in deactivate {scope} --force, which \
             leaves registrations at external systems behind",
            text(&self.snap_in["state"]),
            text(&self.snap_in["reason"]),
        )))
    }

    fn version(&mut self, upload: Value, package: &str) -> Result<Value, Failure> {
        let answer = origin::create(self.client, upload, package)?;
        let version = answer["version"].clone();
        let id = text(&version["id"]);
        if answer["existed"] != true {
            self.made.versions.push(id);
        } else if let Some(at) = self.made.versions.iter().position(|it| *it == id) {
            // It is the present one again.
            let again = self.made.versions.remove(at);
            self.made.versions.push(again);
        }
        Ok(version)
    }

    /// What the command line gave, until it has been set once.
    fn set_keyrings(&mut self, manifest: &Manifest, package: &str) -> Result<(), Failure> {
        let keyrings =
            Keyrings { client: self.client, manifest, snap_in: self.id(), package, version: None };
        keyrings.set_given(&self.given)?;
        self.given = Given::default();
        Ok(())
    }

    fn in_place(&mut self, version: &Value, say: &mut Say) -> Result<Reload, Failure> {
        self.refresh()?;
        self.held_up = None;
        let refused = self.activate()?;
        let (scope, state) = (text(&self.snap_in["scope"]), text(&self.snap_in["state"]));
        let number = version["number"].clone();
        let thing = json!({
            "kind": "version", "version": version["id"], "number": number,
            "snap_in": self.snap_in["id"], "scope": scope, "state": state,
        });
        say.line(&thing, || vec![format!("version {number} is in place: {scope} is {state}")])?;
        self.say_what_holds_it_up(refused, say)?;
        self.prune();
        Ok(Reload::Installed)
    }

    /// Puts it into service when nothing is missing; answers why that was refused.
    fn activate(&mut self) -> Result<Option<String>, Failure> {
        let is_out = matches!(self.snap_in["state"].as_str(), Some("DRAFT" | "INACTIVE" | "ERROR"));
        let is_whole = self.snap_in["missing"].as_array().is_none_or(Vec::is_empty);
        if !is_out || !is_whole {
            return Ok(None);
        }
        let what = "activating";
        let parameters = json!({ "id": self.id(), "wait_seconds": WAIT_SECONDS });
        let refused = match self.client.try_slow_call(what, "snap-ins.activate", &parameters)? {
            Ok(answer) => {
                settled(self.client, what, answer)?;
                None
            }
            Err(refusal) => Some(refusal.text()),
        };
        self.refresh()?;
        Ok(refused)
    }

    /// Says why it is not in service, when that is another reason than before.
    fn say_what_holds_it_up(
        &mut self,
        refused: Option<String>,
        say: &mut Say,
    ) -> Result<(), Failure> {
        let missing = self.snap_in["missing"].as_array().cloned().unwrap_or_default();
        let mut lines = Vec::new();
        if self.snap_in["state"] == "ERROR" {
            lines.push(format!("it is in ERROR: {}", text(&self.snap_in["reason"])));
        }
        lines.extend(refused);
        if !missing.is_empty() {
            lines.push("something is missing; it goes into service once it is there:".to_owned());
            lines.extend(missing.iter().map(|it| format!("  {}", show::missing_thing(it))));
        }
        let held_up = (!lines.is_empty()).then(|| lines.join("\n"));
        if held_up == self.held_up {
            return Ok(());
        }
        self.held_up = held_up;
        if lines.is_empty() {
            return Ok(());
        }
        let state = &self.snap_in["state"];
        let thing =
            json!({ "kind": "held_up", "state": state, "missing": missing, "lines": lines });
        let split = |it: &String| it.lines().map(str::to_owned).collect::<Vec<_>>();
        say.line(&thing, || lines.iter().flat_map(split).collect())
    }

    /// Looks whether it is as it was, and puts it into service when somebody has given what it lacked.
    pub(super) fn look(&mut self, say: &mut Say) -> Result<(), Failure> {
        let before = self.snap_in.clone();
        self.refresh()?;
        let lacked = before["missing"].as_array().is_some_and(|it| !it.is_empty());
        let refused = if lacked { self.activate()? } else { None };
        if self.snap_in["state"] != before["state"] {
            let (scope, state) = (text(&self.snap_in["scope"]), text(&self.snap_in["state"]));
            let thing = json!({ "kind": "state", "scope": scope, "state": state });
            say.line(&thing, || vec![format!("{scope} is {state}")])?;
        }
        if refused.is_some()
            || self.snap_in["state"] != before["state"]
            || self.snap_in["missing"] != before["missing"]
        {
            self.say_what_holds_it_up(refused, say)?;
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), Failure> {
        let answer = self.client.call("snap-ins.get", &json!({ "id": self.id() }))?;
        self.snap_in = answer["snap_in"].clone();
        Ok(())
    }

    /// Deletes versions of this session that nobody needs any more.
    fn prune(&mut self) {
        let present = text(&self.snap_in["version"]);
        let old = self.made.versions.len().saturating_sub(KEPT);
        let (old, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.made.versions)
            .into_iter()
            .enumerate()
            .partition(|(at, id)| *at < old && *id != present);
        // One with a run that is still to come is in use, and stays until the next save.
        let in_use = old.into_iter().map(|(_, id)| id).filter(|id| !self.delete_version(id));
        let in_use: Vec<String> = in_use.collect();
        self.made.versions = in_use;
        self.made.versions.extend(kept.into_iter().map(|(_, id)| id));
    }

    fn delete_version(&self, id: &str) -> bool {
        let deleted = self.client.try_call("versions.delete", &json!({ "id": id }));
        match deleted {
            Ok(Ok(_)) => true,
            Ok(Err(refusal)) => refusal.is_not_found(),
            Err(_) => false,
        }
    }

    /// Deletes a version that was made for nothing.
    fn forget(&mut self, version: &Value) {
        let id = text(&version["id"]);
        let is_ours = self.made.versions.last() == Some(&id);
        if is_ours && id != text(&self.snap_in["version"]) && self.delete_version(&id) {
            self.made.versions.pop();
        }
    }

    /// Removes what this session made, and says what that was.
    pub(super) fn remove(&mut self) -> Result<Vec<String>, Failure> {
        let mut removed = Vec::new();
        if self.made.snap_in {
            let what = "deleting";
            let parameters =
                json!({ "id": self.id(), "force": true, "wait_seconds": WAIT_SECONDS });
            let answer = self.client.slow_call(what, "snap-ins.delete", &parameters)?;
            settled(self.client, what, answer)?;
            removed.push(format!("snap-in {}", text(&self.snap_in["scope"])));
        }
        for id in std::mem::take(&mut self.made.versions) {
            if self.delete_version(&id) {
                removed.push(format!("version {id}"));
            }
        }
        if let Some(package) = self.made.package.take() {
            let deleted = self.client.try_call("packages.delete", &json!({ "id": package }))?;
            // It has versions that somebody else made.
            if deleted.is_ok() {
                removed.push(format!("package {package}"));
            }
        }
        Ok(removed)
    }
}

/// Where snap-ins of this command live unless it is told otherwise.
fn own_place() -> String {
    let user = variable("USER").and_then(|it| origin::slug_of(&it));
    format!("dev/{}/", user.unwrap_or_else(|| "me".to_owned()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
