//! The bytes of one file, in order: as stored, or unpacked.

use std::{
    io::{self, Read},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use mapreduce_core::{Compression, InputFile};

use super::{
    decode::{self, Stored},
    file::{OpenFile, Sequence},
};
use crate::{FormatError, Position};

/// What is read of a file.
pub(super) struct Input {
    file: Arc<OpenFile>,
    bytes: Bytes,
}

enum Bytes {
    Stored(Sequence),
    /// Unpacked by `decoder`, which has taken so many stored bytes.
    Unpacked {
        decoder: Box<dyn Read + Send>,
        taken: Arc<AtomicU64>,
    },
}

impl Input {
    /// Opens `file` to be read from `offset`, which is 0 if it is compressed, mostly up to `end`.
    pub(super) fn open(file: &InputFile, offset: u64, end: u64) -> Result<Self, FormatError> {
        let open = OpenFile::open(file)?;
        let bytes = if file.compression == Compression::None {
            Bytes::Stored(Sequence::new(open.clone(), offset, end))
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
            let stored = Stored::new(Sequence::new(open.clone(), 0, file.length), taken.clone());
            let decoder =
                decode::decoder(file.compression, stored).map_err(|error| unpack_error(&open, 0, error))?;
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
        match &mut self.bytes {
            Bytes::Stored(stored) => stored.fill(out, wanted),
            Bytes::Unpacked { decoder, taken } => {
                out.reserve_exact(wanted);
                let read = decoder.by_ref().take(wanted as u64).read_to_end(out);
                read.map_err(|error| unpack_error(&self.file, taken.load(Ordering::Relaxed), error))
            }
        }
    }

    /// To be called when all has been read that is wanted.
    pub(super) fn finish(&self) -> Result<(), FormatError> {
        self.file.check_unchanged()
    }
}

/// What a decoder's error means: the file could not be read, somebody writes to it, or the data is wrong.
fn unpack_error(file: &OpenFile, taken: u64, error: io::Error) -> FormatError {
    let error = match error.downcast::<FormatError>() {
        Ok(unreadable) => return unreadable,
        Err(error) => error,
    };
    match (error.raw_os_error(), file.check_unchanged()) {
        (Some(code), _) => file.refused(io::Error::from_raw_os_error(code)),
        (None, Err(changed)) => changed,
        (None, Ok(())) => FormatError::damaged(&file.url, taken, error),
    }
}
