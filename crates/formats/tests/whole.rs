//! Every format and compression: what is written is read, and what is damaged or changed is noticed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;

use common::*;
use mapreduce_core::{Compression, FailureKind, FileFormat};
use mapreduce_formats::{FormatError, RecordWriter, file_ending, read, split};

fn samples() -> [(FileFormat, Vec<Vec<u8>>); 5] {
    let lines = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    let mut text = lines(&["first", "", "zweite Zeile: äöü €", "\ttab, \"quotes\""]);
    text.extend((0..20_000).map(|n| format!("line {n} {}", n * 7919 % 1000).into_bytes()));
    [
        (TEXT, text),
        (FileFormat::JsonLines, lines(&["{\"a\":[1,2]}", "null", "\"€\""])),
        (MULTILINE, vec![row(&["a", "b,c"]), row(&["", "line\r\nend"]), row(&["\"quoted\"", "ä"])]),
        (FileFormat::FixedLength { record_bytes: 3 }, lines(&["abc", "\n\r\n", "€"])),
        (FileFormat::WholeFiles, lines(&["all of it\n"])),
    ]
}

#[test]
fn what_is_written_is_read_in_every_format_and_compression() {
    let mut files = Files::new();
    for (format, expected) in samples() {
        for compression in ALL {
            let bytes = written(&format, compression, &expected);
            let file = files.add(bytes, compression);
            assert!(records(&format, &[file], 32 << 20).unwrap() == expected, "{format:?} {compression:?}");
        }
    }
}

#[test]
fn files_without_records_are_read_as_such() {
    let mut files = Files::new();
    let fixed = FileFormat::FixedLength { record_bytes: 2 };
    for format in [TEXT, FileFormat::JsonLines, CSV, CSV_HEADER, MULTILINE, MULTILINE_HEADER, fixed] {
        for compression in ALL {
            let file = files.add(written::<&str>(&format, compression, &[]), compression);
            assert_eq!(records(&format, &[file], 10).unwrap(), Vec::<Vec<u8>>::new(), "{compression:?}");
        }
    }
    for compression in ALL {
        let empty = written(&FileFormat::WholeFiles, compression, &[""]);
        let file = files.add(empty, compression);
        assert_eq!(records(&FileFormat::WholeFiles, &[file], 10).unwrap(), [b""], "{compression:?}");
    }
}

#[test]
fn several_compressed_streams_in_one_file_are_all_read() {
    let mut files = Files::new();
    for compression in ALL {
        let parts = [&["a", "b"][..], &[], &["c"]].map(|lines| written(&TEXT, compression, lines));
        let file = files.add(parts.concat(), compression);
        assert_eq!(records(&TEXT, &[file], 10).unwrap(), [b"a", b"b", b"c"], "{compression:?}");
    }
}

fn text_to_damage() -> Vec<String> {
    (0..3000u64).map(|n| format!("{n} {:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

#[test]
fn a_compressed_file_cut_short_anywhere_is_an_error() {
    let mut files = Files::new();
    let lines = text_to_damage();
    for compression in ALL.into_iter().filter(|compression| *compression != Compression::None) {
        let bytes = written(&TEXT, compression, &lines);
        let near_ends = (0..60).chain(bytes.len() - 60..bytes.len());
        for cut in near_ends.chain((60..bytes.len() - 60).step_by(997)) {
            let file = files.add(&bytes[..cut], compression);
            let error = refusal(&TEXT, &file);
            let FormatError::Damaged { position, .. } = &error else {
                panic!("{compression:?} {cut}: {error}")
            };
            assert!(position.offset <= cut as u64 && *position.url == *file.url, "{error}");
            assert_eq!(error.failure_kind(), FailureKind::BadData);
        }
        // A second stream that is cut short is no less an error.
        let second = [&bytes[..], &bytes[..bytes.len() / 2]].concat();
        assert!(matches!(refusal(&TEXT, &files.add(second, compression)), FormatError::Damaged { .. }));
    }
}

#[test]
fn a_flipped_bit_in_a_compressed_file_gives_no_other_records() {
    let mut files = Files::new();
    let lines = text_to_damage();
    let expected: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    for compression in ALL.into_iter().filter(|compression| *compression != Compression::None) {
        let bytes = written(&TEXT, compression, &lines);
        let mut unnoticed = 0;
        for at in (0..40).chain((40..bytes.len()).step_by(211)).chain(bytes.len() - 20..bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let file = files.add(damaged, compression);
            match records(&TEXT, &[file], 10) {
                Ok(found) => {
                    // Some bits say nothing about the content: the time in gzip's header, padding at the end.
                    assert!(found == expected, "{compression:?} byte {at}");
                    unnoticed += 1;
                }
                Err(error) => assert!(
                    matches!(error, FormatError::Damaged { .. } | FormatError::NotUtf8 { .. }),
                    "{error}"
                ),
            }
        }
        assert!(unnoticed <= 10, "{compression:?}: {unnoticed} unnoticed");
    }
}

#[test]
fn garbage_behind_or_instead_of_compressed_data_is_an_error() {
    let mut files = Files::new();
    for compression in ALL.into_iter().filter(|compression| *compression != Compression::None) {
        let garbage = files.add("not compressed at all", compression);
        assert!(matches!(refusal(&TEXT, &garbage), FormatError::Damaged { .. }), "{compression:?}");
        let mut bytes = written(&TEXT, compression, &["a"]);
        bytes.extend_from_slice(b"and more");
        assert!(matches!(refusal(&TEXT, &files.add(bytes, compression)), FormatError::Damaged { .. }));
    }
}

#[test]
fn records_that_would_not_be_read_back_are_not_written() {
    for (format, good, bad) in [
        (FileFormat::JsonLines, b"{}".to_vec(), b"{\n}".to_vec()),
        (FileFormat::JsonLines, b"1".to_vec(), b" ".to_vec()),
        (FileFormat::FixedLength { record_bytes: 2 }, b"ab".to_vec(), b"abc".to_vec()),
        (FileFormat::WholeFiles, b"ab".to_vec(), b"abc".to_vec()),
        (CSV, row(&["a", "b"]), row(&["c"])),
        (CSV, row(&["a"]), row(&[])),
        (CSV, row(&["a"]), b"a".to_vec()),
    ] {
        let mut writer = RecordWriter::new("file:///out", &format, Compression::None, Vec::new()).unwrap();
        writer.write(&good).unwrap();
        let error = writer.write(&bad).unwrap_err().to_string();
        assert!(error.contains("record 1 of file:///out"), "{error}");
    }
}

#[test]
fn a_file_that_has_changed_is_an_error_before_and_after_it_is_read() {
    let mut files = Files::new();
    let text = "a line of it\n".repeat(300_000);
    for change in ["before", "while it is read", "while it shrinks"] {
        let file = files.plain(&text);
        let path = file.url.strip_prefix("file://").unwrap().to_owned();
        let inputs = [file];
        let ranges = split(&inputs, &TEXT, u64::MAX).concat();
        let mut reader = read(&TEXT, &inputs, &ranges, MAX).unwrap();
        if change != "before" {
            assert!(reader.next_batch().unwrap().is_some());
        }
        let other =
            if change == "while it shrinks" { "a line of it\n".to_owned() } else { text.clone() + "more" };
        fs::write(&path, other).unwrap();
        let error = std::iter::from_fn(|| reader.next_batch().transpose()).find_map(Result::err);
        let Some(error @ FormatError::Changed { .. }) = error else { panic!("{change}: {error:?}") };
        assert!(error.to_string().contains(&path), "{error}");
    }
    // The same length, another time.
    let mut file = files.plain("a");
    file.modified_ms -= 1;
    assert!(matches!(refusal(&TEXT, &file), FormatError::Changed { .. }));
}

#[test]
fn what_is_no_file_is_refused() {
    let mut files = Files::new();
    let mut file = files.plain("a");
    file.url.push_str("-gone");
    assert!(matches!(refusal(&TEXT, &file), FormatError::Missing { .. }));
    file.url = format!("file://{}", files.dir.path().display());
    assert!(refusal(&TEXT, &file).to_string().contains("no regular file"));
    file.url = "ftp://host/key".to_owned();
    assert!(refusal(&TEXT, &file).to_string().contains("ftp:// is not supported"));
}

#[test]
fn names_end_as_others_expect() {
    assert_eq!(file_ending(&TEXT, Compression::None), ".txt");
    assert_eq!(file_ending(&FileFormat::JsonLines, Compression::Gzip), ".jsonl.gz");
    assert_eq!(file_ending(&CSV, Compression::Zstd), ".csv.zst");
    assert_eq!(file_ending(&FileFormat::Parquet, Compression::Zstd), ".parquet");
}

#[test]
fn readers_may_be_handed_to_another_thread() {
    fn check<T: Send>() {}
    check::<mapreduce_formats::SplitReader>();
    check::<mapreduce_formats::Batch>();
    check::<RecordWriter<fs::File>>();
}
