//! Whether file systems have room. On a full one nothing can be written, not even that it is full; so whoever looks at
//! a cluster looks at its disks as well.

use std::path::Path;

use rustix::{fs::statvfs, process::geteuid};

/// With less room than this, no task gets far.
const LEAST_BYTES: u64 = 1 << 20;

/// Why nothing can be written to `path`, which exists; none if there is room, or nobody knows.
pub(crate) fn lack_of_room(path: &Path) -> Option<String> {
    let room = statvfs(path).ok()?;
    // Some of it is kept for the superuser.
    let blocks = if geteuid().is_root() { room.f_bfree } else { room.f_bavail };
    let bytes = blocks.saturating_mul(room.f_frsize);
    let name = path.display();
    if bytes < LEAST_BYTES {
        return Some(format!(
            "the file system of {name} is full ({bytes} bytes are left): free some space there"
        ));
    }
    // Some file systems don't count files.
    (room.f_files > 0 && room.f_ffree == 0)
        .then(|| format!("the file system of {name} can't hold more files: remove some there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_never_has_room_is_told_from_one_that_has() {
        assert_eq!(lack_of_room(&std::env::temp_dir()), None, "the tests need room themselves");
        assert!(lack_of_room(Path::new("/proc")).is_none_or(|why| why.contains("/proc is full")));
        assert_eq!(lack_of_room(Path::new("/absent")), None);
    }
}
