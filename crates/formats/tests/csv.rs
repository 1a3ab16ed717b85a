//! CSV: wherever a file is cut, its rows are the same; and what would give wrong rows is an error.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use mapreduce_core::{Compression, FileFormat, FileRange, InputFile};
use mapreduce_formats::{BATCH_BYTES, Batch, FormatError, read};
use proptest::prelude::*;

/// Rows with their places.
type Rows = Vec<(u64, Vec<String>)>;

fn rows_of(batches: &[Batch]) -> Rows {
    let of_batch = |batch: &Batch| {
        let row = |i| {
            let fields = fields(batch.get(i)).into_iter().map(str::to_owned).collect();
            (batch.position(i).offset, fields)
        };
        (0..batch.len()).map(row).collect::<Rows>()
    };
    batches.iter().flat_map(of_batch).collect()
}

/// What each range between `cuts` gives, read by itself.
fn read_cut(format: &FileFormat, file: &InputFile, cuts: &[u64]) -> Vec<Result<Vec<Batch>, FormatError>> {
    let mut cuts: Vec<u64> = cuts.iter().copied().chain([0, file.length]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let read_range = |&[offset, end]: &[u64; 2]| {
        let range = FileRange { file: 0, offset, length: end - offset };
        let mut reader = read(format, std::slice::from_ref(file), &[range], MAX)?;
        std::iter::from_fn(|| reader.next_batch().transpose()).collect()
    };
    cuts.windows(2).map(|cut| read_range(&[cut[0], cut[1]])).collect()
}

/// All rows, and that all batches know the columns; or the first error.
fn rows_cut(format: &FileFormat, file: &InputFile, cuts: &[u64]) -> Result<(Rows, bool), FormatError> {
    let batches = read_cut(format, file, cuts).into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let columns = |batch: &Batch| batch.columns().map(|columns| columns.to_vec());
    let same = batches.windows(2).all(|pair| columns(&pair[0]) == columns(&pair[1]));
    Ok((rows_of(&batches), same))
}

/// Rows of two fields as somebody may write them: quoted or not, with line ends of all kinds, empty lines, a byte
/// order mark; and where each begins. Some hold `\r`, which is no end of a line.
fn content() -> impl Strategy<Value = (String, Rows)> {
    let field = ("[ab,\"\ré\u{feff}]{0,4}", any::<bool>());
    let end = prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n", "\r\n\r\n\n"]);
    let rows = prop::collection::vec(([field, field], end), 0..12);
    (rows, prop::sample::select(vec!["", "\u{feff}", "\n", "\u{feff}\r\n\n"]), any::<bool>()).prop_map(
        |(rows, before, ended)| {
            let (mut text, mut expected) = (before.to_owned(), Vec::new());
            for (fields, end) in rows {
                let place = text.len() as u64;
                text.push_str(
                    &fields.each_ref().map(|(field, quoted)| written_field(field, *quoted)).join(","),
                );
                text.push_str(end);
                expected.push((place, fields.map(|(field, _)| field).to_vec()));
            }
            let text = if ended { &text } else { text.trim_end_matches(['\r', '\n']) };
            (text.to_owned(), expected)
        },
    )
}

fn written_field(field: &str, quoted: bool) -> String {
    match quoted || field.contains([',', '"', '\r', '\n']) || field.starts_with('\u{feff}') {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

fn at(cuts: &[prop::sample::Index], length: usize) -> Vec<u64> {
    cuts.iter().map(|cut| cut.index(length + 1) as u64).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_file_cut_anywhere_is_its_rows((text, expected) in content(), cuts in cuts()) {
        let mut files = Files::new();
        let file = files.plain(&text);
        let everywhere: Vec<u64> = (0..=file.length).collect();
        for cuts in [&[], &at(&cuts, text.len())[..], &everywhere] {
            prop_assert_eq!(rows_cut(&CSV, &file, cuts).unwrap(), (expected.clone(), true));
            let below_header = expected.get(1..).unwrap_or_default().to_vec();
            prop_assert_eq!(rows_cut(&CSV_HEADER, &file, cuts).unwrap(), (below_header, true));
        }
        prop_assert_eq!(rows_cut(&MULTILINE, &file, &[]).unwrap(), (expected, true));
    }

    #[test]
    fn a_field_with_a_line_end_is_an_error_wherever_the_file_is_cut(
        (text, mut expected) in content(), end in "\r?\n", which: prop::sample::Index, cuts in cuts(),
    ) {
        // Another row, which takes several lines, somewhere between the others.
        let which = which.index(expected.len() + 1);
        let offset = expected.get(which).map_or(text.len() as u64, |row| row.0);
        let (before, after) = text.split_at(offset as usize);
        let before = if before.is_empty() || before == "\u{feff}" || before.ends_with(['\r', '\n']) { before.to_owned() } else { format!("{before}\n") };
        let offset = before.len() as u64;
        let several = format!("x,{}\n", written_field(&format!("1{end}2,\"3\"{end}"), true));
        let text = [before, several.clone(), after.to_owned()].concat();
        let mut files = Files::new();
        let file = files.plain(&text);
        let everywhere: Vec<u64> = (0..=file.length).collect();
        for cuts in [&[], &at(&cuts, text.len())[..], &everywhere] {
            for format in [CSV, CSV_HEADER] {
                let errors: Vec<FormatError> = read_cut(&format, &file, cuts).into_iter().filter_map(Result::err).collect();
                let told = errors.iter().any(|error| matches!(error, FormatError::Malformed { position, why, .. }
                    if position.offset == offset && why.contains("multiline=True")));
                prop_assert!(told, "{:?}", errors);
            }
        }
        expected.insert(which, (offset, vec!["x".to_owned(), format!("1{end}2,\"3\"{end}")]));
        let fields: Vec<_> = expected.into_iter().map(|(_, fields)| fields).collect();
        let found: Vec<_> = rows_cut(&MULTILINE, &file, &[]).unwrap().0.into_iter().map(|(_, fields)| fields).collect();
        prop_assert_eq!(found, fields);
    }

    /// Whatever is in it: quotes in odd places, rows of other widths.
    #[test]
    fn any_content_cut_anywhere_gives_the_same_rows_or_is_an_error(
        content in "(a|b|,|,|\"|\"|\n|\r|\r\n|\u{feff}){0,30}", cuts in cuts(), header: bool,
    ) {
        let mut files = Files::new();
        let file = files.plain(&content);
        let format = if header { CSV_HEADER } else { CSV };
        let whole = rows_cut(&format, &file, &[]).ok();
        prop_assert_eq!(rows_cut(&format, &file, &at(&cuts, content.len())).ok(), whole.clone());
        let multiline = if header { MULTILINE_HEADER } else { MULTILINE };
        if let Some(rows) = whole {
            prop_assert_eq!(rows_cut(&multiline, &file, &[]).unwrap(), rows);
        }
    }

    #[test]
    fn rows_come_back(rows in prop::collection::vec(prop::collection::vec("[a,\"\r\n é]{0,5}", 3), 0..20), semicolon: bool) {
        let delimiter = if semicolon { b';' } else { b',' };
        let format = FileFormat::Csv { delimiter, header: false, multiline: true };
        let rows: Vec<Vec<u8>> = rows.iter().map(|fields| row(&fields.iter().map(String::as_str).collect::<Vec<_>>())).collect();
        let bytes = written(&format, Compression::None, &rows);
        let mut files = Files::new();
        let file = files.plain(bytes);
        prop_assert_eq!(records(&format, &[file], 7).unwrap(), rows);
    }
}

/// The properties above can't reach the ends of buffers.
#[test]
fn rows_around_the_ends_of_buffers_are_whole() {
    let mut files = Files::new();
    let mut text = "name,text\n".to_owned();
    for (n, length) in
        [10, BATCH_BYTES - 30, BATCH_BYTES, 1, 3 * BATCH_BYTES, 0, 7000].into_iter().enumerate()
    {
        text.push_str(&format!("{n},\"{}\"\r\n", "x\"\"".repeat(length / 3)));
    }
    let file = files.plain(&text);
    let expected = rows_cut(&MULTILINE_HEADER, &file, &[]).unwrap();
    assert_eq!(expected.0.len(), 7);
    for split_bytes in [BATCH_BYTES / 3, BATCH_BYTES, 2 * BATCH_BYTES + 7] {
        let cuts: Vec<u64> = (0..file.length).step_by(split_bytes).collect();
        assert!(rows_cut(&CSV_HEADER, &file, &cuts).unwrap() == expected, "{split_bytes}");
    }
}

#[test]
fn the_header_names_the_columns_of_every_file() {
    let mut files = Files::new();
    let inputs = [files.plain("\u{feff}id,name\r\n1,ä\r\n\r\n2,b"), files.plain("x\n\"3\"\n")];
    for (format, split_bytes) in [(MULTILINE_HEADER, 1), (CSV_HEADER, u64::MAX), (CSV_HEADER, 15)] {
        let found = batches(&format, &inputs, split_bytes, MAX).unwrap();
        let last = found.len() - 1;
        for of_first in &found[..last] {
            assert_eq!(of_first.columns().unwrap().as_ref(), ["id", "name"]);
        }
        let rows = rows_of(&found[..last]);
        assert_eq!(
            rows,
            [(12, vec!["1".to_owned(), "ä".to_owned()]), (20, vec!["2".to_owned(), "b".to_owned()])]
        );
        assert_eq!(found[last].columns().unwrap().as_ref(), ["x"]);
        assert_eq!(fields(found[last].get(0)), ["3"]);
    }
    let plain = batches(&CSV, &inputs[1..], u64::MAX, MAX).unwrap();
    assert_eq!((plain[0].columns(), plain[0].len()), (None, 2));
}

#[test]
fn malformed_rows_are_told_by_their_line() {
    let mut files = Files::new();
    for (format, content, place, what) in [
        (CSV_HEADER, &b"a,b\n\n1,2\r\n1,2,3\n"[..], (10, 4), "3 fields"),
        (MULTILINE_HEADER, b"a,b\n\n1,2\r\n1,2,3\n", (10, 4), "3 fields"),
        (MULTILINE_HEADER, b"a,b\n\"x\ny\",2\n1\n", (12, 4), "1 fields"),
        (CSV_HEADER, b"a,b\n1,\xff\n", (4, 2), "UTF-8"),
        (CSV_HEADER, b"a,b\n\xc3,\xa9\n", (4, 2), "UTF-8"),
        (MULTILINE_HEADER, b"a,b\n1,\"2\n3,4\n", (4, 2), "never closed"),
        (MULTILINE_HEADER, b"a,b\n1,\"2", (4, 2), "never closed"),
        (CSV_HEADER, b"a,b\n\n1,\"2\n3,4\n", (5, 3), "inside a quoted field"),
        (CSV_HEADER, b"a,b\n1,\"2", (4, 2), "inside a quoted field"),
        (CSV_HEADER, b"a,\"b\nc\"\n1,2\n", (0, 1), "multiline=True"),
    ] {
        let file = files.plain(content);
        let error = refusal(&format, &file);
        let FormatError::Malformed { position, line: Some(line), .. } = &error else { panic!("{error}") };
        assert_eq!((position.offset, *line), place, "{error}");
        assert!(error.to_string().contains(what) && error.to_string().contains(&file.url), "{error}");
    }
    let bad = FileFormat::Csv { delimiter: b'"', header: false, multiline: false };
    assert!(matches!(refusal(&bad, &files.plain("a")), FormatError::Unsuitable { .. }));
}

/// A field that holds nothing takes 4 bytes of a record.
#[test]
fn no_record_is_longer_than_the_limit() {
    let mut files = Files::new();
    for format in [CSV, MULTILINE] {
        for (row, record_bytes) in [(",".repeat(1000), 4 + 4 * 1001), ("x".repeat(1000), 4 + 4 + 1000)] {
            let file = [files.plain(row)];
            let found = batches(&format, &file, u64::MAX, record_bytes).unwrap();
            assert_eq!(found[0].get(0).len(), record_bytes as usize);
            for max in [1, 4, 100, 256, 259, 300, record_bytes - 1] {
                let refused = batches(&format, &file, u64::MAX, max);
                assert!(matches!(refused, Err(FormatError::TooLong { .. })), "{max}");
            }
        }
    }
}

#[test]
fn rows_of_different_width_are_no_table() {
    let rows = [row(&["1", "2"]), row(&["3"])];
    let width = rows[0].len() as u32;
    let bytes = rows.concat();
    let records = vec![(0, width), (width, bytes.len() as u32)];
    let batch = Batch::of_uploaded("file:///a.csv".into(), 0, (bytes, records));
    assert!(batch.csv_table(0..1).is_ok());
    let error = batch.csv_table(0..2).unwrap_err().to_string();
    assert!(error.contains("file:///a.csv") && error.contains("no rows of CSV of equal width"), "{error}");
}

/// If each row searched for the end of its line, this would take minutes.
#[test]
fn rows_that_end_with_a_return_are_read_in_one_go() {
    let mut files = Files::new();
    let file = files.plain("a,b\r".repeat(1 << 20));
    let found = batches(&CSV, std::slice::from_ref(&file), u64::MAX, MAX).unwrap();
    assert_eq!(found.iter().map(Batch::len).sum::<usize>(), 1 << 20);
    // What is a line to who looks for its end is long, and the error says what to do.
    let error = batches(&CSV, std::slice::from_ref(&file), u64::MAX, 1 << 20).unwrap_err().to_string();
    assert!(error.contains("if rows end with \\r alone, read the file with multiline=True"), "{error}");
    assert!(batches(&MULTILINE, &[file], u64::MAX, 1 << 20).is_ok());
}

#[test]
fn a_quoted_field_may_cross_buffers() {
    let mut files = Files::new();
    let long = "x,\"\"\n".repeat(500_000);
    let file = files.plain(format!("a,b\n1,\"{long}\"\n2,c"));
    let found = records(&MULTILINE, &[file], 10).unwrap();
    assert_eq!(fields(&found[1]), ["1", &long.replace("\"\"", "\"")]);
    assert_eq!(fields(&found[2]), ["2", "c"]);
}

#[test]
fn a_file_whose_fields_may_hold_line_ends_is_not_read_in_part() {
    let mut files = Files::new();
    let inputs = [files.plain("a,b\n1,2\n")];
    let half = FileRange { file: 0, offset: 4, length: 4 };
    assert!(read(&CSV, &inputs, &[half], MAX).is_ok());
    assert!(matches!(read(&MULTILINE, &inputs, &[half], MAX), Err(FormatError::Unsuitable { .. })));
}
