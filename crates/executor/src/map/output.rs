//! Sorted pairs on their way into a file, combined if the job has a combiner.

use bytes::Bytes;

use crate::{
    Group, Runs, TaskError, UserCode, Values,
    shuffle::{Append, EntryRef, FileWriter},
};

/// A file that takes pairs in the order of their keys.
pub(super) struct Output<'a, W> {
    file: &'a mut FileWriter<W>,
    code: &'a mut dyn UserCode,
    combines: bool,
    /// Values of one key that are to be combined when they are all there.
    waiting: Vec<Values>,
    key: Vec<u8>,
    hint: Vec<u8>,
    combined: Vec<u8>,
}

impl<'a, W: Append> Output<'a, W> {
    pub(super) fn new(file: &'a mut FileWriter<W>, code: &'a mut dyn UserCode) -> Self {
        let (key, hint, combined) = (Vec::new(), Vec::new(), Vec::new());
        Output { file, combines: code.combines(), code, waiting: Vec::new(), key, hint, combined }
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
            self.waiting.extend(values);
            if count > 0 {
                self.waiting.push(Values { count, bytes: Bytes::copy_from_slice(last) });
            }
            return Ok(());
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
            return self.push(&group.key, &group.hint, group.values.collect()?, (0, &[]));
        }
        while let Some(values) = group.values.next_run()? {
            self.file.push(&group.key, &group.hint, values.count, &values.bytes)?;
        }
        Ok(())
    }

    /// What comes next is of this key.
    fn begin(&mut self, key: &[u8], hint: &[u8]) -> Result<(), TaskError> {
        if self.waiting.is_empty() || self.key != key {
            self.flush()?;
            self.key.clear();
            self.key.extend_from_slice(key);
            self.hint.clear();
            self.hint.extend_from_slice(hint);
        }
        Ok(())
    }

    /// Combines and writes what waits.
    pub(super) fn flush(&mut self) -> Result<(), TaskError> {
        match self.waiting.as_slice() {
            [] => return Ok(()),
            // One value stands for itself.
            [Values { count: 1, bytes }] => self.file.push(&self.key, &self.hint, 1, bytes)?,
            _ => {
                let (key, hint) = (Bytes::copy_from_slice(&self.key), Bytes::copy_from_slice(&self.hint));
                let values = Runs::of(std::mem::take(&mut self.waiting));
                self.combined.clear();
                self.code.combine(Group { key, hint, values }, &mut self.combined)?;
                self.file.push(&self.key, &self.hint, 1, &self.combined)?;
            }
        }
        self.waiting.clear();
        Ok(())
    }
}
