//! Files to test with.

#![allow(clippy::unwrap_used, dead_code, reason = "a test")]

use std::{fs, path::Path, time::UNIX_EPOCH};

use mapreduce_core::{Compression, FileFormat, InputFile, InvalidText};
use mapreduce_formats::{Batch, CsvRow, FormatError, RecordWriter, encode_csv_row, read, split};
use tempfile::TempDir;

pub const TEXT: FileFormat = FileFormat::Text { invalid: InvalidText::Error };
pub const CSV: FileFormat = FileFormat::Csv { delimiter: b',', header: false, multiline: false };
pub const CSV_HEADER: FileFormat = FileFormat::Csv { delimiter: b',', header: true, multiline: false };
pub const MULTILINE: FileFormat = FileFormat::Csv { delimiter: b',', header: false, multiline: true };
pub const MULTILINE_HEADER: FileFormat = FileFormat::Csv { delimiter: b',', header: true, multiline: true };
pub const MAX: u32 = 1 << 30;
pub const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Lz4];

/// A directory for files, each with a name of its own.
pub struct Files {
    pub dir: TempDir,
    count: usize,
}

impl Files {
    pub fn new() -> Self {
        Files { dir: tempfile::tempdir().unwrap(), count: 0 }
    }

    /// A file with this content.
    pub fn add(&mut self, content: impl AsRef<[u8]>, compression: Compression) -> InputFile {
        self.count += 1;
        let path = self.dir.path().join(format!("file-{}", self.count));
        fs::write(&path, content).unwrap();
        input(&path, compression)
    }

    pub fn plain(&mut self, content: impl AsRef<[u8]>) -> InputFile {
        self.add(content, Compression::None)
    }
}

/// The file at `path`, as it is now.
pub fn input(path: &Path, compression: Compression) -> InputFile {
    let metadata = fs::metadata(path).unwrap();
    InputFile {
        url: format!("file://{}", path.display()),
        length: metadata.len(),
        modified_ms: metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64,
        e_tag: None,
        compression,
    }
}

/// `records`, written as a file is.
pub fn written<R: AsRef<[u8]>>(format: &FileFormat, compression: Compression, records: &[R]) -> Vec<u8> {
    let mut writer = RecordWriter::new("file:///out", format, compression, Vec::new()).unwrap();
    for record in records {
        writer.write(record.as_ref()).unwrap();
    }
    assert_eq!(writer.records(), records.len() as u64);
    writer.finish().unwrap()
}

/// All batches of `files`, cut at `split_bytes`.
pub fn batches(
    format: &FileFormat,
    files: &[InputFile],
    split_bytes: u64,
    max: u32,
) -> Result<Vec<Batch>, FormatError> {
    let mut found = Vec::new();
    for ranges in split(files, format, split_bytes) {
        let mut reader = read(format, files, &ranges, max)?;
        while let Some(batch) = reader.next_batch()? {
            assert!(!batch.is_empty());
            found.push(batch);
        }
    }
    Ok(found)
}

/// All records of `files`, cut at `split_bytes`.
pub fn records(
    format: &FileFormat,
    files: &[InputFile],
    split_bytes: u64,
) -> Result<Vec<Vec<u8>>, FormatError> {
    let batches = batches(format, files, split_bytes, MAX)?;
    Ok(batches.iter().flat_map(|batch| batch.iter().map(<[u8]>::to_vec)).collect())
}

/// What reading says that it should refuse.
pub fn refusal(format: &FileFormat, file: &InputFile) -> FormatError {
    records(format, std::slice::from_ref(file), u64::MAX).unwrap_err()
}

pub fn row(fields: &[&str]) -> Vec<u8> {
    let mut record = Vec::new();
    encode_csv_row(fields.iter().copied(), &mut record);
    record
}

pub fn fields(record: &[u8]) -> Vec<&str> {
    CsvRow::decode(record).unwrap().fields().collect()
}
