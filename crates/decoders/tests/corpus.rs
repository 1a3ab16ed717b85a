//! The corpus that fuzzing has left, and what each decoder is fed with to begin with: no input panics, and none takes
//! much memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "support/heap.rs"]
mod heap;

use std::{
    fs,
    path::{Path, PathBuf},
};

use heap::Counting;
use mapreduce_decoders::TARGETS;

/// No input of the corpus, none of which is longer than some kilobytes, may take more.
const MEMORY_BYTES_MAX: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How much memory a call takes at its worst.
fn memory_of(call: impl FnOnce()) -> usize {
    let mark = heap::mark();
    call();
    heap::most_since(mark)
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// One test, because all share the allocator.
#[test]
fn every_input_is_decoded_without_a_panic_and_with_little_memory() {
    for target in TARGETS {
        let kept =
            corpus(target.name).into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap()));
        let seeds = (target.seeds)().into_iter().enumerate();
        let seeds = seeds.map(|(n, seed)| (format!("seed {n} of {}", target.name), seed));
        let mut n = 0;
        for (name, input) in kept.chain(seeds) {
            let shown = ShownOnPanic(name);
            let bytes = memory_of(|| (target.run)(&input));
            assert!(bytes <= MEMORY_BYTES_MAX, "{} took {bytes} bytes", shown.0);
            n += 1;
        }
        assert!(n > 0, "{} has no corpus", target.name);
    }
}

/// Says which input it was.
struct ShownOnPanic(String);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input was {}", self.0);
        }
    }
}
