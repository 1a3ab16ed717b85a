//! Files that jobs read: whatever they hold, wherever they are cut.

pub mod compressed;
pub mod csv;
pub mod lines;
pub mod parquet;

use std::{fs::File, io::Write, os::fd::AsRawFd, time::UNIX_EPOCH};

use mapreduce_core::{Compression, FileFormat, FileRange, InputFile};
use mapreduce_formats::{FormatError, RecordWriter, read, split};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::check_error;

/// What a test gets of a file.
type Records = Result<Vec<Vec<u8>>, FormatError>;

/// A file in memory. It is there as long as this is.
struct MemoryFile(File);

impl MemoryFile {
    fn new(bytes: &[u8]) -> MemoryFile {
        let mut file = File::from(memfd_create(c"input", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(bytes).unwrap();
        MemoryFile(file)
    }

    fn input(&self, compression: Compression) -> InputFile {
        let metadata = self.0.metadata().unwrap();
        InputFile {
            url: format!("file:///proc/self/fd/{}", self.0.as_raw_fd()),
            length: metadata.len(),
            modified_ms: metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64,
            e_tag: None,
            compression,
        }
    }
}

/// All records of these ranges.
fn read_ranges(format: &FileFormat, file: &InputFile, ranges: &[FileRange], max: u32) -> Records {
    let mut reader = read(format, std::slice::from_ref(file), ranges, max)?;
    let mut records = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        assert!(!batch.is_empty());
        assert_eq!(batch.position(batch.len() - 1).url, *batch.url());
        records.extend(batch.iter().map(<[u8]>::to_vec));
    }
    assert!(records.iter().all(|record| record.len() <= max as usize || may_grow(format)));
    Ok(records)
}

/// What is not UTF-8 is one byte, and becomes three.
fn may_grow(format: &FileFormat) -> bool {
    matches!(format, FileFormat::Text { invalid: mapreduce_core::InvalidText::Replace })
}

/// All records of the file, cut at `split_bytes`.
fn read_cut(format: &FileFormat, file: &InputFile, split_bytes: u64, max: u32) -> Records {
    let mut records = Vec::new();
    for ranges in split(std::slice::from_ref(file), format, split_bytes) {
        records.extend(read_ranges(format, file, &ranges, max)?);
    }
    Ok(records)
}

/// Wherever the file is cut, its records are the same, or there is an error.
fn check_cuts(format: &FileFormat, file: &InputFile, split_bytes: u64, max: u32) {
    let whole = read_cut(format, file, u64::MAX, max);
    let cut = read_cut(format, file, split_bytes, max);
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => assert!(whole == cut, "a file that is cut has other records"),
        (Err(error), Err(other)) => {
            check_error(error);
            check_error(other);
        }
        (Ok(_), Err(error)) => panic!("only if the file is cut: {error}"),
        (Err(error), Ok(_)) => panic!("unless the file is cut: {error}"),
    }
}

/// A range that nobody has cut: sixteen bytes are as good as any. The rest is the file.
fn check_any_range(format: &FileFormat, bytes: &[u8], max: u32) {
    let Some((range, bytes)) = bytes.split_first_chunk::<16>() else { return };
    let numbers = u128::from_le_bytes(*range);
    let file = MemoryFile::new(bytes);
    let range = FileRange { file: 0, offset: numbers as u64, length: (numbers >> 64) as u64 };
    let found = read_ranges(format, &file.input(Compression::None), &[range], max);
    let _ = found.map_err(|error| check_error(&error));
}

/// `records`, written as a file is.
fn written(format: &FileFormat, compression: Compression, records: &[&[u8]]) -> Vec<u8> {
    let mut writer = RecordWriter::new("file:///out", format, compression, Vec::new()).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish().unwrap()
}
