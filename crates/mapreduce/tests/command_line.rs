//! The program as people run it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::process::{Output, Stdio};

use mapreduce::LocalCluster;
use support::{Scene, living};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// One clear line, and the exit code of an error.
fn error(output: &Output) -> String {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[tokio::test]
async fn commands_find_the_cluster_and_check_who_asks() {
    let scene = Scene::new();
    assert!(error(&scene.run(&["jobs"])).contains("no local cluster runs"));

    let mut cluster = LocalCluster::start(scene.options(1, 1)).await.unwrap();
    let jobs = scene.run(&["jobs"]);
    assert_eq!(text(&jobs.stdout).split_whitespace().next(), Some("JOB"), "{}", text(&jobs.stderr));
    assert!(jobs.status.success());
    for command in [["status", "job_7"], ["history", "job_7"], ["cancel", "job_7"]] {
        assert!(error(&scene.run(&command)).contains("there is no job_7"), "{command:?}");
    }

    let refused = scene.command(&["jobs"]).env("MAPREDUCE_PASSWORD", "wrong").output().unwrap();
    assert!(error(&refused).contains("wrong password"));
    assert!(
        error(&scene.run(&["kill", "worker-000000000001", "--username", "eve"])).contains("unknown user")
    );

    let (masters, workers) = living(cluster.urls()).await;
    cluster.kill(&masters).await.unwrap();
    assert!(scene.run(&["jobs"]).status.success(), "it works with no master alive");
    let killed = scene.run(&["kill", workers[0].as_str()]);
    assert!(killed.status.success(), "{}", text(&killed.stderr));
    assert_eq!(living(cluster.urls()).await, (vec![], vec![]));
    assert!(error(&scene.run(&["kill", workers[0].as_str()])).contains("no living master or worker"));
    cluster.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn two_clusters_do_not_disturb_each_other() {
    let scene = Scene::new();
    let mut one = LocalCluster::start(scene.options(1, 1)).await.unwrap();
    let mut two = LocalCluster::start(scene.options(1, 2)).await.unwrap();
    let several = error(&scene.run(&["jobs"]));
    for cluster in [&one, &two] {
        let directory = cluster.directory().to_str().unwrap();
        assert!(several.contains(directory), "{several}");
        assert!(scene.run(&["jobs", "--directory", directory]).status.success());
    }

    let (_, workers) = living(two.urls()).await;
    assert!(scene.run(&["kill", workers[0].as_str(), workers[1].as_str()]).status.success());
    assert_eq!(living(two.urls()).await.1, vec![]);
    one.shutdown(true).await.unwrap();
    assert_eq!(living(two.urls()).await.0.len(), 1);
    assert!(scene.run(&["jobs"]).status.success(), "one is left, so it is the one");
    two.shutdown(true).await.unwrap();
    assert_eq!(scene.processes(), Vec::<String>::new());
}

#[test]
fn wrong_usage_is_told_from_errors() {
    let scene = Scene::new();
    for usage in [
        vec!["jobs", "--password", "x"],
        vec!["status", "7"],
        vec!["kill"],
        vec!["worker", "--slots", "0"],
        vec!["master"],
    ] {
        assert_eq!(scene.run(&usage).status.code(), Some(2), "{usage:?}");
    }
    let elsewhere = scene.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let error = error(&scene.run(&["jobs", "--directory", elsewhere.to_str().unwrap()]));
    assert!(error.contains("no cluster's directory"), "{error}");
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0, "looking made nothing");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let scene = Scene::new();
    let mut cluster = LocalCluster::start(scene.options(1, 0)).await.unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = scene.command(&["jobs"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
    cluster.shutdown(true).await.unwrap();
}
