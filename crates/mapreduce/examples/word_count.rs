//! Counts the words of text files on a cluster that it starts on this machine:
//!
//! ```text
//! cargo run --release --example word_count -- FILES
//! ```
//!
//! `MEMORY_BYTES_MAX=...` in the environment limits the process of each task. How long the job took goes to standard
//! error.

use std::{
    io::{self, BufWriter, Write},
    time::Instant,
};

use mapreduce::{
    LocalOptions,
    native::{Emit, Input, Job, Mapper, Record, Session, Sum, UserError},
};

#[derive(Clone)]
struct Words;

impl Mapper for Words {
    type Key = String;
    type Value = u64;

    fn map(&mut self, line: Record<'_>, emit: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
        line.text()?.split_ascii_whitespace().for_each(|word| emit.emit(word, 1));
        Ok(())
    }
}

fn main() -> Result<(), UserError> {
    let job = Job::new(Words, Sum::new()).combiner(Sum::<String>::new()).serve_if_asked();
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        return Err("give the files whose words to count".into());
    }
    let memory_bytes_max = std::env::var("MEMORY_BYTES_MAX").ok().map(|bytes| bytes.parse()).transpose()?;
    let options = LocalOptions { n_workers: 2, n_masters: 1, memory_bytes_max, ..LocalOptions::default() };
    let session = Session::start(options)?;
    let began = Instant::now();
    let done = job.run(&session, Input::text(files), None)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for result in done.results()? {
        let (word, n) = result?;
        writeln!(out, "{word}\t{n}")?;
    }
    out.flush()?;
    eprintln!("counted in {:.3} s", began.elapsed().as_secs_f64());
    Ok(())
}
