//! Whole files: each is one record.

use mapreduce_core::InputFile;

use super::{BATCH_BYTES, input::Input};
use crate::{Batch, FormatError};

/// Reads one file.
pub(super) struct WholeReader {
    input: Input,
    max: u32,
    read: bool,
}

impl WholeReader {
    pub(super) fn open(file: &InputFile, max: u32) -> Result<Self, FormatError> {
        Ok(WholeReader { input: Input::open(file, 0, file.length)?, max, read: false })
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        if self.read {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        loop {
            let wanted = bytes.len().max(BATCH_BYTES);
            let read = self.input.fill(&mut bytes, wanted)?;
            if bytes.len() > self.max as usize {
                return Err(FormatError::TooLong { position: self.input.position(0), max: self.max });
            }
            if read < wanted {
                break;
            }
        }
        self.input.finish()?;
        self.read = true;
        Ok(Some(Batch::of_one(self.input.url().clone(), bytes, 0)))
    }
}
