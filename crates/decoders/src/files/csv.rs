//! CSV.

use mapreduce_core::{Compression, FileFormat};
use mapreduce_formats::{CsvRow, encode_csv_row, read};

use super::{MemoryFile, check_any_range, check_cuts, read_cut, written};

/// The file begins with a range to be read of it.
const ANY_RANGE: u8 = 0x80;
const HEADER: u8 = 1;
const MULTILINE: u8 = 2;

fn format(choice: u8, delimiter: u8) -> FileFormat {
    FileFormat::Csv { delimiter, header: choice & HEADER != 0, multiline: choice & MULTILINE != 0 }
}

/// Whether there is a header and fields may hold line ends; delimiter, size of splits, longest record; and the file.
pub fn run(data: &[u8]) {
    let Some((&[choice, delimiter, split_bytes, max], bytes)) = data.split_first_chunk() else { return };
    let format = format(choice, delimiter);
    let max = if max == 0 { 1 << 16 } else { u32::from(max) };
    if choice & ANY_RANGE != 0 {
        check_any_range(&format, bytes, max);
        return;
    }
    let memory = MemoryFile::new(bytes);
    let file = memory.input(Compression::None);
    check_cuts(&format, &file, u64::from(split_bytes), max);
    let Ok(records) = read_cut(&format, &file, u64::MAX, max) else { return };
    assert!(records.iter().all(|record| CsvRow::decode(record).is_some()));
    let whole = mapreduce_core::FileRange { file: 0, offset: 0, length: file.length };
    if let Ok(mut reader) = read(&format, &[file], &[whole], max)
        && let Ok(Some(batch)) = reader.next_batch()
    {
        batch.csv_table(0..batch.len()).unwrap();
    }
}

/// Rows with quotes, with line ends in fields, and of empty fields.
pub fn seeds() -> Vec<Vec<u8>> {
    let row = |fields: &[&str]| {
        let mut record = Vec::new();
        encode_csv_row(fields.iter().copied(), &mut record);
        record
    };
    let rows = [row(&["a", "b"]), row(&["say \"x\"", ""]), row(&["1,5", "caf\u{e9}"])];
    let long = [row(&["a", "b"]), row(&["line\nend", "x\r\ny"])];
    let made = |choice: u8, delimiter: u8, rows: &[Vec<u8>]| {
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let file = written(&format(choice, delimiter), Compression::None, &rows);
        [&[choice, delimiter, 5, 0][..], &file].concat()
    };
    let mut range = [0; 16];
    (range[0], range[8]) = (5, 9);
    vec![
        made(0, b',', &rows),
        made(HEADER, b';', &rows),
        made(MULTILINE, b',', &long),
        made(MULTILINE | HEADER, b'\t', &long),
        [&[0, b',', 3, 20][..], b"\xef\xbb\xbfa,b\rc,d\r\n\r\n,\n"].concat(),
        [&[ANY_RANGE | HEADER, b',', 3, 0][..], &range, b"a,b\n1,2\n3,4\n5,6\n"].concat(),
    ]
}
