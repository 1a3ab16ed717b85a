//! Which files patterns mean.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{fs, os::unix::fs::symlink, path::Path};

use mapreduce_core::Compression;
use mapreduce_formats::{FormatError, find};
use tempfile::TempDir;

/// A directory of these files, each with its own name as content.
fn tree(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    dir
}

/// What `patterns`, below `dir`, find: names below `dir`, one behind the other.
async fn names(dir: &Path, patterns: &[&str]) -> Result<String, FormatError> {
    let patterns: Vec<String> = patterns.iter().map(|name| dir.join(name).display().to_string()).collect();
    let root = format!("file://{}/", dir.display());
    let found = find(&patterns, None).await?;
    let name = |file: &mapreduce_core::InputFile| file.url.strip_prefix(&root).unwrap().to_owned();
    Ok(found.iter().map(name).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn patterns_mean_files_in_order_and_none_twice() {
    let dir = tree(&[
        "b.txt",
        "a.txt",
        "c.csv",
        "sub/d.txt",
        "sub/deep/e.txt",
        "sub/deep/f.csv",
        "sub2/g.txt",
        "_SUCCESS",
        ".hidden",
        "_temporary/x.txt",
        "sub/.git/y.txt",
        "sub/_z.txt",
    ]);
    for (patterns, expected) in [
        (&["b.txt"][..], "b.txt"),
        (&["sub"], "sub/d.txt sub/deep/e.txt sub/deep/f.csv"),
        (&["sub/"], "sub/d.txt sub/deep/e.txt sub/deep/f.csv"),
        (&["."], "a.txt b.txt c.csv sub/d.txt sub/deep/e.txt sub/deep/f.csv sub2/g.txt"),
        (&["*.txt"], "a.txt b.txt"),
        (&["b.txt", "*.txt", "c.csv"], "b.txt a.txt c.csv"),
        (&["**/*.txt"], "a.txt b.txt sub/d.txt sub/deep/e.txt sub2/g.txt"),
        (&["**/deep/*.csv"], "sub/deep/f.csv"),
        (&["sub/**"], "sub/d.txt sub/deep/e.txt sub/deep/f.csv"),
        (&["sub/**/**/e.txt"], "sub/deep/e.txt"),
        (&["sub*"], "sub/d.txt sub/deep/e.txt sub/deep/f.csv sub2/g.txt"),
        (&["sub?/g.txt"], "sub2/g.txt"),
        (&["*/deep/[ef].{csv,dat}"], "sub/deep/f.csv"),
        (&["{c,a}.*"], "a.txt c.csv"),
        (&["[!a].txt"], "b.txt"),
        (&["sub2/../*.csv"], "c.csv"),
        (&["_SUCCESS", "_temp*/*"], "_SUCCESS _temporary/x.txt"),
        (&["sub/.git"], "sub/.git/y.txt"),
        (&[], ""),
    ] {
        assert_eq!(names(dir.path(), patterns).await.unwrap(), expected, "{patterns:?}");
    }
}

#[tokio::test]
async fn what_is_known_of_a_file_is_what_is_on_disk() {
    let dir = tree(&["a b#1?.txt.gz", "x.zst", "x.bz2", "x.lz4", "x.gz.txt", "part#7"]);
    let found = find(&[dir.path().display().to_string()], None).await.unwrap();
    let told: Vec<_> = found.iter().map(|file| (file.length, file.compression)).collect();
    assert_eq!(
        told,
        [
            (13, Compression::Gzip),
            (6, Compression::None),
            (5, Compression::Bzip2),
            (8, Compression::None),
            (5, Compression::Lz4),
            (5, Compression::Zstd),
        ]
    );
    assert!(found[0].url.ends_with("/a%20b%231%3F.txt.gz") && found[0].modified_ms > 1_600_000_000_000);
    // A URL that was found finds the same again.
    let urls: Vec<String> = found.iter().map(|file| file.url.clone()).collect();
    assert_eq!(find(&urls, None).await.unwrap(), found);
    let zstd = find(&urls, Some(Compression::Zstd)).await.unwrap();
    assert!(zstd.iter().all(|file| file.compression == Compression::Zstd));
}

#[tokio::test]
async fn a_path_that_exists_is_no_pattern() {
    let dir = tree(&["[x].txt", "x.txt", "{a,b}/c", "*"]);
    assert_eq!(names(dir.path(), &["[x].txt"]).await.unwrap(), "[x].txt");
    assert_eq!(names(dir.path(), &["{a,b}"]).await.unwrap(), "%7Ba,b%7D/c");
    assert_eq!(names(dir.path(), &["*"]).await.unwrap(), "*");
}

#[tokio::test]
async fn a_pattern_without_a_file_is_an_error_that_names_it() {
    let dir = tree(&["a.txt", "hidden/_x"]);
    fs::create_dir(dir.path().join("empty")).unwrap();
    for pattern in ["*.csv", "gone", "gone/*", "empty", "hidden", "a.txt/*", "a.txt/**"] {
        let error = names(dir.path(), &["a.txt", pattern]).await.unwrap_err();
        assert!(matches!(error, FormatError::NoMatch { .. } | FormatError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains(pattern), "{error}");
    }
    for pattern in ["[a", "{a/b,c}.txt"] {
        let error = names(dir.path(), &[pattern]).await.unwrap_err();
        assert!(
            matches!(error, FormatError::Pattern { .. }) && error.to_string().contains(pattern),
            "{error}"
        );
    }
    assert!(matches!(find(&["ftp://host/*".to_owned()], None).await, Err(FormatError::Url { .. })));
}

#[tokio::test]
async fn links_are_followed_and_never_in_circles() {
    let dir = tree(&["real/a.txt"]);
    symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    assert_eq!(names(dir.path(), &["."]).await.unwrap(), "link/a.txt real/a.txt");
    symlink("nowhere", dir.path().join("broken")).unwrap();
    let error = names(dir.path(), &["*"]).await.unwrap_err();
    assert!(matches!(&error, FormatError::Missing { url } if url.ends_with("broken")), "{error}");
    assert_eq!(
        names(dir.path(), &["*/*.txt"]).await.map_err(|error| error.to_string()),
        Err(error.to_string())
    );
    fs::remove_file(dir.path().join("broken")).unwrap();
    symlink(dir.path(), dir.path().join("real/up")).unwrap();
    let error = names(dir.path(), &["real"]).await.unwrap_err().to_string();
    assert!(error.contains("real/up") && error.contains("leads back"), "{error}");
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused() {
    let error = find(&["/dev/null".to_owned()], None).await.unwrap_err().to_string();
    assert!(error.contains("/dev/null") && error.contains("no regular file"), "{error}");
}

#[tokio::test]
async fn many_directories_are_listed() {
    let owned: Vec<String> = (0..300).map(|n| format!("{:02}/{n:03}/f", n % 17)).collect();
    let dir = tree(&owned.iter().map(String::as_str).collect::<Vec<_>>());
    let found = names(dir.path(), &["**/f"]).await.unwrap();
    let mut expected = owned;
    expected.sort();
    assert_eq!(found, expected.join(" "));
}

#[tokio::test]
async fn names_need_not_be_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let dir = tree(&[]);
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff.txt")), "x").unwrap();
    assert_eq!(names(dir.path(), &["*.txt"]).await.unwrap(), "%FF.txt");
    let url = format!("file://{}/%FF.txt", dir.path().display());
    assert_eq!(find(std::slice::from_ref(&url), None).await.unwrap()[0].url, url);
}
