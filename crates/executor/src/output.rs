//! The file that a reduce task writes for a job with an output. It waits in the output's `_temporary` directory
//! until the whole job has succeeded; then the master publishes it.

use mapreduce_core::{AttemptId, FileFormat, JobId, OutputDescription, TaskId};
use mapreduce_formats::{FormatError, Part, RecordWriter, file_ending};
use mapreduce_storage::FileRef;

use crate::{TaskError, UserCode, reduce::Merge};

/// What an attempt's file is called.
fn name(output: &OutputDescription, task: TaskId, attempt: AttemptId) -> String {
    format!("{}.{attempt}{}", task.index, file_ending(&output.format, output.compression))
}

/// Writes one partition, durably, and reads it back. Answers the file, by its path or URL, and how many records it has. A
/// Parquet file has a schema, which comes with the first record: without any there is no file. Of a file that can't
/// be completed nothing stays: on a full disk, the next attempt needs the room.
pub(crate) fn write(
    output: &OutputDescription,
    (job, task, attempt): (JobId, TaskId, AttemptId),
    groups: &mut Merge,
    code: &mut dyn UserCode,
) -> Result<(Option<FileRef>, u64), TaskError> {
    let part = Part::create(output, job, &name(output, task, attempt));
    let written = part.map_err(TaskError::from).and_then(|part| write_to(part, output, groups, code));
    match &written {
        Ok((Some(_), _)) => {}
        Ok((None, _)) => delete(output, (job, task, attempt))?,
        // It may not have been made; and what went wrong first is what counts.
        Err(_) => drop(delete(output, (job, task, attempt))),
    }
    written
}

fn write_to(
    part: Part,
    output: &OutputDescription,
    groups: &mut Merge,
    code: &mut dyn UserCode,
) -> Result<(Option<FileRef>, u64), TaskError> {
    let name = part.url().to_owned();
    let mut writer = RecordWriter::new(&name, &output.format, output.compression, part)?;
    code.write(groups, &output.format, &mut |record| Ok(writer.write(record)?))?;
    let n_records = writer.records();
    let part = writer.finish()?;
    if n_records == 0 && output.format == FileFormat::Parquet {
        return Ok((None, 0));
    }
    Ok((Some(part.finish()?), n_records))
}

/// Deletes what an attempt wrote that did not win.
pub(crate) fn delete(
    output: &OutputDescription,
    (job, task, attempt): (JobId, TaskId, AttemptId),
) -> Result<(), FormatError> {
    Part::delete(output, job, &name(output, task, attempt))
}
