//! Sorts the lines of text files by their first ten bytes, into a directory whose files one behind the other are
//! sorted:
//!
//! ```text
//! cargo run --release --example sort -- OUTPUT FILES
//! ```
//!
//! How long the job took goes to standard error. `CLUSTER=DIRECTORY` in the environment keeps what is in between on that
//! disk and synced, so that the job could be carried on after a crash of the machine.

use std::{path::PathBuf, time::Instant};

use mapreduce::{
    LocalOptions,
    native::{Emit, Input, Job, Line, Mapper, Output, Record, Reducer, Results, Session, UserError, Values},
};

/// Bytes of a line that it is sorted by.
const KEY_BYTES: usize = 10;

#[derive(Clone)]
struct ByKey;

impl Mapper for ByKey {
    type Key = Vec<u8>;
    type Value = Vec<u8>;

    fn map(&mut self, line: Record<'_>, emit: &mut Emit<'_, Vec<u8>, Vec<u8>>) -> Result<(), UserError> {
        let line = line.bytes();
        let (key, rest) = line.split_at(line.len().min(KEY_BYTES));
        emit.emit_ref(key, rest);
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Lines {
    line: Vec<u8>,
}

impl Reducer for Lines {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Output = Line;

    fn reduce(
        &mut self,
        key: &Vec<u8>,
        values: &mut Values<Vec<u8>>,
        results: &mut Results<'_, Line>,
    ) -> Result<(), UserError> {
        while let Some(rest) = values.next_ref() {
            self.line.clear();
            self.line.extend_from_slice(key);
            self.line.extend_from_slice(rest);
            results.push_ref(&self.line);
        }
        Ok(())
    }
}

fn main() -> Result<(), UserError> {
    let job = Job::new(ByKey, Lines::default()).serve_if_asked();
    let mut arguments = std::env::args().skip(1);
    let (Some(output), files) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        return Err("give the output directory, then the files to sort".into());
    };
    if files.is_empty() {
        return Err("give the output directory, then the files to sort".into());
    }
    let directory = std::env::var_os("CLUSTER").map(PathBuf::from);
    let options = LocalOptions { n_workers: 2, n_masters: 1, directory, ..LocalOptions::default() };
    let session = Session::start(options)?;
    let began = Instant::now();
    job.sorted(8).run(&session, Input::text(files), Some(Output::text(output)))?;
    eprintln!("sorted in {:.3} s", began.elapsed().as_secs_f64());
    Ok(())
}
