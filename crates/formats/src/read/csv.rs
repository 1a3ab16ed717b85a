//! CSV, row by row, each put into the form of [`CsvRow`](crate::CsvRow).
//!
//! The parser reads what others write: it forgives quotes in odd places. Not forgiven is what would give wrong
//! rows silently: rows with more or fewer fields than the first, and a quote that is never closed, which would
//! swallow the rest of the file.

use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use mapreduce_core::InputFile;

use super::{BATCH_BYTES, input::Input};
use crate::{Batch, FormatError, Position, batch::Places, row::push_row};

/// Reads the rows of one file.
pub(super) struct CsvReader {
    input: Input,
    parser: Reader,
    /// What has been read, of which `at` bytes have been parsed.
    buffer: Vec<u8>,
    at: usize,
    /// Where in the file `at` is.
    position: u64,
    at_end: bool,
    /// The last row: its text, and where each field ends in it. Both as long as they ever had to be.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many fields the first row has.
    width: Option<usize>,
    header: bool,
    columns: Option<Arc<[String]>>,
    max: u32,
}

/// A row that is in `text` and `ends`, up to these lengths.
struct Row {
    place: Place,
    text: usize,
    fields: usize,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    line: u64,
}

impl CsvReader {
    pub(super) fn open(file: &InputFile, delimiter: u8, header: bool, max: u32) -> Result<Self, FormatError> {
        if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\r' | b'\n') {
            let why = format!("{:?} can't be between fields", char::from(delimiter));
            return Err(FormatError::unsuitable(&file.url, why));
        }
        Ok(CsvReader {
            input: Input::open(file, 0)?,
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            buffer: Vec::new(),
            at: 0,
            position: 0,
            at_end: false,
            text: vec![0; 4096],
            ends: vec![0; 64],
            width: None,
            header,
            columns: None,
            max,
        })
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        let (mut bytes, mut records, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        while bytes.len() < BATCH_BYTES {
            let Some(row) = self.next_row()? else { break };
            let (ends, text) = (&self.ends[..row.fields], &self.text[..row.text]);
            if self.header && self.columns.is_none() {
                self.columns = Some(fields(ends, text).collect());
                continue;
            }
            let start = bytes.len() as u32;
            push_row(ends, text, &mut bytes);
            records.push((start, bytes.len() as u32));
            offsets.push(row.place.offset);
        }
        if records.is_empty() {
            self.input.finish()?;
            return Ok(None);
        }
        let mut batch = Batch::new(self.input.url().clone(), bytes, records, Places::Each(offsets));
        batch.columns = self.columns.clone();
        Ok(Some(batch))
    }

    /// Parses the next row and checks it.
    fn next_row(&mut self) -> Result<Option<Row>, FormatError> {
        let Some(row) = self.parse_row()? else { return Ok(None) };
        let width = *self.width.get_or_insert(row.fields);
        if row.fields != width {
            let why = format!("the row has {} fields, and the first of the file has {width}", row.fields);
            return Err(self.malformed(row.place, why));
        }
        let (ends, text) = (&self.ends[..row.fields], &self.text[..row.text]);
        // One by one, since two halves of a character in two fields are not UTF-8.
        if !text.is_ascii() && !spans(ends).all(|(start, end)| std::str::from_utf8(&text[start..end]).is_ok())
        {
            return Err(self.malformed(row.place, "the row is not UTF-8; convert the file".to_owned()));
        }
        Ok(Some(row))
    }

    fn parse_row(&mut self) -> Result<Option<Row>, FormatError> {
        let (mut place, mut text, mut fields) = (None, 0, 0);
        let mut closed = false;
        loop {
            if self.at == self.buffer.len() {
                match (self.at_end, place) {
                    (false, _) => self.fill()?,
                    (true, None) => return Ok(None),
                    (true, Some(place)) if closed => {
                        return Err(self.malformed(place, "a quote is never closed".to_owned()));
                    }
                    // The last row has no end. Given one, the parser tells whether it is within quotes.
                    (true, Some(_)) => {
                        (self.buffer, self.at, closed) = (b"\n".to_vec(), 0, true);
                    }
                }
                continue;
            }
            place = place.or_else(|| self.place());
            let input = &self.buffer[self.at..];
            let (result, read, wrote, ended) =
                self.parser.read_record(input, &mut self.text[text..], &mut self.ends[fields..]);
            self.at += read;
            self.position += read as u64;
            text += wrote;
            fields += ended;
            match (result, place) {
                (ReadRecordResult::Record, Some(place)) => return Ok(Some(Row { place, text, fields })),
                (ReadRecordResult::OutputFull, Some(place)) => self.grow_text(place)?,
                (ReadRecordResult::OutputEndsFull, Some(place)) => self.grow_ends(place)?,
                _ => {}
            }
        }
    }

    /// Where the row begins that is next in the buffer; `None` if there are but empty lines, which are none.
    fn place(&self) -> Option<Place> {
        let input = &self.buffer[self.at..];
        let blank = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let lines = input[..blank].iter().filter(|byte| **byte == b'\n').count() as u64;
        Some(Place { offset: self.position + blank as u64, line: self.parser.line() + lines })
    }

    fn fill(&mut self) -> Result<(), FormatError> {
        self.buffer.clear();
        self.at = 0;
        self.at_end = self.input.fill(&mut self.buffer, BATCH_BYTES)? < BATCH_BYTES;
        Ok(())
    }

    fn grow_text(&mut self, place: Place) -> Result<(), FormatError> {
        let max = self.max as usize;
        if self.text.len() >= max {
            return Err(self.too_long(place));
        }
        self.text.resize((2 * self.text.len()).min(max), 0);
        Ok(())
    }

    /// Empty fields make no text, yet each takes 4 bytes of a record.
    fn grow_ends(&mut self, place: Place) -> Result<(), FormatError> {
        if 4 * self.ends.len() >= self.max as usize {
            return Err(self.too_long(place));
        }
        self.ends.resize(2 * self.ends.len(), 0);
        Ok(())
    }

    fn too_long(&self, place: Place) -> FormatError {
        FormatError::TooLong { position: self.input.position(place.offset), max: self.max }
    }

    fn malformed(&self, place: Place, why: String) -> FormatError {
        let position: Position = self.input.position(place.offset);
        FormatError::Malformed { position, line: Some(place.line), why }
    }
}

/// Start and end of every field.
fn spans(ends: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    std::iter::once(0).chain(ends.iter().copied()).zip(ends.iter().copied())
}

fn fields(ends: &[usize], text: &[u8]) -> impl Iterator<Item = String> {
    spans(ends).map(|(start, end)| String::from_utf8_lossy(&text[start..end]).into_owned())
}
