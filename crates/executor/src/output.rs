//! The file that a reduce task writes for a job with an output. It waits in the output's `_temporary` directory
//! until the whole job has succeeded; then the master publishes it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use mapreduce_core::{AttemptId, FileFormat, JobId, OutputDescription, TaskId};
use mapreduce_formats::{FormatError, RecordWriter, file_ending, temporary_dir};
use mapreduce_storage::{FileRef, StorageError};

use crate::{TaskError, UserCode, reduce::Merge};

/// Where an attempt writes.
fn path(
    output: &OutputDescription,
    (job, task, attempt): (JobId, TaskId, AttemptId),
) -> Result<PathBuf, FormatError> {
    let name = format!("{}.{attempt}{}", task.index, file_ending(&output.format, output.compression));
    Ok(temporary_dir(&output.url, job)?.join(name))
}

/// Writes one partition, durably, and reads it back. Answers the file, by its path, and how many records it has. A
/// Parquet file has a schema, which comes with the first record: without any there is no file. Of a file that can't
/// be completed nothing stays: on a full disk, the next attempt needs the room.
pub(crate) fn write(
    output: &OutputDescription,
    attempt: (JobId, TaskId, AttemptId),
    groups: &mut Merge,
    code: &mut dyn UserCode,
) -> Result<(Option<FileRef>, u64), TaskError> {
    let path = path(output, attempt)?;
    write_to(&path, output, groups, code).inspect_err(|_| {
        // It may not have been made; and what went wrong first is what counts.
        let _ = fs::remove_file(&path);
    })
}

fn write_to(
    path: &Path,
    output: &OutputDescription,
    groups: &mut Merge,
    code: &mut dyn UserCode,
) -> Result<(Option<FileRef>, u64), TaskError> {
    let name = path.display().to_string();
    let failed = |error| FormatError::unwritable(&name, error);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let file = Summed { out: File::create(path).map_err(failed)?, length: 0, crc32c: 0 };
    let mut writer = RecordWriter::new(&name, &output.format, output.compression, file)?;
    code.write(groups, &output.format, &mut |record| Ok(writer.write(record)?))?;
    let n_records = writer.records();
    let Summed { out, length, crc32c } = writer.finish()?;
    if n_records == 0 && output.format == FileFormat::Parquet {
        fs::remove_file(path).map_err(failed)?;
        return Ok((None, 0));
    }
    out.sync_all().map_err(failed)?;
    // The job's directory, `_temporary`, the output, and what that is in: any of them may be new.
    for directory in path.ancestors().skip(1).take(4) {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    let wrote = FileRef { path: name.clone(), length, crc32c, content: None };
    let found = read_back(path).map_err(failed)?;
    if found != wrote {
        return Err(StorageError::Mismatch { path: name, wrote: wrote.into(), found: found.into() }.into());
    }
    Ok((Some(wrote), n_records))
}

/// Deletes what an attempt wrote that did not win.
pub(crate) fn delete(
    output: &OutputDescription,
    attempt: (JobId, TaskId, AttemptId),
) -> Result<(), FormatError> {
    let path = path(output, attempt)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FormatError::unwritable(&path.display().to_string(), error))
        }
        _ => Ok(()),
    }
}

/// Counts and sums what passes.
struct Summed {
    out: File,
    length: u64,
    crc32c: u32,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.length += n as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn read_back(path: &Path) -> io::Result<FileRef> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 256 << 10]);
    let mut found = FileRef { path: path.display().to_string(), length: 0, crc32c: 0, content: None };
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(found),
            n => {
                found.length += n as u64;
                found.crc32c = crc32c::crc32c_append(found.crc32c, &buffer[..n]);
            }
        }
    }
}
