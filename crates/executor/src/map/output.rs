//! Sorted pairs on their way into a file, combined if the job has a combiner.

use bytes::Bytes;

use super::groups::CHUNK_BYTES;
use crate::{
    Group, Runs, TaskError, UserCode, Values,
    shuffle::{Append, EntryRef, FileWriter},
};

/// A file that takes pairs in the order of their keys.
pub(super) struct Output<'a, W> {
    file: &'a mut FileWriter<W>,
    code: &'a mut dyn UserCode,
    combines: bool,
    /// Values of one key that are to be combined when they are all there, or are many, and how many they are.
    waiting: Vec<u8>,
    n_waiting: u64,
    key: Vec<u8>,
    hint: Vec<u8>,
    combined: Vec<u8>,
}

impl<'a, W: Append> Output<'a, W> {
    pub(super) fn new(file: &'a mut FileWriter<W>, code: &'a mut dyn UserCode) -> Self {
        let [waiting, key, hint, combined] = [const { Vec::new() }; 4];
        Output { file, combines: code.combines(), code, waiting, n_waiting: 0, key, hint, combined }
    }

    /// What comes next is this partition's.
    pub(super) fn advance_to(&mut self, partition: u32) -> Result<(), TaskError> {
        if partition != self.file.partition() {
            self.flush()?;
        }
        self.file.advance_to(partition)
    }

    /// Takes values of a key: some, and the last ones with their number.
    pub(super) fn push(
        &mut self,
        key: &[u8],
        hint: &[u8],
        values: Vec<Values>,
        (count, last): (u64, &[u8]),
    ) -> Result<(), TaskError> {
        if self.combines {
            self.begin(key, hint)?;
            values.into_iter().try_for_each(|values| self.wait(values.count, &values.bytes))?;
            return self.wait(count, last);
        }
        values.iter().try_for_each(|values| self.file.push(key, hint, values.count, &values.bytes))?;
        if count > 0 { self.file.push(key, hint, count, last) } else { Ok(()) }
    }

    /// Takes an entry, and the same as bytes.
    pub(super) fn push_entry(&mut self, (entry, bytes): (EntryRef<'_>, &[u8])) -> Result<(), TaskError> {
        if self.combines {
            return self.push(entry.key, entry.hint, Vec::new(), (entry.count, entry.values));
        }
        self.file.push_entry(bytes)
    }

    /// Takes a group of any size.
    pub(super) fn push_group(&mut self, mut group: Group) -> Result<(), TaskError> {
        if self.combines {
            self.begin(&group.key, &group.hint)?;
            while let Some(values) = group.values.next_run()? {
                self.wait(values.count, &values.bytes)?;
            }
            return Ok(());
        }
        while let Some(values) = group.values.next_run()? {
            self.file.push(&group.key, &group.hint, values.count, &values.bytes)?;
        }
        Ok(())
    }

    /// What comes next is of this key.
    fn begin(&mut self, key: &[u8], hint: &[u8]) -> Result<(), TaskError> {
        if self.n_waiting == 0 || self.key != key {
            self.flush()?;
            self.key.clear();
            self.key.extend_from_slice(key);
            self.hint.clear();
            self.hint.extend_from_slice(hint);
        }
        Ok(())
    }

    /// Takes more values of the key. However many there are, few wait.
    fn wait(&mut self, count: u64, values: &[u8]) -> Result<(), TaskError> {
        self.waiting.extend_from_slice(values);
        self.n_waiting += count;
        if self.waiting.len() < CHUNK_BYTES || self.n_waiting < 2 {
            return Ok(());
        }
        self.combine()?;
        // What does not get small goes into the file: values of the key that follow would have it combined each time.
        if self.waiting.len() < CHUNK_BYTES / 2 { Ok(()) } else { self.flush() }
    }

    /// Puts one value into the place of those that wait.
    fn combine(&mut self) -> Result<(), TaskError> {
        let (key, hint) = (Bytes::copy_from_slice(&self.key), Bytes::copy_from_slice(&self.hint));
        let values = Values { count: self.n_waiting, bytes: Bytes::copy_from_slice(&self.waiting) };
        self.combined.clear();
        self.code.combine(Group { key, hint, values: Runs::one(values) }, &mut self.combined)?;
        std::mem::swap(&mut self.waiting, &mut self.combined);
        self.n_waiting = 1;
        Ok(())
    }

    /// Combines and writes what waits.
    pub(super) fn flush(&mut self) -> Result<(), TaskError> {
        if self.n_waiting > 1 {
            self.combine()?;
        }
        // One value stands for itself.
        if self.n_waiting > 0 {
            self.file.push(&self.key, &self.hint, 1, &self.waiting)?;
        }
        self.waiting.clear();
        self.n_waiting = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Records, Resources, map::MapSink, reduce::Merge, shuffle::Spilled};

    /// Puts values one behind the other, or forgets all but the last byte.
    struct Code {
        joins: bool,
        /// The most bytes that were combined at one time.
        most: usize,
    }

    impl UserCode for Code {
        fn combines(&self) -> bool {
            true
        }

        fn combine(&mut self, mut group: Group, out: &mut Vec<u8>) -> Result<(), TaskError> {
            let runs = group.values.collect()?;
            let all: Vec<u8> = runs.iter().flat_map(|values| values.bytes.to_vec()).collect();
            self.most = self.most.max(all.len());
            out.extend_from_slice(if self.joins { &all } else { &all[all.len() - 1..] });
            Ok(())
        }

        fn map(&mut self, _: &mut Records, _: &mut MapSink) -> Result<(), TaskError> {
            unreachable!("nothing is mapped")
        }

        fn reduce(&mut self, _: Group, _: &mut Vec<u8>) -> Result<u64, TaskError> {
            unreachable!("nothing is reduced")
        }
    }

    /// What a file holds into which a key's 10,000 values of 100 bytes went; and the most that was combined at one time.
    fn written(joins: bool) -> (Vec<Values>, usize) {
        let resources = Resources::open("memory:///", 1 << 20, std::env::temp_dir()).unwrap();
        let mut code = Code { joins, most: 0 };
        let mut file = FileWriter::new(Spilled::new(&resources).unwrap());
        let mut output = Output::new(&mut file, &mut code);
        for n in 0..10_000u32 {
            let value = [n as u8; 100];
            let entry = EntryRef { key: b"hot", hint: b"", count: 1, values: &value };
            output.push_entry((entry, &[])).unwrap();
        }
        output.push(b"next", b"", Vec::new(), (1, b"alone")).unwrap();
        output.flush().unwrap();
        file.advance_to(1).unwrap();
        let inputs = vec![file.into_run().partition(&resources, 0, 1 << 20)];
        let mut merge = Merge::new(inputs, &resources).unwrap();
        let mut hot = merge.next_group().unwrap().unwrap();
        let values = hot.values.collect().unwrap();
        let mut next = merge.next_group().unwrap().unwrap();
        assert_eq!(next.values.collect().unwrap()[0].bytes, b"alone".as_slice());
        (values, code.most)
    }

    #[test]
    fn however_many_values_a_key_has_few_are_combined_at_one_time() {
        let (values, most) = written(false);
        assert_eq!(values, [Values { count: 1, bytes: [(9_999 % 256) as u8].as_slice().into() }]);
        assert!(most < CHUNK_BYTES + 100, "{most}");
    }

    #[test]
    fn what_does_not_get_smaller_when_combined_is_not_combined_again_and_again() {
        let (values, most) = written(true);
        let all: Vec<u8> = values.iter().flat_map(|values| values.bytes.to_vec()).collect();
        assert!(all == (0..10_000u32).flat_map(|n| [n as u8; 100]).collect::<Vec<_>>());
        assert!(most < CHUNK_BYTES + 100, "{most}");
    }
}
