//! Jobs of any programs: shell commands that read lines and write lines, `key<TAB>value`, as in Hadoop Streaming.
//! The mapper gets the records of a split, one a line; the reducer gets the pairs of a partition, sorted by key, so
//! that the lines of one key follow each other. What the reducer writes, line by line, is the output.

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    thread,
};

use mapreduce_core::{Commands, FailureKind, FileFormat, JobSpec};
use mapreduce_executor::{
    Group, Records, SideInputs, TaskError, UserCode, UserFailure,
    keys::{self, Piece, Pieces, tag},
    map::MapSink,
    reduce::Merge,
};

use crate::native::Datum;

/// How much of what a command writes to standard error a failure shows.
const ERROR_BYTES_MAX: usize = 8 << 10;

/// The commands of a job.
pub(crate) struct CommandsCode(Commands);

/// Loads the commands of a job.
pub(crate) fn load(_: &JobSpec, code: &[u8], _: &SideInputs) -> Result<Box<dyn UserCode>, UserFailure> {
    let commands: Commands = serde_json::from_slice(code)
        .map_err(|e| UserFailure::new(FailureKind::BadCode, format!("the commands can't be read: {e}")))?;
    Ok(Box::new(CommandsCode(commands)))
}

impl UserCode for CommandsCode {
    fn map(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError> {
        let command = self.0.mapper.clone();
        let feed = |to: &mut dyn Write| {
            while let Some(batch) = records.next_batch()? {
                for record in batch.iter() {
                    if to.write_all(record).and_then(|()| to.write_all(b"\n")).is_err() {
                        return Ok(()); // it wants no more
                    }
                }
            }
            Ok(())
        };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        pipe(&command, feed, |line| {
            let (name, rest) = match line.iter().position(|byte| *byte == b'\t') {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (line, [].as_slice()),
            };
            key.clear();
            keys::put_bytes(&mut key, tag::BYTES, name);
            let Ok(group) = sink.group(&key, |_| Ok::<(), std::convert::Infallible>(()));
            value.clear();
            <Vec<u8> as Datum>::put(rest, &mut value);
            sink.push(group, 1, &value);
            if sink.is_full() { sink.spill(self) } else { Ok(()) }
        })
    }

    fn reduce(&mut self, _: Group, _: &mut Vec<u8>) -> Result<u64, TaskError> {
        let why = "a job of commands writes files: give it an output";
        Err(UserFailure::new(FailureKind::BadCode, why).into())
    }

    fn write(
        &mut self,
        groups: &mut Merge,
        _: &FileFormat,
        write: &mut dyn FnMut(&[u8]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let feed = |to: &mut dyn Write| {
            while let Some(mut group) = groups.next_group()? {
                let key = Pieces::new(&group.key).next_piece();
                let Ok(Piece::Bytes(key)) = key else { return Err(damaged()) };
                while let Some(run) = group.values.next_run()? {
                    let mut rest = run.bytes.as_ref();
                    while !rest.is_empty() {
                        let value = <Vec<u8> as Datum>::take(&mut rest).ok_or_else(damaged)?;
                        let tab: &[u8] = if value.is_empty() { b"" } else { b"\t" };
                        let line = [key.as_ref(), tab, &value, b"\n"].concat();
                        if to.write_all(&line).is_err() {
                            return Ok(()); // it wants no more
                        }
                    }
                }
            }
            Ok(())
        };
        pipe(&self.0.reducer, feed, write)
    }
}

fn damaged() -> TaskError {
    let why = "it is no pair of a job of commands".into();
    mapreduce_storage::StorageError::Damaged { path: "map output".into(), why }.into()
}

/// Runs a command: `feed` writes its input, in a thread of its own, and `take` gets each line of its output.
fn pipe(
    command: &str,
    feed: impl FnOnce(&mut dyn Write) -> Result<(), TaskError> + Send,
    mut take: impl FnMut(&[u8]) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let failed = |what: &str, why: String| {
        let kind = FailureKind::UserException { exception: what.to_owned() };
        TaskError::from(UserFailure::new(kind, format!("the command `{command}` {why}")))
    };
    let mut child = start(command).map_err(|e| failed("not started", format!("does not start: {e}")))?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (fed, taken, said) = thread::scope(|scope| {
        let feeder = scope.spawn(move || input.map_or(Ok(()), |input| feed_all(input, feed)));
        let listener = scope.spawn(move || errors.map(last_words).unwrap_or_default());
        let taken = output.map_or(Ok(()), |output| each_line(output, &mut take));
        if taken.is_err() {
            // So that the feeder ends; what became of it is told by the error.
            let _ = child.kill();
        }
        (feeder.join(), taken, listener.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|e| failed("lost", format!("can't be waited for: {e}")))?;
    taken?;
    fed.unwrap_or_else(|_| Err(failed("panic", "could not be fed".to_owned())))?;
    if !status.success() {
        return Err(failed(&status.to_string(), format!("ended with {status}; it said:\n{said}")));
    }
    Ok(())
}

fn start(command: &str) -> io::Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

fn feed_all(
    input: ChildStdin,
    feed: impl FnOnce(&mut dyn Write) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let mut input = BufWriter::with_capacity(256 << 10, input);
    feed(&mut input)?;
    // A command may end before it has read everything, as `head` does.
    let _ = input.flush();
    Ok(())
}

fn each_line(
    output: impl Read,
    take: &mut impl FnMut(&[u8]) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let mut output = BufReader::with_capacity(256 << 10, output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = output.read_until(b'\n', &mut line);
        let read = read.map_err(|e| UserFailure::new(FailureKind::BadValue, format!("output: {e}")))?;
        if read == 0 {
            return Ok(());
        }
        take(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}

/// The end of what a command writes to standard error.
fn last_words(errors: ChildStderr) -> String {
    let (mut errors, mut said, mut buffer) = (BufReader::new(errors), Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = errors.read(&mut buffer) {
        said.extend_from_slice(&buffer[..n]);
        said.drain(..said.len().saturating_sub(ERROR_BYTES_MAX));
    }
    String::from_utf8_lossy(&said).into_owned()
}
