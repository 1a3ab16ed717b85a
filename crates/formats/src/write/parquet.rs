//! Parquet from Arrow IPC streams.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::SchemaRef;
use mapreduce_core::Compression;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression as Codec, GzipLevel, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

/// About how much a row group may hold before it is written. The writer keeps it in memory till then.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Writes rows. The file is begun by the first, which tells the schema.
pub(super) struct ParquetWriter<W: Write + Send> {
    properties: WriterProperties,
    state: State<W>,
}

enum State<W: Write + Send> {
    Empty(W),
    Begun {
        writer: Box<ArrowWriter<W>>,
        schema: SchemaRef,
    },
    /// Beginning the file failed, and took `W` along.
    Failed,
}

/// Why a record was not written.
pub(super) enum Refusal {
    Io(io::Error),
    Record(String),
}

impl From<ParquetError> for Refusal {
    fn from(error: ParquetError) -> Self {
        Refusal::Io(io_error(error))
    }
}

fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Fails, with the reason, for a compression that Parquet does not know.
    pub(super) fn new(compression: Compression, out: W) -> Result<Self, String> {
        let codec = match compression {
            Compression::None => Codec::UNCOMPRESSED,
            Compression::Gzip => Codec::GZIP(GzipLevel::default()),
            Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
            Compression::Lz4 => Codec::LZ4_RAW,
            Compression::Bzip2 => {
                return Err("Parquet has no bzip2: choose gzip, zstd, lz4 or none".to_owned());
            }
        };
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        Ok(ParquetWriter { properties, state: State::Empty(out) })
    }

    pub(super) fn write(&mut self, record: &[u8]) -> Result<(), Refusal> {
        let no_rows = |error: arrow_schema::ArrowError| Refusal::Record(format!("it is no rows: {error}"));
        let stream = StreamReader::try_new(record, None).map_err(no_rows)?;
        let stream_schema = stream.schema();
        // All or none of the record.
        let batches = stream.collect::<Result<Vec<RecordBatch>, _>>().map_err(no_rows)?;
        if let State::Empty(_) = self.state {
            self.begin(stream_schema.clone())?;
        }
        let State::Begun { writer, schema } = &mut self.state else {
            return Err(Refusal::Io(io::Error::other("the file could not be begun")));
        };
        if *schema != stream_schema {
            return Err(Refusal::Record(format!(
                "its columns are {stream_schema}, and those of the first are {schema}"
            )));
        }
        for rows in &batches {
            writer.write(rows)?;
        }
        Ok(())
    }

    fn begin(&mut self, schema: SchemaRef) -> Result<(), Refusal> {
        if let State::Empty(out) = std::mem::replace(&mut self.state, State::Failed) {
            let writer = ArrowWriter::try_new(out, schema.clone(), Some(self.properties.clone()))?;
            self.state = State::Begun { writer: Box::new(writer), schema };
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<W> {
        let mut out = match self.state {
            State::Empty(out) => out,
            State::Begun { writer, .. } => writer.into_inner().map_err(io_error)?,
            State::Failed => return Err(io::Error::other("the file could not be begun")),
        };
        out.flush()?;
        Ok(out)
    }
}
