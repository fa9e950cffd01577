//! An HTTP server that keeps what it is sent and answers as it is told to: the other side of everything
//! that the daemon sends.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Request {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this.
    Answer {
        /// The status code.
        status: u16,
        /// Headers beside the length.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
        /// After so long.
        after: Duration,
    },
    /// Never; the connection stays open until the receiver ends.
    Never,
    /// By closing the connection.
    Close,
}

impl Reply {
    /// A status alone.
    pub fn status(status: u16) -> Reply {
        Reply::Answer { status, headers: Vec::new(), body: Vec::new(), after: Duration::ZERO }
    }

    /// JSON with status 200.
    pub fn json(body: &Value) -> Reply {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = body.to_string().into_bytes();
        Reply::Answer { status: 200, headers, body, after: Duration::ZERO }
    }

    /// The same with a header more; nothing for what is no answer.
    pub fn with(mut self, name: &str, value: &str) -> Reply {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

type Respond = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server. What it still has open ends with this value.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    ends: Arc<AtomicBool>,
}

impl Receiver {
    /// Starts one on a free port of loopback, which answers as `respond` says.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub fn start(respond: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let ends = Arc::<AtomicBool>::default();
        let respond: Arc<Respond> = Arc::new(respond);
        let (kept, over) = (seen.clone(), ends.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (respond, kept, over) = (respond.clone(), kept.clone(), over.clone());
                // A sender that breaks off is none of our business.
                std::thread::spawn(move || {
                    let _ = serve(&stream, &*respond, &kept, &over);
                });
            }
        });
        Receiver { address, seen, ends }
    }

    /// One that takes everything, and echoes challenges.
    pub fn taking() -> Receiver {
        Receiver::start(|request| echo(request).unwrap_or_else(|| Reply::status(200)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL that leads to it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A line of a configuration that lets the daemon reach it.
    pub fn allowed(&self) -> String {
        format!("[egress]\nallow = [\"{}\"]\n", self.address)
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bodies of what came so far, without challenges.
    pub fn events(&self) -> Vec<Value> {
        let bodies = self.seen().into_iter().map(|it| it.json());
        bodies.filter(|it| it["type"] != "verify").collect()
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Whoever waits for a connection looks.
        let _ = TcpStream::connect(self.address);
    }
}

/// What answers a challenge of a webhook; nothing for what is none.
pub fn echo(request: &Request) -> Option<Reply> {
    let body = request.json();
    (body["type"] == "verify")
        .then(|| Reply::json(&json!({ "challenge": body["verify"]["challenge"] })))
}

fn serve(
    stream: &TcpStream,
    respond: &Respond,
    seen: &Mutex<Vec<Request>>,
    ends: &AtomicBool,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let reply = respond(&request);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        match reply {
            Reply::Answer { status, headers, body, after } => {
                std::thread::sleep(after);
                let mut head =
                    format!("HTTP/1.1 {status} It\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                head.push_str("\r\n");
                let mut bytes = head.into_bytes();
                bytes.extend_from_slice(&body);
                (&*stream).write_all(&bytes)?;
            }
            Reply::Never => {
                while !ends.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                return Ok(());
            }
            Reply::Close => return Ok(()),
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it: &String| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body }))
}
