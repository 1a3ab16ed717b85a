//! From files to splits, each the input of one task.
//!
//! Text, JSON Lines, CSV, records of fixed length and Parquet are cut anywhere near the wanted size: a range
//! holds the records that begin in it (of Parquet: the row groups whose middle it holds), so the reader mends
//! the cut. Not cut are compressed files, which can only be read from their beginning, whole files, and CSV
//! whose fields may hold line ends, so that no place in the middle tells where a row begins.
//!
//! Files without a byte hold no records and get no range, except as whole files. Nor is a compressed file ever
//! that short, so it gets one, to be found damaged.

use mapreduce_core::{Compression, FileFormat, FileRange, InputFile};

/// The most that a split holds unless the user wants otherwise. Read and mapped in a second or two even by Python,
/// so little is redone when a machine dies, and a slow task does not hold up the job; yet a thousand times what
/// planning and starting the task costs, and a terabyte makes but 32,768 of them.
pub const SPLIT_BYTES: u64 = 32 << 20;

/// Splits that a small input is cut into, so that all workers have something to do.
const SPLITS: u64 = 16;
/// How many splits there are is a multiple of this: two or four slots then have equally many, and end together.
const SPLITS_STEP: u64 = 4;
/// Starting a task takes about as long as reading so much.
const SPLIT_BYTES_MIN: u64 = 1 << 20;

/// How much a split of these files holds unless the user wants otherwise: a 16th of them, but no more than `most` and
/// not less than pays.
pub fn suitable_split_bytes(files: &[InputFile], most: u64) -> u64 {
    let most = most.max(1);
    let all = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.length));
    let n = all.div_ceil(most).max(SPLITS).next_multiple_of(SPLITS_STEP);
    all.div_ceil(n).clamp(SPLIT_BYTES_MIN.min(most), most)
}

/// What a file counts for at least: opening it takes about as long as reading so much. Without it a million
/// tiny files would be one split.
const FILE_BYTES_MIN: u64 = 64 << 10;

/// Cuts files into splits of about `split_bytes` stored bytes: large ones into ranges of equal length where
/// the format allows, small ones packed together. All ranges are in the order of the files. The same arguments
/// always give the same splits.
pub fn split(files: &[InputFile], format: &FileFormat, split_bytes: u64) -> Vec<Vec<FileRange>> {
    let split_bytes = split_bytes.max(1);
    let mut splits: Vec<Vec<FileRange>> = Vec::new();
    let mut filled = u64::MAX;
    for range in (0..).zip(files).flat_map(|(index, file)| ranges(index, file, format, split_bytes)) {
        let weight = range.length.max(FILE_BYTES_MIN.min(split_bytes));
        match splits.last_mut() {
            Some(split) if filled.saturating_add(weight) <= split_bytes => {
                split.push(range);
                filled += weight;
            }
            _ => {
                splits.push(vec![range]);
                filled = weight;
            }
        }
    }
    splits
}

/// The ranges of one file: equal but for rounding, and none longer than `split_bytes` if it can be cut.
fn ranges(
    index: u32,
    file: &InputFile,
    format: &FileFormat,
    split_bytes: u64,
) -> impl Iterator<Item = FileRange> + use<> {
    // A cut is only made at multiples of this.
    let unit = match format {
        FileFormat::FixedLength { record_bytes } => u64::from(*record_bytes).max(1),
        _ => 1,
    };
    let cuttable = match format {
        FileFormat::Csv { multiline: true, .. } | FileFormat::WholeFiles => false,
        FileFormat::Text { .. }
        | FileFormat::JsonLines
        | FileFormat::Csv { .. }
        | FileFormat::FixedLength { .. } => file.compression == Compression::None,
        FileFormat::Parquet => true,
    };
    let length = file.length;
    let units = length / unit;
    let count = match length {
        0 => u64::from(*format == FileFormat::WholeFiles || file.compression != Compression::None),
        _ if cuttable => length.div_ceil(split_bytes).min(units).max(1),
        _ => 1,
    };
    // In 128 bits, since units * i may not fit into 64.
    let cut = move |i: u64| match i == count {
        true => length,
        false => (u128::from(units) * u128::from(i) / u128::from(count)) as u64 * unit,
    };
    (0..count).map(move |i| FileRange { file: index, offset: cut(i), length: cut(i + 1) - cut(i) })
}

#[cfg(test)]
mod tests {
    use mapreduce_core::InvalidText;
    use proptest::prelude::*;

    use super::*;

    const TEXT: FileFormat = FileFormat::Text { invalid: InvalidText::Error };
    const CSV: FileFormat = FileFormat::Csv { delimiter: b',', header: true, multiline: false };
    const MULTILINE: FileFormat = FileFormat::Csv { delimiter: b',', header: true, multiline: true };

    fn files(lengths: &[u64], compression: Compression) -> Vec<InputFile> {
        let file = |length| InputFile {
            url: "file:///x".to_owned(),
            length,
            modified_ms: 1,
            e_tag: None,
            compression,
        };
        lengths.iter().copied().map(file).collect()
    }

    fn shape(splits: &[Vec<FileRange>]) -> Vec<Vec<(u32, u64, u64)>> {
        splits
            .iter()
            .map(|split| split.iter().map(|range| (range.file, range.offset, range.length)).collect())
            .collect()
    }

    #[test]
    fn a_large_file_is_cut_into_equal_ranges_and_small_ones_are_packed() {
        let large = files(&[100 << 20], Compression::None);
        let splits = split(&large, &TEXT, SPLIT_BYTES);
        assert_eq!(splits.iter().map(|split| split[0].length).collect::<Vec<_>>(), [25 << 20; 4]);
        let mib = 1 << 20;
        let small = files(&[20 * mib, 10 * mib, 5 * mib, 0, mib, 30 * mib], Compression::None);
        let packed = shape(&split(&small, &TEXT, SPLIT_BYTES));
        let indices: Vec<Vec<u32>> =
            packed.iter().map(|split| split.iter().map(|range| range.0).collect()).collect();
        assert_eq!(indices, [vec![0, 1], vec![2, 4], vec![5]]);
    }

    #[test]
    fn a_small_input_is_cut_for_many_workers_and_a_tiny_one_is_not() {
        let suits = |lengths: &[u64]| suitable_split_bytes(&files(lengths, Compression::None), SPLIT_BYTES);
        assert_eq!([suits(&[]), suits(&[1000]), suits(&[40 << 20, 60 << 20])], [1 << 20, 1 << 20, 100 << 16]);
        assert_eq!([suits(&[1 << 40]), suits(&[u64::MAX, 1])], [SPLIT_BYTES; 2]);
    }

    #[test]
    fn slots_have_equally_many_splits() {
        for length in [301_453_489, 1_000_908_839, (1 << 30) + 1] {
            let files = files(&[length], Compression::None);
            let n = split(&files, &TEXT, suitable_split_bytes(&files, SPLIT_BYTES)).len();
            assert_eq!(n % 4, 0, "{length}: {n}");
        }
    }

    #[test]
    fn tiny_files_count_for_what_opening_them_costs() {
        let splits = split(&files(&[1; 1100], Compression::None), &TEXT, SPLIT_BYTES);
        assert_eq!(splits.iter().map(Vec::len).collect::<Vec<_>>(), [512, 512, 76]);
    }

    #[test]
    fn what_can_not_be_cut_is_one_range() {
        let plain = files(&[1000], Compression::None);
        for format in [MULTILINE, FileFormat::WholeFiles] {
            assert_eq!(shape(&split(&plain, &format, 10)), [[(0, 0, 1000)]]);
        }
        for format in [TEXT, FileFormat::JsonLines, CSV, FileFormat::FixedLength { record_bytes: 10 }] {
            assert_eq!(split(&plain, &format, 10).len(), 100);
            assert_eq!(shape(&split(&files(&[1000], Compression::Gzip), &format, 10)), [[(0, 0, 1000)]]);
        }
    }

    #[test]
    fn empty_files_are_records_only_as_whole_files() {
        let empty = files(&[0, 0], Compression::None);
        assert_eq!(split(&empty, &TEXT, 10), Vec::<Vec<FileRange>>::new());
        assert_eq!(shape(&split(&empty, &FileFormat::WholeFiles, SPLIT_BYTES)), [[(0, 0, 0), (1, 0, 0)]]);
        assert_eq!(split(&[], &TEXT, 0), Vec::<Vec<FileRange>>::new());
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_range_and_cuts_are_between_records(
            lengths in prop::collection::vec(0..3000u64, 0..8),
            split_bytes in 0..2000u64,
            record_bytes in 0..50u32,
        ) {
            let input = files(&lengths, Compression::None);
            let format = FileFormat::FixedLength { record_bytes };
            for format in [TEXT, format, CSV, MULTILINE] {
                let splits = split(&input, &format, split_bytes);
                let mut ends = vec![0; lengths.len()];
                for range in splits.iter().flatten() {
                    prop_assert_eq!(range.offset, ends[range.file as usize]);
                    prop_assert!(range.length > 0);
                    ends[range.file as usize] += range.length;
                    if let FileFormat::FixedLength { record_bytes } = format {
                        prop_assert_eq!(range.offset % u64::from(record_bytes.max(1)), 0);
                    }
                }
                prop_assert_eq!(&ends, &lengths);
                let bytes = |split: &Vec<FileRange>| split.iter().map(|range| range.length).sum::<u64>();
                prop_assert!(format != TEXT || splits.iter().all(|split| bytes(split) <= split_bytes.max(1)));
            }
        }

        #[test]
        fn no_length_is_too_large(length: u64, cut in 1..1000u64) {
            let splits = split(&files(&[length], Compression::None), &TEXT, length / cut);
            prop_assert!(length < 1000 || splits.len() as u64 <= 2 * cut + 1);
            prop_assert_eq!(splits.iter().flatten().map(|range| range.length).sum::<u64>(), length);
        }
    }
}
