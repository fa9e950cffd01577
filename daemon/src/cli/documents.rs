//! Manual pages and shell completions, made from the commands themselves, for those who package the
//! daemon.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;
use super::arguments::Arguments;

/// Writes `mortise.1` and a page for each command into a directory.
pub(super) fn manual_pages(directory: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::refused(format!("cannot write to {}: {error}", directory.display()))
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)
}

/// Writes the completions of a shell to standard output.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "mortise", &mut script);
    super::show::print(String::from_utf8_lossy(&script).trim_end())
}
