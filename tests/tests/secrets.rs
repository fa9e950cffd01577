//! Secrets at rest: the master key of a running daemon is changed, killed in the middle of that, and
//! looked at when it starts.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use mortise::clock::Clock;
use mortise::secrets::{MasterKeys, Vault};
use mortise::store::{FileLocation, Options as StoreOptions, Store};
use mortise_tests::daemon::{Daemon, Options, built};
use mortise_tests::snap_in::Parts;
use mortise_tests::{Numbers, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// The state directory of a daemon that is not running.
struct State(PathBuf);

impl State {
    fn store(&self) -> Store {
        let location = Box::new(FileLocation(self.0.join("mortise.redb")));
        let options = StoreOptions { cache_bytes: 16 << 20 };
        Store::open(location, options, 0, Clock::System).expect("nobody else has it open")
    }

    fn vault(&self) -> Vault {
        Vault::new(&MasterKeys::load(None, &self.0).expect("the daemon's key"))
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("master.key")
    }

    fn keys(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.key_file()).expect("it was made");
        text.lines().map(str::to_owned).collect()
    }

    /// Secrets of the owners 1 to `number`.
    fn plant(&self, number: u128) {
        let (store, vault) = (self.store(), self.vault());
        let write = store.write(move |tables| {
            for owner in 1..=number {
                tables.put_envelope(owner, &vault.seal(owner, secret_of(owner).as_bytes()))?;
            }
            Ok(())
        });
        wait(write).expect("written");
    }

    /// Opens all of them; how many keys they are sealed with.
    #[track_caller]
    fn check(&self, number: u128) -> usize {
        let (store, vault) = (self.store(), self.vault());
        let envelopes = store.read(|tables| tables.envelopes(0, usize::MAX)).expect("read");
        assert_eq!(envelopes.len() as u128, number);
        let mut keys = BTreeSet::new();
        for (owner, envelope) in envelopes {
            let opened = vault.open(owner, &envelope).expect("opens");
            assert_eq!(opened.as_slice(), secret_of(owner).as_bytes());
            keys.insert(Vault::sealed_with(&envelope));
        }
        keys.len()
    }
}

fn secret_of(owner: u128) -> String {
    format!("the secret of {owner}")
}

fn wait<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(answer)
}

fn state_of(daemon: &Daemon) -> State {
    State(daemon.state_dir().to_owned())
}

fn settled(daemon: &Daemon) -> Value {
    eventually("all is sealed with the key in use", PATIENCE, || {
        let status = daemon.call("keys.status", &json!({}));
        (status["state"] == "settled").then_some(status)
    })
}

#[test]
fn a_rotation_that_is_killed_again_and_again_loses_nothing() {
    const SECRETS: u128 = 10_000;
    const ROUNDS: u64 = 12;
    let seed = u64::from(std::process::id());
    println!("seed: {seed}");
    let mut numbers = Numbers(seed);
    let daemon = Daemon::start();
    let state = state_of(&daemon);
    assert!(daemon.terminate().success());
    state.plant(SECRETS);

    daemon.restart();
    let before = tokio::time::Instant::now();
    let status = daemon.call("keys.rotate", &json!({ "wait_seconds": 60 }));
    assert_eq!(status["state"], "settled", "{status}");
    let whole = u64::try_from(before.elapsed().as_millis()).expect("less than ages");

    let mut gone = BTreeSet::from_iter(state.keys());
    let (mut in_the_middle, mut most_keys) = (0, 0);
    for _ in 0..ROUNDS {
        // A rotation from its beginning, one on top of another, or what a start goes on with.
        let kind = numbers.between(0, 2);
        if kind == 0 {
            settled(&daemon);
        }
        std::thread::scope(|scope| {
            if kind < 2 {
                // It may be killed before it has answered, and need not even have read it.
                scope.spawn(|| drop(daemon.try_call("keys.rotate", &json!({}))));
            }
            // Some moment of it: every one has to be fine.
            std::thread::sleep(Duration::from_millis(numbers.between(0, whole * 5 / 4)));
            daemon.kill_dash_nine();
        });
        gone.extend(state.keys());
        most_keys = most_keys.max(state.keys().len());
        in_the_middle += usize::from(state.check(SECRETS) > 1);
        daemon.restart();
    }
    let status = settled(&daemon);
    assert_eq!(status["keys"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["keys"][0]["secrets"], json!(10_000), "{status}");
    assert!(daemon.terminate().success());
    let last = state.keys();
    assert_eq!((state.check(SECRETS), last.len()), (1, 1));
    println!(
        "{whole} ms for {SECRETS} secrets; {in_the_middle} of {ROUNDS} kills were in the middle, \
         with up to {most_keys} keys; {} keys have gone",
        gone.len() - 1
    );
    assert!(in_the_middle > 0, "no kill was in the middle");
    let database = std::fs::read(state.0.join("mortise.redb")).expect("read");
    for key in &gone {
        let bytes: Vec<u8> = hex::decode(key).expect("keys are hexadecimal");
        for needle in [key.as_bytes(), &bytes] {
            assert!(!contains(&database, needle), "a master key is in the database");
        }
        assert!(!daemon.log().contains(key), "a master key is in the log");
    }
    assert!(!contains(&database, b"the secret of"));
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|it| it == needle)
}

#[test]
fn a_function_that_runs_meanwhile_keeps_its_way_back() {
    let code = "
        export const run = async (events) => {
          const event = events[0];
          console.log('here');
          await new Promise((resolve) => setTimeout(resolve, 4000));
          const { devrev_endpoint } = event.execution_metadata;
          const response = await fetch(devrev_endpoint + '/snap-ins.get', {
            method: 'POST',
            headers: {
              authorization: event.context.secrets.service_account_token,
              'content-type': 'application/json',
            },
            body: JSON.stringify({ id: event.context.snap_in_id }),
          });
          return response.status;
        };";
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts { code: code.to_owned(), ..Parts::echo() });
    let event = daemon.send_event(&installed, &json!({ "n": 1 }));
    eventually("the function runs", PATIENCE, || {
        let runs = daemon.list_all("runs.list", "runs", &json!({ "state": "running" }));
        (!runs.is_empty()).then_some(())
    });
    let before = daemon.call("keys.status", &json!({}))["keys"][0]["id"].clone();
    let status = daemon.call("keys.rotate", &json!({ "wait_seconds": 60 }));
    assert_eq!(status["state"], "settled", "{status}");
    assert_ne!(status["keys"][0]["id"], before);
    assert_eq!(state_of(&daemon).keys().len(), 1, "the old key has gone");
    let run = daemon.run_of(&event);
    assert_eq!((&run["state"], &run["result"]), (&json!("succeeded"), &json!(200)), "{run}");
}

#[test]
fn the_command_shows_what_is_sealed_with_which_key() {
    let daemon = Daemon::start();
    let state = state_of(&daemon);
    assert!(daemon.terminate().success());
    state.plant(12);
    daemon.restart();
    let run = |arguments: &[&str]| {
        let output = Command::new(built("mortise"))
            .args(["--url", &format!("http://{}", daemon.address())])
            .args(arguments)
            .env("MORTISE_TOKEN", daemon.token())
            .output()
            .expect("it can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let shown = run(&["key", "status"]);
    let path = state.key_file().display().to_string();
    for word in [path.as_str(), "(file)", "yes", "12", "all secrets are sealed"] {
        assert!(shown.contains(word), "no {word}: {shown}");
    }
    let rotated = run(&["key", "rotate"]);
    assert!(rotated.contains("all secrets are sealed") && rotated != shown, "{rotated}");
    assert_eq!(run(&["key", "status"]), rotated);
    let json: Value = serde_json::from_str(&run(&["key", "status", "--json"])).expect("JSON");
    assert_eq!(json["keys"][0]["secrets"], 12);
    for key in state.keys() {
        assert!(!rotated.contains(&key));
    }
    // Functions have no business here.
    let refused = daemon.connect().send("POST", "/api/v1/keys.rotate", &[], b"{}");
    assert_eq!(refused.expect("an answer").status, 401);
}

/// Tries to start a daemon that must not start, and answers what it says.
fn refused(state: &State, credentials: Option<&Path>) -> String {
    let directory = tempfile::tempdir().expect("/tmp");
    let text = format!(
        "state_dir = {}\nplugin_dirs = []\n[listen]\naddress = \"127.0.0.1:0\"\nsocket = \"\"\n",
        Value::String(state.0.display().to_string()),
    );
    let config = directory.path().join("mortise.toml");
    std::fs::write(&config, text).expect("a temporary file");
    let mut command = Command::new("timeout");
    command.arg("60").arg(built("mortise")).args(["serve", "--config"]).arg(&config);
    if let Some(credentials) = credentials {
        command.env("CREDENTIALS_DIRECTORY", credentials);
    }
    let Output { status, stderr, .. } = command.output().expect("it can be run");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(!said.contains(" ready address="), "it served: {said}");
    for key in std::fs::read_to_string(state.key_file()).unwrap_or_default().lines() {
        assert!(!said.contains(key), "a key is shown: {said}");
    }
    said
}

#[track_caller]
fn check_words(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

#[test]
fn a_start_with_the_wrong_key_says_what_to_do() {
    let daemon = Daemon::start();
    let state = state_of(&daemon);
    assert!(daemon.terminate().success());
    let path = state.key_file();
    let shown = path.display().to_string();

    // Without secrets, a new key is as good as the old one.
    std::fs::remove_file(&path).expect("there");
    daemon.restart();
    assert!(daemon.terminate().success());
    state.plant(3);
    let right = std::fs::read_to_string(&path).expect("there");

    for mode in [0o640, 0o604, 0o660] {
        chmod(&path, mode);
        check_words(&refused(&state, None), &[&shown, &format!("{mode:04o}"), "chmod 0600"]);
    }
    chmod(&path, 0o600);
    if std::os::unix::fs::chown(&path, Some(4711), None).is_ok() {
        check_words(&refused(&state, None), &[&shown, "user id 4711", "chown 0"]);
        std::os::unix::fs::chown(&path, Some(0), None).expect("root");
    }

    std::fs::write(&path, "5a".repeat(32)).expect("written");
    let words = ["not the one", "3 secrets", "5a", &shown, "further line"];
    let said = refused(&state, None);
    check_words(&said, &words[..2]);
    check_words(&said, &words[3..]);
    std::fs::write(&path, format!("{}\n{right}", &right[..60])).expect("written");
    check_words(&refused(&state, None), &[&shown, "line 1", "64 hexadecimal digits"]);
    std::fs::write(&path, "").expect("written");
    check_words(&refused(&state, None), &[&shown, "empty"]);

    std::fs::remove_file(&path).expect("there");
    check_words(&refused(&state, None), &["no master key at", &shown, "3 secrets", "backups"]);
    assert!(!path.exists(), "none is made that would hide what is wrong");

    std::fs::write(&path, &right).expect("written");
    chmod(&path, 0o600);
    daemon.restart();
    assert!(daemon.terminate().success());
    assert_eq!(state.check(3), 1);
}

#[test]
fn a_credential_is_changed_by_who_provides_it() {
    let credentials = tempfile::tempdir().expect("/tmp");
    let path = credentials.path().join("master-key");
    let (first, second) = ("17".repeat(32), "29".repeat(32));
    let text = |lines: &[&String]| lines.iter().map(|it| format!("{it}\n")).collect::<String>();
    std::fs::write(&path, text(&[&first])).expect("written");
    // As systemd 257 makes them.
    chmod(&path, 0o440);
    let wrapper =
        vec!["env".to_owned(), format!("CREDENTIALS_DIRECTORY={}", credentials.path().display())];
    let daemon = Daemon::start_with(Options { wrapper, ..Options::default() });
    let state = state_of(&daemon);
    assert!(!state.key_file().exists(), "the credential is all that is needed");
    daemon.kill_dash_nine();

    let vault = || {
        let keys = MasterKeys::load(Some(credentials.path()), &state.0).expect("the credential");
        Vault::new(&keys)
    };
    let (store, sealing) = (state.store(), vault());
    wait(store.write(move |it| it.put_envelope(7, &sealing.seal(7, b"a secret"))))
        .expect("written");
    drop(store);
    daemon.restart();
    let response = daemon.try_call("keys.rotate", &json!({})).expect("an answer");
    assert_eq!(response.status, 409, "{}", response.text());
    let said = response.json()["message"].as_str().expect("a message").to_owned();
    let shown = path.display().to_string();
    check_words(&said, &[&shown, "first line", "below", "restart", "mortise key status"]);

    chmod(&path, 0o640);
    std::fs::write(&path, text(&[&second, &first])).expect("written");
    daemon.restart();
    let status = eventually("the secret is sealed again", PATIENCE, || {
        let status = daemon.call("keys.status", &json!({}));
        (status["state"] == "removable").then_some(status)
    });
    assert_eq!(
        (&status["keys"][0]["secrets"], &status["keys"][1]["secrets"]),
        (&json!(1), &json!(0))
    );
    let old = status["keys"][1]["id"].as_str().expect("an id").to_owned();
    check_words(status["message"].as_str().expect("a message"), &[&old, "may go"]);

    std::fs::write(&path, text(&[&second])).expect("written");
    daemon.restart();
    settled(&daemon);
    assert!(daemon.terminate().success());
    let envelope = state.store().read(|it| it.envelope(7)).expect("read").expect("there");
    assert_eq!(vault().open(7, &envelope).expect("opens").as_slice(), b"a secret");

    // The old one alone would not do any more, and the start says so.
    std::fs::write(&path, text(&[&first])).expect("written");
    check_words(&refused(&state, Some(credentials.path())), &["1 secret ", &shown, "further line"]);
}

#[test]
fn a_lost_key_costs_the_secrets_and_nothing_else() {
    let first = Daemon::start();
    let sections = "keyrings:\n  organization:\n    - {name: token, description: Any., types: [snap_in_secret]}\n";
    let installed = first.install_draft(&Parts::echo().with_sections(sections));
    let set = json!({ "snap_in": installed.id, "name": "token", "secret": "of-no-use-any-more" });
    first.call("keyrings.set", &set);
    first.step("activate", &installed.id, "ACTIVE");
    assert!(first.terminate().success());
    let state = state_of(&first);
    std::fs::write(state.key_file(), "5a".repeat(32)).expect("written");
    check_words(&refused(&state, None), &["1 secret", "lost for good", "--forget-lost-secrets"]);

    let wrapper = ["sh", "-c", "exec \"$@\" --forget-lost-secrets", "sh"];
    let daemon = Daemon::start_with(Options {
        state_dir: Some(state.0.clone()),
        wrapper: wrapper.map(str::to_owned).to_vec(),
        ..Options::default()
    });
    let which = json!({ "snap_in": installed.id, "name": "token" });
    let keyring = daemon.call("keyrings.get", &which)["keyring"].clone();
    assert_eq!(keyring["state"], "broken", "{keyring}");
    check_words(keyring["reason"].as_str().expect("a reason"), &["lost", "set it anew"]);
    eventually("the snap-in says that it cannot work", PATIENCE, || {
        let shown = daemon.call("snap-ins.get", &json!({ "id": installed.id }));
        (shown["snap_in"]["state"] == "ERROR").then_some(())
    });
    daemon.call("keyrings.set", &set);
    daemon.step("activate", &installed.id, "ACTIVE");
    let event = daemon.send_event(&installed, &json!({ "n": 7 }));
    assert_eq!(daemon.run_of(&event)["result"], json!({ "n": 7 }));
    // From now on it is not needed any more.
    drop(daemon);
    first.restart();
    settled(&first);
}
