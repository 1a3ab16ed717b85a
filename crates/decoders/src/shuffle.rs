//! Files between map and reduce: footer, index, blocks and entries; and results, which are such files, too.

use futures::executor::block_on;
use mapreduce_core::{Content, JobId};
use mapreduce_executor::{
    Resources, TaskError,
    keys::{put_bytes, put_number, tag},
    shuffle::{Append, Entries, FileWriter, fetch_file, fetch_partition},
};
use mapreduce_storage::{FileRef, paths};
use object_store::ObjectStoreExt;

use crate::{check_error, checksums::repair_shuffle, seed};

/// The checksums are taken as they are.
const WHOLE: u8 = 0x80;
/// The file is in the store, not in the manifest.
const STORED: u8 = 0x40;
const JOB: JobId = JobId(1);
const PATH: &str = "attempts/map/0.1-1";
/// So small that most partitions take several reads.
const PART_BYTES: u64 = 64;

/// Key, hint, count and values.
type Entry = (Vec<u8>, Vec<u8>, u64, Vec<u8>);

struct Buffer(Vec<u8>);

impl Append for Buffer {
    fn append(&mut self, bytes: &[u8]) -> Result<(), TaskError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Reads every entry of every partition of a file.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let mut file = bytes.to_vec();
    if choice & WHOLE == 0 {
        repair_shuffle(&mut file);
    }
    let (all, whole) = read(file, choice);
    if whole {
        let (again, whole) = read(written(&all), choice);
        assert!(whole && again == all, "what was read is written otherwise");
    }
}

/// What can be read, and whether that is all of it.
fn read(file: Vec<u8>, choice: u8) -> (Vec<Vec<Entry>>, bool) {
    let resources = Resources::open("memory:///", 1 << 20, std::env::temp_dir()).unwrap();
    let (length, crc32c) = (file.len() as u64, crc32c::crc32c(&file));
    let content = if choice & STORED == 0 {
        Some(Content(file))
    } else {
        block_on(resources.store.put(&paths::in_job(JOB, PATH), file.into())).unwrap();
        None
    };
    let file = FileRef { path: PATH.to_owned(), length, crc32c, content };
    let one = block_on(fetch_partition(&resources, JOB, &file, u32::from(choice & 7), PART_BYTES));
    let _ = one.map_err(|error| check_error(&error));
    let fetched = block_on(fetch_file(&resources, JOB, &file, PART_BYTES));
    let Ok(partitions) = fetched.map_err(|error| check_error(&error)) else { return (Vec::new(), false) };
    let (mut all, mut whole) = (Vec::new(), true);
    for mut entries in partitions {
        let (found, read) = read_entries(&mut entries);
        all.push(found);
        whole &= read;
    }
    (all, whole)
}

fn read_entries(entries: &mut Entries) -> (Vec<Entry>, bool) {
    let mut found = Vec::new();
    loop {
        match entries.advance() {
            Ok(true) => {
                let values = entries.values();
                let (key, hint) = (entries.key().to_vec(), entries.hint().to_vec());
                found.push((key, hint, values.count, values.bytes.to_vec()));
            }
            Ok(false) => return (found, true),
            Err(error) => {
                check_error(&error);
                return (found, false);
            }
        }
    }
}

fn written(partitions: &[Vec<Entry>]) -> Vec<u8> {
    let mut file = FileWriter::new(Buffer(Vec::new()));
    for partition in partitions {
        for (key, hint, count, values) in partition {
            file.push(key, hint, *count, values).unwrap();
        }
        file.end_partition().unwrap();
    }
    file.finish().unwrap().0
}

fn number(n: u64) -> Vec<u8> {
    let mut key = Vec::new();
    put_number(&mut key, false, n, 0);
    key
}

fn text(text: &str) -> Vec<u8> {
    let mut key = Vec::new();
    put_bytes(&mut key, tag::TEXT, text.as_bytes());
    key
}

/// A file of a hundred bytes.
pub(crate) fn small_file() -> Vec<u8> {
    written(&[vec![(text("a"), Vec::new(), 1, vec![2])], Vec::new()])
}

/// Files with several partitions, with none, and with some that are longer than one read.
pub fn seeds() -> Vec<Vec<u8>> {
    let words: Vec<Entry> =
        ["be", "not", "or", "to"].iter().map(|word| (text(word), Vec::new(), 2, vec![2, 4])).collect();
    let numbers: Vec<Entry> = (0..20).map(|n| (number(n), vec![b'f'], 1, vec![n as u8; 9])).collect();
    let several = written(&[words.clone(), Vec::new(), numbers]);
    vec![
        seed(0, small_file()),
        seed(2, &several),
        seed(STORED | 2, &several),
        seed(WHOLE, written(&[words])),
        seed(0, written(&[])),
    ]
}
