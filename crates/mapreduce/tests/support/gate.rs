//! Jobs that stop where a test wants them to: task `n` waits until the number in a file is greater than `n`.
#![allow(dead_code, reason = "not every test that includes this file uses all of it")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

use mapreduce::native::{
    Context, Emit, Input, Job, Mapper, NoCombiner, Output, Record, Session, Sum, UserError,
};
use mapreduce_core::{JobId, Settings};

use crate::by_hand::eventually_after;

/// Counts how often each word occurs.
pub type CountWords = Job<Gated, NoCombiner, Sum<String>>;

/// Of a line such as `000017 word 3`, the word.
#[derive(Clone, Default)]
pub struct Gated {
    gate: PathBuf,
}

impl Mapper for Gated {
    type Key = String;
    type Value = u64;

    fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
        self.gate = String::from_utf8(context.side_input("gate")?)?.into();
        Ok(())
    }

    fn map(&mut self, record: Record<'_>, emit: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
        let (n, word) = record.text()?.split_once(' ').ok_or("no number")?;
        while fs::read_to_string(&self.gate)?.parse::<usize>()? <= n.parse()? {
            sleep(Duration::from_millis(5));
        }
        emit.emit(word, 1);
        Ok(())
    }
}

/// The input of a job, one line for each task, and its gate, which is open to begin with.
pub struct Gate {
    gate: PathBuf,
    input: PathBuf,
    words: String,
    n_tasks: usize,
}

impl Gate {
    /// In this directory.
    pub fn new(directory: &Path, n_tasks: usize) -> Gate {
        static GATES: AtomicU32 = AtomicU32::new(0);
        let n = GATES.fetch_add(1, Ordering::Relaxed);
        let words: String = (0..n_tasks).map(|n| format!("{n:09} word {}\n", n % 7)).collect();
        let (gate, input) = (directory.join(format!("gate-{n}")), directory.join(format!("words-{n}")));
        fs::write(&input, &words).unwrap();
        let gate = Gate { gate, input, words, n_tasks };
        gate.open();
        gate
    }

    /// Lets the tasks before `n` pass.
    pub fn open_until(&self, n: usize) {
        // Readers never see half of it.
        let new = self.gate.with_extension("new");
        fs::write(&new, n.to_string()).unwrap();
        fs::rename(&new, &self.gate).unwrap();
    }

    pub fn open(&self) {
        self.open_until(self.n_tasks);
    }

    /// Runs the job on one worker at a time, so that there is one for others, and checks its result.
    pub fn start(&self, job: &CountWords, session: &Arc<Session>) -> Running {
        let (job, input) = self.at(job, self.input.display().to_string());
        let (session, words) = (session.clone(), self.words.clone());
        let thread = thread::spawn(move || {
            let done = job.run(&session, input, None).unwrap();
            check(done.results().unwrap().map(Result::unwrap), &words);
            done.job()
        });
        Running { thread, n_tasks: self.n_tasks }
    }

    /// The same, with files that are elsewhere: the input's, which holds [`words`](Self::words), and the output's.
    pub fn start_with_files(
        &self,
        job: &CountWords,
        session: &Arc<Session>,
        input: String,
        output: String,
    ) -> Running {
        let (job, input) = self.at(job, input);
        let session = session.clone();
        let thread =
            thread::spawn(move || job.run(&session, input, Some(Output::text(output))).unwrap().job());
        Running { thread, n_tasks: self.n_tasks }
    }

    /// The input.
    pub fn words(&self) -> &str {
        &self.words
    }

    fn at(&self, job: &CountWords, input: String) -> (CountWords, Input) {
        let split_bytes = (self.words.len() / self.n_tasks) as u64;
        let settings = Settings { requested_n_workers: Some(1), ..Settings::default() };
        let job = job.clone().settings(settings).side_input("gate", self.gate.display().to_string());
        (job, Input::text([input]).split_bytes(split_bytes))
    }

    /// The same, to its end.
    pub fn run(&self, job: &CountWords, session: &Arc<Session>) -> JobId {
        self.start(job, session).end()
    }
}

/// Compares what was counted with what is to be.
pub fn check(counted: impl IntoIterator<Item = (String, u64)>, words: &str) {
    let counted: Vec<_> = counted.into_iter().collect();
    let mut expected = BTreeMap::new();
    for line in words.lines() {
        *expected.entry(line.split_once(' ').unwrap().1.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counted.len(), expected.len(), "each once");
    assert_eq!(BTreeMap::from_iter(counted), expected);
}

/// A job that was submitted. When it is dropped, nobody waits for it: a test that fails must not hang.
pub struct Running {
    thread: JoinHandle<JobId>,
    n_tasks: usize,
}

impl Running {
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub fn end(self) -> JobId {
        eventually_after("the job ends", 2400 + self.n_tasks, || self.has_ended().then_some(()));
        self.thread.join().unwrap()
    }
}
