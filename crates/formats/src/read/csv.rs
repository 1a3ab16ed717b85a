//! CSV, row by row, each put into the form of [`CsvRow`](crate::CsvRow).
//!
//! The parser reads what others write: it forgives quotes in odd places. Not forgiven is what would give wrong
//! rows silently: rows with more or fewer fields than the first, and a quote that is never closed, which would
//! swallow the rest of the file.
//!
//! Unless fields may hold line ends, a range holds the rows of the lines that begin in it. A field that holds one
//! all the same is noticed wherever the file is cut: all lines before it are whole rows, so whoever reads the one
//! where it begins reads it from a row's beginning, and finds that it ends within quotes.

use std::{mem, sync::Arc};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use mapreduce_core::{FileRange, InputFile};
use memchr::{memchr, memchr_iter};

use super::{
    BATCH_BYTES,
    input::Input,
    lines::{BYTE_ORDER_MARK, LineReader},
};
use crate::{Batch, FormatError, Position, batch::Places, row::push_row};

/// Reads the rows of one range.
pub(super) struct CsvReader {
    source: Source,
    parser: Reader,
    /// What has been read, of which `at` bytes have been parsed.
    buffer: Vec<u8>,
    at: usize,
    /// Where the line that `at` was in when this was needed last ends in the buffer.
    line_end: usize,
    /// Where in the file `at` is.
    position: u64,
    at_end: bool,
    /// The last row: its text, and where each field ends in it. Both as long as they ever had to be.
    text: Vec<u8>,
    ends: Vec<usize>,
    header: bool,
    first: Option<FirstRow>,
    /// Whether the range begins where the file does, so that lines can be counted.
    from_start: bool,
    max: u32,
}

enum Source {
    /// All of the file, in pieces cut anywhere: a row may take several lines.
    Pieces(Input),
    /// The lines of a range, in pieces that end where lines do: a row takes one at most.
    Lines(LineReader),
}

/// What the first row of the file says about the others.
struct FirstRow {
    offset: u64,
    /// How many fields each has.
    width: usize,
    /// Their names, if it is a header.
    columns: Option<Arc<[String]>>,
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
    pub(super) fn open(
        file: &InputFile,
        range: FileRange,
        delimiter: u8,
        header: bool,
        multiline: bool,
        max: u32,
    ) -> Result<Self, FormatError> {
        if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\r' | b'\n') {
            let why = format!("{:?} can't be between fields", char::from(delimiter));
            return Err(FormatError::unsuitable(&file.url, why));
        }
        let mut parser = ReaderBuilder::new().delimiter(delimiter).build();
        // From here on it takes nothing for a byte order mark: it does not know what is at the file's beginning.
        parser.read_record(b"\n", &mut [0], &mut [0]);
        parser.set_line(1);
        let from_start = range.offset == 0;
        let whole = FileRange { offset: 0, length: file.length, ..range };
        let mut reader = CsvReader {
            source: match multiline {
                true => Source::Pieces(Input::open(file, 0, file.length)?),
                false => Source::Lines(LineReader::open(file, if from_start { range } else { whole }, max)?),
            },
            parser,
            buffer: Vec::new(),
            at: 0,
            line_end: 0,
            position: 0,
            at_end: false,
            text: vec![0; 4096],
            ends: vec![0; 64],
            header,
            first: None,
            from_start,
            max,
        };
        if !from_start {
            reader.next_row()?;
            reader.source = Source::Lines(LineReader::open(file, range, max)?);
            (reader.buffer, reader.at, reader.line_end, reader.at_end) = (Vec::new(), 0, 0, false);
        }
        Ok(reader)
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        let (mut bytes, mut records, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        while bytes.len() < BATCH_BYTES {
            let Some(row) = self.next_row()? else { break };
            if self.header && self.first.as_ref().is_some_and(|first| first.offset == row.place.offset) {
                continue;
            }
            let start = bytes.len() as u32;
            push_row(&self.ends[..row.fields], &self.text[..row.text], &mut bytes);
            records.push((start, bytes.len() as u32));
            offsets.push(row.place.offset);
        }
        if records.is_empty() {
            match &self.source {
                Source::Pieces(input) => input.finish()?,
                Source::Lines(lines) => lines.finish()?,
            }
            return Ok(None);
        }
        let mut batch = Batch::new(self.url().clone(), bytes, records, Places::Each(offsets));
        batch.columns = self.first.as_ref().and_then(|first| first.columns.clone());
        Ok(Some(batch))
    }

    /// Parses the next row and checks it.
    fn next_row(&mut self) -> Result<Option<Row>, FormatError> {
        let Some(row) = self.parse_row()? else { return Ok(None) };
        if let Some(FirstRow { width, .. }) = self.first
            && row.fields != width
        {
            let mut why = format!("the row has {} fields, and the first of the file has {width}", row.fields);
            if !self.from_start {
                why.push_str("; if fields hold line ends, read the file with multiline=True");
            }
            return Err(self.malformed(row.place, why));
        }
        let (ends, text) = (&self.ends[..row.fields], &self.text[..row.text]);
        // One by one, since two halves of a character in two fields are not UTF-8.
        if !text.is_ascii() && !spans(ends).all(|(start, end)| std::str::from_utf8(&text[start..end]).is_ok())
        {
            return Err(self.malformed(row.place, "the row is not UTF-8; convert the file".to_owned()));
        }
        if self.first.is_none() {
            let columns = self.header.then(|| fields(ends, text).collect());
            self.first = Some(FirstRow { offset: row.place.offset, width: row.fields, columns });
        }
        Ok(Some(row))
    }

    fn parse_row(&mut self) -> Result<Option<Row>, FormatError> {
        let Some(place) = self.find_row()? else { return Ok(None) };
        let (mut text, mut fields) = (0, 0);
        let mut closed = false;
        loop {
            if self.at == self.buffer.len() {
                if !self.at_end {
                    self.fill()?;
                } else if closed {
                    return Err(self.malformed(place, "a quote is never closed".to_owned()));
                } else {
                    // The last row has no end. Given one, the parser tells whether it is within quotes.
                    (self.buffer, self.at, self.line_end, closed) = (b"\n".to_vec(), 0, 0, true);
                }
                continue;
            }
            self.find_line_end();
            let input = &self.buffer[self.at..self.line_end];
            let ends_line = matches!(self.source, Source::Lines(_)) && input.ends_with(b"\n");
            let (result, read, wrote, ended) =
                self.parser.read_record(input, &mut self.text[text..], &mut self.ends[fields..]);
            self.at += read;
            self.position += read as u64;
            text += wrote;
            fields += ended;
            match result {
                ReadRecordResult::Record if record_bytes(fields, text) > self.max as usize => {
                    return Err(self.too_long(place));
                }
                ReadRecordResult::Record => return Ok(Some(Row { place, text, fields })),
                ReadRecordResult::OutputFull => self.grow_text(place)?,
                ReadRecordResult::OutputEndsFull => self.grow_ends(place)?,
                ReadRecordResult::InputEmpty if ends_line => {
                    let why = "the line ends inside a quoted field: close it, or, if fields hold line ends, read \
                               the file with multiline=True";
                    return Err(self.malformed(place, why.to_owned()));
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
            }
        }
    }

    /// Searches once a line, which may hold many rows: between them may be `\r` alone.
    fn find_line_end(&mut self) {
        if self.at >= self.line_end {
            let end = match self.source {
                Source::Pieces(_) => None,
                Source::Lines(_) => memchr(b'\n', &self.buffer[self.at..]),
            };
            self.line_end = end.map_or(self.buffer.len(), |end| self.at + end + 1);
        }
    }

    /// Goes to where the next row begins; `None` if there is none. Empty lines are none.
    fn find_row(&mut self) -> Result<Option<Place>, FormatError> {
        loop {
            let rest = &self.buffer[self.at..];
            let has_mark = self.position == 0 && rest.starts_with(BYTE_ORDER_MARK);
            let mark = if has_mark { BYTE_ORDER_MARK.len() } else { 0 };
            let row = rest[mark..].iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            let skipped = row.map_or(rest.len(), |row| mark + row);
            let lines = memchr_iter(b'\n', &rest[..skipped]).count() as u64;
            self.parser.set_line(self.parser.line() + lines);
            self.at += skipped;
            self.position += skipped as u64;
            if row.is_some() {
                return Ok(Some(Place { offset: self.position, line: self.parser.line() }));
            }
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), FormatError> {
        (self.at, self.line_end) = (0, 0);
        match &mut self.source {
            Source::Pieces(input) => {
                self.buffer.clear();
                self.at_end = input.fill(&mut self.buffer, BATCH_BYTES)? < BATCH_BYTES;
            }
            Source::Lines(lines) => match lines.next_stretch(mem::take(&mut self.buffer)) {
                Ok(Some((offset, lines))) => (self.position, self.buffer) = (offset, lines),
                Ok(None) => self.at_end = true,
                Err(FormatError::TooLong { position, max }) if lines.holds_return() => {
                    let why = format!(
                        "a line is longer than {max} bytes: if rows end with \\r alone, read the file with \
                         multiline=True; else raise the limit, or check the format"
                    );
                    return Err(FormatError::Malformed { position, line: None, why });
                }
                Err(error) => return Err(error),
            },
        }
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

    /// Empty fields make no text, yet each takes a part of a record.
    fn grow_ends(&mut self, place: Place) -> Result<(), FormatError> {
        if record_bytes(self.ends.len(), 0) >= self.max as usize {
            return Err(self.too_long(place));
        }
        // At least one more, which would be the first too many.
        self.ends.resize((2 * self.ends.len()).min(self.max as usize / 4 + 1), 0);
        Ok(())
    }

    fn too_long(&self, place: Place) -> FormatError {
        FormatError::TooLong { position: self.position(place), max: self.max }
    }

    fn malformed(&self, place: Place, why: String) -> FormatError {
        let line = self.from_start.then_some(place.line);
        FormatError::Malformed { position: self.position(place), line, why }
    }

    fn position(&self, place: Place) -> Position {
        Position { url: self.url().clone(), offset: place.offset }
    }

    fn url(&self) -> &Arc<str> {
        match &self.source {
            Source::Pieces(input) => input.url(),
            Source::Lines(lines) => lines.url(),
        }
    }
}

/// How long the record of a row is.
fn record_bytes(fields: usize, text: usize) -> usize {
    4 + 4 * fields + text
}

/// Start and end of every field.
fn spans(ends: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    std::iter::once(0).chain(ends.iter().copied()).zip(ends.iter().copied())
}

fn fields(ends: &[usize], text: &[u8]) -> impl Iterator<Item = String> {
    spans(ends).map(|(start, end)| String::from_utf8_lossy(&text[start..end]).into_owned())
}
