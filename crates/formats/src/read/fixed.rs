//! Records of fixed length.

use mapreduce_core::{Compression, FileRange, InputFile};

use super::{BATCH_BYTES, input::Input};
use crate::{Batch, FormatError, batch::Places};

/// Reads the records that begin in a range.
pub(super) struct FixedReader {
    input: Input,
    record_bytes: u32,
    /// Where the next record begins.
    position: u64,
    /// Records that begin from here on are another's.
    end: u64,
}

impl FixedReader {
    pub(super) fn open(
        file: &InputFile,
        range: FileRange,
        record_bytes: u32,
        max: u32,
    ) -> Result<Self, FormatError> {
        if record_bytes == 0 || record_bytes > max {
            let why = format!("records of {record_bytes} bytes are asked for, and may have 1 to {max}");
            return Err(FormatError::unsuitable(&file.url, why));
        }
        let end = match file.compression {
            Compression::None => range.offset.saturating_add(range.length),
            _ => u64::MAX,
        };
        // If there is no such number, no record begins there.
        let position = range.offset.checked_next_multiple_of(u64::from(record_bytes)).unwrap_or(u64::MAX);
        Ok(FixedReader { input: Input::open(file, position, end)?, record_bytes, position, end })
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        let (size, length) = (u64::from(self.record_bytes), self.record_bytes as usize);
        let left = self.end.saturating_sub(self.position).div_ceil(size);
        let count = left.min((BATCH_BYTES as u64 / size).max(1)) as usize;
        let mut bytes = Vec::new();
        let read = if count > 0 { self.input.fill(&mut bytes, count * length)? } else { 0 };
        if read == 0 {
            self.input.finish()?;
            return Ok(None);
        }
        if read % length != 0 {
            let position = self.input.position(self.position + (read - read % length) as u64);
            let why = format!("the last record has {} bytes instead of {length}", read % length);
            return Err(FormatError::Malformed { position, line: None, why });
        }
        let starts = (0..read as u32).step_by(length);
        let records = starts.map(|start| (start, start + self.record_bytes)).collect();
        let batch = Batch::new(self.input.url().clone(), bytes, records, Places::Stretch(self.position));
        self.position += read as u64;
        Ok(Some(batch))
    }
}
