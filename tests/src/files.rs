//! A web server for files: answers what it was told to at each path, whatever the method, on a
//! loopback port.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// One answer: status, headers, body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Beside `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Answer {
    /// 200 with this body.
    pub fn bytes(body: Vec<u8>) -> Answer {
        Answer { status: 200, headers: Vec::new(), body }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Answer {
        let headers = vec![("Location".to_owned(), to.to_owned())];
        Answer { status: 302, headers, body: Vec::new() }
    }

    /// With a header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Such as `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Seen {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A running server; its thread ends with the test program.
pub struct FileServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    seen: Mutex<Vec<Seen>>,
}

impl FileServer {
    /// Starts one that answers 404 to everything.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub fn start() -> FileServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared: Arc<Shared> = Arc::default();
        let known = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let known = known.clone();
                // A client that goes away in the middle is the client's affair.
                std::thread::spawn(move || drop(serve(&stream, &known)));
            }
        });
        FileServer { address, shared }
    }

    /// Answers this at the path from now on.
    pub fn put(&self, path: &str, answer: Answer) {
        let mut answers = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(path.to_owned(), answer);
    }

    /// The requests that came in since this was last asked, oldest first.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let whole = words.next().unwrap_or_default();
    let path = whole.split('?').next().unwrap_or_default().to_owned();
    let seen = Seen { method, path: whole, headers, body };
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    let answers = shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
    let known = answers.get(&path).cloned();
    drop(answers);
    let nothing = Answer { status: 404, headers: Vec::new(), body: b"not here".to_vec() };
    let answer = known.unwrap_or(nothing);
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)?;
    stream.flush()
}

/// A server that answers a request only when it is told to: what waits for it is on for certain.
pub struct Held {
    address: SocketAddr,
    release: mpsc::Sender<String>,
}

impl Held {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub fn start() -> Held {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (release, released) = mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                // One that breaks off is not waited for by anybody.
                let _ = stream.read(&mut request);
                let Ok(body): Result<String, _> = released.recv() else { return };
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n");
                let _ = write!(stream, "{head}connection: close\r\n\r\n{body}");
            }
        });
        Held { address, release }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers one request that waits, or the next one, with this.
    ///
    /// # Panics
    ///
    /// When the server is gone.
    pub fn release(&self, body: &str) {
        self.release.send(body.to_owned()).expect("it runs");
    }
}
