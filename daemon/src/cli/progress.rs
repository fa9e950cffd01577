//! What a terminal shows while something takes its time. Nothing is shown elsewhere: what a script
//! reads must not hold half lines.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

/// What is over sooner needs no word.
const PATIENCE: Duration = Duration::from_millis(400);
const STEP: Duration = Duration::from_millis(120);
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// Does the work, and says on a terminal what it waits for and for how long.
pub(super) async fn shown_while<F: Future>(what: &str, work: F) -> F::Output {
    shown_with(|| what.to_owned(), work).await
}

/// The same for what changes while it is waited for.
pub(super) async fn shown_with<F: Future>(what: impl Fn() -> String, work: F) -> F::Output {
    let mut work = pin!(work);
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let began = tokio::time::Instant::now();
    let mut steps = tokio::time::interval_at(began + PATIENCE, STEP);
    let mut frames = FRAMES.iter().cycle();
    let mut is_shown = false;
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                if is_shown {
                    draw("\r\x1b[K");
                }
                return done;
            }
            _ = steps.tick() => {
                let seconds = began.elapsed().as_secs();
                let frame = frames.next().copied().unwrap_or_default();
                draw(&format!("\r\x1b[K{frame} {} ({seconds} s)", what()));
                is_shown = true;
            }
        }
    }
}

fn draw(text: &str) {
    let mut out = std::io::stderr().lock();
    // A terminal that has gone away is told by what is printed next.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
