//! A file of this machine, or of what is mounted on it.

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

use mapreduce_storage::{FileRef, StorageError};

use crate::FormatError;

/// So much is written before the disk is told to begin: enough to be written in one go, and small beside a large file.
const SYNC_BYTES: usize = 16 << 20;

/// Counted, summed, and put on disk bit by bit, so that at its end little is left to wait for.
pub(super) struct LocalPart {
    path: PathBuf,
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

impl LocalPart {
    pub(super) fn create(path: PathBuf) -> Result<Self, FormatError> {
        let create = || {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            File::create(&path)
        };
        let file = create().map_err(|error| FormatError::unwritable(&path.display().to_string(), error))?;
        Ok(LocalPart { path, file: Arc::new(file), length: 0, crc32c: 0, unsynced: 0, syncs: None })
    }

    pub(super) fn finish(self, url: String) -> Result<FileRef, FormatError> {
        let path = self.path.clone();
        let wrote = FileRef { path: url.clone(), length: self.length, crc32c: self.crc32c, content: None };
        let finish = || {
            self.sync()?;
            // The job's directory, `_temporary`, the output, and what that is in: any of them may be new.
            for directory in path.ancestors().skip(1).take(4) {
                File::open(directory)?.sync_all()?;
            }
            read_back(&path)
        };
        let (length, crc32c) = finish().map_err(|error| FormatError::unwritable(&url, error))?;
        let found = FileRef { length, crc32c, ..wrote.clone() };
        match found == wrote {
            true => Ok(wrote),
            false => {
                let (wrote, found) = (wrote.into(), found.into());
                Err(StorageError::Mismatch { path: url, wrote, found }.into())
            }
        }
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

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = (&*self.file).write(bytes)?;
        self.length += n as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..n]);
        self.unsynced += n;
        if self.unsynced >= SYNC_BYTES {
            self.ask_for_sync()?;
        }
        Ok(n)
    }
}

impl Syncs {
    fn start(file: Arc<File>) -> io::Result<Self> {
        let (asks, asked) = mpsc::sync_channel(1);
        let sync = move || asked.iter().try_for_each(|()| file.sync_data());
        Ok(Syncs { asks, thread: thread::Builder::new().name("sync".to_owned()).spawn(sync)? })
    }
}

/// Length and CRC-32C of what is there.
fn read_back(path: &Path) -> io::Result<(u64, u32)> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 256 << 10]);
    let (mut length, mut crc32c) = (0, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((length, crc32c)),
            n => {
                length += n as u64;
                crc32c = crc32c::crc32c_append(crc32c, &buffer[..n]);
            }
        }
    }
}

pub(super) fn delete(path: &Path) -> Result<(), FormatError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FormatError::unwritable(&path.display().to_string(), error))
        }
        _ => Ok(()),
    }
}
