//! Parquet.

use mapreduce_core::{Compression, FileFormat, FileRange};
use mapreduce_formats::{encode_csv_row, read};

use super::{MemoryFile, check_any_range, read_cut, written};
use crate::check_error;

/// The file begins with a range to be read of it.
const ANY_RANGE: u8 = 0x80;
const MAX: u32 = 1 << 20;

/// Size of splits; and the file.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    if choice & ANY_RANGE != 0 {
        check_any_range(&FileFormat::Parquet, bytes, MAX);
        return;
    }
    let file = MemoryFile::new(bytes);
    let split_bytes = if choice == 0 { u64::MAX } else { u64::from(choice) };
    let found = read_cut(&FileFormat::Parquet, &file.input(Compression::None), split_bytes, MAX);
    let _ = found.map_err(|error| check_error(&error));
}

/// A table of two columns, made of a file of CSV.
pub fn seeds() -> Vec<Vec<u8>> {
    let csv = FileFormat::Csv { delimiter: b',', header: true, multiline: false };
    let rows: Vec<Vec<u8>> = (0..10)
        .map(|n| {
            let mut record = Vec::new();
            encode_csv_row(["name", &"x".repeat(n)], &mut record);
            record
        })
        .collect();
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let memory = MemoryFile::new(&written(&csv, Compression::None, &rows));
    let input = memory.input(Compression::None);
    let range = FileRange { file: 0, offset: 0, length: input.length };
    let batch = read(&csv, &[input], &[range], MAX).unwrap().next_batch().unwrap().unwrap();
    let table = batch.csv_table(0..batch.len()).unwrap();
    let made = |compression| written(&FileFormat::Parquet, compression, &[table.as_slice()]);
    let mut any = vec![ANY_RANGE, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0];
    any.extend(made(Compression::None));
    vec![
        [vec![0], made(Compression::None)].concat(),
        [vec![50], made(Compression::Zstd)].concat(),
        [vec![0], made(Compression::Gzip)].concat(),
        any,
    ]
}
