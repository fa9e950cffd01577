//! What the figures are compared with: the same client against a bare echo, and a bare commit.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::time::Instant;

use crate::Failure;

/// As many as the daemon has by default.
const WORKERS: usize = 2;

/// An actix-web server that answers every POST with its body.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn start() -> Result<Echo, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("echo".to_owned()).spawn(move || {
            let serve = async move {
                let answer = |body: web::Bytes| async move {
                    HttpResponse::Ok().content_type("application/json").body(body)
                };
                let server =
                    HttpServer::new(move || App::new().route("/echo", web::post().to(answer)))
                        .workers(WORKERS)
                        .disable_signals()
                        .listen(listener)?
                        .run();
                // Whoever started it waits for this.
                let _ = sender.send(server.handle());
                server.await
            };
            if let Err(error) = actix_web::rt::System::new().block_on(serve) {
                eprintln!("the echo server ended: {error}");
            }
        })?;
        Ok(Echo { address, handle: receiver.recv()?, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Sent when it is called; the future only waits for the end, as the join does.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the echo server panicked");
        }
    }
}

/// Commits per second of a bare loop: append 4 KiB, fdatasync.
pub(crate) fn commits_per_second(directory: &Path, time: Duration) -> Result<f64, Failure> {
    let path = directory.join("commits");
    let mut file = std::fs::File::create(&path)?;
    let page = [b'm'; 4096];
    let began = Instant::now();
    let mut commits = 0_u32;
    while began.elapsed() < time {
        file.write_all(&page)?;
        file.sync_data()?;
        commits += 1;
    }
    let rate = f64::from(commits) / began.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}
