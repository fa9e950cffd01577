//! The other side of what the daemon sends: a server that counts, and a loop that only sends, with
//! reqwest, for comparison.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Failure;
use crate::daemon::PATIENCE;

/// As many as the echo server has.
const WORKERS: usize = 2;

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Counted {
    events: AtomicU64,
    /// Whether challenges are echoed.
    echoes: AtomicBool,
    last: Mutex<Option<Sent>>,
}

/// An actix-web server that takes everything and counts it.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    counted: Arc<Counted>,
    handle: ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

async fn take(request: HttpRequest, body: web::Bytes, counted: web::Data<Counted>) -> HttpResponse {
    // Looked for only where it stands in a challenge, so that the others cost nothing.
    if body.windows(9).take(400).any(|it| it == b"\"verify\":") {
        if !counted.echoes.load(Ordering::Relaxed) {
            return HttpResponse::ServiceUnavailable().finish();
        }
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        return HttpResponse::Ok().json(json!({ "challenge": asked["verify"]["challenge"] }));
    }
    if counted.events.fetch_add(1, Ordering::Relaxed) == 0 {
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        let sent = Sent { headers: headers.collect(), body: body.to_vec() };
        *counted.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
    }
    HttpResponse::Ok().finish()
}

impl Receiver {
    pub(crate) fn start() -> Result<Receiver, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let counted = web::Data::new(Counted::default());
        let shared = counted.clone().into_inner();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            let serve = async move {
                let server = HttpServer::new(move || {
                    App::new().app_data(counted.clone()).default_service(web::to(take))
                })
                .workers(WORKERS)
                .disable_signals()
                .listen(listener)?
                .run();
                let _ = sender.send(server.handle());
                server.await
            };
            if let Err(error) = actix_web::rt::System::new().block_on(serve) {
                eprintln!("the receiver ended: {error}");
            }
        })?;
        Ok(Receiver { address, counted: shared, handle: receiver.recv()?, thread: Some(thread) })
    }

    /// How many events came.
    pub(crate) fn events(&self) -> u64 {
        self.counted.events.load(Ordering::Relaxed)
    }

    /// Waits until so many came.
    pub(crate) async fn has(&self, count: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while self.events() < count {
            if Instant::now() > deadline {
                return Err(format!("only {} of {count} came", self.events()).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Counts from nought again, and keeps the first that comes.
    pub(crate) fn reset(&self) {
        self.counted.events.store(0, Ordering::Relaxed);
    }

    /// Whether challenges are echoed from now on.
    pub(crate) fn set_echoing(&self, echoes: bool) {
        self.counted.echoes.store(echoes, Ordering::Relaxed);
    }

    /// The first event since it was reset.
    pub(crate) fn first(&self) -> Option<Sent> {
        self.counted.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the receiver panicked");
        }
    }
}

/// Requests per second of a loop that does nothing but send a request like this again and again, with
/// so many under way. `sign` makes what is signed anew each time.
pub(crate) async fn reqwest_loop(
    address: SocketAddr,
    sent: &Sent,
    connections: usize,
    time: Duration,
    sign: fn(&[u8]),
) -> Result<f64, Failure> {
    // A client without TLS needs no provider, but its builder asks for one all the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (client, sent) = (client.clone(), sent.clone());
            tokio::task::spawn_local(async move {
                let mut count = 0_u64;
                while began.elapsed() < time {
                    sign(&sent.body);
                    let mut request = client.post(format!("http://{address}/"));
                    for (name, value) in &sent.headers {
                        if !matches!(name.as_str(), "host" | "content-length") {
                            request = request.header(name, value);
                        }
                    }
                    let answer = request.body(sent.body.clone()).send().await?;
                    answer.error_for_status()?;
                    count += 1;
                }
                Ok::<u64, reqwest::Error>(count)
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
