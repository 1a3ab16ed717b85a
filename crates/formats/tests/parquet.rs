//! Parquet: rows come and go as Arrow, wherever the file is cut.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use common::*;
use mapreduce_core::{Compression, FileFormat, InputFile};
use mapreduce_formats::{FormatError, RecordWriter, read, split};
use parquet::{
    arrow::ArrowWriter,
    file::{
        metadata::{
            FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
        },
        properties::WriterProperties,
    },
};

/// Rows with these numbers and, beside each, its text.
fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let texts: Vec<String> = numbers.clone().map(|n| format!("text {n} ä")).collect();
    RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(numbers)) as _),
        ("text", Arc::new(StringArray::from(texts)) as _),
    ])
    .unwrap()
}

fn stream(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap()
}

/// A file of `count` rows in groups of `group_rows`.
fn grouped(count: i64, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let rows = rows(0..count);
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

fn numbers(files: &[InputFile], split_bytes: u64) -> Vec<i64> {
    let mut found = Vec::new();
    for batch in batches(&FileFormat::Parquet, files, split_bytes, MAX).unwrap() {
        assert!(batch.is_arrow() && batch.len() == 1 && batch.position(0).offset >= 4);
        for rows in StreamReader::try_new(batch.get(0), None).unwrap() {
            let rows = rows.unwrap();
            let numbers = rows["n"].as_primitive::<Int64Type>().values();
            assert!(
                numbers
                    .iter()
                    .zip(rows["text"].as_string::<i32>())
                    .all(|(n, text)| text == Some(&format!("text {n} ä")))
            );
            found.extend_from_slice(numbers);
        }
    }
    found
}

#[test]
fn every_row_is_read_once_wherever_the_file_is_cut() {
    let mut files = Files::new();
    let bytes = grouped(100, 7);
    let length = bytes.len() as u64;
    let file = files.plain(bytes);
    let expected: Vec<i64> = (0..100).collect();
    for split_bytes in (1..100).chain((100..length + 2).step_by(101)) {
        assert_eq!(numbers(std::slice::from_ref(&file), split_bytes), expected, "{split_bytes}");
    }
}

#[test]
fn what_is_written_is_read_with_every_codec() {
    let mut files = Files::new();
    for codec in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Lz4] {
        let parts = [stream(&rows(0..1000)), stream(&rows(1000..1000)), stream(&rows(1000..50_000))];
        let file = files.plain(written(&FileFormat::Parquet, codec, &parts));
        assert!(numbers(&[file], 1 << 20).into_iter().eq(0..50_000), "{codec:?}");
    }
    let refused = RecordWriter::new("file:///out", &FileFormat::Parquet, Compression::Bzip2, Vec::new());
    assert!(refused.is_err_and(|error| error.to_string().contains("bzip2")));
    assert!(written::<&str>(&FileFormat::Parquet, Compression::Zstd, &[]).is_empty());
}

#[test]
fn batches_are_small_however_large_the_row_group() {
    let mut files = Files::new();
    let file = files.plain(written(&FileFormat::Parquet, Compression::None, &[stream(&rows(0..300_000))]));
    let batches = batches(&FileFormat::Parquet, std::slice::from_ref(&file), u64::MAX, MAX).unwrap();
    assert!(batches.len() >= 5 && batches.iter().all(|batch| batch.get(0).len() < 8 << 20));
    let ranges = split(std::slice::from_ref(&file), &FileFormat::Parquet, u64::MAX).concat();
    let error = read(&FileFormat::Parquet, &[file], &ranges, 1000).unwrap().next_batch().unwrap_err();
    assert!(matches!(error, FormatError::TooLong { max: 1000, .. }), "{error}");
}

#[test]
fn rows_of_another_schema_and_other_bytes_are_not_written() {
    let mut writer =
        RecordWriter::new("file:///out", &FileFormat::Parquet, Compression::None, Vec::new()).unwrap();
    assert!(writer.write(b"no rows").is_err());
    writer.write(&stream(&rows(0..3))).unwrap();
    let other =
        RecordBatch::try_from_iter([("m", Arc::new(Int64Array::from_iter_values(0..3)) as _)]).unwrap();
    let error = writer.write(&stream(&other)).unwrap_err().to_string();
    assert!(error.contains("record 1 of file:///out"), "{error}");
    let cut = stream(&rows(0..3));
    assert!(writer.write(&cut[..cut.len() / 2]).is_err());
    let mut files = Files::new();
    assert_eq!(numbers(&[files.plain(writer.finish().unwrap())], 100), [0, 1, 2]);
}

fn row_count(batch: &mapreduce_formats::Batch) -> usize {
    StreamReader::try_new(batch.get(0), None).unwrap().map(|rows| rows.unwrap().num_rows()).sum()
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let mut files = Files::new();
    let bytes = grouped(500, 100);
    let attempt = |file: InputFile| batches(&FileFormat::Parquet, &[file], u64::MAX, MAX);
    for cut in (1..bytes.len()).step_by(53) {
        let error = attempt(files.plain(&bytes[..cut])).unwrap_err();
        assert!(matches!(error, FormatError::Damaged { .. }), "{cut}: {error}");
    }
    let mut noticed = 0;
    // Some of the data, and more of what describes it.
    let description = bytes.len() - 4000;
    for at in (0..description).step_by(29).chain((description..bytes.len()).step_by(5)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        match attempt(files.plain(damaged)) {
            Err(_) => noticed += 1,
            // There are no checksums, so values may be wrong; but rows are never lost.
            Ok(batches) => assert_eq!(batches.iter().map(row_count).sum::<usize>(), 500, "byte {at}"),
        }
    }
    assert!(noticed > 0);
    assert!(matches!(attempt(files.plain("no parquet at all")), Err(FormatError::Damaged { .. })));
    let compressed = files.add(&bytes, Compression::Gzip);
    assert!(attempt(compressed).unwrap_err().to_string().contains("unpack it"));
}

/// A file of 100 rows in two groups, whose end describes it as `change` wants it.
fn misdescribed(
    files: &mut Files,
    file_rows: i64,
    change: fn(RowGroupMetaData) -> RowGroupMetaData,
) -> InputFile {
    let mut bytes = grouped(100, 50);
    let path = files.dir.path().join("good");
    std::fs::write(&path, &bytes).unwrap();
    let good = ParquetMetaDataReader::new().parse_and_finish(&std::fs::File::open(path).unwrap()).unwrap();
    let file = good.file_metadata();
    let described = FileMetaData::new(
        file.version(),
        file_rows,
        None,
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        None,
    );
    let groups = good.row_groups().iter().cloned().map(change).collect();
    ParquetMetaDataWriter::new(&mut bytes, &ParquetMetaData::new(described, groups)).finish().unwrap();
    files.plain(bytes)
}

#[test]
fn a_file_that_is_not_as_it_describes_itself_loses_no_rows_silently() {
    let mut files = Files::new();
    let more = |group: RowGroupMetaData| group.into_builder().set_num_rows(60).build().unwrap();
    let beyond = |group: RowGroupMetaData| {
        let columns = group.columns().iter().cloned();
        let moved = columns.map(|column| {
            let offset = 1 << 40;
            column
                .into_builder()
                .set_data_page_offset(offset)
                .set_dictionary_page_offset(None)
                .build()
                .unwrap()
        });
        let moved = moved.collect();
        group.into_builder().set_column_metadata(moved).build().unwrap()
    };
    let as_it_is = misdescribed(&mut files, 100, |group| group);
    assert_eq!(numbers(&[as_it_is], u64::MAX).len(), 100);
    for (rows, change, told) in
        [(120, more as fn(_) -> _, "rows are missing"), (100, beyond, "contradicts itself")]
    {
        let file = misdescribed(&mut files, rows, change);
        let error = refusal(&FileFormat::Parquet, &file).to_string();
        assert!(error.contains(told) && error.contains(&file.url), "{error}");
    }
}
