//! Small files that must be whole, and that nobody else may read.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

/// Makes a file for its owner alone, durably, whole or not at all, and never in the place of another: whether it was
/// made.
pub(crate) fn write_once(path: &Path, content: &[u8]) -> io::Result<bool> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // Mode 0600, as every temporary file.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        done => done.map_err(|e| e.error)?,
    };
    fs::File::open(directory)?.sync_all()?;
    Ok(true)
}

/// A new key for a cluster: 256 random bits in hexadecimal.
pub(crate) fn new_key() -> io::Result<String> {
    let mut random = [0u8; 32];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
