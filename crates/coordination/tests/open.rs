//! Opening a store: what is accepted, what is made, and what the errors say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, their helpers too, fail by panicking"
)]

use std::{fs, os::unix::fs::PermissionsExt};

use mapreduce_coordination::open;

const ACCEPTED: &str = "accepted: sqlite:///absolute/directory, zookeeper://host:port,host:port/path, \
                        etcd://host:port,host:port/path";

async fn refusal(url: &str) -> String {
    open(url, None).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_bad_url_is_named_together_with_what_is_accepted() {
    for url in
        ["", "/tmp/x", "zookeeper://a", "etcd://a", "sqlite:/tmp/x", "sqlite://relative/path", "sqlite://"]
    {
        let text = refusal(url).await;
        assert!(text.contains(&format!("at {url} ")) && text.contains(ACCEPTED), "{text}");
    }
}

#[tokio::test]
async fn a_place_that_is_no_directory_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below")] {
        let text = refusal(&format!("sqlite://{}", place.display())).await;
        assert!(text.contains(place.to_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn another_schema_version_or_another_file_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().display());
    drop(open(&url, None).await.unwrap());
    let file = directory.path().join("coordination.db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let text = refusal(&url).await;
    assert!(text.contains("schema version 99") && text.contains(&url), "{text}");

    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("coordination.db"), "my diary").unwrap();
    let text = refusal(&format!("sqlite://{}", foreign.path().display())).await;
    assert!(text.contains("not a database"), "{text}");
    assert_eq!(fs::read(foreign.path().join("coordination.db")).unwrap(), b"my diary");
}

#[tokio::test]
async fn what_is_made_is_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    drop(open(&format!("sqlite://{}", directory.display()), None).await.unwrap());
    let mode = |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(""), mode("sessions"), mode("coordination.db"), mode("bell")),
        (0o700, 0o700, 0o600, 0o600)
    );
}
