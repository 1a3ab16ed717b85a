//! Text: lines, and what becomes of those that are not UTF-8. All lines of a batch are checked at once.

use mapreduce_core::InvalidText;

use super::lines::LineReader;
use crate::{Batch, FormatError, batch::Places};

/// The next lines.
pub(super) fn next_batch(lines: &mut LineReader, invalid: InvalidText) -> Result<Option<Batch>, FormatError> {
    while let Some(batch) = lines.next_batch()? {
        // Nothing but a byte order mark.
        if batch.is_empty() {
            continue;
        }
        return match invalid {
            InvalidText::Bytes => Ok(Some(batch)),
            InvalidText::Error => check(lines, &batch).map(|()| Some(batch)),
            InvalidText::Replace if is_utf8(&batch.bytes) => Ok(Some(batch)),
            InvalidText::Replace => Ok(Some(replaced(&batch))),
        };
    }
    Ok(None)
}

/// An error if the lines are not UTF-8.
pub(super) fn check(lines: &LineReader, batch: &Batch) -> Result<(), FormatError> {
    if is_utf8(&batch.bytes) {
        return Ok(());
    }
    // The fast check does not tell where.
    let valid = std::str::from_utf8(&batch.bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let offset = match batch.places {
        Places::Stretch(offset) => offset,
        Places::Each(_) => 0,
    };
    Err(FormatError::NotUtf8 { position: lines.position(offset + valid as u64) })
}

fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// The same lines with U+FFFD for what is not UTF-8.
fn replaced(batch: &Batch) -> Batch {
    let mut bytes = Vec::with_capacity(batch.bytes.len() + batch.bytes.len() / 8);
    let mut records = Vec::with_capacity(batch.len());
    for line in batch.iter() {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(String::from_utf8_lossy(line).as_bytes());
        records.push((start, bytes.len() as u32));
    }
    let offsets = (0..batch.len()).map(|i| batch.position(i).offset).collect();
    Batch::new(batch.url.clone(), bytes, records, Places::Each(offsets))
}
