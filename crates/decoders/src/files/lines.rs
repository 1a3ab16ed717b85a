//! Text, JSON Lines, records of fixed length and whole files.

use mapreduce_core::{Compression, FileFormat, InvalidText};

use super::{MemoryFile, check_any_range, check_cuts, written};

/// The file begins with a range to be read of it.
const ANY_RANGE: u8 = 0x80;

fn format(choice: u8, record_bytes: u32) -> FileFormat {
    match choice % 6 {
        0 => FileFormat::Text { invalid: InvalidText::Error },
        1 => FileFormat::Text { invalid: InvalidText::Replace },
        2 => FileFormat::Text { invalid: InvalidText::Bytes },
        3 => FileFormat::JsonLines,
        4 => FileFormat::WholeFiles,
        _ => FileFormat::FixedLength { record_bytes },
    }
}

/// Format, size of splits, length of a record; and the file.
pub fn run(data: &[u8]) {
    let Some((&[choice, split_bytes, length], bytes)) = data.split_first_chunk() else { return };
    let format = format(choice & !ANY_RANGE, u32::from(length));
    let max = if length == 0 { 1 << 16 } else { u32::from(length) };
    if choice & ANY_RANGE != 0 {
        check_any_range(&format, bytes, max);
        return;
    }
    let file = MemoryFile::new(bytes);
    check_cuts(&format, &file.input(Compression::None), u64::from(split_bytes), max);
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let lines: &[&[u8]] = &[b"to be", b"", b"or not\r", "caf\u{e9}".as_bytes()];
    let values: &[&[u8]] = &[br#"{"a": [1, 2.5e3, null]}"#, b"true", br#""text""#];
    let made = |choice: u8, length: u8, records: &[&[u8]]| {
        let file = written(&format(choice, u32::from(length)), Compression::None, records);
        [&[choice, 4, length][..], &file].concat()
    };
    let mut range = [0; 16];
    (range[0], range[8]) = (3, 9);
    vec![
        made(0, 0, lines),
        made(1, 0, &[b"\xff\xfe", b"x"]),
        made(2, 0, lines),
        [&[0, 0, 9][..], b"\xef\xbb\xbfmark\r\nmore\n\r\n"].concat(),
        made(3, 0, values),
        made(4, 0, &[b"all of it"]),
        made(5, 4, &[b"aaaa", b"bbbb", b"cccc"]),
        [&[ANY_RANGE, 4, 0][..], &range, b"some\nlines\nof text\n"].concat(),
        [&[ANY_RANGE | 5, 4, 4][..], &range, b"aaaabbbbccccdddd"].concat(),
    ]
}
