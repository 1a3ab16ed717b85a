//! One attempt at a task: how it ends, what it leaves, and whose fault a failure is.

use super::*;

#[test]
fn a_task_that_is_committed_is_not_run_again() {
    let world = World::new(&words(&["a", "b"]), 1);
    let mut executor = world.executor();
    assert_eq!(executor.run_task(&assignment(MAP, 1)), Outcome::Committed);
    // The same attempt, asked for again after its report was lost, and another one.
    assert_eq!(executor.run_task(&assignment(MAP, 1)), Outcome::Committed);
    assert_eq!(executor.run_task(&assignment(MAP, 2)), Outcome::Superseded);
    let other = AttemptId { epoch: Epoch(1), number: 2 };
    assert!(!world.exists(&paths::attempt_output(JOB, MAP, other)));
}

#[test]
fn the_loser_of_a_race_deletes_its_own_data_and_nothing_else() {
    let world = World::split(&many(), SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    let store = world.store.clone();
    // Another attempt commits while this one maps.
    let rival = move || {
        let load = Box::new(|_: &JobSpec, _: &[u8], _: &SideInputs| {
            Ok(Box::new(Words::default()) as Box<dyn UserCode>)
        });
        let mut rival = Executor::new(resources(&store, 1), Arc::new(SystemClock::default()), load);
        assert_eq!(rival.run_task(&assignment(MAP, 1)), Outcome::Committed);
    };
    let load = Box::new(move |_: &JobSpec, _: &[u8], _: &SideInputs| Ok(after(rival.clone())));
    let mut slow = Executor::new(resources(&world.store, 1), Arc::new(SystemClock::default()), load);
    assert_eq!(slow.run_task(&assignment(MAP, 2)), Outcome::Superseded);
    let output = |number| paths::attempt_output(JOB, MAP, AttemptId { epoch: Epoch(1), number });
    assert!(world.exists(&output(1)));
    assert!(!world.exists(&output(2)));
}

#[test]
fn what_is_small_is_in_the_marker_and_no_object_is_made() {
    let world = World::new(&words(&["ab", "ac", "b"]), 1);
    world.run(&mut world.executor());
    let find = |task| world.runtime.block_on(marker(&world.store, JOB, task)).unwrap().unwrap();
    for marker in [find(MAP), find(REDUCE)] {
        let [file] = marker.files.as_slice() else { panic!("{marker:?}") };
        assert_eq!(file.content.as_ref().unwrap().0.len() as u64, file.length);
        assert!(!world.exists(&paths::attempt_output(JOB, marker.task, marker.attempt)));
    }
    assert_eq!(world.result(), reference(&words(&["ab", "ac", "b"])));
}

#[test]
fn a_marker_says_what_the_task_read_and_wrote() {
    let world = World::new(&words(&["ab", "ac", "b"]), 1);
    world.run(&mut world.executor());
    let find = |task| world.runtime.block_on(marker(&world.store, JOB, task)).unwrap().unwrap();
    // Each says what was its own, though one executor ran them one after another.
    for index in 0..3 {
        let map = find(TaskId { index, ..MAP });
        assert_eq!((map.records_in, map.records_out, &map.input_manifest), (1, 1, &None));
    }
    let reduce = find(REDUCE);
    assert_eq!((reduce.records_in, reduce.records_out), (3, 2));
    let manifest: Option<Manifest> = world
        .runtime
        .block_on(mapreduce_storage::read(&world.store, &paths::manifest(JOB, Stage::Map)))
        .unwrap();
    assert_eq!(reduce.input_manifest, manifest.map(|manifest| manifest.digest()));
}

#[test]
fn failures_are_typed_and_leave_no_marker() {
    let world = World::new(&words(&["bad"]), 1);
    let mut executor = world.executor();
    let failed = failure(executor.run_task(&assignment(MAP, 1)));
    assert_eq!((failed.what, failed.record.as_deref()), (FailureKind::NotAPair, Some("bad")));
    // Reducers read what the manifest names, and there is none yet.
    assert_eq!(failure(executor.run_task(&assignment(REDUCE, 1))).what, FailureKind::BadData);
    let beyond = TaskId { stage: Stage::Map, index: 9 };
    assert_eq!(failure(executor.run_task(&assignment(beyond, 1))).what, FailureKind::BadData);
    assert!(world.runtime.block_on(markers(&world.store, JOB, Stage::Map)).unwrap().is_empty());
}

#[test]
fn damaged_map_output_and_code_are_noticed() {
    let world = World::split(&many(), SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    let mut executor = world.executor();
    for task in world.plan.tasks(Stage::Map) {
        assert_eq!(executor.run_task(&assignment(task, 1)), Outcome::Committed);
    }
    world.seal(Stage::Map);
    let path = paths::attempt_output(JOB, MAP, AttemptId { epoch: Epoch(1), number: 1 });
    world.runtime.block_on(async {
        let mut bytes = world.store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[20] ^= 1;
        world.store.put(&path, bytes.into()).await.unwrap();
    });
    let failed = failure(executor.run_task(&assignment(REDUCE, 1)));
    assert_eq!(failed.what, FailureKind::BadData);
    assert!(failed.message.contains("attempts/map/0"), "{}", failed.message);

    let code = paths::code(JOB, blake3::hash(b"code").to_hex().as_str());
    world.runtime.block_on(world.store.put(&code, b"other".as_slice().into())).unwrap();
    let failed = failure(world.executor().run_task(&assignment(REDUCE, 1)));
    assert_eq!(failed.what, FailureKind::BadData);
    assert!(failed.message.contains("digest"), "{}", failed.message);
}

fn executor_with(resources: Resources) -> Executor {
    let load =
        Box::new(|_: &JobSpec, _: &[u8], _: &SideInputs| Ok(Box::new(Words::default()) as Box<dyn UserCode>));
    Executor::new(resources, Arc::new(SystemClock::default()), load)
}

/// Its output is complete, and nobody will ever name it: on a full disk, the next attempt needs the room.
#[test]
fn an_attempt_whose_marker_finds_no_room_takes_its_output_away() {
    let world = World::split(&many(), SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    let full = Faulty::over(&world.store, &[Fault::None, Fault::NoRoom, Fault::NoRoom, Fault::NoRoom], &[]);
    let mut executor = executor_with(resources(&full, 1 << 20));
    let failed = failure(executor.run_task(&assignment(MAP, 1)));
    assert_eq!(failed.what, FailureKind::Storage);
    assert!(failed.message.contains("storage is full"), "{}", failed.message);
    let output = |number| paths::attempt_output(JOB, MAP, AttemptId { epoch: Epoch(1), number });
    assert!(!world.exists(&output(1)));
    assert_eq!(executor.run_task(&assignment(MAP, 2)), Outcome::Committed);
    assert!(world.exists(&output(2)));
}

#[test]
fn what_keeps_an_output_from_being_taken_away_does_not_hide_that_the_disk_is_full() {
    let world = World::split(&many(), SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    let full = Faulty::over(&world.store, &[Fault::None, Fault::NoRoom, Fault::NoRoom, Fault::Stuck], &[]);
    let failed = failure(executor_with(resources(&full, 1 << 20)).run_task(&assignment(MAP, 1)));
    assert!(failed.message.contains("storage is full"), "{}", failed.message);
}

#[test]
fn an_attempt_that_goes_on_without_a_side_input_fails_and_takes_its_output_away() {
    let world = World::split(&many(), SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    world.runtime.block_on(async {
        let path = paths::spec(JOB);
        let mut spec: JobSpec = mapreduce_storage::read(&world.store, &path).await.unwrap().unwrap();
        spec.side_inputs.insert("absent".to_owned(), blake3::hash(b"absent").to_hex().to_string());
        world.store.delete(&path).await.unwrap();
        create(&world.store, &path, &spec).await.unwrap();
    });
    let load = Box::new(|_: &JobSpec, _: &[u8], side: &SideInputs| {
        let side = side.clone();
        Ok(after(move || drop(side.open("absent"))))
    });
    let scratch = tempfile::tempdir().unwrap();
    let resources = Resources::local(world.store.clone(), 1, scratch.path().to_owned());
    let mut executor = Executor::new(resources, Arc::new(SystemClock::default()), load);
    let failed = failure(executor.run_task(&assignment(MAP, 1)));
    assert!(failed.message.contains("is not in storage"), "{}", failed.message);
    let output = paths::attempt_output(JOB, MAP, AttemptId { epoch: Epoch(1), number: 1 });
    assert!(!world.exists(&output));
}

/// It may appear yet, so what it names must stay.
#[test]
fn an_attempt_whose_marker_is_in_doubt_leaves_its_output() {
    let world = World::split(&many(), SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    let lost =
        Faulty::over(&world.store, &[Fault::None, Fault::NoRoom, Fault::RequestLost, Fault::NoRoom], &[]);
    let failed = failure(executor_with(resources(&lost, 1 << 20)).run_task(&assignment(MAP, 1)));
    assert_eq!(failed.what, FailureKind::Storage);
    let output = paths::attempt_output(JOB, MAP, AttemptId { epoch: Epoch(1), number: 1 });
    assert!(world.exists(&output));
}

#[test]
fn scratch_space_that_can_not_be_used_is_the_fault_of_the_machine() {
    let world = World::new(&words(&["a", "b"]), 1);
    let resources = Resources::local(world.store.clone(), 0, PathBuf::from("/absent"));
    let failed = failure(executor_with(resources).run_task(&assignment(MAP, 1)));
    assert_eq!(failed.what, FailureKind::Storage);
    assert!(failed.message.contains("scratch space in /absent"), "{}", failed.message);
}
