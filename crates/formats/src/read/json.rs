//! JSON Lines: every line one value, checked here so that a broken file is told by its place.

use serde::de::IgnoredAny;

use super::{lines::LineReader, text};
use crate::{Batch, FormatError, Position};

/// The next lines that are not empty.
pub(super) fn next_batch(lines: &mut LineReader) -> Result<Option<Batch>, FormatError> {
    while let Some(mut batch) = lines.next_batch()? {
        // The parser looks into strings no further than it must.
        text::check(lines, &batch)?;
        let is_blank = |record: &(u32, u32)| {
            batch.bytes[record.0 as usize..record.1 as usize].iter().all(u8::is_ascii_whitespace)
        };
        let records = batch.records.iter().copied().filter(|record| !is_blank(record)).collect();
        batch.records = records;
        for (i, line) in batch.iter().enumerate() {
            if let Err(error) = serde_json::from_slice::<IgnoredAny>(line) {
                return Err(malformed(lines, batch.position(i).offset, &error));
            }
        }
        if !batch.is_empty() {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

fn malformed(lines: &LineReader, offset: u64, error: &serde_json::Error) -> FormatError {
    // The parser counts bytes from 1, and lines, of which it saw but one.
    let offset = offset + error.column().saturating_sub(1) as u64;
    let told = error.to_string();
    let why = told.rsplit_once(" at line ").map_or(told.as_str(), |(why, _)| why);
    FormatError::Malformed {
        position: Position { url: lines.url().clone(), offset },
        line: None,
        why: format!("no JSON: {why}"),
    }
}
