//! The corpus that fuzzing has left, and what each decoder is fed with to begin with: no input panics, and none takes
//! much memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use mapreduce_decoders::TARGETS;

/// No input of the corpus, none of which is longer than some kilobytes, may take more.
const MEMORY_BYTES_MAX: usize = 64 << 20;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts: what is asked for counts, whether or not it is used.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// Sound because every call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        TAKEN.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: usize) {
    let taken = TAKEN.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(taken, Ordering::Relaxed);
}

/// How much memory a call takes at its worst.
fn memory_of(call: impl FnOnce()) -> usize {
    let before = TAKEN.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    call();
    MOST.load(Ordering::Relaxed).saturating_sub(before)
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
