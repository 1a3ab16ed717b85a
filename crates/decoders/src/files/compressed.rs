//! Compressed files.

use mapreduce_core::{Compression, FileFormat, InvalidText};

use super::{MemoryFile, read_cut, written};
use crate::check_error;

/// No record may be longer; what unpacks to more is an error or several.
const MAX: u32 = 1 << 20;

fn compression(choice: u8) -> Compression {
    match choice % 4 {
        0 => Compression::Gzip,
        1 => Compression::Zstd,
        2 => Compression::Bzip2,
        _ => Compression::Lz4,
    }
}

fn format(choice: u8) -> FileFormat {
    match choice / 4 % 4 {
        0 => FileFormat::Text { invalid: InvalidText::Bytes },
        1 => FileFormat::WholeFiles,
        2 => FileFormat::Csv { delimiter: b',', header: false, multiline: true },
        _ => FileFormat::FixedLength { record_bytes: 5 },
    }
}

/// Compression and format; and the file.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let file = MemoryFile::new(bytes);
    let found = read_cut(&format(choice), &file.input(compression(choice)), u64::MAX, MAX);
    let _ = found.map_err(|error| check_error(&error));
}

/// Each compression with each format.
pub fn seeds() -> Vec<Vec<u8>> {
    let line: &[u8] = b"to be or not to be, that is the question";
    let records = [line; 3];
    let made = |choice: u8| {
        let lines = FileFormat::Text { invalid: InvalidText::Bytes };
        let file = written(&lines, compression(choice), &records);
        [&[choice][..], &file].concat()
    };
    let twice = |choice: u8| {
        let file = made(choice);
        [&file[..], &file[1..]].concat()
    };
    (0..16).map(made).chain((0..4).map(twice)).collect()
}
