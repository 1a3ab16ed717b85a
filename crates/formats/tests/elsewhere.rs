//! Files in stores, real ones: a Ceph's bucket and an HDFS. What is found, read, written and published there is what
//! would be on a local disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, LazyLock},
};

use arrow_array::{Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
use arrow_ipc::reader::StreamReader;
use common::*;
use mapreduce_core::{Compression, FileFormat, FileRange, InputFile, JobId, OutputDescription};
use mapreduce_formats::{
    FormatError, Part, check_output, discard, encode_csv_row, find, publish, published, read, split,
};
use mapreduce_servers::{
    ceph::{BUCKET, Ceph},
    hdfs::Servers,
};
use mapreduce_storage::{Elsewhere, Store};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

const JOB: JobId = JobId(7);

static CEPH: LazyLock<Ceph> = LazyLock::new(Ceph::start);
static HDFS: LazyLock<Servers> = LazyLock::new(|| Servers::start(1, 1));

/// A directory in a store.
struct Place {
    /// Before and behind the path.
    url: (String, String),
    store: Store,
    directory: &'static str,
}

impl Place {
    fn in_s3(directory: &'static str) -> Place {
        let url = CEPH.url(BUCKET, "");
        let (before, options) = url.split_once('?').unwrap();
        let store = Elsewhere::open(&format!("s3://{BUCKET}?{options}")).unwrap().store;
        Place { url: (before.to_owned(), format!("?{options}")), store, directory }
    }

    fn in_hdfs(directory: &'static str) -> Place {
        let store = Elsewhere::open(&HDFS.url("")).unwrap().store;
        Place { url: (HDFS.url("/"), String::new()), store, directory }
    }

    fn both(directory: &'static str) -> [Place; 2] {
        [Place::in_s3(directory), Place::in_hdfs(directory)]
    }

    fn url(&self, below: &str) -> String {
        format!("{}{}/{below}{}", self.url.0, self.directory, self.url.1)
    }

    fn path(&self, below: &str) -> Path {
        Path::parse(format!("{}/{below}", self.directory)).unwrap()
    }

    async fn put(&self, below: &str, content: impl Into<Vec<u8>>) {
        self.store.put(&self.path(below), content.into().into()).await.unwrap();
    }

    /// The file, written and found.
    async fn file(&self, name: &str, content: impl Into<Vec<u8>>) -> InputFile {
        self.put(name, content).await;
        find(&[self.url(name)], None).await.unwrap().remove(0)
    }

    /// What is there, by name.
    async fn content(&self, below: &str) -> BTreeMap<String, Vec<u8>> {
        let directory = self.path(below);
        let listed = self.store.list_with_delimiter(Some(&directory)).await.unwrap();
        let mut content = BTreeMap::new();
        for path in listed.common_prefixes {
            content.insert(format!("{}/", path.filename().unwrap()), Vec::new());
        }
        for file in listed.objects {
            let bytes = self.store.get(&file.location).await.unwrap().bytes().await.unwrap();
            content.insert(file.location.filename().unwrap().to_owned(), bytes.to_vec());
        }
        content
    }
}

/// Reading waits, which a thread of a runtime must not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// All records of these ranges.
async fn records(
    format: FileFormat,
    file: &InputFile,
    ranges: Vec<FileRange>,
) -> Result<Vec<Vec<u8>>, FormatError> {
    let file = file.clone();
    blocking(move || {
        let mut reader = read(&format, &[file], &ranges, MAX)?;
        let mut records = Vec::new();
        while let Some(batch) = reader.next_batch()? {
            records.extend(batch.iter().map(<[u8]>::to_vec));
        }
        Ok(records)
    })
    .await
}

fn whole(file: &InputFile) -> Vec<FileRange> {
    vec![FileRange { file: 0, offset: 0, length: file.length }]
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_mean_the_same_as_on_a_disk() {
    for place in Place::both("find") {
        for name in
            ["a.txt", "b.txt.gz", "sub/c.txt", "sub/deep/d.csv", "_hidden/x", ".y", "odd #1 100% ä.txt"]
        {
            place.put(name, name).await;
        }
        let names = async |pattern: &str| {
            let found = find(&[place.url(pattern)], None).await?;
            let prefix = format!("{}{}/", place.url.0, place.directory);
            let name = |file: &InputFile| {
                let url = file.url.strip_suffix(&place.url.1).unwrap();
                assert_eq!(file.e_tag.is_some(), place.url.0.starts_with("s3"), "{file:?}");
                url.strip_prefix(&prefix).unwrap().to_owned()
            };
            Ok::<_, FormatError>(found.iter().map(name).collect::<Vec<_>>())
        };
        let odd = "odd%20%231%20100%25%20%C3%A4.txt";
        assert_eq!(names("").await.unwrap(), ["a.txt", "b.txt.gz", odd, "sub/c.txt", "sub/deep/d.csv"]);
        assert_eq!(names("sub").await.unwrap(), ["sub/c.txt", "sub/deep/d.csv"]);
        assert_eq!(names("?.txt*").await.unwrap(), ["a.txt", "b.txt.gz"]);
        assert_eq!(names("**/[cd].{txt,csv}").await.unwrap(), ["sub/c.txt", "sub/deep/d.csv"]);
        assert_eq!(names("_*/x").await.unwrap(), ["_hidden/x"]);
        assert_eq!(names("sub/c.txt").await.unwrap(), ["sub/c.txt"]);
        let file = find(&[place.url(odd)], None).await.unwrap().remove(0);
        assert_eq!((file.length, file.compression), (18, Compression::None));
        assert_eq!(find(&[place.url("b*")], None).await.unwrap()[0].compression, Compression::Gzip);
        for nothing in ["absent", "x*", "a.txt/b"] {
            let error = names(nothing).await.unwrap_err();
            assert!(matches!(&error, FormatError::NoMatch { .. }), "{error:?}");
            assert!(!error.to_string().contains("auth="), "{error}");
        }
        assert!(matches!(names("[a").await, Err(FormatError::Pattern { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_and_compression_is_read_as_from_a_disk() {
    let lines: Vec<String> = (0..3000).map(|n| format!("{{\"n\": {n}}}")).collect();
    let rows: Vec<Vec<u8>> = (0..3000)
        .map(|n: u32| {
            let mut row = Vec::new();
            encode_csv_row([&*n.to_string(), "x, y"], &mut row);
            row
        })
        .collect();
    for place in Place::both("formats") {
        for compression in ALL {
            let name = format!("lines-{compression:?}");
            let content = written(&TEXT, compression, &lines);
            let mut file = place.file(&name, content).await;
            file.compression = compression;
            for format in [TEXT, FileFormat::JsonLines] {
                let splits = split(std::slice::from_ref(&file), &format, 5000);
                assert_eq!(splits.len() > 3, compression == Compression::None);
                let mut found = Vec::new();
                for ranges in splits {
                    found.extend(records(format, &file, ranges).await.unwrap());
                }
                assert!(found.iter().eq(lines.iter().map(String::as_bytes)), "{compression:?}");
            }
            let whole_file = records(FileFormat::WholeFiles, &file, whole(&file)).await.unwrap();
            assert_eq!(whole_file, [lines.join("\n") + "\n"].map(String::into_bytes));
        }
        let file = place.file("rows.csv", written(&CSV_HEADER, Compression::None, &rows)).await;
        let mut found = Vec::new();
        for ranges in split(std::slice::from_ref(&file), &CSV_HEADER, 5000) {
            found.extend(records(CSV_HEADER, &file, ranges).await.unwrap());
        }
        assert_eq!(found, rows[1..]);
        let fixed = FileFormat::FixedLength { record_bytes: 4 };
        let file = place.file("fixed", (0..5000u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>()).await;
        let mut found = Vec::new();
        for ranges in split(std::slice::from_ref(&file), &fixed, 3000) {
            found.extend(records(fixed, &file, ranges).await.unwrap());
        }
        assert!(found.iter().eq((0..5000u32).map(u32::to_be_bytes).collect::<Vec<_>>().iter()));
        let empty = place.file("empty", "").await;
        let whole_file = records(FileFormat::WholeFiles, &empty, whole(&empty)).await.unwrap();
        assert_eq!(whole_file, [Vec::<u8>::new()]);
    }
}

/// So many columns, of so many pages, that windows into them move on, and one page is larger than a window.
#[tokio::test(flavor = "multi_thread")]
async fn parquet_is_read_page_by_page() {
    const N: i64 = 110_000;
    let column = |c: i64| {
        let mix = move |n: i64| (n ^ c).wrapping_mul(6364136223846793005);
        (format!("c{c}"), Arc::new(Int64Array::from_iter_values((0..N).map(mix))) as _)
    };
    let rows = RecordBatch::try_from_iter((0..40).map(column)).unwrap();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(20_000)
        .set_column_data_page_size_limit("c7".into(), 10 << 20)
        .set_write_batch_size(500)
        .set_data_page_row_count_limit(N as usize)
        .set_max_row_group_row_count(Some(N as usize - 1000))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    let bytes = writer.into_inner().unwrap();
    for place in Place::both("parquet") {
        let file = place.file("wide.parquet", bytes.clone()).await;
        let mut found = vec![Vec::new(); 40];
        for ranges in split(std::slice::from_ref(&file), &FileFormat::Parquet, 40 << 20) {
            for record in records(FileFormat::Parquet, &file, ranges).await.unwrap() {
                for rows in StreamReader::try_new(&*record, None).unwrap() {
                    for (column, found) in rows.unwrap().columns().iter().zip(&mut found) {
                        found.extend_from_slice(column.as_primitive::<Int64Type>().values());
                    }
                }
            }
        }
        for (c, found) in found.iter().enumerate() {
            assert_eq!(found, rows.column(c).as_primitive::<Int64Type>().values());
        }
        // What the store says is not taken for damage.
        place.put("wide.parquet", bytes[..1000].to_vec()).await;
        let error = records(FileFormat::Parquet, &file, whole(&file)).await.unwrap_err();
        assert!(matches!(error, FormatError::Changed { .. }), "{error:?}");
    }
}

/// Longer than what is fetched at one time, so that chunks follow each other, and a record lies across them.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_read_in_chunks_that_nobody_sees() {
    let mut random = 1u64;
    let mut line = |n: usize| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let length = if n % 1000 == 7 { 2_000_000 } else { random as usize % 20_000 };
        format!("{n} {}", char::from(b'a' + (random >> 60) as u8).to_string().repeat(length))
    };
    let lines: Vec<String> = (0..3000).map(&mut line).collect();
    for place in Place::both("large") {
        for compression in [Compression::None, Compression::Gzip] {
            let content = written(&TEXT, compression, &lines);
            let mut file = place.file(&format!("{compression:?}"), content).await;
            file.compression = compression;
            let mut found = Vec::new();
            for ranges in split(std::slice::from_ref(&file), &TEXT, 14 << 20) {
                found.extend(records(TEXT, &file, ranges).await.unwrap());
            }
            assert!(found.iter().eq(lines.iter().map(String::as_bytes)), "{compression:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_is_refused() {
    for place in Place::both("changed") {
        let file = place.file("a.txt", "one\ntwo\n").await;
        assert_eq!(records(TEXT, &file, whole(&file)).await.unwrap().len(), 2);
        let refusal = async |file: &InputFile| records(TEXT, file, whole(file)).await.unwrap_err();
        // HDFS's clock has milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        place.put("a.txt", "one\ntwO\n").await;
        let error = refusal(&file).await;
        assert!(
            matches!(&error, FormatError::Changed { url, .. } if url.ends_with("/changed/a.txt")),
            "{error:?}"
        );
        place.put("a.txt", "one\n").await;
        assert!(matches!(refusal(&file).await, FormatError::Changed { .. }));
        place.store.delete(&place.path("a.txt")).await.unwrap();
        let error = refusal(&file).await;
        assert!(
            matches!(&error, FormatError::Missing { url } if url.ends_with("/changed/a.txt")),
            "{error:?}"
        );
        // A file without a byte is looked at, too.
        let empty = place.file("empty", "").await;
        place.put("empty", "no more").await;
        let read = records(FileFormat::WholeFiles, &empty, whole(&empty)).await;
        assert!(matches!(read, Err(FormatError::Changed { .. })), "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_told_from_what_can_not_be_read() {
    for place in Place::both("damaged") {
        let mut packed = written(&TEXT, Compression::Gzip, &["some text"; 1000]);
        packed.truncate(packed.len() / 2);
        let file = place.file("cut.gz", packed).await;
        let error = records(TEXT, &file, whole(&file)).await.unwrap_err();
        let FormatError::Damaged { position, .. } = &error else { panic!("{error:?}") };
        assert!(position.url.ends_with("/damaged/cut.gz"), "{error}");
        for compression in ALL {
            let mut gone = place.file("gone", written(&TEXT, compression, &["some text"])).await;
            gone.compression = compression;
            place.store.delete(&place.path("gone")).await.unwrap();
            let error = records(TEXT, &gone, whole(&gone)).await.unwrap_err();
            assert!(matches!(error, FormatError::Missing { .. }), "{compression:?}: {error:?}");
        }
        let file = place.file("no.parquet", "PAR1 it is not").await;
        let error = records(FileFormat::Parquet, &file, whole(&file)).await.unwrap_err();
        assert!(matches!(error, FormatError::Damaged { .. }), "{error:?}");
    }
}

/// A part with this content, finished; its name.
async fn part(output: OutputDescription, job: JobId, n: usize, content: Vec<u8>) -> (String, String) {
    let name = format!("{n}.1-1.txt");
    let written = name.clone();
    blocking(move || {
        let mut part = Part::create(&output, job, &written).unwrap();
        assert!(
            part.url().ends_with(&format!("/_temporary/{job}-00000000000000ab/{written}")),
            "{}",
            part.url()
        );
        content.chunks(100_000).for_each(|chunk| part.write_all(chunk).unwrap());
        let url = part.url().to_owned();
        let wrote = part.finish().unwrap();
        assert_eq!(wrote.path, url);
        assert_eq!((wrote.length, wrote.crc32c), (content.len() as u64, crc32c::crc32c(&content)));
    })
    .await;
    (name, format!("part-{n:05}.txt"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_appears_whole_and_nothing_else_stays() {
    // The second takes more requests than are made at one time.
    let contents = |job: JobId| [format!("{job}").into_bytes(), vec![job.0 as u8; 45 << 20], Vec::new()];
    for place in Place::both("outputs") {
        let url = place.url("out");
        let output = |overwrite| OutputDescription {
            url: url.clone(),
            format: TEXT,
            compression: Compression::None,
            overwrite,
            nonce: 0xab,
        };
        assert_eq!(place.content("out").await, BTreeMap::new());
        check_output(&url, false).await.unwrap();
        let mut parts = Vec::new();
        for (n, content) in contents(JOB).into_iter().enumerate() {
            parts.push(part(output(false), JOB, n, content).await);
        }
        // Attempts that lost, and one that nobody cleans up after.
        let (lost, _) = part(output(false), JOB, 8, b"lost".to_vec()).await;
        let losing = output(false);
        blocking(move || (0..2).for_each(|_| Part::delete(&losing, JOB, &lost).unwrap())).await;
        part(output(false), JOB, 9, b"left".to_vec()).await;
        check_output(&url, false).await.expect("what jobs left that did not succeed does not count");

        publish(&output(false), JOB, &parts).await.unwrap();
        let expected = |job: JobId| {
            let names = ["part-00000.txt", "part-00001.txt", "part-00002.txt"].map(str::to_owned);
            let mut all: BTreeMap<_, _> = names.into_iter().zip(contents(job)).collect();
            all.insert("_SUCCESS".to_owned(), format!("{job}-00000000000000ab").into_bytes());
            all
        };
        assert_eq!(place.content("out").await, expected(JOB));
        publish(&output(false), JOB, &parts).await.expect("another master does not know that it is done");
        let published_at = url.clone();
        let files = blocking(move || published(&published_at)).await.unwrap();
        assert_eq!(files, [0, 1, 2].map(|n| place.url(&format!("out/part-0000{n}.txt"))));
        assert_eq!(find(&files[..2], None).await.unwrap().len(), 2);

        let error = check_output(&url, false).await.unwrap_err();
        assert!(
            matches!(&error, FormatError::OutputExists { url } if url.ends_with("/outputs/out")),
            "{error:?}"
        );
        assert!(check_output(&files[0], true).await.unwrap_err().to_string().contains("it is a file"));
        place.put("out/old/deep", "old").await;
        place.put("out/odd #1", "old").await;
        let other = JobId(8);
        let mut parts = Vec::new();
        for (n, content) in contents(other).into_iter().enumerate() {
            parts.push(part(output(false), other, n, content).await);
        }
        assert!(matches!(
            publish(&output(false), other, &parts).await,
            Err(FormatError::OutputExists { .. })
        ));
        publish(&output(true), other, &parts).await.unwrap();
        assert_eq!(place.content("out").await, expected(other));

        part(output(false), JobId(9), 0, b"failed".to_vec()).await;
        for _ in 0..2 {
            discard(&output(false), JobId(9)).await.unwrap();
            assert_eq!(place.content("out").await, expected(other));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_or_does_not_let_us_in_is_said() {
    let nowhere = CEPH.url("nowhere", "x");
    let error = find(std::slice::from_ref(&nowhere), None).await.unwrap_err();
    assert!(error.to_string().contains("s3://nowhere/x"), "{error}");
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "tester:a-wrong-secret").unwrap();
    let wrong = CEPH.url_with(BUCKET, "x", key.path().to_str().unwrap());
    for error in [find(std::slice::from_ref(&wrong), None).await.map(drop), check_output(&wrong, false).await]
    {
        let error = error.unwrap_err();
        assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
        assert_eq!(error.failure_kind(), mapreduce_core::FailureKind::BadData);
        assert!(!error.to_string().contains("a-wrong-secret"), "{error}");
    }
}
