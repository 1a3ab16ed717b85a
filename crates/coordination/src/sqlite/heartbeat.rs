//! The heartbeat: a counter in this process's session file. The thread that beats holds the file, and with it
//! the lock that says that the process is alive; nothing else can hold it up.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// As long as this lives, the heart beats and the file stays locked.
pub(super) type Heart = mpsc::Sender<()>;

/// Counters have so many digits, so that each overwrites the one before.
const DIGITS: usize = 20;

/// Beats in `file` once every `interval` until the [`Heart`] is dropped.
pub(super) fn start(file: File, interval: Duration) -> io::Result<Heart> {
    let (heart, stopped) = mpsc::channel();
    let beat = move || {
        for count in 0u64.. {
            // Not synced: after a power cut there is no process left for it to speak for.
            if let Err(error) = file.write_all_at(format!("{count:0DIGITS$}\n").as_bytes(), 0) {
                tracing::warn!(%error, "can't write the heartbeat: others may take this process for dead");
            }
            if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    thread::Builder::new().name("heartbeat".to_owned()).spawn(beat)?;
    Ok(heart)
}

/// The counter in another process's session file.
pub(super) fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut counter = vec![0; DIGITS];
    // Empty just after the file was made.
    let length = file.read_at(&mut counter, 0)?;
    counter.truncate(length);
    Ok(counter)
}
