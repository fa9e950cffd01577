//! The binary: `mortise serve` is the daemon, the rest is its client.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a runner must be single-threaded and own nothing.
    if std::env::args_os().nth(1).is_some_and(|it| it == mortise::functions::runner::SUBCOMMAND) {
        return mortise::functions::runner::main();
    }
    mortise::cli::main()
}
