//! The terminal: what is asked there, and how wide it is. The only place of the client that reads
//! from standard input while it asks; what is asked and what an answer means is decided elsewhere.

use std::io::{BufRead, IsTerminal, Write};

use zeroize::Zeroizing;

use super::{Failure, hidden};

/// Somebody to ask.
pub(super) trait Dialogue {
    /// Says something that is no answer to the command, such as what is asked for next.
    fn say(&mut self, text: &str) -> Result<(), Failure>;

    /// Asks for a line; nothing at the end of the input.
    fn line(&mut self, prompt: &str) -> Result<Option<String>, Failure>;

    /// Asks for a line that is not shown while it is typed.
    fn secret(&mut self, prompt: &str) -> Result<Option<Zeroizing<String>>, Failure>;
}

/// The one that the command was typed at. Questions go to standard error: the answer of the
/// command stays alone on standard output.
pub(super) struct Terminal;

impl Terminal {
    /// Where there is somebody to ask.
    pub(super) fn open() -> Option<Terminal> {
        let is_there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        is_there.then_some(Terminal)
    }
}

impl Dialogue for Terminal {
    fn say(&mut self, text: &str) -> Result<(), Failure> {
        write(&format!("{text}\n"))
    }

    fn line(&mut self, prompt: &str) -> Result<Option<String>, Failure> {
        loop {
            write(prompt)?;
            let mut line = Vec::new();
            let read = std::io::stdin().lock().read_until(b'\n', &mut line);
            if read.map_err(|error| lost(&error))? == 0 {
                write("\n")?;
                return Ok(None);
            }
            match String::from_utf8(line) {
                Ok(line) => return Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned())),
                Err(_) => write(hidden::NO_TEXT)?,
            }
        }
    }

    fn secret(&mut self, prompt: &str) -> Result<Option<Zeroizing<String>>, Failure> {
        hidden::ask(prompt).map_err(|error| lost(&error))
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stderr().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| lost(&error))
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot use the terminal: {error}"))
}

/// The width of the terminal that standard output goes to.
pub(super) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|it| *it > 0)
}
