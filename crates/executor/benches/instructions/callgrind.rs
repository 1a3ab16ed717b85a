//! Runs one loop of this program under callgrind.

use std::{
    io,
    process::{Command, Output},
};

use crate::{Error, ONE, loops::Loop};

/// The instructions of [`measured_loop`](crate::loops::measured_loop) and whatever it calls.
pub fn instructions(one: &Loop) -> Result<u64, Error> {
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured_loop*"])
        .arg(std::env::current_exe()?)
        .args([ONE, one.name])
        .output()
        .map_err(not_there)?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        return Err(format!("{}: it failed under callgrind:\n{said}", one.name).into());
    }
    let collected = said.lines().find_map(|line| line.split("Collected :").nth(1));
    match collected.and_then(|n| n.trim().parse().ok()) {
        None | Some(0) => Err(format!("{}: callgrind counted nothing:\n{said}", one.name).into()),
        Some(n) => Ok(n),
    }
}

/// Valgrind's version.
pub fn version() -> Result<String, Error> {
    let Output { stdout, .. } = Command::new("valgrind").arg("--version").output().map_err(not_there)?;
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}

fn not_there(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => "valgrind not found: install it (Debian: apt install valgrind)".into(),
        _ => format!("valgrind: {error}").into(),
    }
}
