//! Sorted groups on their way into a file, combined if the job has a combiner.

use bytes::Bytes;

use crate::{
    Group, Runs, TaskError, UserCode, Values,
    shuffle::{Append, FileWriter},
};

/// A file that takes groups.
pub(super) struct Output<'a, W> {
    file: &'a mut FileWriter<W>,
    code: &'a mut dyn UserCode,
    combined: Vec<u8>,
}

impl<'a, W: Append> Output<'a, W> {
    pub(super) fn new(file: &'a mut FileWriter<W>, code: &'a mut dyn UserCode) -> Self {
        Output { file, code, combined: Vec::new() }
    }

    pub(super) fn advance_to(&mut self, partition: u32) -> Result<(), TaskError> {
        self.file.advance_to(partition)
    }

    /// Takes a group that is in memory: some values, and the last ones with their number.
    pub(super) fn push(
        &mut self,
        key: &[u8],
        hint: &[u8],
        mut values: Vec<Values>,
        (count, last): (u64, &[u8]),
    ) -> Result<(), TaskError> {
        // One value stands for itself.
        let n_values = values.iter().map(|values| values.count).sum::<u64>() + count;
        if self.code.combines() && n_values > 1 {
            if count > 0 {
                values.push(Values { count, bytes: Bytes::copy_from_slice(last) });
            }
            let (key, hint) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(hint));
            return self.combine(Group { key, hint, values: Runs::of(values) });
        }
        values.iter().try_for_each(|values| self.file.push(key, hint, values.count, &values.bytes))?;
        if count > 0 { self.file.push(key, hint, count, last) } else { Ok(()) }
    }

    /// Takes a group of any size.
    pub(super) fn push_group(&mut self, mut group: Group) -> Result<(), TaskError> {
        if self.code.combines() {
            let mut first = group.values.collect()?;
            if let [Values { count: 1, bytes }] = first.as_slice() {
                return self.file.push(&group.key, &group.hint, 1, bytes);
            }
            group.values = Runs::of(std::mem::take(&mut first));
            return self.combine(group);
        }
        while let Some(values) = group.values.next_run()? {
            self.file.push(&group.key, &group.hint, values.count, &values.bytes)?;
        }
        Ok(())
    }

    fn combine(&mut self, group: Group) -> Result<(), TaskError> {
        let (key, hint) = (group.key.clone(), group.hint.clone());
        self.combined.clear();
        self.code.combine(group, &mut self.combined)?;
        self.file.push(&key, &hint, 1, &self.combined)
    }
}
