//! Telling one process from a later one with the same id.

use std::{fs, io};

/// When the process started, in clock ticks since the machine did: field 22 of `/proc/<pid>/stat`.
pub fn process_start_ticks(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = after_name.split(' ').nth(19).and_then(|field| field.parse().ok());
    ticks.ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has no start time: {stat:?}")))
}
