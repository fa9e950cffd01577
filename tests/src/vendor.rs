//! A service that takes messages over HTTP: it answers as it is told to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As JSON, or as a text that is none.
    pub body: Value,
}

impl Asked {
    /// The first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Such as 200.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: String,
}

impl Reply {
    /// An answer in JSON.
    pub fn json(status: u16, body: &Value) -> Reply {
        let headers =
            vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Reply { status, headers, body: body.to_string() }
    }

    /// A page for browsers.
    pub fn page(status: u16) -> Reply {
        let headers = vec![("Content-Type".to_owned(), "text/html".to_owned())];
        Reply { status, headers, body: "<html><body>There is trouble.</body></html>".to_owned() }
    }

    /// The same with another header.
    pub fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Answer = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

struct Shared {
    asked: Mutex<Vec<Asked>>,
    answer: Mutex<Answer>,
}

/// A server on a port of its own. It serves until the process ends.
pub struct Vendor {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Vendor {
    /// Starts one that gives the same answer to everything.
    pub fn start(reply: Reply) -> Vendor {
        Vendor::answering(move |_| reply.clone())
    }

    /// Starts one.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub fn answering(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Vendor {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let answer: Answer = Box::new(answer);
        let shared = Arc::new(Shared { asked: Mutex::default(), answer: Mutex::new(answer) });
        let served = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // Whoever hangs up is not our concern.
                std::thread::spawn(move || serve(&stream, &served).ok());
            }
        });
        Vendor { address, shared }
    }

    /// From now on it gives this answer.
    pub fn answers(&self, reply: Reply) {
        let mut answer = self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner);
        *answer = Box::new(move |_| reply.clone());
    }

    /// Where it is, as a URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it was asked last.
    ///
    /// # Panics
    ///
    /// When it was asked nothing.
    pub fn last(&self) -> Asked {
        self.asked().pop().expect("it was asked")
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::String(text));
    let asked = Asked { method, path, headers, body };
    let reply = shared.answer.lock().unwrap_or_else(PoisonError::into_inner)(&asked);
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(reply.body.as_bytes())
}
