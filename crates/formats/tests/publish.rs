//! An output becomes visible whole or not at all, however often publication is interrupted.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mapreduce_core::{Compression, FileFormat, InvalidText, JobId, OutputDescription};
use mapreduce_formats::{FormatError, check_output, discard, publish, published};
use tempfile::TempDir;

const JOB: JobId = JobId(7);
const NONCE: u64 = 0xab;

struct Output {
    dir: TempDir,
    /// Names below `_temporary/job_7`, and in the output.
    parts: Vec<(String, String)>,
}

impl Output {
    /// An output directory whose job has written its parts.
    fn new() -> Self {
        let mut output = Output { dir: tempfile::tempdir().unwrap(), parts: Vec::new() };
        output.parts = parts(&output.path(), JOB);
        output
    }

    fn path(&self) -> String {
        self.dir.path().join("out").display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(&self.path()).join(name)
    }

    async fn publish(&self, overwrite: bool) -> Result<(), FormatError> {
        publish(&described(&self.path(), overwrite, NONCE), JOB, &self.parts).await
    }

    /// What is in it, by name.
    fn content(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.path()).unwrap().map(Result::unwrap);
        let content = |path: PathBuf| fs::read_to_string(path).unwrap_or("a directory".to_owned());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), content(entry.path()))).collect()
    }

    fn assert_published(&self) {
        let expected = [
            ("_SUCCESS", "job_7-00000000000000ab"),
            ("part-0", "job_7 0"),
            ("part-1", "job_7 1"),
            ("part-2", "job_7 2"),
        ];
        let expected = expected.map(|(name, content)| (name.to_owned(), content.to_owned()));
        assert_eq!(self.content(), BTreeMap::from(expected));
    }
}

fn described(output: &str, overwrite: bool, nonce: u64) -> OutputDescription {
    let format = FileFormat::Text { invalid: InvalidText::Error };
    OutputDescription { url: output.to_owned(), format, compression: Compression::None, overwrite, nonce }
}

/// Three parts of a job, and an attempt's rest.
fn parts(output: &str, job: JobId) -> Vec<(String, String)> {
    let dir = temporary_dir(output, job);
    fs::create_dir_all(dir.join("lost-attempt")).unwrap();
    fs::write(dir.join("lost-attempt/0"), "incomplete").unwrap();
    let part = |n| {
        let name = format!("attempt-{n}");
        fs::write(dir.join(&name), format!("{job} {n}")).unwrap();
        (name, format!("part-{n}"))
    };
    (0..3).map(part).collect()
}

fn temporary_dir(output: &str, job: JobId) -> PathBuf {
    Path::new(output).join("_temporary").join(format!("{job}-{NONCE:016x}"))
}

#[tokio::test]
async fn parts_get_their_names_and_success_says_whose_they_are() {
    let output = Output::new();
    check_output(&output.path(), false).await.unwrap();
    output.publish(false).await.unwrap();
    output.assert_published();
    // Another master, which does not know that it is done.
    output.publish(false).await.unwrap();
    output.publish(true).await.unwrap();
    output.assert_published();
    let url = format!("file://{}", output.path());
    assert!(matches!(check_output(&url, false).await, Err(FormatError::OutputExists { .. })));
    check_output(&url, true).await.unwrap();
}

/// Something stands in the way of one of the steps; then it is gone.
#[tokio::test]
async fn publication_goes_on_wherever_it_stopped() {
    for overwrite in [false, true] {
        for moved in 0..=3 {
            let output = Output::new();
            // A directory with something in it can't be replaced by a part.
            let obstacle = match moved {
                3 => output.file("_SUCCESS"),
                n => output.file(&format!("part-{n}")),
            };
            let marker = temporary_dir(&output.path(), JOB).join("_publishing");
            // Begun, so that the obstacle is not taken for old content.
            fs::write(&marker, "job_7-00000000000000ab").unwrap();
            fs::create_dir_all(obstacle.join("x")).unwrap();
            assert!(output.publish(overwrite).await.is_err());
            assert!(!output.file("_SUCCESS").is_file());
            let moved_now = (0..3).filter(|n| output.file(&format!("part-{n}")).is_file()).count();
            assert_eq!(moved_now, moved);
            fs::remove_dir_all(obstacle).unwrap();
            output.publish(overwrite).await.unwrap();
            output.assert_published();
        }
    }
}

#[tokio::test]
async fn what_was_moved_before_an_error_is_not_old_content() {
    let mut output = Output::new();
    let name = std::mem::replace(&mut output.parts[1].1, "too-long".repeat(100));
    assert!(matches!(output.publish(false).await, Err(FormatError::Unwritable { .. })));
    assert_eq!(output.content()["part-0"], "job_7 0");
    output.parts[1].1 = name;
    output.publish(false).await.unwrap();
    output.assert_published();
}

/// Each cluster's first job is job_1.
#[tokio::test]
async fn a_job_of_the_same_id_in_another_cluster_is_another() {
    let output = Output::new();
    output.publish(false).await.unwrap();
    let (path, other) = (output.path(), NONCE + 1);
    let temporary = Path::new(&path).join(format!("_temporary/job_7-{other:016x}"));
    fs::create_dir_all(&temporary).unwrap();
    fs::write(temporary.join("attempt"), "other").unwrap();
    let parts = [("attempt".to_owned(), "part-0".to_owned())];
    let refused = publish(&described(&path, false, other), JOB, &parts).await;
    assert!(matches!(refused, Err(FormatError::OutputExists { .. })), "{refused:?}");
    publish(&described(&path, true, other), JOB, &parts).await.unwrap();
    let names = ["_SUCCESS", "part-0"].map(str::to_owned);
    let contents = [format!("job_7-{other:016x}"), "other".to_owned()];
    assert_eq!(output.content(), names.into_iter().zip(contents).collect());
}

#[tokio::test]
async fn success_without_cleaning_up_is_cleaned_up() {
    let output = Output::new();
    output.publish(false).await.unwrap();
    let rest = temporary_dir(&output.path(), JOB);
    fs::create_dir_all(rest.join("x")).unwrap();
    output.publish(true).await.unwrap();
    output.assert_published();
}

#[tokio::test]
async fn old_content_is_refused_or_removed() {
    let output = Output::new();
    fs::write(output.file("part-0"), "old").unwrap();
    fs::write(output.file("part-9"), "old").unwrap();
    fs::write(output.file("_SUCCESS"), "job_6").unwrap();
    fs::create_dir_all(output.file("part-2/sub")).unwrap();
    let before = output.content();
    let error = output.publish(false).await.unwrap_err();
    assert!(matches!(&error, FormatError::OutputExists { .. }), "{error}");
    assert!(error.to_string().contains(&output.path()), "{error}");
    assert_eq!(output.content(), before);
    output.publish(true).await.unwrap();
    output.assert_published();
}

#[tokio::test]
async fn old_content_is_kept_if_a_part_is_missing_and_never_taken_for_it() {
    let output = Output::new();
    fs::write(output.file("part-1"), "old").unwrap();
    fs::write(output.file("_SUCCESS"), "job_6").unwrap();
    fs::remove_file(temporary_dir(&output.path(), JOB).join(&output.parts[1].0)).unwrap();
    let before = output.content();
    let error = output.publish(true).await.unwrap_err();
    assert!(matches!(&error, FormatError::Missing { url } if url.ends_with("attempt-1")), "{error}");
    assert_eq!(output.content(), before);
}

#[tokio::test]
async fn a_failed_jobs_leftovers_do_not_stand_in_the_way_and_another_jobs_are_kept() {
    let output = Output::new();
    let other = parts(&output.path(), JobId(8));
    check_output(&output.path(), false).await.unwrap();
    output.publish(false).await.unwrap();
    assert!(other.iter().all(|(name, _)| temporary_dir(&output.path(), JobId(8)).join(name).exists()));
    assert!(matches!(
        publish(&described(&output.path(), false, NONCE), JobId(8), &other).await,
        Err(FormatError::OutputExists { .. })
    ));
    publish(&described(&output.path(), true, NONCE), JobId(8), &other).await.unwrap();
    assert_eq!(output.content()["part-2"], "job_8 2");
    assert!(!output.file("_temporary").exists());
}

#[tokio::test]
async fn two_masters_publish_one_job_at_once() {
    for _ in 0..50 {
        let output = Output::new();
        fs::write(output.file("old"), "old").unwrap();
        let (first, second) = tokio::join!(output.publish(true), output.publish(true));
        // Either may find that the other was faster; repeating it is what a master does then.
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        output.publish(true).await.unwrap();
        output.assert_published();
    }
}

#[tokio::test]
async fn what_was_published_is_named_and_what_failed_leaves_nothing() {
    let output = Output::new();
    assert!(matches!(published(&output.path()), Err(FormatError::Missing { .. })), "not yet");
    output.publish(false).await.unwrap();
    let url = format!("file://{}/", output.path());
    assert_eq!(published(&url).unwrap()[1..], ["part-1", "part-2"].map(|name| format!("{url}{name}")));
    parts(&output.path(), JobId(8));
    for _ in 0..2 {
        discard(&described(&output.path(), false, NONCE), JobId(8)).await.unwrap();
        assert!(!output.file("_temporary").exists());
    }
}

#[tokio::test]
async fn a_job_without_parts_has_an_output() {
    let output = Output { dir: tempfile::tempdir().unwrap(), parts: Vec::new() };
    output.publish(false).await.unwrap();
    assert_eq!(output.content().keys().collect::<Vec<_>>(), ["_SUCCESS"]);
}

#[tokio::test]
async fn names_that_would_lose_a_part_are_refused() {
    for name in ["part-0", "../x", "_hidden", ""] {
        let mut output = Output::new();
        output.parts[2].1 = name.to_owned();
        let error = output.publish(true).await.unwrap_err();
        assert!(matches!(error, FormatError::Unsuitable { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_output_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    for overwrite in [false, true] {
        let error = check_output(&path, overwrite).await.unwrap_err().to_string();
        assert!(error.contains(&path), "{error}");
    }
    assert!(check_output("ftp://host/x", false).await.unwrap_err().to_string().contains("not supported"));
}
