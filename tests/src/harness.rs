//! A server of a snap-in's author, as a testing URL names it: takes events at `/handle/sync` and
//! `/handle/async`, and reports how hooks went, as the platform's own harness does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::http::Connection;

/// What a function of the server returns, or throws.
pub type Returned = Result<Value, Value>;

/// A server on a port of its own. It stops with this value.
pub struct Harness {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    function: Box<dyn Fn(&Value) -> Returned + Send + Sync>,
    /// Path and body of what was asked, oldest first.
    asked: Mutex<Vec<(String, Value)>>,
    reports: AtomicBool,
    stopped: AtomicBool,
}

impl Harness {
    /// Starts one whose functions are all this one.
    pub fn start(function: impl Fn(&Value) -> Returned + Send + Sync + 'static) -> Harness {
        Harness::start_at(([127, 0, 0, 1], 0).into(), function)
    }

    /// Starts one at an address.
    ///
    /// # Panics
    ///
    /// When something else is there.
    pub fn start_at(
        address: SocketAddr,
        function: impl Fn(&Value) -> Returned + Send + Sync + 'static,
    ) -> Harness {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            function: Box::new(function),
            asked: Mutex::default(),
            reports: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = serving.clone();
                // Whoever hangs up is not our concern.
                std::thread::spawn(move || serve(&stream, &shared).ok());
            }
        });
        Harness { address, shared }
    }

    /// The testing URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it reports how hooks went; it does from the start.
    pub fn report(&self, reports: bool) {
        self.shared.reports.store(reports, Ordering::SeqCst);
    }

    /// The events that it was sent so far at this path, oldest first.
    pub fn events(&self, path: &str) -> Vec<Value> {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let of_path = asked.iter().filter(|(it, _)| it == path);
        of_path
            .flat_map(|(_, body)| body.as_array().cloned().unwrap_or(vec![body.clone()]))
            .collect()
    }

    /// The types of the events, of all paths.
    pub fn event_types(&self) -> Vec<String> {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let event = |body: &Value| if body.is_array() { body[0].clone() } else { body.clone() };
        let kind = |it: Value| it["execution_metadata"]["event_type"].as_str().map(str::to_owned);
        asked.iter().filter_map(|(_, body)| kind(event(body))).collect()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push((path.clone(), body.clone()));
    match path.as_str() {
        "/handle/sync" => {
            let answer = match (shared.function)(&body) {
                Ok(result) => json!({ "function_result": result }),
                Err(thrown) => json!({ "error": { "error": thrown } }),
            };
            respond(stream, 200, &answer.to_string())
        }
        "/handle/async" => {
            respond(stream, 200, "")?;
            for event in body.as_array().into_iter().flatten() {
                let returned = (shared.function)(event);
                if shared.reports.load(Ordering::SeqCst) {
                    report(event, returned);
                }
            }
            Ok(())
        }
        _ => respond(stream, 404, ""),
    }
}

fn respond(mut stream: &TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// Says how a hook went, with the token that it was called with.
fn report(event: &Value, returned: Returned) {
    let status = match event["execution_metadata"]["event_type"].as_str() {
        Some("hook:snap_in_activate") => "active",
        Some("hook:snap_in_deactivate") => "inactive",
        _ => return,
    };
    let mut update = json!({ "id": event["context"]["snap_in_id"], "status": status });
    match returned {
        Err(_) => update["status"] = json!("error"),
        Ok(result) => {
            for key in ["status", "inputs_values"] {
                if !result[key].is_null() {
                    update[key] = result[key].clone();
                }
            }
        }
    }
    if event["payload"]["is_deletion"] == true {
        update["is_deletion"] = json!(true);
    }
    let token = event["context"]["secrets"]["service_account_token"].as_str().unwrap_or_default();
    let endpoint = event["execution_metadata"]["devrev_endpoint"].as_str().unwrap_or_default();
    let url = format!("{endpoint}/internal/snap-ins.system-update");
    let Some((host, path)) = url.strip_prefix("http://").and_then(|it| it.split_once('/')) else {
        return;
    };
    let headers = [("authorization", token), ("content-type", "application/json")];
    // A daemon that is gone by now hears nothing.
    if let Some(mut daemon) = host.parse().ok().and_then(|it| Connection::tcp(it).ok()) {
        let _ = daemon.send("POST", &format!("/{path}"), &headers, update.to_string().as_bytes());
    }
}
