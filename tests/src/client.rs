//! The client as a person or a script uses it: the real program, with its standard streams or at a
//! terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::termios::{LocalModes, Winsize};
use serde_json::Value;

use crate::daemon::{Daemon, built};
use crate::eventually;

/// How long a command may take to say what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Clone, Debug)]
pub struct Done {
    /// What it exited with.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `mortise` with these arguments, for this daemon.
pub fn command(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(built("mortise"));
    command
        .args(arguments)
        .env("MORTISE_URL", format!("http://{}", daemon.address()))
        .env("MORTISE_TOKEN", daemon.token())
        .env_remove("MORTISE_SOCKET");
    command
}

/// Runs it as a script does, with this on its standard input.
///
/// # Panics
///
/// When it cannot be run.
pub fn script(daemon: &Daemon, arguments: &[&str], input: &str) -> Done {
    let mut command = command(daemon, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it was built");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that reads nothing may have ended already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it is a child");
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A command at a terminal.
pub struct AtTerminal {
    master: File,
    child: Child,
    shown: Arc<Mutex<String>>,
    /// How much of it was looked at.
    seen: usize,
    reader: Option<JoinHandle<()>>,
}

impl AtTerminal {
    /// Starts it at a new terminal of 80 columns.
    ///
    /// # Panics
    ///
    /// When there is no terminal to be had.
    #[expect(unsafe_code, reason = "a new session is made between fork and exec")]
    pub fn start(mut command: Command) -> AtTerminal {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let size = Winsize { ws_row: 40, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).expect("it has a size");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("it is ASCII");
        let slave = File::options().read(true).write(true).open(name).expect("it is unlocked");
        let stream = || Stdio::from(slave.try_clone().expect("descriptors are left"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: both calls are plain system calls, which are allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin().as_fd())?;
                Ok(())
            });
        }
        let child = command.spawn().expect("it was built");
        // Held by the child alone from here on, so that its end is heard.
        drop(command);
        drop(slave);
        let master = File::from(master);
        let shown: Arc<Mutex<String>> = Arc::default();
        let reader = std::thread::spawn({
            let (mut master, shown) =
                (master.try_clone().expect("descriptors are left"), shown.clone());
            move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = master.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                }
            }
        });
        AtTerminal { master, child, shown, seen: 0, reader: Some(reader) }
    }

    /// Everything that was shown so far, with what was typed as far as it was echoed.
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this is shown, after what was waited for before.
    ///
    /// # Panics
    ///
    /// When it is not, showing what is.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            // What is shown after its end is all that there will be.
            let is_over = self.child.try_wait().is_ok_and(|it| it.is_some());
            if is_over && let Some(reader) = self.reader.take() {
                let _ = reader.join();
            }
            let shown = self.shown();
            if let Some(at) = shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let is_late = tokio::time::Instant::now() > deadline;
            assert!(!is_late && !is_over, "not shown: {text:?} in\n{}", &shown[self.seen..]);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types a line.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn answer(&mut self, line: &str) {
        self.master.write_all(format!("{line}\n").as_bytes()).expect("the terminal is there");
    }

    /// Types a line once the terminal no longer shows what is typed.
    pub fn answer_secretly(&mut self, line: &str) {
        let hidden = || {
            let modes = rustix::termios::tcgetattr(&self.master).ok()?;
            (!modes.local_modes.contains(LocalModes::ECHO)).then_some(())
        };
        eventually("the terminal shows no typing", PATIENCE, hidden);
        self.answer(line);
    }

    /// Types what is no line.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).expect("the terminal is there");
    }

    /// Whether the terminal shows what is typed.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn shows_typing(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master).expect("the terminal is there");
        modes.local_modes.contains(LocalModes::ECHO)
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Waits for its end, and keeps the terminal.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        eventually("the command ends", PATIENCE, || self.child.try_wait().expect("it is a child"))
    }

    /// Waits for its end; answers what it exited with and all that was shown.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = eventually("the command ends", PATIENCE, || {
            self.child.try_wait().expect("it is a child")
        });
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        (status, self.shown())
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
