//! Typing that is not shown. Owns the modes of the terminal while a secret is typed: they are put
//! back whatever ends it, a signal included. Must never keep or show what was typed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::{Zeroize, Zeroizing};

/// A secret that is typed is no longer than this.
const MOST_BYTES: usize = 64 * 1024;

/// The terminal whose typing is hidden now, and the modes that it had before.
static HIDDEN: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Asks for a line; nothing at the end of the input.
pub(super) fn ask(prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
    let terminal = terminal()?;
    watch_signals()?;
    // First, and without what was typed before: only then is nothing shown that follows the prompt.
    let _shown_again = Hidden::begin(&terminal)?;
    loop {
        (&terminal).write_all(prompt.as_bytes())?;
        let typed = type_line(&mut &terminal);
        (&terminal).write_all(b"\n")?;
        let Some(mut bytes) = typed? else { return Ok(None) };
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => return Ok(Some(Zeroizing::new(text))),
            Err(error) => {
                error.into_bytes().zeroize();
                (&terminal).write_all(NO_TEXT.as_bytes())?;
            }
        }
    }
}

/// What is said of bytes that are no text.
pub(super) const NO_TEXT: &str = "  that was no UTF-8: type it again\n";

/// The one that the command was typed at, or else the one that it reads from.
fn terminal() -> io::Result<File> {
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(terminal) => Ok(terminal),
        Err(_) => io::stdin().as_fd().try_clone_to_owned().map(File::from),
    }
}

/// One line as a person types and mends it. The terminal's own lines would be cut at 4095 bytes.
fn type_line(input: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    const END: u8 = 0x04;
    const ERASE: [u8; 2] = [0x08, 0x7f];
    const KILL: u8 = 0x15;
    // Does not grow: what grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        match input.read(&mut *byte) {
            Ok(0) => return Ok((!line.is_empty()).then_some(line)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(Some(line)),
            END if line.is_empty() => return Ok(None),
            END => {}
            KILL => line.clear(),
            it if ERASE.contains(&it) => while line.pop().is_some_and(is_continuation) {},
            _ if line.len() == MOST_BYTES => {
                let message = format!("more than {MOST_BYTES} bytes were typed");
                return Err(io::Error::other(message));
            }
            it => line.push(it),
        }
    }
}

/// A byte of a character of UTF-8 that is not its first.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// While it lives, typing is not shown.
struct Hidden;

impl Hidden {
    fn begin(terminal: &File) -> io::Result<Hidden> {
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Known to the signals before it is done.
        *hidden() = Some((terminal.try_clone()?, before));
        let hidden = Hidden;
        rustix::termios::tcsetattr(terminal, OptionalActions::Flush, &modes)?;
        Ok(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        show_again();
    }
}

fn hidden() -> MutexGuard<'static, Option<(File, Termios)>> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether typing was hidden.
fn show_again() -> bool {
    let Some((terminal, modes)) = hidden().take() else { return false };
    // A terminal that has gone away needs no modes.
    let _ = rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &modes);
    true
}

/// From here on, what ends the command puts the terminal back first.
fn watch_signals() -> io::Result<()> {
    static WATCHED: OnceLock<()> = OnceLock::new();
    if WATCHED.get().is_some() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _entered = runtime.enter();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::quit(),
        ];
        kinds.map(|kind| signal(kind).map(|it| (kind, it)))
    };
    let [interrupt, terminate, hangup, quit] = signals;
    let (interrupt, terminate, hangup, quit) = (interrupt?, terminate?, hangup?, quit?);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let kind = runtime.block_on(async {
            tokio::select! {
                it = came(interrupt) => it,
                it = came(terminate) => it,
                it = came(hangup) => it,
                it = came(quit) => it,
            }
        });
        if show_again() {
            eprintln!();
        }
        // As shells report a program that a signal ended.
        std::process::exit(128 + kind.as_raw_value());
    })?;
    let _ = WATCHED.set(());
    Ok(())
}

async fn came((kind, mut signal): (SignalKind, Signal)) -> SignalKind {
    match signal.recv().await {
        Some(()) => kind,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Option<String> {
        let line = type_line(&mut &*bytes).expect("it is short");
        line.map(|it| String::from_utf8_lossy(&it).into_owned())
    }

    #[test]
    fn a_line_is_mended_while_it_is_typed() {
        assert_eq!(typed(b"abc\nrest").as_deref(), Some("abc"));
        assert_eq!(typed(b"abd\x7fc\r").as_deref(), Some("abc"));
        assert_eq!(typed("a→\x08b\n".as_bytes()).as_deref(), Some("ab"));
        assert_eq!(typed(b"\x7fwrong\x15right\n").as_deref(), Some("right"));
        assert_eq!(typed(b"\n").as_deref(), Some(""));
        assert_eq!(typed(b"a\x04b\n").as_deref(), Some("ab"));
        assert_eq!(typed(b"\x04\n"), None);
        assert_eq!(typed(b""), None);
        let long = vec![b'x'; 10_000];
        assert_eq!(typed(&long).map(|it| it.len()), Some(10_000));
        assert!(type_line(&mut io::repeat(b'x')).is_err());
    }
}
