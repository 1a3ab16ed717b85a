//! The file that a reduce task writes for a job with an output. It waits in the output's `_temporary` directory
//! until the whole job has succeeded; then the master publishes it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
    thread::{self, JoinHandle},
};

use mapreduce_core::{AttemptId, FileFormat, JobId, OutputDescription, TaskId};
use mapreduce_formats::{FormatError, RecordWriter, file_ending, temporary_dir};
use mapreduce_storage::{FileRef, StorageError};

use crate::{TaskError, UserCode, reduce::Merge};

/// So much is written before the disk is told to begin: enough to be written in one go, and small beside a large file.
const SYNC_BYTES: usize = 16 << 20;

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
    let draft = Draft::new(File::create(path).map_err(failed)?);
    let mut writer = RecordWriter::new(&name, &output.format, output.compression, draft)?;
    code.write(groups, &output.format, &mut |record| Ok(writer.write(record)?))?;
    let n_records = writer.records();
    let draft = writer.finish()?;
    if n_records == 0 && output.format == FileFormat::Parquet {
        fs::remove_file(path).map_err(failed)?;
        return Ok((None, 0));
    }
    let wrote = FileRef { path: name.clone(), length: draft.length, crc32c: draft.crc32c, content: None };
    draft.sync().map_err(failed)?;
    // The job's directory, `_temporary`, the output, and what that is in: any of them may be new.
    for directory in path.ancestors().skip(1).take(4) {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
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

/// A file that is being written: counted, summed, and put on disk bit by bit, so that at its end little is left to
/// wait for.
struct Draft {
    file: Arc<File>,
    length: u64,
    crc32c: u32,
    /// What was written since a sync was asked for.
    unsynced: usize,
    /// From the first on.
    syncs: Option<Syncs>,
}

/// A thread that syncs when it is asked to.
struct Syncs {
    asks: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Draft {
    fn new(file: File) -> Self {
        Draft { file: Arc::new(file), length: 0, crc32c: 0, unsynced: 0, syncs: None }
    }

    fn ask_for_sync(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        let syncs = match &self.syncs {
            Some(syncs) => syncs,
            None => self.syncs.insert(Syncs::start(self.file.clone())?),
        };
        // One that is waiting to be begun does for this, too; and why a thread has ended, its end will tell.
        let _ = syncs.asks.try_send(());
        Ok(())
    }

    /// Puts all of it on disk.
    fn sync(self) -> io::Result<()> {
        if let Some(Syncs { asks, thread }) = self.syncs {
            drop(asks);
            // The system tells of an error but once, so that this one must not be lost.
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a sync panicked")))?;
        }
        self.file.sync_all()
    }
}

impl Syncs {
    fn start(file: Arc<File>) -> io::Result<Self> {
        let (asks, asked) = mpsc::sync_channel(1);
        let sync = move || asked.iter().try_for_each(|()| file.sync_data());
        Ok(Syncs { asks, thread: thread::Builder::new().name("sync".to_owned()).spawn(sync)? })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = (&*self.file).write(bytes)?;
        self.length += n as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..n]);
        self.unsynced += n;
        if self.unsynced >= SYNC_BYTES {
            self.ask_for_sync()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).flush()
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
