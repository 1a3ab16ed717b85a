//! The pages that each user has visited, in the order of time, of files whose lines are `time user page`:
//!
//! ```text
//! cargo run --release --example visits -- FILES
//! ```
//!
//! The engine sorts the visits of a user, so they may be more than memory holds.

use std::io::{self, BufWriter, Write};

use mapreduce::native::{Emit, Input, Job, Mapper, Record, Reducer, Results, Session, UserError, Values};

type Visit = (u64, String);

#[derive(Clone)]
struct ByUser;

impl Mapper for ByUser {
    type Key = String;
    type Value = Visit;

    fn map(&mut self, line: Record<'_>, emit: &mut Emit<'_, String, Visit>) -> Result<(), UserError> {
        let fields: Vec<&str> = line.text()?.split(' ').collect();
        let [time, user, page] = fields[..] else { return Err("it is not `time user page`".into()) };
        emit.emit(user, (time.parse()?, page.to_owned()));
        Ok(())
    }
}

#[derive(Clone)]
struct Pages;

impl Reducer for Pages {
    type Key = String;
    type Value = Visit;
    type Output = String;

    fn reduce(
        &mut self,
        _: &String,
        visits: &mut Values<Visit>,
        results: &mut Results<'_, String>,
    ) -> Result<(), UserError> {
        // One result a visit: none of them waits for the others.
        visits.for_each(|(_, page)| results.push(page));
        Ok(())
    }
}

fn main() -> Result<(), UserError> {
    let job = Job::new(ByUser, Pages).sort_values().serve_if_asked();
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        return Err("give the files to read".into());
    }
    let session = Session::local(2)?;
    let done = job.run(&session, Input::text(files), None)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for visit in done.results()? {
        let (user, page) = visit?;
        writeln!(out, "{user}\t{page}")?;
    }
    out.flush()?;
    Ok(())
}
