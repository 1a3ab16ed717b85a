//! Splits of uploaded records, and the blocks that they are made of.

use std::num::NonZeroU64;

use futures::executor::block_on;
use mapreduce_core::{Content, JobId, Split};
use mapreduce_formats::Batch;
use mapreduce_storage::{
    Store,
    block::{decode_block, encode_block},
    open,
    splits::{SplitSize, SplitWriter, read_split},
};

use crate::{check_error, checksums::repair_blocks, seed};

/// The checksums are taken as they are.
const WHOLE: u8 = 0x80;
const OBJECT: &str = "input/0.0";
/// Comes from the specification, and may be anything.
const FIRST_RECORD: u64 = u64::MAX - 1;

/// Reads a split of so many records as the choice says.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let mut stored = bytes.to_vec();
    if choice & WHOLE == 0 {
        repair_blocks(&mut stored);
    }
    if let Ok((raw, consumed)) = decode_block(&stored).map_err(|error| check_error(&error)) {
        assert!(consumed <= stored.len());
        let mut again = Vec::new();
        encode_block(&raw, &mut again).unwrap();
        assert_eq!(decode_block(&again), Ok((raw, again.len())));
    }
    let split = Split {
        object: OBJECT.to_owned(),
        offset: 0,
        length: stored.len() as u64,
        records: u64::from(choice & !WHOLE),
        first_record: FIRST_RECORD,
    };
    let contents = [(OBJECT.to_owned(), Content(stored))].into();
    let store: Store = open("memory:///").unwrap();
    let read = block_on(read_split(&store, JobId(1), &split, &contents));
    let Ok(records) = read.map_err(|error| check_error(&error)) else { return };
    let found: Vec<Vec<u8>> = records.iter().map(<[u8]>::to_vec).collect();
    assert_eq!(found.len() as u64, split.records);
    let batch = Batch::of_uploaded(OBJECT.into(), FIRST_RECORD, records.into_parts());
    assert!(batch.iter().eq(found.iter().map(Vec::as_slice)));
    (0..batch.len()).for_each(|i| drop(batch.position(i)));
}

/// Splits of text, of noise, of nothing and of a long record.
pub fn seeds() -> Vec<Vec<u8>> {
    let text: &[&[u8]] = &[b"to be or not to be", b"that is", b"the question"];
    let long = [b'x'; 3000];
    let all: [&[&[u8]]; 4] = [text, &[b"\x80\x00\xff"], &[b""], &[&long, b"short"]];
    let mut seeds: Vec<Vec<u8>> =
        all.iter().map(|records| seed(records.len() as u8, object(records))).collect();
    seeds.push(seed(WHOLE | 3, object(text)));
    seeds
}

/// One split of these records.
fn object(records: &[&[u8]]) -> Vec<u8> {
    let size = SplitSize::Exactly(NonZeroU64::new(records.len() as u64).unwrap());
    let mut writer = SplitWriter::new(0, size);
    for record in records {
        assert!(writer.push(record).is_none());
    }
    writer.finish().0.unwrap().bytes.to_vec()
}
