//! The examples of native jobs, as a person runs them: each starts a cluster, whose processes it is itself, and is
//! its own executor.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Runs an example in a home of its own. `cargo test` has built it beside this program.
fn example(name: &str, home: &Path, arguments: &[impl AsRef<OsStr>]) -> Output {
    let mut program: PathBuf = std::env::current_exe().unwrap();
    program.pop();
    program.set_file_name("examples");
    Command::new(program.join(name)).args(arguments).env("MAPREDUCE_HOME", home).output().unwrap()
}

/// It succeeded, and said nothing to standard error but how long its job took.
fn check_quiet(done: &Output) {
    let told = String::from_utf8_lossy(&done.stderr);
    let time = |line: &str| line.contains("ed in ") && line.ends_with(" s");
    let rest: Vec<&str> = told.lines().filter(|line| !time(line)).collect();
    assert_eq!(rest, [""; 0]);
    assert!(done.status.success());
}

fn lines() -> Vec<String> {
    (0..20_000u64)
        .map(|n| format!("{:010} word{} is {}", n.wrapping_mul(7_919_777) % 999_983, n % 13, n % 7))
        .collect()
}

#[test]
fn words_are_counted() {
    let scratch = tempfile::tempdir().unwrap();
    for n in 0..3 {
        fs::write(scratch.path().join(format!("{n}.txt")), lines().join("\n")).unwrap();
    }
    let done = example("word_count", &scratch.path().join("home"), &[&scratch.path().join("*.txt")]);
    check_quiet(&done);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for word in lines().iter().flat_map(|line| line.split(' ')) {
        *expected.entry(word.to_owned()).or_default() += 3;
    }
    let expected: String = expected.iter().map(|(word, n)| format!("{word}\t{n}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
}

#[test]
fn lines_with_a_text_from_the_command_line_are_found() {
    let scratch = tempfile::tempdir().unwrap();
    let input = scratch.path().join("in.txt");
    fs::write(&input, lines().join("\n")).unwrap();
    let home = scratch.path().join("home");
    let done = example("grep", &home, &["word7 is 3", input.to_str().unwrap()]);
    check_quiet(&done);
    let mut expected: Vec<String> = lines().into_iter().filter(|line| line.contains("word7 is 3")).collect();
    expected.sort();
    assert!(expected.len() > 100);
    let found: String = expected.iter().map(|line| format!("1\t{line}\n")).collect();
    let expected = format!("{found}{} of 20000 lines\n", expected.len());
    assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
}

#[test]
fn values_are_sorted_within_their_key() {
    let scratch = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for file in 0..3u64 {
        let visit = |n: u64| ((n * 7_919 + file) % 10_007, n % 5, n % 11);
        let visits: Vec<_> = (0..3_000).map(visit).collect();
        let lines = visits.iter().map(|(time, user, page)| format!("{time} user{user} page{page}\n"));
        fs::write(scratch.path().join(format!("{file}.txt")), lines.collect::<String>()).unwrap();
        expected.extend(visits);
    }
    // Visits are in the order of time as a number, then of the page as a text.
    expected.sort_by_key(|(time, user, page)| (*user, *time, format!("page{page}")));
    let done = example("visits", &scratch.path().join("home"), &[&scratch.path().join("*.txt")]);
    check_quiet(&done);
    let expected: String =
        expected.iter().map(|(_, user, page)| format!("user{user}\tpage{page}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
}

#[test]
fn words_are_counted_by_hand_as_by_a_cluster() {
    let scratch = tempfile::tempdir().unwrap();
    let (input, home) = (scratch.path().join("in.txt"), scratch.path().join("home"));
    fs::write(&input, lines().join("\n")).unwrap();
    let [by_hand, by_cluster] = ["words_by_hand", "word_count"].map(|name| {
        let done = example(name, &home, &[&input]);
        check_quiet(&done);
        let mut lines: Vec<String> =
            String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    });
    assert_eq!(by_hand, by_cluster);
    assert!(by_hand.len() > 1000);
}

#[test]
fn lines_are_sorted_into_files_that_follow_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (scratch.path().join("in.txt"), scratch.path().join("out"));
    fs::write(&input, lines().join("\n")).unwrap();
    let home = scratch.path().join("home");
    let done = example("sort", &home, &[&output, &input]);
    check_quiet(&done);
    let mut parts: Vec<PathBuf> = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path()).collect();
    parts.sort();
    parts.retain(|part| !part.ends_with("_SUCCESS"));
    assert!(parts.len() > 4, "{parts:?}");
    let sorted: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
    let mut expected = lines();
    expected.sort_by(|a, b| a[..10].cmp(&b[..10]));
    assert_eq!(sorted.lines().collect::<Vec<_>>(), expected);

    let again = example("sort", &home, &[&output, &input]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("OutputExists"), "{again:?}");
}
