//! The hot loops, each on input that is the same every time, made before anything is counted.

use std::hint::black_box;

use mapreduce_core::{AttemptId, Epoch, FileFormat, InvalidText, JobId, Stage, TaskId};
use mapreduce_executor::{
    Group, Records, Resources, TaskError, UserCode,
    keys::{put_bytes, put_number, tag},
    map::{KeyBatch, MapSink, Partitioner},
    reduce::Merge,
    shuffle::{Entries, FileWriter, Stored, fetch_file},
    varint,
};
use mapreduce_formats::{RECORD_BYTES_MAX, SplitReader, find, read, split};
use mapreduce_storage::paths;
use object_store::path::Path;

use crate::Error;

const JOB: JobId = JobId(1);
/// Keys that are looked up together, as faces do it.
const BATCH: usize = 64;
/// Partitions of map output.
const PARTITIONS: u32 = 8;

/// What is counted.
pub struct Loop {
    pub name: &'static str,
    /// How many of them the loop deals with.
    pub n: u64,
    pub element: &'static str,
    /// Makes the input; what it gives is the loop itself, which answers how many elements it has dealt with.
    prepare: fn(u64) -> Result<Work, Error>,
}

type Work = Box<dyn FnOnce() -> Result<u64, TaskError>>;

/// Every loop.
pub const LOOPS: &[Loop] = &[
    Loop { name: "keys_text", n: 100_000, element: "key", prepare: encode_text },
    Loop { name: "keys_number", n: 100_000, element: "key", prepare: encode_numbers },
    Loop { name: "lines", n: 50_000, element: "line", prepare: read_lines },
    Loop { name: "group", n: 200_000, element: "pair", prepare: group },
    Loop { name: "group_all", n: 200_000, element: "pair", prepare: group_all },
    Loop { name: "group_all_combined", n: 200_000, element: "pair", prepare: group_all_combined },
    Loop { name: "finish_combined", n: 200_000, element: "value", prepare: finish_combined },
    Loop { name: "pile", n: 100_000, element: "pair", prepare: pile },
    Loop { name: "finish_piled", n: 100_000, element: "pair", prepare: finish_piled },
    Loop { name: "spill_and_merge", n: 100_000, element: "pair", prepare: spill_and_merge },
    Loop { name: "merge_16", n: 96_000, element: "entry", prepare: merge },
];

impl Loop {
    /// Runs it once.
    pub fn run(&self) -> Result<(), Error> {
        let work = (self.prepare)(self.n)?;
        // At the next large request the C library puts together what was freed meanwhile: that is not the loop's work.
        drop(black_box(Vec::<u8>::with_capacity(64 << 10)));
        let done = measured_loop(work)?;
        if done == self.n {
            Ok(())
        } else {
            Err(format!("{} dealt with {done} elements, not {}", self.name, self.n).into())
        }
    }
}

/// Callgrind counts from the beginning of this function to its end; it knows it by its name.
#[inline(never)]
pub fn measured_loop(work: Work) -> Result<u64, TaskError> {
    black_box(work())
}

/// The same numbers every time (splitmix64).
fn noise() -> impl Iterator<Item = u64> {
    (1u64..).map(|n| {
        let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// `n` words out of `n_distinct`, few of them frequent and most of them rare, 2 to 17 letters long. They are never
/// freed, which would be counted, too.
fn words(n: u64, n_distinct: u64) -> Vec<&'static str> {
    let word = |(random, n): (u64, u64)| {
        let letters = (0..1 + random % 16).map(|i| char::from(b'a' + (random >> (4 * i) & 15) as u8));
        letters.collect::<String>() + &n.to_string()[..1]
    };
    let vocabulary: &'static [String] = noise().zip(0..n_distinct).map(word).collect::<Vec<_>>().leak();
    let skewed = noise().map(|random| {
        let part = (random >> 11) as f64 / (1u64 << 53) as f64;
        (part.powi(3) * n_distinct as f64) as usize
    });
    skewed.take(n as usize).map(|index| vocabulary[index].as_str()).collect()
}

/// A text of sixteen letters as a key.
type Key = [u8; 18];

/// `n` keys that differ.
fn distinct_keys(n: u64) -> Vec<Key> {
    let key = |number: u64| {
        let mut key = [0; 18];
        key[0] = tag::TEXT;
        key[1..17].copy_from_slice(format!("{number:016x}").as_bytes());
        key
    };
    noise().take(n as usize).map(key).collect()
}

fn resources(memory_bytes: usize) -> Result<Resources, Error> {
    Ok(Resources::open("memory:///", memory_bytes, std::env::temp_dir())?)
}

fn sink() -> Result<MapSink, Error> {
    let partitioner = Partitioner::Hash { n_partitions: PARTITIONS };
    Ok(MapSink::new(&resources(256 << 20)?, partitioner))
}

fn map_output() -> Path {
    let task = TaskId { stage: Stage::Map, index: 0 };
    paths::attempt_output(JOB, task, AttemptId { epoch: Epoch(1), number: 1 })
}

fn no_hint(_: &mut Vec<u8>) -> Result<(), TaskError> {
    Ok(())
}

fn encode_text(n: u64) -> Result<Work, Error> {
    let words = words(n, 5000);
    Ok(Box::new(move || {
        let mut out = Vec::with_capacity(64 * words.len());
        words.iter().for_each(|word| put_bytes(&mut out, tag::TEXT, black_box(word.as_bytes())));
        black_box(out);
        Ok(words.len() as u64)
    }))
}

fn encode_numbers(n: u64) -> Result<Work, Error> {
    let shifts = (0..64).cycle(); // from large to small, 0 among them
    let numbers: Vec<u64> =
        noise().zip(shifts).map(|(random, shift)| random >> shift).take(n as usize).collect();
    Ok(Box::new(move || {
        let mut out = Vec::with_capacity(64 * numbers.len());
        numbers.iter().for_each(|number| put_number(&mut out, false, black_box(*number), 0));
        black_box(out);
        Ok(numbers.len() as u64)
    }))
}

fn read_lines(n: u64) -> Result<Work, Error> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("lines.txt");
    let words = words(12 * n, 5000);
    let lines: Vec<String> = words.chunks(12).map(|words| words.join(" ")).collect();
    std::fs::write(&path, lines.join("\n"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let files = runtime.block_on(find(&[path.display().to_string()], None))?;
    let format = FileFormat::Text { invalid: InvalidText::Error };
    let splits = split(&files, &format, u64::MAX);
    let mut reader: SplitReader = read(&format, &files, &splits[0], RECORD_BYTES_MAX)?;
    Ok(Box::new(move || {
        let (mut n, _until_read) = (0, directory);
        while let Some(batch) = reader.next_batch()? {
            n += batch.iter().map(|line| u64::from(!black_box(line).is_empty())).sum::<u64>();
        }
        Ok(n)
    }))
}

/// One pair after another, few keys, no combiner.
fn group(n: u64) -> Result<Work, Error> {
    let (words, mut sink) = (words(n, 5000), sink()?);
    Ok(Box::new(move || {
        let mut key = Vec::new();
        for word in &words {
            key.clear();
            put_bytes(&mut key, tag::TEXT, word.as_bytes());
            let group = sink.group(&key, no_hint)?;
            sink.push(group, 1, &[1]);
        }
        Ok(sink.n_values())
    }))
}

/// Looks up many words at a time, and hands over the number of each one's group.
fn look_up(words: &[&str], sink: &mut MapSink, mut take: impl FnMut(&mut MapSink, &KeyBatch)) {
    let mut keys = KeyBatch::default();
    for words in words.chunks(BATCH) {
        for word in words {
            keys.push_bytes(tag::TEXT, word.as_bytes());
            sink.expect(&keys);
        }
        sink.group_all(&mut keys, |_| {});
        take(sink, &keys);
        keys.clear();
    }
}

/// Many pairs at a time, few keys, no combiner.
fn group_all(n: u64) -> Result<Work, Error> {
    let (words, mut sink) = (words(n, 5000), sink()?);
    Ok(Box::new(move || {
        look_up(&words, &mut sink, |sink, keys| {
            keys.groups().iter().for_each(|group| sink.push(*group, 1, &[1]));
        });
        Ok(sink.n_values())
    }))
}

/// The same, where values are added up outside of the sink, as native jobs with a combiner do.
fn group_all_combined(n: u64) -> Result<Work, Error> {
    let (words, mut sink) = (words(n, 5000), sink()?);
    Ok(Box::new(move || {
        let mut sums: Vec<u64> = Vec::new();
        look_up(&words, &mut sink, |_, keys| {
            for group in keys.groups() {
                match sums.get_mut(group.index()) {
                    Some(sum) => *sum += 1,
                    None => sums.push(1),
                }
            }
        });
        Ok(sums.iter().sum())
    }))
}

/// Groups of many values are combined by the user's code as they are written.
fn finish_combined(n: u64) -> Result<Work, Error> {
    let (words, mut sink) = (words(n, 5000), sink()?);
    look_up(&words, &mut sink, |sink, keys| {
        keys.groups().iter().for_each(|group| sink.push(*group, 1, &[1]));
    });
    Ok(Box::new(move || {
        let mut code = Sum { combines: true, n_alone: sink.groups().count() as u64, n_combined: 0 };
        sink.finish(&mut code, map_output(), 0)?;
        // A value that is alone is not combined.
        Ok(code.n_combined + code.n_alone)
    }))
}

fn pile(n: u64) -> Result<Work, Error> {
    let (keys, mut sink) = (distinct_keys(n), sink()?);
    Ok(Box::new(move || {
        keys.iter().try_for_each(|key| sink.pile(key, no_hint, (1, b"\x07a value"), None))?;
        Ok(sink.n_values())
    }))
}

/// What is piled up is sorted and written.
fn finish_piled(n: u64) -> Result<Work, Error> {
    let mut sink = sink()?;
    distinct_keys(n).iter().try_for_each(|key| sink.pile(key, no_hint, (1, b"\x07a value"), None))?;
    Ok(Box::new(move || {
        let n = sink.n_values();
        black_box(sink.finish(&mut Sum::default(), map_output(), 0)?);
        Ok(n)
    }))
}

/// A sink that is spilled four times on its way, and merges what it has spilled.
fn spill_and_merge(n: u64) -> Result<Work, Error> {
    let (keys, mut sink) = (distinct_keys(n), sink()?);
    Ok(Box::new(move || {
        for some in keys.chunks(keys.len() / 4) {
            some.iter().try_for_each(|key| sink.pile(key, no_hint, (1, b"\x07a value"), None))?;
            sink.spill(&mut Sum::default())?;
        }
        let n = sink.n_values();
        black_box(sink.finish(&mut Sum::default(), map_output(), 0)?);
        Ok(n)
    }))
}

/// Sixteen inputs of which each has every other key, a few values each.
fn merge(n: u64) -> Result<Work, Error> {
    const INPUTS: u64 = 16;
    let resources = resources(64 << 20)?;
    let mut keys = distinct_keys(n / INPUTS * 2);
    keys.sort_unstable();
    let inputs = (0..INPUTS as u32).map(|input| -> Result<Vec<Entries>, Error> {
        let mut file = FileWriter::new(Stored::new(&resources, paths::input(JOB, 0, input), 0));
        for key in keys.iter().skip(input as usize % 2).step_by(2) {
            file.push(key, b"", 2, b"\x03one\x03two")?;
        }
        file.end_partition()?;
        let file = file.finish()?.finish()?;
        Ok(resources.wait(fetch_file(&resources, JOB, &file, 1 << 20))?)
    });
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    Ok(Box::new(move || {
        let mut merge = Merge::new(inputs, &resources)?;
        while let Some(mut group) = merge.next_group()? {
            while let Some(values) = group.values.next_run()? {
                black_box(values);
            }
        }
        Ok(merge.n_values() / 2)
    }))
}

/// User code that adds up small numbers, if it is to combine.
#[derive(Default)]
struct Sum {
    combines: bool,
    n_alone: u64,
    n_combined: u64,
}

impl UserCode for Sum {
    fn combines(&self) -> bool {
        self.combines
    }

    fn combine(&mut self, mut group: Group, out: &mut Vec<u8>) -> Result<(), TaskError> {
        let mut sum = 0;
        while let Some(values) = group.values.next_run()? {
            self.n_combined += values.count;
            let mut rest = values.bytes.as_ref();
            while let Some(value) = varint::take(&mut rest) {
                sum += value;
            }
        }
        self.n_alone -= 1;
        varint::put(out, sum);
        Ok(())
    }

    fn map(&mut self, _: &mut Records, _: &mut MapSink) -> Result<(), TaskError> {
        unreachable!("the loops map themselves")
    }

    fn reduce(&mut self, _: Group, _: &mut Vec<u8>) -> Result<u64, TaskError> {
        unreachable!("the loops reduce themselves")
    }
}
