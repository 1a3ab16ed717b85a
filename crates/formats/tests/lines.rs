//! Text, JSON Lines and records of fixed length: wherever files are cut, every record is read once.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use mapreduce_core::{Compression, FileFormat, FileRange, InvalidText};
use mapreduce_formats::{BATCH_BYTES, FormatError, read};
use proptest::prelude::*;

const BYTES: FileFormat = FileFormat::Text { invalid: InvalidText::Bytes };

/// The lines of `text` with their places, found in the plainest way.
fn lines(text: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut start = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    while start < text.len() {
        let rest = &text[start..];
        let (line, length) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), end + 1),
            None => (rest, rest.len()),
        };
        found.push((start as u64, line.to_vec()));
        start += length;
    }
    found
}

fn placed(format: &FileFormat, content: &[u8], split_bytes: u64) -> Vec<(u64, Vec<u8>)> {
    let mut files = Files::new();
    let file = files.plain(content);
    let batches = batches(format, std::slice::from_ref(&file), split_bytes, MAX).unwrap();
    let of_batch = |batch: &mapreduce_formats::Batch| {
        assert_eq!(batch.iter().len(), batch.len());
        let record = |i| {
            let position = batch.position(i);
            assert_eq!(position.to_string(), format!("{}:{}", file.url, position.offset));
            (position.offset, batch.get(i).to_vec())
        };
        (0..batch.len()).map(record).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

/// Lines of all kinds: ended in either way, empty, long, of characters of several bytes, with an end or not.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just("\n".to_owned()),
        2 => Just("\r\n".to_owned()),
        1 => Just("\r".to_owned()),
        3 => "[a-z]{0,12}",
        3 => "[äß€𝄞\u{feff}]{1,4}",
        1 => "x{30,80}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn text_cut_anywhere_is_its_lines(text in text(), split_bytes in 1..60u64) {
        for split_bytes in [1, split_bytes, 1000] {
            prop_assert_eq!(placed(&TEXT, &text, split_bytes), lines(&text));
        }
    }

    #[test]
    fn bytes_cut_anywhere_are_their_lines(text: Vec<u8>, newlines in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let mut text = text;
        for at in newlines {
            text.insert(at.index(text.len() + 1), b'\n');
        }
        prop_assert_eq!(placed(&BYTES, &text, 3), lines(&text));
    }

    #[test]
    fn json_cut_anywhere_is_its_values(values in prop::collection::vec("[ \t]{0,2}|\"[a-zé€]{0,9}\"|[1-9]{1,3}|\\{\"a\": \\[null\\]\\}\r?", 0..20), split_bytes in 1..40u64) {
        let text = values.join("\n");
        let expected: Vec<_> = lines(text.as_bytes()).into_iter().filter(|(_, line)| !line.trim_ascii().is_empty()).collect();
        prop_assert_eq!(placed(&FileFormat::JsonLines, text.as_bytes(), split_bytes), expected);
    }

    #[test]
    fn fixed_length_cut_anywhere_is_its_records(record_bytes in 1..9u32, count in 0..40usize, split_bytes in 1..60u64) {
        let content: Vec<u8> = (0..count * record_bytes as usize).map(|n| n as u8).collect();
        let expected: Vec<_> = content.chunks(record_bytes as usize).enumerate()
            .map(|(i, record)| (i as u64 * u64::from(record_bytes), record.to_vec())).collect();
        prop_assert_eq!(placed(&FileFormat::FixedLength { record_bytes }, &content, split_bytes), expected);
    }
}

/// The property above can't reach the ends of buffers.
#[test]
fn lines_around_the_ends_of_buffers_are_whole() {
    let mut text = Vec::new();
    for length in
        [10, BATCH_BYTES - 12, BATCH_BYTES, 1, 3 * BATCH_BYTES, BATCH_BYTES - 1, 0, BATCH_BYTES + 1, 5]
    {
        text.extend((0..length).map(|n| b'a' + (n % 26) as u8));
        text.extend_from_slice(if length % 2 == 0 { b"\r\n" } else { b"\n" });
    }
    for cut in [0, 1, 2] {
        let text = &text[..text.len() - cut];
        for split_bytes in
            [BATCH_BYTES as u64 / 3, BATCH_BYTES as u64, (2 * BATCH_BYTES + 7) as u64, u64::MAX]
        {
            assert!(placed(&TEXT, text, split_bytes) == lines(text), "{cut} {split_bytes}");
        }
    }
}

#[test]
fn a_long_file_is_many_batches_and_none_is_large() {
    let text = "some words in a line\n".repeat(300_000);
    let mut files = Files::new();
    let file = files.plain(&text);
    let batches = batches(&TEXT, &[file], u64::MAX, MAX).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.len()).sum::<usize>(), 300_000);
    assert!(batches.iter().all(|batch| batch.iter().map(<[u8]>::len).sum::<usize>() <= BATCH_BYTES));
}

/// Its buffer is then used again.
#[test]
fn a_batch_may_be_gone_or_kept_when_the_next_is_read() {
    let mut files = Files::new();
    let text: String = (0..400_000).map(|n| format!("line {n}\n")).collect();
    let inputs = [files.plain(text)];
    let ranges = mapreduce_formats::split(&inputs, &TEXT, u64::MAX).concat();
    for keep in [1, 2, 3, 7, usize::MAX] {
        let mut reader = read(&TEXT, &inputs, &ranges, MAX).unwrap();
        let mut kept = Vec::new();
        let mut n = 0;
        while let Some(batch) = reader.next_batch().unwrap() {
            kept.push(batch);
            if kept.len() % keep == 0 {
                for line in
                    kept.drain(..).flat_map(|batch| batch.iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
                {
                    assert_eq!(line, format!("line {n}").as_bytes());
                    n += 1;
                }
            }
        }
        for line in kept.iter().flat_map(mapreduce_formats::Batch::iter) {
            assert_eq!(line, format!("line {n}").as_bytes());
            n += 1;
        }
        assert_eq!(n, 400_000);
    }
}

#[test]
fn a_byte_order_mark_is_no_text() {
    for split_bytes in [1, 2, 100] {
        assert_eq!(placed(&TEXT, "\u{feff}a\n\u{feff}b".as_bytes(), split_bytes)[0], (3, b"a".to_vec()));
        assert_eq!(placed(&TEXT, "\u{feff}".as_bytes(), split_bytes), []);
        assert_eq!(placed(&TEXT, "\u{feff}\n".as_bytes(), split_bytes), [(3, vec![])]);
        assert_eq!(
            placed(&FileFormat::JsonLines, "\u{feff}1\n".as_bytes(), split_bytes),
            [(3, b"1".to_vec())]
        );
    }
}

#[test]
fn many_files_are_read_as_one_split() {
    let mut files = Files::new();
    let inputs: Vec<_> = ["a\nb", "", "c\n", "\n"].iter().map(|text| files.plain(text)).collect();
    for split_bytes in [1, 1 << 20] {
        assert_eq!(records(&TEXT, &inputs, split_bytes).unwrap(), [&b"a"[..], b"b", b"c", b""]);
    }
    assert_eq!(records(&TEXT, &[], 1).unwrap(), Vec::<Vec<u8>>::new());
}

#[test]
fn text_that_is_not_utf8_is_an_error_or_replaced_or_bytes() {
    let mut files = Files::new();
    let content = b"fine\nso \xff far\xc3\nfine";
    let file = files.plain(content);
    let error = refusal(&TEXT, &file);
    let FormatError::NotUtf8 { position } = &error else { panic!("{error}") };
    assert_eq!((position.offset, error.to_string().contains(&format!("{}:8:", file.url))), (8, true));
    let replace = FileFormat::Text { invalid: InvalidText::Replace };
    let lossy: Vec<String> = ["fine", "so \u{fffd} far\u{fffd}", "fine"].map(str::to_owned).into();
    for split_bytes in [1, 7, 100] {
        let placed = placed(&replace, content, split_bytes);
        assert_eq!(placed.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 5, 15]);
        assert!(placed.iter().map(|(_, line)| line).eq(lossy.iter().map(|line| line.as_bytes())));
    }
    assert_eq!(records(&BYTES, &[file], 100).unwrap()[1], b"so \xff far\xc3");
    // The offset is the file's, not the batch's or the split's.
    let mut late = vec![b'\n'; 3 * BATCH_BYTES];
    late.extend_from_slice(b"ab\x80\n");
    let file = files.plain(&late);
    let error = records(&TEXT, std::slice::from_ref(&file), 1 << 20).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}:{}:", file.url, 3 * BATCH_BYTES + 2)), "{error}");
    assert!(refusal(&FileFormat::JsonLines, &files.plain(b"\"\xff\"")).to_string().contains("not UTF-8"));
}

#[test]
fn broken_json_is_told_by_its_place() {
    let mut files = Files::new();
    for (line, column) in
        [("{\"a\": tru}", 9), ("[1,", 2), ("1 2", 2), ("nope", 1), ("\"\\x\"", 2), ("'a'", 0)]
    {
        let file = files.plain(format!("{{}}\n\n{line}\n[]\n"));
        let error = refusal(&FileFormat::JsonLines, &file);
        let FormatError::Malformed { position, .. } = &error else { panic!("{error}") };
        assert_eq!(position.offset, 4 + column, "{line}: {error}");
        assert!(error.to_string().contains(&file.url) && !error.to_string().contains("line 1"), "{error}");
    }
}

#[test]
fn a_record_longer_than_the_limit_is_told_by_its_place() {
    let mut files = Files::new();
    let long = "x".repeat(101);
    let text = format!("ok\n{}\r\n{long}\r\nok\n", "y".repeat(100));
    let whole = files.plain("z".repeat(101));
    for (format, file, offset) in [
        (TEXT, files.plain(&text), 105),
        (TEXT, files.plain(&text[..200]), 300),
        (FileFormat::JsonLines, files.plain(format!("1\n\"{long}\"")), 2),
        (CSV, files.plain(format!("a\n{long}{}", "x".repeat(BATCH_BYTES))), 2),
        (CSV, files.plain(format!("a\n\n{}", ",".repeat(100))), 3),
        (FileFormat::WholeFiles, whole, 0),
    ] {
        let found = batches(&format, std::slice::from_ref(&file), u64::MAX, 100);
        if offset == 300 {
            assert!(found.is_ok());
            continue;
        }
        let error = found.unwrap_err();
        let FormatError::TooLong { position, max: 100 } = &error else { panic!("{error}") };
        assert_eq!(position.offset, offset, "{format:?}");
        let rows = matches!(format, FileFormat::Csv { .. });
        let roomy = batches(&format, &[file], u64::MAX, 2 << 20);
        assert!(roomy.is_ok() || rows && matches!(roomy, Err(FormatError::Malformed { .. })), "{format:?}");
    }
    // Noticed long before the line's end, however long the file is.
    let endless = files.plain("e".repeat(20 * BATCH_BYTES));
    assert!(matches!(batches(&TEXT, &[endless], u64::MAX, 4 << 20), Err(FormatError::TooLong { .. })));
}

#[test]
fn records_of_fixed_length_must_come_out_even() {
    let mut files = Files::new();
    let file = files.plain("abcabcab");
    let error = refusal(&FileFormat::FixedLength { record_bytes: 3 }, &file).to_string();
    assert!(error.contains(&format!("{}:6: the last record has 2 bytes instead of 3", file.url)), "{error}");
    for record_bytes in [0, u32::MAX] {
        let error = refusal(&FileFormat::FixedLength { record_bytes }, &file).to_string();
        assert!(error.contains(&file.url), "{error}");
    }
}

#[test]
fn ranges_that_no_planner_makes_are_refused() {
    let mut files = Files::new();
    let inputs = [files.add(written(&TEXT, Compression::Gzip, &["a"]), Compression::Gzip)];
    let half = FileRange { file: 0, offset: 1, length: 3 };
    assert!(matches!(read(&TEXT, &inputs, &[half], MAX), Err(FormatError::Unsuitable { .. })));
    let other = FileRange { file: 1, offset: 0, length: 3 };
    assert!(matches!(read(&TEXT, &inputs, &[other], MAX), Err(FormatError::Unsuitable { .. })));
}
