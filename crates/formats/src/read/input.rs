//! The bytes of one file, in order: as stored, or unpacked. The only place that knows where files are.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use mapreduce_core::{Compression, InputFile};
use url::Url;

use super::decode::{self, Stored};
use crate::{FormatError, Position, location};

/// A file, open, and known to be as it was at submission.
pub(super) struct OpenFile {
    pub(super) url: Arc<str>,
    pub(super) length: u64,
    pub(super) file: File,
    modified_ms: u64,
}

impl OpenFile {
    pub(super) fn open(input: &InputFile) -> Result<Arc<Self>, FormatError> {
        let path = path_of(&input.url)?;
        let refused = |error| FormatError::unreadable(&input.url, error);
        // Asked before it is opened, because opening a pipe would wait for its writer.
        if !fs::metadata(&path).map_err(refused)?.is_file() {
            return Err(FormatError::unsuitable(&input.url, "it is no regular file"));
        }
        let file = File::open(&path).map_err(refused)?;
        let (length, modified_ms) = (input.length, input.modified_ms);
        let open = OpenFile { url: input.url.as_str().into(), length, file, modified_ms };
        open.check_unchanged()?;
        Ok(Arc::new(open))
    }

    /// Compares the file with what it was at submission.
    pub(super) fn check_unchanged(&self) -> Result<(), FormatError> {
        let metadata = self.file.metadata().map_err(|error| self.refused(error))?;
        let modified_ms = location::modified_ms(&metadata).map_err(|error| self.refused(error))?;
        let how = if metadata.len() != self.length {
            format!("it had {} bytes and has {}", self.length, metadata.len())
        } else if modified_ms != self.modified_ms {
            format!("it was written {} ms later", modified_ms.cast_signed() - self.modified_ms.cast_signed())
        } else {
            return Ok(());
        };
        Err(FormatError::Changed { url: self.url.to_string(), how })
    }

    pub(super) fn refused(&self, error: io::Error) -> FormatError {
        FormatError::unreadable(&self.url, error)
    }
}

fn path_of(url: &str) -> Result<PathBuf, FormatError> {
    let wrong = |why: String| FormatError::Url { url: url.to_owned(), why };
    let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    match parsed.scheme() {
        "file" => parsed.to_file_path().map_err(|()| wrong("it names no local file".to_owned())),
        scheme => Err(wrong(format!("{scheme}:// is not supported yet; give file:///absolute/path"))),
    }
}

/// What is read of a file.
pub(super) struct Input {
    file: Arc<OpenFile>,
    bytes: Bytes,
}

enum Bytes {
    /// As stored, from this offset.
    Stored(u64),
    /// Unpacked by `decoder`, which has taken so many stored bytes.
    Unpacked { decoder: Box<dyn Read + Send>, taken: Arc<AtomicU64> },
}

impl Input {
    /// Opens `file` to be read from `offset`, which is 0 if it is compressed.
    pub(super) fn open(file: &InputFile, offset: u64) -> Result<Self, FormatError> {
        let open = OpenFile::open(file)?;
        let bytes = if file.compression == Compression::None {
            Bytes::Stored(offset)
        } else {
            // To some decoders nothing is no data, to others it is one stream too few.
            if file.length == 0 {
                return Err(FormatError::damaged(
                    &open.url,
                    0,
                    "not even a compressed file's first byte is there",
                ));
            }
            let taken = Arc::new(AtomicU64::new(0));
            let stored = Stored::new(open.clone(), taken.clone());
            let decoder =
                decode::decoder(file.compression, stored).map_err(|error| unpack_error(&open, 0, &error))?;
            Bytes::Unpacked { decoder, taken }
        };
        Ok(Input { file: open, bytes })
    }

    pub(super) fn url(&self) -> &Arc<str> {
        &self.file.url
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position { url: self.file.url.clone(), offset }
    }

    /// Appends the next `wanted` bytes to `out` and says how many they are: fewer only at the end of the file.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, wanted: usize) -> Result<usize, FormatError> {
        let before = out.len();
        match &mut self.bytes {
            Bytes::Stored(offset) => {
                let left = self.file.length.saturating_sub(*offset);
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
                read_at(&self.file, *offset, out, wanted)?;
                *offset += wanted as u64;
            }
            Bytes::Unpacked { decoder, taken } => {
                out.reserve_exact(wanted);
                let read = decoder.by_ref().take(wanted as u64).read_to_end(out);
                read.map_err(|error| unpack_error(&self.file, taken.load(Ordering::Relaxed), &error))?;
            }
        }
        Ok(out.len() - before)
    }

    /// To be called when all has been read that is wanted.
    pub(super) fn finish(&self) -> Result<(), FormatError> {
        self.file.check_unchanged()
    }
}

/// Appends `wanted` bytes from `offset` to `out`, straight from the system, without clearing memory before.
fn read_at(file: &OpenFile, offset: u64, out: &mut Vec<u8>, wanted: usize) -> Result<(), FormatError> {
    let end = out.len() + wanted;
    out.reserve_exact(wanted);
    let mut offset = offset;
    while out.len() < end {
        let spare = || rustix::io::pread(&file.file, rustix::buffer::spare_capacity(out), offset);
        match rustix::io::retry_on_intr(spare) {
            Ok(0) => {
                let how = format!("it ends at byte {offset}");
                return Err(FormatError::Changed { url: file.url.to_string(), how });
            }
            Ok(read) => offset += read as u64,
            Err(error) => return Err(file.refused(error.into())),
        }
    }
    // The vector may have had more room than was asked for.
    out.truncate(end);
    Ok(())
}

/// What a decoder's error means: the disk failed, somebody writes to the file, or the data is wrong.
fn unpack_error(file: &OpenFile, taken: u64, error: &io::Error) -> FormatError {
    match (error.raw_os_error(), file.check_unchanged()) {
        (Some(code), _) => file.refused(io::Error::from_raw_os_error(code)),
        (None, Err(changed)) => changed,
        (None, Ok(())) => FormatError::damaged(&file.url, taken, error),
    }
}
