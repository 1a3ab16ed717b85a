//! Reading the records of a split. Blocking; made for one thread that does nothing else.
//!
//! A range holds the records that *begin* in it, so whoever cut the file need not have looked into it. The
//! reader of a range that begins inside a file looks one byte back and skips what it finds up to the first
//! line's end, since whoever reads the range before reads that; and it reads beyond the end of its range to
//! finish its last record. Every record is thus read by exactly one, wherever the cuts are.
//!
//! Memory does not depend on the length of a range: a batch is about [`BATCH_BYTES`], and the buffer grows only
//! for a record that is longer.
//!
//! A file is compared with what it was at submission when it is opened and again at the end of the range, a store's at
//! every read. So one that is written meanwhile fails the attempt instead of giving a mixture.

mod csv;
mod decode;
mod file;
mod fixed;
mod input;
mod json;
mod lines;
mod parquet;
mod text;
mod whole;

use std::vec;

use mapreduce_core::{Compression, FileFormat, FileRange, InputFile, InvalidText};

use self::{
    csv::CsvReader, fixed::FixedReader, lines::LineReader, parquet::ParquetReader, whole::WholeReader,
};
use crate::{Batch, FormatError};

/// About how much a batch holds: small enough that it is still in the processor's cache when it is used (twice as
/// much was measured to be slower by a tenth), large enough that what is done once for each batch doesn't show.
pub const BATCH_BYTES: usize = 512 << 10;

/// The longest record that any limit allows: 1 GiB. Places within a batch are 32 bits wide.
pub const RECORD_BYTES_MAX: u32 = 1 << 30;

/// A reader of the records of `ranges`, which are ranges of `files`. No record may be longer than
/// `record_bytes_max` bytes, nor than [`RECORD_BYTES_MAX`].
///
/// | format | a record |
/// |---|---|
/// | text | the line without its end, `\n` or `\r\n`; UTF-8 unless bytes are asked for |
/// | JSON Lines | the line, which is one JSON value |
/// | CSV | the row, to be read by [`CsvRow`](crate::CsvRow) |
/// | Parquet | many rows, as an Arrow IPC stream of one batch |
/// | whole files | the file's content |
/// | fixed length | so many bytes |
///
/// Files are read as what their compression unpacks to. A byte order mark at the beginning of text is dropped.
pub fn read(
    format: &FileFormat,
    files: &[InputFile],
    ranges: &[FileRange],
    record_bytes_max: u32,
) -> Result<SplitReader, FormatError> {
    let mut inputs = Vec::with_capacity(ranges.len());
    for range in ranges {
        let unknown = || FormatError::unsuitable("", format!("there is no file {} in the input", range.file));
        let file = usize::try_from(range.file).ok().and_then(|index| files.get(index)).ok_or_else(unknown)?;
        let whole = range.offset == 0 && range.length == file.length;
        let cuttable = file.compression == Compression::None && *format != FileFormat::WholeFiles;
        if !whole && (!cuttable || matches!(format, FileFormat::Csv { multiline: true, .. })) {
            return Err(FormatError::unsuitable(&file.url, "it can only be read as a whole"));
        }
        inputs.push((file.clone(), *range));
    }
    let record_bytes_max = record_bytes_max.min(RECORD_BYTES_MAX);
    Ok(SplitReader { format: *format, record_bytes_max, ranges: inputs.into_iter(), current: None })
}

/// Reads the records of a split, batch by batch.
pub struct SplitReader {
    format: FileFormat,
    record_bytes_max: u32,
    ranges: vec::IntoIter<(InputFile, FileRange)>,
    current: Option<RangeReader>,
}

impl SplitReader {
    /// The next records, all of one file; `None` if there are no more. After an error the split can't be read
    /// on: what further calls give is not said.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        loop {
            let mut reader = match self.current.take() {
                Some(reader) => reader,
                None => match self.ranges.next() {
                    Some((file, range)) => {
                        RangeReader::open(&self.format, &file, range, self.record_bytes_max)?
                    }
                    None => return Ok(None),
                },
            };
            if let Some(batch) = reader.next_batch()? {
                self.current = Some(reader);
                return Ok(Some(batch));
            }
        }
    }
}

/// A reader of one range. Each ends by comparing the file with what it was.
enum RangeReader {
    Text(LineReader, InvalidText),
    JsonLines(LineReader),
    Csv(Box<CsvReader>),
    Parquet(Box<ParquetReader>),
    Whole(WholeReader),
    Fixed(FixedReader),
}

impl RangeReader {
    fn open(format: &FileFormat, file: &InputFile, range: FileRange, max: u32) -> Result<Self, FormatError> {
        Ok(match *format {
            FileFormat::Text { invalid } => RangeReader::Text(LineReader::open(file, range, max)?, invalid),
            FileFormat::JsonLines => RangeReader::JsonLines(LineReader::open(file, range, max)?),
            FileFormat::Csv { delimiter, header, multiline } => {
                let reader = CsvReader::open(file, range, delimiter, header, multiline, max)?;
                RangeReader::Csv(Box::new(reader))
            }
            FileFormat::Parquet => RangeReader::Parquet(Box::new(ParquetReader::open(file, range, max)?)),
            FileFormat::WholeFiles => RangeReader::Whole(WholeReader::open(file, max)?),
            FileFormat::FixedLength { record_bytes } => {
                RangeReader::Fixed(FixedReader::open(file, range, record_bytes, max)?)
            }
        })
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        match self {
            RangeReader::Text(reader, invalid) => text::next_batch(reader, *invalid),
            RangeReader::JsonLines(reader) => json::next_batch(reader),
            RangeReader::Csv(reader) => reader.next_batch(),
            RangeReader::Parquet(reader) => reader.next_batch(),
            RangeReader::Whole(reader) => reader.next_batch(),
            RangeReader::Fixed(reader) => reader.next_batch(),
        }
    }
}
