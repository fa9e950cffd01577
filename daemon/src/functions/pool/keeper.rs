//! The thread that starts and reaps runner processes.
//!
//! One thread for all of them, because the kernel ends a runner when the *thread* that started it
//! ends, and threads of a runtime come and go. It lives until the pool and all processes are gone.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::functions::kind::RunnerKind;
use crate::functions::runner::SUBCOMMAND;
use crate::functions::runner::node::NodeStart;

/// What every runner is started with.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub path: PathBuf,
    pub address_space: u64,
    pub node: Option<PathBuf>,
    pub own_origin: Option<String>,
}

/// What a runner is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub kind: RunnerKind,
    /// The folder that it is for; nothing for a kind without one, or to see its sandbox only.
    pub folder: Option<PathBuf>,
    /// How much memory its runs may use, for a kind that has to know from the start.
    pub memory_bytes: u64,
    /// npm's script, for a Node.js that puts packages together.
    pub npm: Option<PathBuf>,
}

impl Wanted {
    /// A process that shows its sandbox only.
    pub(super) fn probe(kind: RunnerKind) -> Wanted {
        Wanted { kind, folder: None, memory_bytes: 0, npm: None }
    }

    /// What the kind takes beside the folder.
    fn extra(&self, program: &Program) -> Option<String> {
        match (self.kind, &self.folder) {
            (RunnerKind::Quickjs | RunnerKind::Process, _) | (RunnerKind::Node, None) => None,
            (RunnerKind::Node, Some(_)) => {
                let start = NodeStart {
                    node: program.node.clone(),
                    memory_bytes: self.memory_bytes,
                    own_origin: program.own_origin.clone(),
                    npm: self.npm.clone(),
                };
                Some(serde_json::to_string(&start).expect("it holds nothing that JSON cannot"))
            }
        }
    }
}

/// A process that was just started and has not spoken yet.
pub(super) struct Started {
    pub child: Unclaimed,
    pub socket: UnixStream,
    pub errors: std::io::PipeReader,
}

/// A process that nobody has taken charge of; ended and reaped if nobody ever does.
pub(super) struct Unclaimed(Option<Child>);

impl Unclaimed {
    pub(super) fn claim(mut self) -> Option<Child> {
        self.0.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _killed = child.kill();
            let _reaped = child.wait();
        }
    }
}

#[derive(Clone)]
pub(super) struct Keeper {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Start(Wanted, oneshot::Sender<std::io::Result<Started>>),
    Reap(Child, Option<oneshot::Sender<std::io::Result<ExitStatus>>>),
}

impl Keeper {
    pub(super) fn start_thread(program: Program) -> std::io::Result<Keeper> {
        let (orders, incoming) = mpsc::channel();
        std::thread::Builder::new().name("runner-keeper".to_owned()).spawn(move || {
            while let Ok(order) = incoming.recv() {
                carry_out(&program, order);
            }
        })?;
        Ok(Keeper { orders })
    }

    pub(super) async fn start(&self, wanted: Wanted) -> std::io::Result<Started> {
        let (sender, receiver) = oneshot::channel();
        let ended = || std::io::Error::other("the thread that starts runners has ended");
        self.orders.send(Order::Start(wanted, sender)).map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }

    /// Ends a process and tells how it ended. It may have ended before, by itself.
    pub(super) async fn end(&self, child: Child) -> std::io::Result<ExitStatus> {
        let (sender, receiver) = oneshot::channel();
        let ended = || std::io::Error::other("the thread that starts runners has ended");
        self.orders.send(Order::Reap(child, Some(sender))).map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }

    /// Ends a process whose end nobody asks about.
    pub(super) fn end_later(&self, child: Child) {
        // Without the thread the whole pool is gone, and with the thread its processes.
        let _sent = self.orders.send(Order::Reap(child, None));
    }
}

fn carry_out(program: &Program, order: Order) {
    match order {
        Order::Start(wanted, reply) => {
            // If nobody waits any more, it is ended by being dropped.
            let _heard = reply.send(start(program, &wanted));
        }
        Order::Reap(mut child, reply) => {
            // A process that has ended by itself keeps its status until it is waited for.
            let status = match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) | Err(_) => child.kill().and_then(|()| child.wait()),
            };
            if let Some(reply) = reply {
                let _heard = reply.send(status);
            }
        }
    }
}

fn start(program: &Program, wanted: &Wanted) -> std::io::Result<Started> {
    let (socket, theirs) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    let (errors, their_errors) = std::io::pipe()?;
    // A runner never waits for somebody to read its last words, nor we for it to speak.
    rustix::io::ioctl_fionbio(&errors, true)?;
    rustix::io::ioctl_fionbio(&their_errors, true)?;
    let child = Command::new(&program.path)
        .arg(SUBCOMMAND)
        .arg(std::process::id().to_string())
        .arg(program.address_space.to_string())
        .arg(wanted.kind.name())
        .args(&wanted.folder)
        .args(wanted.extra(program))
        .env_clear()
        .env("TZ", "UTC")
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::from(their_errors))
        .process_group(0)
        .spawn()?;
    Ok(Started { child: Unclaimed(Some(child)), socket, errors })
}

/// What a process said last on standard error, at most a page of it.
pub(super) fn last_words(errors: &mut std::io::PipeReader) -> String {
    const PAGE: usize = 4096;
    // A pipe holds no more; somebody may still be writing.
    const MOST: usize = 1024 * 1024;
    let mut words = Vec::new();
    let mut chunk = [0; PAGE];
    let mut total = 0;
    while total < MOST
        && let Ok(read @ 1..) = errors.read(&mut chunk)
    {
        total += read;
        words.extend_from_slice(&chunk[..read]);
        words.drain(..words.len().saturating_sub(PAGE));
    }
    let said = String::from_utf8_lossy(&words);
    // A secret whose front is cut off is known by the mark.
    let mark = if total > words.len() { "…" } else { "" };
    format!("{mark}{}", said.trim_start_matches('\u{fffd}').trim())
}
