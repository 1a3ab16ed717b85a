//! Splits: what map tasks read. The client packs records, which are opaque bytes here, into splits, and
//! several splits into one object, because files are expensive on distributed file systems.
//!
//! Where a split ends depends on the sequence of records alone, never on how many workers there are (I3). A
//! split is small, so that a worker's death costs about a second of work at most.
//!
//! A split is a run of [blocks](crate::block); their raw bytes, joined, are the records, each behind its length
//! as a LEB128 number.

use std::{collections::BTreeMap, convert::Infallible, num::NonZeroU64};

use bytes::Bytes;
use mapreduce_core::{Content, JobId, Split};

use crate::{StorageError, Store, block, object, paths};

/// Raw bytes of one block. Longer splits, and longer records, take several.
const BLOCK_BYTES: usize = 1 << 20;
/// No split is longer, before compression: places in it are 32 bits wide.
const SPLIT_RAW_BYTES_MAX: usize = u32::MAX as usize;

/// How small splits are.
#[derive(Debug)]
struct Grain {
    /// A split ends when its records take this much, before compression.
    bytes: usize,
    /// Splits that an input of known length is cut into, if it is small.
    splits: u64,
    /// Of an input of unknown length, a split holds this part of the records before it.
    growth: u64,
    /// An object ends with the split that makes it this long. It is uploaded while the next one is made.
    object_bytes: usize,
}

const FINE: Grain = Grain { bytes: 512 << 10, splits: 48, growth: 16, object_bytes: 4 << 20 };
/// For stores where a task waits longer for its objects than a small split takes. It still costs seconds at most.
const COARSE: Grain = Grain { bytes: 2 << 20, splits: 16, growth: 4, object_bytes: 8 << 20 };

/// How many records a split may have; it also ends at 512 KiB, or 2 MiB if it is [coarse](SplitWriter::coarse), except
/// with `Exactly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitSize {
    /// A 48th of the input, which has this many records; coarse, a 16th.
    Known(u64),
    /// A 16th of the records before it, coarse, a quarter: the input is an iterator.
    Unknown,
    /// So many, by the user's wish.
    Exactly(NonZeroU64),
}

impl SplitSize {
    /// At how many records, and at how many bytes, a split ends that follows `before` records.
    fn limits(self, grain: &Grain, before: u64) -> (u64, usize) {
        match self {
            SplitSize::Exactly(n) => (n.get(), usize::MAX),
            SplitSize::Known(n) => (n.div_ceil(grain.splits), grain.bytes),
            SplitSize::Unknown => (before / grain.growth, grain.bytes),
        }
    }
}

/// An object that is ready to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullObject {
    /// Its name below the job's directory, as the splits have it.
    pub name: String,
    /// Its content.
    pub bytes: Bytes,
}

/// Packs records into splits and objects. It does no I/O: [`upload`] what it hands out.
#[derive(Debug)]
pub struct SplitWriter {
    input: u32,
    size: SplitSize,
    grain: &'static Grain,
    /// The records of the split that is being filled, and at how many records and bytes it ends.
    raw: Vec<u8>,
    records: u64,
    limits: (u64, usize),
    /// Records of the splits before it.
    before: u64,
    /// Where blocks are made.
    room: Vec<u8>,
    object: Vec<u8>,
    n_objects: u32,
    splits: Vec<Split>,
}

impl SplitWriter {
    /// A writer of the job's `input`th input, from its beginning.
    pub fn new(input: u32, size: SplitSize) -> Self {
        SplitWriter {
            input,
            size,
            grain: &FINE,
            raw: Vec::new(),
            records: 0,
            limits: size.limits(&FINE, 0),
            before: 0,
            room: Vec::new(),
            object: Vec::new(),
            n_objects: 0,
            splits: Vec::new(),
        }
    }

    /// The same with fewer, larger splits: for stores that don't [answer at once](crate::answers_at_once).
    pub fn coarse(self) -> Self {
        SplitWriter { grain: &COARSE, limits: self.size.limits(&COARSE, self.before), ..self }
    }

    /// Takes the next record. When an object is full, it is yours to upload.
    pub fn push(&mut self, record: &[u8]) -> Option<FullObject> {
        let put = |raw: &mut Vec<u8>| {
            raw.extend_from_slice(record);
            Ok::<(), Infallible>(())
        };
        self.push_with(put).unwrap_or_else(|never| match never {})
    }

    /// The same with the record that `put` appends to what is there; none if it fails.
    pub fn push_with<E>(
        &mut self,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Option<FullObject>, E> {
        push_record(put, &mut self.raw)?;
        self.records += 1;
        if self.records < self.limits.0 && self.raw.len() < self.limits.1 {
            return Ok(None);
        }
        self.end_split();
        Ok((self.object.len() >= self.grain.object_bytes).then(|| self.end_object()))
    }

    /// The last object, if something is left, and all splits. Upload before the splits become part of a spec.
    pub fn finish(mut self) -> (Option<FullObject>, Vec<Split>) {
        if self.records > 0 {
            self.end_split();
        }
        let last = (!self.object.is_empty()).then(|| self.end_object());
        (last, self.splits)
    }

    fn end_split(&mut self) {
        let offset = self.object.len();
        for part in self.raw.chunks(BLOCK_BYTES) {
            #[expect(clippy::expect_used, reason = "a part is no longer than BLOCK_BYTES")]
            let block = block::encode_block_in(part, &mut self.room).expect("a part fits");
            self.object.extend_from_slice(block);
        }
        self.splits.push(Split {
            object: paths::input_name(self.input, self.n_objects),
            offset: offset as u64,
            length: (self.object.len() - offset) as u64,
            records: self.records,
            first_record: self.before,
        });
        self.before += self.records;
        self.records = 0;
        self.limits = self.size.limits(self.grain, self.before);
        self.raw.clear();
    }

    fn end_object(&mut self) -> FullObject {
        let name = paths::input_name(self.input, self.n_objects);
        self.n_objects += 1;
        FullObject { name, bytes: std::mem::take(&mut self.object).into() }
    }
}

/// Writes an object of a job's input, durably, and reads it back.
pub async fn upload(store: &Store, job: JobId, object: FullObject) -> Result<(), StorageError> {
    object::put_file(store, &paths::in_job(job, &object.name), object.bytes).await.map(drop)
}

/// The records of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitRecords {
    /// Well-formed from beginning to end.
    raw: Vec<u8>,
}

impl SplitRecords {
    /// All bytes, and the start and end of every record in them.
    pub fn into_parts(self) -> (Vec<u8>, Vec<(u32, u32)>) {
        let (start, mut rest) = (self.raw.as_ptr() as usize, self.raw.as_slice());
        // Places are 32 bits wide: `read_split` has seen to it that there are no more bytes.
        let place = |at: *const u8| (at as usize - start) as u32;
        let places = std::iter::from_fn(|| pop_record(&mut rest))
            .map(|record| (place(record.as_ptr()), place(record.as_ptr()) + record.len() as u32))
            .collect();
        (self.raw, places)
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.raw.as_slice();
        std::iter::from_fn(move || pop_record(&mut rest))
    }
}

/// Reads a split and checks all of it, so that going through the records can't fail.
/// `contents` are the objects that are in the job's specification.
pub async fn read_split(
    store: &Store,
    job: JobId,
    split: &Split,
    contents: &BTreeMap<String, Content>,
) -> Result<SplitRecords, StorageError> {
    let path = paths::in_job(job, &split.object);
    let damaged = |why: String| StorageError::damaged(&path, format!("split at {}: {why}", split.offset));
    let end = split.offset.checked_add(split.length).ok_or_else(|| damaged("it has no end".to_owned()))?;
    let stored = match contents.get(&split.object) {
        Some(Content(bytes)) => {
            let place = usize::try_from(split.offset).ok().zip(usize::try_from(end).ok());
            let bytes = place.and_then(|(start, end)| bytes.get(start..end));
            Bytes::copy_from_slice(bytes.ok_or_else(|| damaged("the specification has less".to_owned()))?)
        }
        None => object::read_range(store, &path, split.offset..end).await?,
    };
    let records = SplitRecords { raw: decode_blocks(&stored, SPLIT_RAW_BYTES_MAX).map_err(damaged)? };
    match count_records(&records.raw) {
        Some(found) if found == split.records => Ok(records),
        found => Err(damaged(format!("it has {found:?} records instead of {}", split.records))),
    }
}

/// The raw bytes of all blocks, or what is wrong with them.
fn decode_blocks(mut stored: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut raw = Vec::new();
    while !stored.is_empty() {
        let (part, consumed) = block::decode_block(stored).map_err(|error| error.to_string())?;
        stored = &stored[consumed..];
        if raw.len() + part.len() > most {
            return Err(format!(
                "more than {most} bytes are too many for one split: give a smaller split_records"
            ));
        }
        if raw.is_empty() {
            raw = part;
        } else {
            raw.extend_from_slice(&part);
        }
    }
    Ok(raw)
}

/// Appends a record behind its length, which has one byte in most cases.
fn push_record<E>(put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>, raw: &mut Vec<u8>) -> Result<(), E> {
    let start = raw.len();
    raw.push(0);
    if let Err(error) = put(raw) {
        raw.truncate(start);
        return Err(error);
    }
    let length = raw.len() - (start + 1);
    if length < 0x80 {
        raw[start] = length as u8;
    } else {
        let groups = std::iter::successors(Some(length), |rest| (*rest >= 0x80).then_some(rest >> 7));
        raw.splice(
            start..=start,
            groups.map(|rest| if rest < 0x80 { rest as u8 } else { rest as u8 | 0x80 }),
        );
    }
    Ok(())
}

/// Takes the first record off `rest`; none if there is none, or only a part of one.
fn pop_record<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let digits = rest.iter().position(|&byte| byte < 0x80).filter(|&last| last < 9)? + 1;
    let (number, after) = rest.split_at(digits);
    let length = number.iter().rev().fold(0, |length: u64, &byte| length << 7 | u64::from(byte & 0x7f));
    let (record, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(record)
}

/// How many records `rest` consists of; none if it is not made of whole records.
fn count_records(mut rest: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !rest.is_empty() {
        pop_record(&mut rest)?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack<'a>(
        size: SplitSize,
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<FullObject>, Vec<Split>) {
        let mut writer = SplitWriter::new(3, size);
        let mut objects: Vec<FullObject> =
            records.into_iter().filter_map(|record| writer.push(record)).collect();
        let (last, splits) = writer.finish();
        objects.extend(last);
        (objects, splits)
    }

    fn sizes(splits: &[Split]) -> Vec<u64> {
        splits.iter().map(|split| split.records).collect()
    }

    #[test]
    fn a_few_records_are_a_split_each_and_many_are_48() {
        assert_eq!(sizes(&pack(SplitSize::Known(5), [b"record".as_slice(); 5]).1), [1; 5]);
        let record = [b'x'; 22];
        let (objects, splits) =
            pack(SplitSize::Known(500_000), std::iter::repeat_n(record.as_slice(), 500_000));
        assert_eq!((objects.len(), splits.len()), (1, 48));
        assert_eq!(splits[47].first_record + splits[47].records, 500_000);
    }

    #[test]
    fn coarse_splits_are_fewer() {
        let coarse = |size, records, record: &[u8]| {
            let mut writer = SplitWriter::new(0, size).coarse();
            (0..records).for_each(|_| drop(writer.push(record)));
            sizes(&writer.finish().1)
        };
        assert_eq!(coarse(SplitSize::Known(5), 5, b"r"), [1; 5]);
        assert_eq!(coarse(SplitSize::Known(500_000), 500_000, &[b'x'; 22]).len(), 16);
        assert_eq!(coarse(SplitSize::Unknown, 14, b"r"), [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
        let large = [b'x'; 100 << 10];
        assert!(coarse(SplitSize::Known(100), 100, &large).iter().all(|&n| n <= 7));
        assert_eq!(coarse(SplitSize::Known(1000), 1000, &large)[0], 21);
    }

    #[test]
    fn a_record_that_can_not_be_made_is_none() {
        let mut writer = SplitWriter::new(0, SplitSize::Unknown);
        let half = |raw: &mut Vec<u8>| {
            raw.extend_from_slice(b"half a");
            Err("no more")
        };
        writer.push(b"one");
        assert_eq!(writer.push_with(half), Err("no more"));
        writer.push(b"two");
        assert_eq!(sizes(&writer.splits), [1, 1]);
        let records = SplitRecords { raw: decode_blocks(&writer.object, SPLIT_RAW_BYTES_MAX).unwrap() };
        assert_eq!(records.iter().collect::<Vec<_>>(), [b"one", b"two"]);
    }

    #[test]
    fn no_records_are_no_splits_and_no_objects() {
        assert_eq!(pack(SplitSize::Unknown, []), (vec![], vec![]));
    }

    #[test]
    fn splits_of_an_iterator_grow_with_what_came_before() {
        let (_, splits) = pack(SplitSize::Unknown, std::iter::repeat_n(b"r".as_slice(), 100_000));
        assert_eq!(sizes(&splits)[..33], [[1; 32].as_slice(), &[2]].concat());
        let full = &splits[..splits.len() - 1];
        assert!(full.iter().all(|split| split.records == (split.first_record / 16).max(1)));
        assert!(splits.len() < 200, "{}", splits.len());
    }

    #[test]
    fn bytes_end_a_split_unless_the_user_wants_so_many_records() {
        let record = vec![b'x'; 100 << 10];
        let records = || std::iter::repeat_n(record.as_slice(), 1000);
        assert!(sizes(&pack(SplitSize::Known(1000), records()).1).iter().all(|&n| n <= 6));
        let wanted = SplitSize::Exactly(NonZeroU64::new(300).unwrap());
        assert_eq!(sizes(&pack(wanted, records()).1), [300, 300, 300, 100]);
    }

    #[test]
    fn objects_end_at_a_size_and_hold_whole_splits() {
        let mut noise = 7u64;
        let records: Vec<[u8; 4096]> = (0..5000)
            .map(|_| {
                std::array::from_fn(|_| {
                    noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (noise >> 56) as u8
                })
            })
            .collect();
        let (objects, splits) = pack(SplitSize::Known(5000), records.iter().map(|r| r.as_slice()));
        assert_eq!(
            objects.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(),
            ["input/3.0", "input/3.1", "input/3.2", "input/3.3", "input/3.4"]
        );
        for object in &objects {
            let of_object = splits.iter().filter(|split| split.object == object.name);
            let end = of_object.fold(0, |end, split| {
                assert_eq!(split.offset, end);
                end + split.length
            });
            assert_eq!(end, object.bytes.len() as u64);
            assert!(object.bytes.len() < FINE.object_bytes + 2 * FINE.bytes);
        }
    }

    fn size() -> impl Strategy<Value = SplitSize> {
        prop_oneof![
            (0..2000u64).prop_map(SplitSize::Known),
            Just(SplitSize::Unknown),
            (1..50u64).prop_map(|n| SplitSize::Exactly(NonZeroU64::MIN.saturating_add(n - 1))),
        ]
    }

    proptest! {
        #[test]
        fn splits_hold_the_records_in_order(size in size(), records: Vec<Vec<u8>>) {
            let (objects, splits) = pack(size, records.iter().map(Vec::as_slice));
            let mut found: Vec<Vec<u8>> = Vec::new();
            for split in &splits {
                prop_assert_eq!(split.first_record, found.len() as u64);
                let object = &objects.iter().find(|object| object.name == split.object).unwrap().bytes;
                let stored = &object[split.offset as usize..(split.offset + split.length) as usize];
                let raw = decode_blocks(stored, SPLIT_RAW_BYTES_MAX).unwrap();
                prop_assert_eq!(count_records(&raw), Some(split.records));
                found.extend(SplitRecords { raw }.iter().map(<[u8]>::to_vec));
            }
            prop_assert_eq!(found, records);
        }

        #[test]
        fn a_record_of_any_length_is_read_as_it_was_written(length in 0..70_000usize) {
            let mut raw = Vec::new();
            for record in [vec![7; length].as_slice(), b"next"] {
                let put = |raw: &mut Vec<u8>| {
                    raw.extend_from_slice(record);
                    Ok::<(), Infallible>(())
                };
                push_record(put, &mut raw).unwrap();
            }
            let records = SplitRecords { raw };
            prop_assert_eq!(records.iter().map(<[u8]>::len).collect::<Vec<_>>(), [length, 4]);
        }

        #[test]
        fn garbage_is_no_records_and_never_a_panic(bytes: Vec<u8>) {
            let records = SplitRecords { raw: bytes.clone() };
            let whole = count_records(&bytes);
            prop_assert!(whole.is_none_or(|count| count == records.iter().count() as u64));
        }
    }

    #[test]
    fn a_split_that_is_too_long_is_refused_before_all_of_it_is_unpacked() {
        let (objects, _) = pack(SplitSize::Unknown, [vec![0; 3 * BLOCK_BYTES].as_slice()]);
        let refused = decode_blocks(&objects[0].bytes, 2 * BLOCK_BYTES).unwrap_err();
        assert!(refused.contains("too many for one split"), "{refused}");
    }

    #[test]
    fn a_record_longer_than_a_block_takes_several() {
        let record = vec![b'x'; 3 * BLOCK_BYTES + 5];
        let (objects, splits) = pack(SplitSize::Unknown, [b"a".as_slice(), &record, b"b"]);
        assert_eq!(sizes(&splits), [1, 1, 1]);
        let split = &splits[1];
        let stored = &objects[0].bytes[split.offset as usize..(split.offset + split.length) as usize];
        assert_eq!(
            SplitRecords { raw: decode_blocks(stored, SPLIT_RAW_BYTES_MAX).unwrap() }
                .iter()
                .collect::<Vec<_>>(),
            [record]
        );
    }
}
