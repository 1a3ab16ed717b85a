//! Counts the words of one text file by hand, with two threads: no cluster, nothing durable, nothing that may die. What
//! a word count costs at least; `make bench` measures `word_count` beside it.
//!
//! ```text
//! cargo run --release --example words_by_hand -- FILE
//! ```

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    thread,
};

use hashbrown::HashMap;
use mapreduce::native::UserError;

type Counts<'a> = HashMap<&'a [u8], u64, ahash::RandomState>;

/// Room for the words of a language, so that the table need not grow.
const WORDS: usize = 1 << 19;

fn count(text: &[u8]) -> Counts<'_> {
    let mut counts = Counts::with_capacity_and_hasher(WORDS, ahash::RandomState::with_seeds(1, 2, 3, 4));
    let mut start = 0;
    for (end, byte) in text.iter().enumerate() {
        // Space, tab, the ends of lines: what is below is in no word.
        if *byte <= b' ' {
            if end > start {
                *counts.entry(&text[start..end]).or_insert(0) += 1;
            }
            start = end + 1;
        }
    }
    if start < text.len() {
        *counts.entry(&text[start..]).or_insert(0) += 1;
    }
    counts
}

fn main() -> Result<(), UserError> {
    let path = std::env::args().nth(1).ok_or("give the file whose words to count")?;
    // SAFETY: nobody writes to the file meanwhile; whoever runs this sees to it.
    let text = unsafe { memmap2::Mmap::map(&File::open(path)?)? };
    let middle = text.len() / 2;
    let cut = middle + text[middle..].iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (first, second) = text.split_at(cut);
    let (mut counts, others) = thread::scope(|scope| {
        let first = scope.spawn(|| count(first));
        let others = count(second);
        first.join().map(|counts| (counts, others)).map_err(|_| "a thread panicked")
    })?;
    for (word, n) in others {
        *counts.entry(word).or_insert(0) += n;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for (word, n) in counts {
        out.write_all(word)?;
        writeln!(out, "\t{n}")?;
    }
    Ok(())
}
