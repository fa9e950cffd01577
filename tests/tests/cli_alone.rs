//! The commands of the client that need no daemon, and what they say when there is none.

use std::process::Command;

use mortise_tests::daemon::built;

#[test]
fn without_a_daemon_it_says_so() {
    let output = Command::new(built("mortise"))
        .args(["snap-in", "list", "--socket", "/nonexistent/mortise.sock"])
        .output()
        .expect("it was built");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("/nonexistent/mortise.sock") && said.contains("is it running?"),
        "{said}"
    );
}

#[test]
fn pages_and_completions_are_written() {
    let directory = tempfile::tempdir().expect("/tmp");
    let run = |arguments: &[&str]| {
        Command::new(built("mortise")).args(arguments).output().expect("it was built")
    };
    let to = directory.path().join("man").display().to_string();
    assert!(run(&["man", &to]).status.success());
    let page = directory.path().join("man/mortise-snap-in-install.1");
    let page = std::fs::read_to_string(page).expect("a page for each command");
    assert!(page.contains(".TH") && page.contains("no\\-activate"), "{page}");
    for shell in ["bash", "fish", "zsh"] {
        let completions = run(&["completions", shell]);
        assert!(completions.status.success());
        assert!(String::from_utf8_lossy(&completions.stdout).contains("no-activate"), "{shell}");
    }
}
