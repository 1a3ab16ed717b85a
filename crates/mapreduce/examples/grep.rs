//! Finds the lines of text files that contain a text, and tells how often each is there. The text is a side input: a
//! program is started anew by the workers, without the arguments it was submitted with.
//!
//! ```text
//! cargo run --release --example grep -- TEXT FILES
//! ```

use std::io::{self, BufWriter, Write};

use mapreduce::native::{Context, Emit, Input, Job, Mapper, Record, Session, Sum, UserError};

#[derive(Clone, Default)]
struct Grep {
    text: String,
}

impl Mapper for Grep {
    type Key = String;
    type Value = u64;

    fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
        self.text = String::from_utf8(context.side_input("text")?)?;
        Ok(())
    }

    fn map(&mut self, line: Record<'_>, emit: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
        let line = line.text()?;
        emit.count("lines", 1);
        if line.contains(&self.text) {
            emit.count("found", 1);
            emit.emit(line, 1);
        }
        Ok(())
    }
}

fn main() -> Result<(), UserError> {
    let job = Job::new(Grep::default(), Sum::new()).combiner(Sum::<String>::new()).serve_if_asked();
    let mut arguments = std::env::args().skip(1);
    let (Some(text), files) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        return Err("give the text to find, then the files to find it in".into());
    };
    if files.is_empty() {
        return Err("give the text to find, then the files to find it in".into());
    }
    let session = Session::local(2)?;
    let done = job.side_input("text", text).run(&session, Input::text(files), None)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for result in done.results()? {
        let (line, n) = result?;
        writeln!(out, "{n}\t{line}")?;
    }
    let counters = done.counters()?;
    let n = |name| counters.get(name).copied().unwrap_or_default();
    writeln!(out, "{} of {} lines", n("found"), n("lines"))?;
    out.flush()?;
    Ok(())
}
