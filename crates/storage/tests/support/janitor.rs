//! Who cleans up behind the servers of a test, whatever ends it.
#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// Kills the servers whose ids are in files named `*.pid` in `directory`, and removes it, when its standard input ends:
/// with this process, at the latest.
pub fn janitor(directory: &Path) -> Child {
    Command::new("sh")
        .args(["-c", r#"cat; for f in "$0"/*.pid; do kill -9 "$(cat "$f")"; done; rm -rf "$0""#])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh can be run")
}
