//! A native job with side inputs, several inputs and counters, in a program that is its own cluster and its own executor. So it
//! has no test harness: the process that `cargo test` starts runs the program once more, in a home of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use mapreduce::native::{
    Context, Emit, Input, Job, Mapper, NativeError, Record, Reducer, Results, Session, Sum, UserError, Values,
};
use mapreduce_core::Settings;

/// What tells the program that it is to run the checks.
const CHECKS: &str = "run-the-checks";

/// Pairs of a word and the number of the input it is from.
#[derive(Clone, Default)]
struct Words {
    /// A directory that all processes of the job see.
    directory: PathBuf,
}

impl Mapper for Words {
    type Key = String;
    type Value = u64;

    fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
        self.directory = String::from_utf8(context.side_input("directory")?)?.into();
        let started = self.directory.join(format!("{}", std::process::id()));
        fs::File::create_new(started).map_err(|e| format!("started twice in one process: {e}"))?;
        Ok(())
    }

    fn map(&mut self, record: Record<'_>, emit: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
        let word = record.text()?;
        emit.count("records", 1);
        emit.count("characters", word.len() as i64);
        // The first attempt at the task fails, or its process dies, after it has counted.
        if word == "raise once" && self.is_first(word)? {
            return Err("it was told to".into());
        }
        if word == "die once" && self.is_first(word)? {
            std::process::exit(1);
        }
        emit.emit(word, record.input() as u64);
        Ok(())
    }
}

impl Words {
    /// Whether no process of the job has asked this before.
    fn is_first(&self, word: &str) -> Result<bool, UserError> {
        match fs::File::create_new(self.directory.join(word)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => Ok(made.map(|_| true)?),
        }
    }
}

/// Which inputs a word is in, behind a text that all results have in common.
#[derive(Clone, Default)]
struct Inputs {
    before: String,
}

impl Reducer for Inputs {
    type Key = String;
    type Value = u64;
    type Output = String;

    fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
        self.before = String::from_utf8(context.side_input("before")?)?;
        assert_ne!(self.before, "panic", "it was told to");
        Ok(())
    }

    fn reduce(
        &mut self,
        _: &String,
        values: &mut Values<u64>,
        results: &mut Results<'_, String>,
    ) -> Result<(), UserError> {
        results.count("words", 1);
        results.count("records", 0);
        let inputs: Vec<String> = values.map(|input| input.to_string()).collect();
        results.push(format!("{}{}", self.before, inputs.join(",")));
        Ok(())
    }
}

type TestJob = Job<Words, mapreduce::native::NoCombiner, Inputs>;

fn main() {
    let job = Job::new(Words::default(), Inputs::default()).serve_if_asked();
    if std::env::args().nth(1).is_some_and(|first| first == CHECKS) {
        return check(&job);
    }
    let home = tempfile::tempdir().unwrap();
    let mut checks = Command::new(std::env::current_exe().unwrap());
    let status = checks.arg(CHECKS).env("MAPREDUCE_HOME", home.path()).status().unwrap();
    assert!(status.success(), "{status}");
}

fn check(job: &TestJob) {
    let session = Session::local(2).unwrap();
    for check in [
        parts_read_side_inputs_and_records_tell_their_input,
        a_part_that_does_not_start_is_told,
        counters_are_exact_although_tasks_are_tried_again,
        values_are_not_both_sorted_and_combined,
    ] {
        check(job, &session, tempfile::tempdir().unwrap().path());
    }
}

/// Two inputs of several tasks.
fn input(directory: &Path) -> Input {
    let words = |n: u32, each: u32| (0..n).map(|i| format!("word {}\n", i * each)).collect::<String>();
    fs::write(directory.join("by two.txt"), words(300, 2)).unwrap();
    fs::write(directory.join("by three.txt"), words(200, 3)).unwrap();
    let of = |name: &str| Input::text([directory.join(name).display().to_string()]);
    of("by two.txt").and(of("by three.txt")).split_bytes(500)
}

/// A directory for what processes tell.
fn told(directory: &Path) -> PathBuf {
    let told = directory.join("told");
    fs::create_dir(&told).unwrap();
    told
}

fn parts_read_side_inputs_and_records_tell_their_input(job: &TestJob, session: &Session, directory: &Path) {
    let told = told(directory);
    let job = job.clone().side_input("directory", told.display().to_string()).side_input("before", "in ");
    let done = job.run(session, input(directory), None).unwrap();
    let results: BTreeMap<String, String> = done.results().unwrap().map(Result::unwrap).collect();
    let inputs = |n| match (n % 2, n % 3) {
        (0, 0) => Some("in 0,1"),
        (0, _) => Some("in 0"),
        (_, 0) => Some("in 1"),
        _ => None,
    };
    let expected = (0..600).filter_map(|n| Some((format!("word {n}"), inputs(n)?.to_owned())));
    assert_eq!(results, expected.collect());
    let n_processes = fs::read_dir(told).unwrap().count();
    assert!((1..=2).contains(&n_processes), "{n_processes} processes served the job of two workers");
}

fn a_part_that_does_not_start_is_told(job: &TestJob, session: &Session, directory: &Path) {
    let told = told(directory);
    let input = input(directory);
    let why = |job: TestJob| match job.run(session, input.clone(), None).map(|done| done.job()) {
        Err(NativeError::Failed { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let settings = Settings { max_attempts: 1, ..Settings::default() };
    let job = job.clone().settings(settings).side_input("directory", told.display().to_string());
    let message = why(job.clone());
    assert!(
        message.contains("the reducer's start failed: the job has no side input \"before\""),
        "{message}"
    );
    let message = why(job.clone().side_input("before", "panic"));
    assert!(
        message.contains("the reducer's start failed") && message.contains("it was told to"),
        "{message}"
    );
    let sorted = job.sorted(2).run(session, input.clone(), None).map(|done| done.job());
    let message = sorted.unwrap_err().to_string();
    assert!(message.contains("no side input \"before\""), "{message}");
}

fn counters_are_exact_although_tasks_are_tried_again(job: &TestJob, session: &Session, directory: &Path) {
    let told = told(directory);
    let words = ["raise once", "word", "die once", "word"];
    let lines = words.map(|word| format!("{word}\n")).concat();
    fs::write(directory.join("words.txt"), &lines).unwrap();
    let input = Input::text([directory.join("words.txt").display().to_string()]);
    let settings = Settings { retry_exceptions: true, ..Settings::default() };
    let job = job.clone().settings(settings).side_input("directory", told.display().to_string());
    let done = job.side_input("before", "").run(session, input, None).unwrap();
    assert!(told.join("raise once").exists() && told.join("die once").exists());
    let counters = done.counters().unwrap();
    let characters = lines.len() - words.len();
    let expected = [("characters", characters as i64), ("records", words.len() as i64), ("words", 3)];
    assert_eq!(counters, expected.map(|(name, n)| (name.to_owned(), n)).into());
}

fn values_are_not_both_sorted_and_combined(job: &TestJob, session: &Session, directory: &Path) {
    // Settings say nothing of what the job is.
    let job = job.clone().sort_values().settings(Settings::default()).combiner(Sum::<String>::new());
    let run = job.run(session, input(directory), None).map(|done| done.job());
    assert!(matches!(run, Err(NativeError::SortsCombined)), "{run:?}");
}
