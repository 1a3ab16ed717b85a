//! Writing records into a file: the inverse of reading.

mod compress;
mod parquet;

use std::io::{self, BufWriter, Write};

use mapreduce_core::{Compression, FileFormat};

use self::{compress::Compressor, parquet::ParquetWriter};
use crate::{CsvRow, FormatError};

/// How much is collected before it is compressed and written.
const BUFFER_BYTES: usize = 256 << 10;

/// The usual end of the name of a file of this format, such as `.jsonl.gz`. Parquet compresses inside.
pub fn file_ending(format: &FileFormat, compression: Compression) -> String {
    let format_ending = match format {
        FileFormat::Text { .. } => ".txt",
        FileFormat::JsonLines => ".jsonl",
        FileFormat::Csv { delimiter: b'\t', .. } => ".tsv",
        FileFormat::Csv { .. } => ".csv",
        FileFormat::Parquet => return ".parquet".to_owned(),
        FileFormat::WholeFiles | FileFormat::FixedLength { .. } => ".bin",
    };
    let compression_ending = match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
        Compression::Bzip2 => ".bz2",
        Compression::Lz4 => ".lz4",
    };
    format!("{format_ending}{compression_ending}")
}

/// Writes records into one file.
///
/// | format | a record to be given |
/// |---|---|
/// | text | a line without its end; one with line ends inside will be read as several |
/// | JSON Lines | a JSON value in one line |
/// | CSV | a row, from [`encode_csv_row`](crate::encode_csv_row); with a header, the first names the fields |
/// | Parquet | an Arrow IPC stream; all of one schema |
/// | whole files | the content, once |
/// | fixed length | so many bytes |
///
/// A Parquet file has a schema, which comes with the first record; without any, nothing is written at all.
pub struct RecordWriter<W: Write + Send> {
    url: String,
    format: FileFormat,
    records: u64,
    inner: Inner<W>,
}

enum Inner<W: Write + Send> {
    Bytes(Box<BufWriter<Compressor<W>>>),
    Csv(Box<csv::Writer<Compressor<W>>>),
    Parquet(Box<ParquetWriter<W>>),
}

impl<W: Write + Send> RecordWriter<W> {
    /// Writes into `out`, which is called `url` in errors.
    pub fn new(
        url: &str,
        format: &FileFormat,
        compression: Compression,
        out: W,
    ) -> Result<Self, FormatError> {
        let unwritable = |error| FormatError::unwritable(url, error);
        let compressor = |out| Compressor::new(compression, out).map_err(unwritable);
        let inner = match format {
            FileFormat::Parquet => {
                let writer = ParquetWriter::new(compression, out);
                Inner::Parquet(Box::new(writer.map_err(|why| FormatError::unsuitable(url, why))?))
            }
            FileFormat::Csv { delimiter, .. } => {
                let mut builder = csv::WriterBuilder::new();
                builder.delimiter(*delimiter).buffer_capacity(BUFFER_BYTES);
                Inner::Csv(Box::new(builder.from_writer(compressor(out)?)))
            }
            _ => Inner::Bytes(Box::new(BufWriter::with_capacity(BUFFER_BYTES, compressor(out)?))),
        };
        Ok(RecordWriter { url: url.to_owned(), format: *format, records: 0, inner })
    }

    /// Writes the next record.
    pub fn write(&mut self, record: &[u8]) -> Result<(), FormatError> {
        if let Some(why) = self.objection(record) {
            return Err(self.refused(why));
        }
        match &mut self.inner {
            Inner::Bytes(out) => {
                let line_end: &[u8] = match self.format {
                    FileFormat::Text { .. } | FileFormat::JsonLines => b"\n",
                    _ => b"",
                };
                let written = out.write_all(record).and_then(|()| out.write_all(line_end));
                written.map_err(|error| FormatError::unwritable(&self.url, error))?;
            }
            Inner::Csv(out) => match CsvRow::decode(record).filter(|row| !row.is_empty()) {
                Some(row) => match out.write_record(row.fields()).map_err(csv::Error::into_kind) {
                    Ok(()) => {}
                    Err(csv::ErrorKind::Io(error)) => return Err(FormatError::unwritable(&self.url, error)),
                    Err(csv::ErrorKind::UnequalLengths { expected_len, len, .. }) => {
                        let why = format!("it has {len} fields, and the first has {expected_len}");
                        return Err(self.refused(why));
                    }
                    Err(_) => return Err(self.refused("it is no row".to_owned())),
                },
                None => return Err(self.refused("it is no row of one or more fields".to_owned())),
            },
            Inner::Parquet(out) => match out.write(record) {
                Ok(()) => {}
                Err(parquet::Refusal::Io(error)) => return Err(FormatError::unwritable(&self.url, error)),
                Err(parquet::Refusal::Record(why)) => return Err(self.refused(why)),
            },
        }
        self.records += 1;
        Ok(())
    }

    /// How many records have been written, a header included.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Ends the file and gives back where it was written to. Without this the file is incomplete.
    pub fn finish(self) -> Result<W, FormatError> {
        let finished = match self.inner {
            Inner::Bytes(out) => {
                out.into_inner().map_err(io::IntoInnerError::into_error).and_then(Compressor::finish)
            }
            Inner::Csv(out) => out
                .into_inner()
                .map_err(|error| io::Error::new(error.error().kind(), error.to_string()))
                .and_then(Compressor::finish),
            Inner::Parquet(out) => out.finish(),
        };
        finished.map_err(|error| FormatError::unwritable(&self.url, error))
    }

    /// Why the record would not be read back.
    fn objection(&self, record: &[u8]) -> Option<String> {
        match self.format {
            FileFormat::JsonLines if memchr::memchr2(b'\n', b'\r', record).is_some() => {
                Some("JSON of several lines can't be a line: write it compactly".to_owned())
            }
            FileFormat::JsonLines if record.trim_ascii().is_empty() => Some("it is empty".to_owned()),
            FileFormat::FixedLength { record_bytes } if record.len() != record_bytes as usize => {
                Some(format!("it has {} bytes instead of {record_bytes}", record.len()))
            }
            FileFormat::WholeFiles if self.records > 0 => {
                Some("the file has its content already: one record is one file".to_owned())
            }
            _ => None,
        }
    }

    fn refused(&self, why: String) -> FormatError {
        FormatError::Record { url: self.url.clone(), record: self.records, why }
    }
}
