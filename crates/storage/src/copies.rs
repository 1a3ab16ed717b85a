//! The directory where a user's processes on a machine share copies of side inputs and of native jobs' programs. What is
//! in it is unpickled by user code, or run: so nobody else may put anything there, and what somebody else did is refused.
//! Copies are a cache: one that is gone or damaged is fetched again.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Seek},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::geteuid;

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// Bytes that user code reads beside its records.
    SideInput,
    /// The executable of a native job.
    Program,
}

impl CopyKind {
    const ALL: [CopyKind; 2] = [CopyKind::SideInput, CopyKind::Program];

    /// What the copies' names begin with; a digest follows.
    fn prefix(self) -> &'static str {
        match self {
            CopyKind::SideInput => "mapreduce-side-",
            CopyKind::Program => "mapreduce-program-",
        }
    }
}

/// What the copies may take, beside the one that came last: the oldest go first.
const KEPT_BYTES_MAX: u64 = 1 << 30;
/// How often to look whether another process has fetched something.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A copy that nobody has written to for so long will not be completed: its process was killed.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// This user's own directory, made if it isn't there. Others may be able to write to `scratch`.
pub fn directory(scratch: &Path) -> io::Result<PathBuf> {
    directory_of(scratch, geteuid().as_raw())
}

fn directory_of(scratch: &Path, user: u32) -> io::Result<PathBuf> {
    let path = scratch.join(format!("mapreduce-{user}"));
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(&path)?;
    if found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0 {
        return Ok(path);
    }
    let why = format!("{} is no directory that only user {user} may use: remove it", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Where the copy of an object is that has this digest.
pub fn path(directory: &Path, kind: CopyKind, digest: &str) -> PathBuf {
    directory.join(format!("{}{digest}", kind.prefix()))
}

/// The file, if it is there, this user's own, and has this digest.
pub fn open_intact(path: &Path, digest: &str) -> io::Result<Option<File>> {
    open_intact_of(path, digest, geteuid().as_raw())
}

fn open_intact_of(path: &Path, digest: &str, user: u32) -> io::Result<Option<File>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.uid() != user {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file)?;
    file.rewind()?;
    Ok((hasher.finalize().to_hex().as_str() == digest).then_some(file))
}

/// Waits as long as another process fetches something, or until `path` is there: so that several which need the same
/// fetch it once. The turn ends when the file is dropped, or its process is killed. Nothing but effort depends on it.
pub fn wait_for_turn(directory: &Path, path: &Path, patience: Duration) -> io::Result<File> {
    let turn =
        File::options().create(true).truncate(false).write(true).open(directory.join("mapreduce.lock"))?;
    let since = Instant::now();
    let busy = || matches!(turn.try_lock(), Err(TryLockError::WouldBlock));
    while busy() && !path.exists() && since.elapsed() < patience {
        thread::sleep(LOOK_EVERY);
    }
    Ok(turn)
}

/// Removes the oldest copies, but for `newest`, while all others together take more than a gigabyte. Who has one open
/// reads on. One that is being fetched is no copy yet.
pub fn make_room(directory: &Path, newest: &Path) -> io::Result<()> {
    leave(directory, newest, KEPT_BYTES_MAX)
}

fn leave(directory: &Path, newest: &Path, bytes_max: u64) -> io::Result<()> {
    let mut others: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let mut kinds = CopyKind::ALL.into_iter();
        let Some(rest) = kinds.find_map(|kind| name.strip_prefix(kind.prefix().as_bytes())) else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let modified = metadata.modified()?;
        if rest.len() == 64 && rest.iter().all(u8::is_ascii_hexdigit) {
            if entry.path() != newest {
                others.push((modified, metadata.len(), entry.path()));
            }
        } else if rest.ends_with(b".new") && modified.elapsed().is_ok_and(|age| age > ABANDONED_AFTER) {
            remove(&entry.path())?;
        }
    }
    others.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept = 0;
    for (_, length, path) in others {
        kept += length;
        if kept > bytes_max {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        io::Read,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn a_process_that_was_stopped_while_it_fetched_holds_up_nobody_for_long() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("copy");
        let stopped = wait_for_turn(scratch.path(), &path, Duration::MAX).unwrap();
        wait_for_turn(scratch.path(), &path, Duration::from_millis(20)).unwrap();
        // What comes ends the wait, too.
        fs::write(&path, "").unwrap();
        wait_for_turn(scratch.path(), &path, Duration::MAX).unwrap();
        drop(stopped);
    }

    /// A file of five bytes, last modified so many seconds ago.
    fn make(scratch: &Path, name: &str, age: u64) -> PathBuf {
        let path = scratch.join(name);
        fs::write(&path, "12345").unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        path
    }

    fn copy(letter: &str) -> String {
        format!("{}{}", CopyKind::SideInput.prefix(), letter.repeat(64))
    }

    fn names(directory: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_oldest_copies_make_room() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: &str, age| make(scratch.path(), name, age);
        let newest = make(&copy("e"), 0);
        let (old, older) = (make(&copy("b"), 10), make(&copy("a"), 20));
        let program = format!("{}{}", CopyKind::Program.prefix(), "c".repeat(64));
        let (oldest, other) = (make(&program, 30), make("something else", 40));
        let mut reading = File::open(&oldest).unwrap();
        leave(scratch.path(), &newest, 10).unwrap();
        assert!([&newest, &old, &older, &other].iter().all(|path| path.exists()));
        assert!(!oldest.exists());
        let mut content = String::new();
        reading.read_to_string(&mut content).unwrap();
        assert_eq!(content, "12345");
        leave(scratch.path(), &newest, 0).unwrap();
        assert_eq!(names(scratch.path()), [copy("e"), "something else".to_owned()].into());
    }

    #[test]
    fn what_another_process_is_fetching_does_not_make_room() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: &str, age| make(scratch.path(), name, age);
        let (newest, old) = (make(&copy("a"), 0), make(&copy("b"), 10));
        let fetching = make(&format!("{}x3Yz9Q.new", copy("c")), 60);
        let abandoned = make(&format!("{}qW4eRt.new", copy("d")), 2 * ABANDONED_AFTER.as_secs());
        leave(scratch.path(), &newest, 5).unwrap();
        assert!([&newest, &old, &fetching].iter().all(|path| path.exists()));
        assert!(!abandoned.exists());
        leave(scratch.path(), &newest, 0).unwrap();
        assert!(fetching.exists() && !old.exists());
    }

    #[test]
    fn what_another_user_made_or_may_use_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let user = scratch.path().metadata().unwrap().uid();
        let own = directory(scratch.path()).unwrap();
        assert_eq!(
            (own.metadata().unwrap().mode() & 0o777, directory(scratch.path()).unwrap()),
            (0o700, own.clone())
        );
        let digest = blake3::hash(b"12345").to_hex();
        let file = path(&own, CopyKind::Program, &digest);
        fs::write(&file, "12345").unwrap();
        assert!(open_intact(&file, &digest).unwrap().is_some());

        // To another user, all of this is somebody else's.
        let other = user + 1;
        assert!(open_intact_of(&file, &digest, other).unwrap().is_none());
        let refusal = |user| directory_of(scratch.path(), user).unwrap_err().to_string();
        assert!(
            refusal(other)
                .contains(&format!("mapreduce-{other} is no directory that only user {other} may use"))
        );
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(refusal(user).contains("remove it"));
        fs::remove_dir_all(&own).unwrap();
        symlink(scratch.path(), &own).unwrap();
        assert!(refusal(user).contains("remove it"));
    }
}
