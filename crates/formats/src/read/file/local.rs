//! A file of this machine, or of what is mounted on it.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use mapreduce_core::InputFile;

use crate::{FormatError, location};

pub(super) struct LocalFile {
    file: File,
    modified_ms: u64,
}

impl LocalFile {
    pub(super) fn open(path: &Path, input: &InputFile) -> Result<Self, FormatError> {
        let refused = |error| FormatError::unreadable(&input.url, error);
        // Asked before it is opened, because opening a pipe would wait for its writer.
        if !fs::metadata(path).map_err(refused)?.is_file() {
            return Err(FormatError::unsuitable(&input.url, "it is no regular file"));
        }
        Ok(LocalFile { file: File::open(path).map_err(refused)?, modified_ms: input.modified_ms })
    }

    /// Compares it with what it was.
    pub(super) fn check_unchanged(&self, url: &str, length: u64) -> Result<(), FormatError> {
        let refused = |error| FormatError::unreadable(url, error);
        let metadata = self.file.metadata().map_err(refused)?;
        let modified_ms = location::modified_ms(&metadata).map_err(refused)?;
        let how = if metadata.len() != length {
            format!("it had {length} bytes and has {}", metadata.len())
        } else if modified_ms != self.modified_ms {
            format!("it was written {} ms later", modified_ms.cast_signed() - self.modified_ms.cast_signed())
        } else {
            return Ok(());
        };
        Err(FormatError::Changed { url: url.to_owned(), how })
    }

    /// Appends `wanted` bytes from `offset` to `out`, straight from the system, without clearing memory before.
    pub(super) fn append(
        &self,
        url: &str,
        offset: u64,
        wanted: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let end = out.len() + wanted;
        out.reserve_exact(wanted);
        let mut offset = offset;
        while out.len() < end {
            let spare = || rustix::io::pread(&self.file, rustix::buffer::spare_capacity(out), offset);
            match rustix::io::retry_on_intr(spare) {
                Ok(0) => {
                    let how = format!("it ends at byte {offset}");
                    return Err(FormatError::Changed { url: url.to_owned(), how });
                }
                Ok(read) => offset += read as u64,
                Err(error) => return Err(FormatError::unreadable(url, error.into())),
            }
        }
        // The vector may have had more room than was asked for.
        out.truncate(end);
        Ok(())
    }

    /// Some bytes from `offset` on, none at its end.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(out, offset)
    }
}
