//! Local clusters with real processes: what starts, what ends, and that nothing is left.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{fs, os::unix::process::CommandExt, process::Stdio};

use mapreduce::{ClusterError, LocalCluster, keeper::KeeperOptions};
use mapreduce_core::{Incarnation, Role};
use rustix::process::{Signal, kill_process, kill_process_group};
use support::{Scene, living, pid_of, until};

#[tokio::test]
async fn a_cluster_starts_scales_and_leaves_nothing_behind() {
    let scene = Scene::new();
    let mut cluster = LocalCluster::start(scene.options(1, 2)).await.unwrap();
    let directory = cluster.directory().to_owned();
    let (masters, first_workers) = living(cluster.urls()).await;
    assert_eq!((masters.len(), first_workers.len()), (1, 2));
    assert!(scene.processes().len() >= 4, "the keeper and three more: {:?}", scene.processes());
    assert_eq!(scene.registered(), 1);

    cluster.scale(Some(4), Some(2)).await.unwrap();
    let (two_masters, four_workers) = living(cluster.urls()).await;
    assert_eq!((two_masters.len(), four_workers.len()), (2, 4));

    cluster.scale(Some(2), None).await.unwrap();
    assert_eq!(living(cluster.urls()).await, (two_masters, first_workers), "the youngest workers went");

    cluster.scale(Some(0), Some(1)).await.unwrap();
    assert_eq!(living(cluster.urls()).await, (masters, vec![]));
    let refused = cluster.scale(None, Some(0)).await.unwrap_err();
    assert_eq!(refused.to_string(), "n_masters must be between 1 and 1000, not 0");

    cluster.shutdown(true).await.unwrap();
    assert_eq!(scene.processes(), Vec::<String>::new());
    assert_eq!(scene.registered(), 0);
    assert!(!directory.exists());
    cluster.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn killing_takes_those_named_and_scaling_replaces_them() {
    let scene = Scene::new();
    scene.executors_start_daemons();
    let mut cluster = LocalCluster::start(scene.options(2, 3)).await.unwrap();
    let (masters, workers) = living(cluster.urls()).await;

    let stranger = Incarnation::new(Role::Worker, 1);
    let unknown = cluster.kill(&[workers[0].clone(), stranger.clone()]).await.unwrap_err().to_string();
    assert!(unknown.contains(stranger.as_str()) && unknown.contains(workers[0].as_str()), "{unknown}");
    assert_eq!(living(cluster.urls()).await.1.len(), 3, "nobody was killed");

    let storm: Vec<_> = workers.iter().chain(&masters[..1]).cloned().collect();
    cluster.kill(&storm).await.unwrap();
    assert_eq!(living(cluster.urls()).await, (masters[1..].to_vec(), vec![]));
    cluster.kill(&masters[1..]).await.unwrap();
    assert_eq!(living(cluster.urls()).await, (vec![], vec![]), "it is seen with no master alive");

    cluster.scale(Some(2), Some(1)).await.unwrap();
    let (new_masters, new_workers) = living(cluster.urls()).await;
    assert_eq!((new_masters.len(), new_workers.len()), (1, 2));
    cluster.shutdown(true).await.unwrap();
    assert_eq!(scene.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_has_one_cluster_at_a_time_and_keeps_its_state() {
    let scene = Scene::new();
    let directory = scene.path("state");
    let options = || mapreduce::LocalOptions { directory: Some(directory.clone()), ..scene.options(1, 1) };
    let mut cluster = LocalCluster::start(options()).await.unwrap();
    let refused = LocalCluster::start(options()).await.unwrap_err().to_string();
    assert!(refused.contains(directory.to_str().unwrap()), "{refused}");
    cluster.shutdown(false).await.unwrap();
    let key = fs::read_to_string(directory.join("cluster.key")).unwrap();
    assert!(!directory.join("keeper.lock").exists() && !directory.join("keeper.sock").exists());
    assert!(matches!(LocalCluster::attach(&directory).await, Err(ClusterError::NotRunning { .. })));

    let mut again = LocalCluster::start(options()).await.unwrap();
    assert_eq!(fs::read_to_string(directory.join("cluster.key")).unwrap(), key);
    fs::write(directory.join("mine.txt"), "not the cluster's").unwrap();
    again.shutdown(true).await.unwrap();
    let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine.txt"]);
    assert_eq!(scene.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn two_clusters_never_share_a_storage() {
    let scene = Scene::new();
    let storage = format!("file://{}", scene.path("storage").display());
    let options = |name: &str| mapreduce::LocalOptions {
        directory: Some(scene.path(name)),
        storage: Some(storage.clone()),
        ..scene.options(1, 0)
    };
    let mut first = LocalCluster::start(options("first")).await.unwrap();
    let refused = LocalCluster::start(options("second")).await.unwrap_err().to_string();
    let parts =
        [&format!("storage {storage} is used by cluster-"), first.directory().to_str().unwrap(), "second"];
    assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
    first.shutdown(false).await.unwrap();
    assert!(LocalCluster::start(options("second")).await.is_err(), "it may be carried on");

    let mut first = LocalCluster::start(options("first")).await.unwrap();
    first.shutdown(true).await.unwrap();
    assert_eq!(fs::read_dir(scene.path("first")).unwrap().count(), 0);
    let mut second = LocalCluster::start(options("second")).await.unwrap();
    second.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn stopped_processes_end_at_shutdown_too() {
    let scene = Scene::new();
    let mut cluster = LocalCluster::start(scene.options(2, 2)).await.unwrap();
    let (masters, workers) = living(cluster.urls()).await;
    for id in [&masters[0], &workers[0]] {
        kill_process(pid_of(&cluster, id).await, Signal::STOP).unwrap();
    }
    cluster.shutdown(true).await.unwrap();
    assert_eq!(scene.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn dropping_the_cluster_ends_it() {
    let scene = Scene::new();
    let cluster = LocalCluster::start(scene.options(1, 2)).await.unwrap();
    let directory = cluster.directory().to_owned();
    drop(cluster);
    scene.nothing_left(&directory).await;
}

#[tokio::test]
async fn a_killed_client_leaves_nothing_behind() {
    let scene = Scene::new();
    scene.executors_start_daemons();
    let options = scene.options(1, 0);
    let told = KeeperOptions {
        stores: mapreduce::Stores::default(),
        directory: None,
        users: scene.users(),
        slots_per_worker: 1,
        lease_ms: options.lease_ms,
        grace_ms: options.grace_ms,
        memory_bytes_max: None,
        keep_alive: false,
        python: options.python,
        verbose: false,
    };
    // The client is a shell; another process holds the keeper's standard input open after its death, as a
    // fork of the client may.
    let line = format!(
        "sleep 100000 | {} keeper '{}'",
        options.program.display(),
        serde_json::to_string(&told).unwrap()
    );
    let mut client = std::process::Command::new("/bin/sh")
        .args(["-c", &line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut first_line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(client.stdout.take().unwrap()), &mut first_line)
        .unwrap();
    let said: serde_json::Value = serde_json::from_str(&first_line).unwrap();
    let directory = std::path::PathBuf::from(said["cluster"]["directory"].as_str().unwrap());

    let cluster = LocalCluster::attach(&directory).await.unwrap();
    cluster.scale(Some(2), Some(1)).await.unwrap();
    assert!(directory.exists());
    let daemons = || scene.processes().iter().filter(|line| line.contains("/daemon\x00100000")).count();
    until("executors have started daemons", async || daemons() > 0).await;
    client.kill().unwrap();
    client.wait().unwrap();
    scene.nothing_left(&directory).await;
    let fork = rustix::process::Pid::from_raw(client.id().cast_signed()).unwrap();
    kill_process_group(fork, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_cluster_may_outlive_its_client() {
    let scene = Scene::new();
    let first = LocalCluster::start(mapreduce::LocalOptions { keep_alive: true, ..scene.options(1, 1) })
        .await
        .unwrap();
    let directory = first.directory().to_owned();
    drop(first);
    let mut second = LocalCluster::attach(&directory).await.unwrap();
    second.scale(Some(2), None).await.unwrap();
    assert_eq!(living(second.urls()).await.1.len(), 2);
    second.shutdown(false).await.unwrap();
    scene.nothing_left(&directory).await;
}

#[tokio::test]
async fn a_killed_keeper_takes_everything_with_it() {
    let scene = Scene::new();
    let directory = scene.path("state");
    let options = mapreduce::LocalOptions { directory: Some(directory.clone()), ..scene.options(1, 1) };
    let mut cluster = LocalCluster::start(options).await.unwrap();
    let entry = fs::read_dir(scene.path("home/clusters")).unwrap().next().unwrap().unwrap();
    let cluster_entry: serde_json::Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
    let keeper = i32::try_from(cluster_entry["keeper_pid"].as_i64().unwrap()).unwrap();
    kill_process(rustix::process::Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
    until("masters and workers are gone", async || {
        !scene.processes().iter().any(|line| line.contains("master\0") || line.contains("worker\0"))
    })
    .await;
    assert!(matches!(cluster.scale(Some(2), None).await, Err(ClusterError::NotRunning { .. })));
    let jobs = scene.run(&["jobs"]);
    assert_eq!(
        String::from_utf8_lossy(&jobs.stderr),
        "mapreduce: no local cluster runs: name one by --directory or --coordination\n"
    );
    assert_eq!(scene.registered(), 0, "the stale entry was removed");
    cluster.shutdown(true).await.unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[tokio::test]
async fn a_process_that_does_not_start_says_why() {
    let scene = Scene::new();
    let options =
        mapreduce::LocalOptions { users_url: Some("nowhere://users".to_owned()), ..scene.options(1, 0) };
    let error = LocalCluster::start(options).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::EndedEarly { log_tail, .. } if log_tail.contains("nowhere://users")),
        "{error}"
    );
    assert_eq!(scene.processes(), Vec::<String>::new());

    let program = scene.path("absent");
    let options = mapreduce::LocalOptions { program: program.clone(), ..scene.options(1, 0) };
    let error = LocalCluster::start(options).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Program { program: named, .. } if *named == program), "{error}");
    let error = LocalCluster::start(scene.options(0, 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "n_masters must be between 1 and 1000, not 0");
}

#[tokio::test]
async fn an_executor_that_does_not_start_is_an_error_of_the_start() {
    let scene = Scene::new();
    scene.executors_do_not_start();
    let error = LocalCluster::start(scene.options(1, 1)).await.unwrap_err().to_string();
    assert!(error.contains("the executor does not start"), "{error}");
    assert!(error.contains("there is no such module"), "{error}");
    assert_eq!(scene.processes(), Vec::<String>::new());
}
