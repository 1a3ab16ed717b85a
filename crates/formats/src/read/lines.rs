//! The lines that begin in a range, many at a time. Where each ends is found later, and once.

use std::sync::Arc;

use mapreduce_core::{Compression, FileRange, InputFile};
use memchr::{memchr, memchr_iter, memrchr};

use super::{BATCH_BYTES, input::Input};
use crate::{Batch, FormatError, Position, batch::Places};

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much is read at a time beyond the end of a range, where only the rest of one line is wanted.
const TAIL_BYTES: u64 = 64 << 10;

/// Reads whole lines.
pub(super) struct LineReader {
    input: Input,
    /// What has been read and not been given out. It begins where a line does.
    buffer: Vec<u8>,
    /// The last batch's buffer, to be used again: memory fresh from the system costs more than reading a file
    /// into it.
    given: Option<Arc<Vec<u8>>>,
    /// So much of the buffer is known to hold no end of a line that would end the next batch.
    searched: usize,
    /// Where in the file the buffer begins.
    position: u64,
    /// Lines that begin from here on are another's.
    end: u64,
    /// Whether the buffer reaches the end of the file.
    at_end: bool,
    max: u32,
}

impl LineReader {
    pub(super) fn open(file: &InputFile, range: FileRange, max: u32) -> Result<Self, FormatError> {
        let end = match file.compression {
            Compression::None => range.offset.saturating_add(range.length),
            _ => u64::MAX,
        };
        let position = range.offset.saturating_sub(1);
        let input = Input::open(file, position, end)?;
        let mut reader = LineReader {
            input,
            buffer: Vec::new(),
            given: None,
            searched: 0,
            position,
            end,
            at_end: false,
            max,
        };
        if range.offset > 0 {
            reader.skip_line()?;
        }
        Ok(reader)
    }

    /// The next lines with their ends, as one batch; `None` at the end of the range.
    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        let Some((offset, bytes)) = self.next_lines()? else {
            self.input.finish()?;
            return Ok(None);
        };
        let records = index(&bytes, offset);
        // Mostly all lines together are shorter than one may be.
        let may_be_long = bytes.len() > self.max as usize;
        let long = records.iter().filter(|_| may_be_long).find(|(start, end)| end - start > self.max);
        match long {
            Some(&(start, _)) => Err(self.too_long(offset + u64::from(start))),
            None => {
                let bytes = Arc::new(bytes);
                self.given = Some(bytes.clone());
                Ok(Some(Batch::new(self.input.url().clone(), bytes, records, Places::Stretch(offset))))
            }
        }
    }

    /// The same lines for who finds their ends itself, and where in the file they begin. `used` is what it got
    /// last.
    pub(super) fn next_stretch(&mut self, used: Vec<u8>) -> Result<Option<(u64, Vec<u8>)>, FormatError> {
        self.given = Some(Arc::new(used));
        self.next_lines()
    }

    /// To be called after the last of them.
    pub(super) fn finish(&self) -> Result<(), FormatError> {
        self.input.finish()
    }

    /// Whether a `\r` is in what has been read and not been given out.
    pub(super) fn holds_return(&self) -> bool {
        memchr(b'\r', &self.buffer).is_some()
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        self.input.position(offset)
    }

    pub(super) fn url(&self) -> &Arc<str> {
        self.input.url()
    }

    fn too_long(&self, offset: u64) -> FormatError {
        FormatError::TooLong { position: self.position(offset), max: self.max }
    }

    /// Whole lines, and where they begin.
    fn next_lines(&mut self) -> Result<Option<(u64, Vec<u8>)>, FormatError> {
        while self.position < self.end {
            if let Some(cut) = self.whole_lines() {
                return Ok(Some(self.take(cut)));
            }
            if self.at_end {
                return Ok((!self.buffer.is_empty()).then(|| self.take(self.buffer.len())));
            }
            self.searched = self.buffer.len();
            self.check_length()?;
            self.fill()?;
        }
        Ok(None)
    }

    /// Where in the buffer the last whole line ends that begins in the range.
    fn whole_lines(&self) -> Option<usize> {
        let limit = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let end = if self.buffer.len() < limit {
            self.searched + memrchr(b'\n', &self.buffer[self.searched..])?
        } else {
            // The range's last byte belongs to its last line.
            let from = self.searched.max(limit - 1);
            from + memchr(b'\n', &self.buffer[from..])?
        };
        Some(end + 1)
    }

    /// Takes so many bytes from the front of the buffer.
    fn take(&mut self, cut: usize) -> (u64, Vec<u8>) {
        let offset = self.position;
        self.position += cut as u64;
        let rest = &self.buffer[cut..];
        let given = self.given.take().and_then(Arc::into_inner);
        // One that grew for a long line is not kept.
        let mut next = given.filter(|given| given.capacity() < 4 * BATCH_BYTES).unwrap_or_default();
        next.clear();
        if self.position < self.end {
            next.extend_from_slice(rest);
        }
        self.searched = next.len();
        let mut lines = std::mem::replace(&mut self.buffer, next);
        lines.truncate(cut);
        (offset, lines)
    }

    /// Reads on: up to the end of the range or a bit beyond, and twice as much each time if a line doesn't fit.
    fn fill(&mut self) -> Result<(), FormatError> {
        let in_range = (self.end - self.position).saturating_sub(self.buffer.len() as u64);
        let wanted = in_range.max(TAIL_BYTES).min(BATCH_BYTES as u64) as usize;
        let wanted = if self.buffer.len() > BATCH_BYTES { self.buffer.len() } else { wanted };
        self.at_end = self.input.fill(&mut self.buffer, wanted)? < wanted;
        Ok(())
    }

    /// Whether the line that has not ended yet is too long already.
    fn check_length(&self) -> Result<(), FormatError> {
        let max = self.max as usize;
        if self.buffer.len() <= max {
            return Ok(());
        }
        let start = memrchr(b'\n', &self.buffer).map_or(0, |end| end + 1);
        // One more may be the first half of the line's end.
        match self.buffer.len() - start > max + 1 {
            true => Err(self.too_long(self.position + start as u64)),
            false => Ok(()),
        }
    }

    /// Skips to the end of the line that holds the next byte, or of the range if that is nearer.
    fn skip_line(&mut self) -> Result<(), FormatError> {
        while self.position < self.end && !self.at_end {
            self.fill()?;
            let skipped = memchr(b'\n', &self.buffer).map(|end| end + 1);
            self.position += skipped.unwrap_or(self.buffer.len()) as u64;
            self.buffer.drain(..skipped.unwrap_or(self.buffer.len()));
            if skipped.is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// Where the lines in `bytes`, which are at `offset`, begin and end.
fn index(bytes: &[u8], offset: u64) -> Vec<(u32, u32)> {
    let has_mark = offset == 0 && bytes.starts_with(BYTE_ORDER_MARK);
    let mut start = if has_mark { BYTE_ORDER_MARK.len() } else { 0 };
    let mut lines = Vec::with_capacity(bytes.len() / 64);
    // Both fit into 32 bits, since no line is longer than RECORD_BYTES_MAX.
    for newline in memchr_iter(b'\n', bytes) {
        let has_return = newline > start && bytes[newline - 1] == b'\r';
        lines.push((start as u32, newline as u32 - u32::from(has_return)));
        start = newline + 1;
    }
    if start < bytes.len() {
        lines.push((start as u32, bytes.len() as u32));
    }
    lines
}
