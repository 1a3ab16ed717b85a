//! Takes the pairs of one map task: in memory, and on the local disk when the memory is full.

use mapreduce_storage::FileRef;
use object_store::path::Path;

use super::{
    GroupId, KeyBatch, Partitioner,
    groups::Groups,
    order::{Order, Place},
    output::Output,
    partitioner::KeyPartitioner,
    pile::Pile,
    runs,
};
use crate::{
    Resources, TaskError, UserCode,
    shuffle::{Append, FileWriter, Run, Spilled, Stored},
};

/// Pairs in the order of keys are all over the memory: each is fetched so many before its turn.
const PAIRS_AHEAD: usize = 16;

/// More groups and bytes of piled pairs than these are not taken, whatever the budget: their numbers have 32 bits, of
/// which half are for what comes before that is seen.
const PLACES_MAX: usize = 1 << 31;

/// Takes the pairs of one map task. It groups them by key as they come, until it sees that most keys are new: then
/// it is quicker to [pile](MapSink::pile) them up.
///
/// The values of a key stay in the order in which they come, for which there is one rule: from the first pair that is piled
/// up until the sink is spilled, every pair that comes is piled up, also one whose group is known. Groups go out before the
/// pile, so only values that came earlier, and have waited outside of the sink, may still be pushed to them.
#[derive(Debug)]
pub struct MapSink {
    resources: Resources,
    partitioner: KeyPartitioner,
    groups: Groups,
    /// Pairs that came after those in groups.
    pile: Pile,
    n_values: u64,
    spilled: Vec<Run>,
    /// The keys of what would have been spilled, if keys are all that is wanted.
    sample: Option<Vec<Vec<u8>>>,
}

impl MapSink {
    /// An empty sink.
    pub fn new(resources: &Resources, partitioner: Partitioner) -> Self {
        MapSink {
            resources: resources.clone(),
            partitioner: KeyPartitioner::new(partitioner),
            groups: Groups::default(),
            pile: Pile::default(),
            n_values: 0,
            spilled: Vec::new(),
            sample: None,
        }
    }

    /// A sink of which only the [keys](MapSink::into_keys) are wanted.
    pub(super) fn of_keys(resources: &Resources) -> Self {
        let sink = MapSink::new(resources, Partitioner::Hash { n_partitions: 1 });
        MapSink { sample: Some(Vec::new()), ..sink }
    }

    /// All keys that came, in order, each once: how often a key came, groups don't tell.
    pub(super) fn into_keys(mut self) -> Vec<Vec<u8>> {
        let mut keys = self.sample.take().unwrap_or_default();
        keys.extend(self.keys().map(<[u8]>::to_vec));
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The same for a job that wants the values of a key in order, or not. If so, every key is to be followed by its
    /// value, encoded as a key: the keys then are in the order of keys and, of each, of its values. Where the pair goes
    /// depends on the key alone.
    pub fn sorting_values(mut self, sorts_values: bool) -> Self {
        self.partitioner.sorts_values = sorts_values;
        self
    }

    /// Whether [so](MapSink::sorting_values).
    #[inline]
    pub fn sorts_values(&self) -> bool {
        self.partitioner.sorts_values
    }

    /// The group of `key`. `put_hint` is asked when the key is new. Valid until the sink is spilled. Not to be asked for
    /// when pairs have been piled up.
    #[inline]
    pub fn group<E>(
        &mut self,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<GroupId, E> {
        debug_assert!(self.pile.is_empty(), "a value would overtake the piled ones");
        self.groups.group(key, put_hint, |key| self.partitioner.partition(key))
    }

    /// Looks up the [groups](KeyBatch::groups) of all these keys, which have no hints; otherwise as [MapSink::group].
    /// `found` hears of each.
    pub fn group_all(&mut self, keys: &mut KeyBatch, found: impl FnMut(GroupId)) {
        debug_assert!(keys.is_empty() || self.pile.is_empty(), "a value would overtake the piled ones");
        self.groups.group_all(keys, found, |key| self.partitioner.partition(key));
    }

    /// To be called when a key has been added to those that will be looked up together: finding it is a wait for memory,
    /// which begins here, and may end while others are added.
    #[inline]
    pub fn expect(&self, keys: &KeyBatch) {
        self.groups.prefetch(keys);
    }

    /// So many pairs came whose groups the caller knew without looking them up: they count as keys that are not new.
    pub fn count_known(&mut self, n: usize) {
        self.groups.count_known(n);
    }

    /// Puts a group that has just been made into another partition than its key's; one there is not is the last.
    pub fn set_partition(&mut self, group: GroupId, partition: u32) {
        self.groups.set_partition(group, partition.min(self.n_partitions() - 1));
    }

    /// Adds `n` values to a group, which are encoded as `encoded`.
    pub fn push(&mut self, id: GroupId, n: u64, encoded: &[u8]) {
        self.n_values += n;
        self.groups.push(id, n, encoded);
    }

    /// Whether pairs should be [piled up](MapSink::pile) from now on: most keys have turned out to be new, or will, since
    /// values follow them. Once it is so, it stays so until the sink is spilled.
    #[inline]
    pub fn wants_pile(&self) -> bool {
        self.sorts_values() || self.groups.most_are_new()
    }

    /// Adds `n` values of `key`, which are encoded as `encoded`, without looking for the key's group. `partition` is
    /// another one than the key's.
    pub fn pile<E>(
        &mut self,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        (n, encoded): (u64, &[u8]),
        partition: Option<u32>,
    ) -> Result<(), E> {
        self.n_values += n;
        let last = self.n_partitions() - 1;
        let partition = partition.unwrap_or_else(|| self.partitioner.partition(key)).min(last);
        self.pile.push(key, put_hint, (n, encoded), partition, self.groups.len() as u32)
    }

    /// All groups, in the order of first appearance.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = GroupId> + use<> {
        (0..self.groups.len() as u32).map(GroupId)
    }

    /// The keys that are in memory.
    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.groups().map(|id| self.groups.key(id)).chain(self.pile.keys())
    }

    /// How many values came in.
    pub fn n_values(&self) -> u64 {
        self.n_values
    }

    /// Whether it has taken its share of the memory. It may take more; but it is better spilled first. To be asked after a
    /// thousand pairs, and after some ten thousand bytes.
    #[inline]
    pub fn is_full(&self) -> bool {
        let n_groups = self.groups.len();
        self.groups.bytes() + n_groups * Order::BYTES + self.pile.bytes() > self.resources.memory_bytes
            || n_groups + self.pile.entry_bytes() > PLACES_MAX
    }

    /// Writes all pairs to the local disk, and forgets them and their groups.
    pub fn spill(&mut self, code: &mut dyn UserCode) -> Result<(), TaskError> {
        if self.groups.len() == 0 && self.pile.is_empty() {
            return Ok(());
        }
        if let Some(mut sample) = self.sample.take() {
            sample.extend(self.keys().map(<[u8]>::to_vec));
            self.sample = Some(sample);
            self.clear();
            return Ok(());
        }
        let mut file = FileWriter::new(Spilled::new(&self.resources)?);
        self.drain(&mut Output::new(&mut file, code))?;
        file.advance_to(self.n_partitions())?;
        self.spilled.push(file.into_run());
        Ok(())
    }

    /// Writes the whole file of map output; see [`Stored::new`]. Then it is empty, and best used for the job's next task:
    /// it has memory already, which fresh from the system would have to be cleared.
    pub fn finish(
        &mut self,
        code: &mut dyn UserCode,
        path: Path,
        content_bytes_max: u64,
    ) -> Result<FileRef, TaskError> {
        let mut file = FileWriter::new(Stored::new(&self.resources, path, content_bytes_max));
        let n_partitions = self.n_partitions();
        if self.spilled.is_empty() {
            self.drain(&mut Output::new(&mut file, code))?;
        } else {
            self.spill(code)?;
            let runs = std::mem::take(&mut self.spilled);
            runs::merge(&runs, n_partitions, &self.resources, &mut Output::new(&mut file, code))?;
        }
        file.advance_to(n_partitions)?;
        self.n_values = 0;
        file.finish()?.finish()
    }

    /// Hands over all pairs, partition by partition, in the order of their keys.
    fn drain<W: Append>(&mut self, output: &mut Output<'_, W>) -> Result<(), TaskError> {
        let mut order = self.pile.take_order();
        let (groups, pile) = (&mut self.groups, &self.pile);
        order.reserve(groups.len());
        for number in 0..groups.len() as u32 {
            let id = GroupId(number);
            order.push(Place { partition: groups.partition(id), number }, groups.key(id));
        }
        order.sort(|number| match pile.start(number) {
            None => groups.key(GroupId(number)),
            Some(start) => pile.get(start).0.key,
        });
        self.write(&order, output)?;
        output.flush()?;
        self.pile.give_back(order);
        self.clear();
        Ok(())
    }

    /// Hands over all pairs in this order.
    fn write<W: Append>(&mut self, order: &Order, output: &mut Output<'_, W>) -> Result<(), TaskError> {
        let (groups, pile) = (&mut self.groups, &self.pile);
        let mut ahead = order.places();
        let fetch = |groups: &Groups, place: Place| match pile.start(place.number) {
            Some(start) => pile.prefetch(start),
            None => groups.prefetch_group(GroupId(place.number)),
        };
        ahead.by_ref().take(PAIRS_AHEAD).for_each(|place| fetch(groups, place));
        for Place { partition, number } in order.places() {
            if let Some(place) = ahead.next() {
                fetch(groups, place);
            }
            output.advance_to(partition)?;
            if let Some(start) = pile.start(number) {
                output.push_entry(pile.get(start))?;
                continue;
            }
            let id = GroupId(number);
            let aside = groups.take_aside(id);
            output.push(groups.key(id), groups.hint(id), aside, groups.last_values(id))?;
        }
        Ok(())
    }

    /// Forgets what is in memory.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.pile.clear();
    }

    /// How many partitions there are.
    pub fn n_partitions(&self) -> u32 {
        self.partitioner.partitioner.n_partitions()
    }

    /// What it may use.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A sink that has been asked for the groups of these keys; and after how many it wanted to pile up.
    fn grouped(keys: impl Iterator<Item = u64>) -> (MapSink, Option<usize>) {
        let resources = Resources::open("memory:///", 64 << 20, std::env::temp_dir()).unwrap();
        let mut sink = MapSink::new(&resources, Partitioner::Hash { n_partitions: 1 });
        let mut wanted = None;
        for (n, key) in (1..).zip(keys) {
            let Ok(_) = sink.group(&key.to_le_bytes(), |_| Ok::<(), Infallible>(()));
            wanted = wanted.or(sink.wants_pile().then_some(n));
        }
        (sink, wanted)
    }

    /// `n` numbers below `limit`, the same every time.
    fn random(n: u64, limit: u64) -> impl Iterator<Item = u64> {
        (0..n).map(move |n| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()) % limit)
    }

    #[test]
    fn it_wants_to_pile_up_when_most_keys_are_new() {
        assert_eq!(grouped(0..16_383).1, None);
        assert_eq!(grouped(0..30_000).1, Some(16_384));
    }

    /// Most keys were new at the beginning, as they are everywhere.
    #[test]
    fn keys_that_have_begun_to_repeat_are_grouped() {
        let (sink, wanted) = grouped(random(200_000, 25_000));
        assert_eq!((sink.groups.len() > 24_900, wanted), (true, None));
    }

    #[test]
    fn keys_that_no_longer_repeat_are_piled_up() {
        let keys = (0..1_000_000).map(|n| n % 1000).chain(1000..);
        assert_eq!(grouped(keys.take(1_030_000)).1, Some(1_000_000 + 15_384));
    }

    #[test]
    fn keys_that_are_known_are_not_new() {
        let (mut sink, _) = grouped(0..12_288);
        sink.count_known(4096);
        for key in 12_288..20_000u64 {
            let Ok(_) = sink.group(&key.to_le_bytes(), |_| Ok::<(), Infallible>(()));
        }
        assert!(!sink.wants_pile());
    }

    #[test]
    fn it_groups_again_when_it_has_forgotten_all() {
        let (mut sink, _) = grouped(0..20_000);
        assert!(sink.wants_pile());
        sink.clear();
        assert!(!sink.wants_pile());
    }

    /// Piles pairs up until the sink is full, and then has it forget them; tells how many they were.
    fn pile_until_full(sink: &mut MapSink) -> usize {
        let n = (0u64..).take_while(|n| {
            let Ok(()) = sink.pile(&n.to_le_bytes(), |_| Ok::<(), Infallible>(()), (1, b"value"), None);
            !sink.is_full()
        });
        let n = n.count();
        sink.clear();
        n
    }

    /// Groups have filled the memory, and keep it though pairs are piled up from then on; but not for long.
    #[test]
    fn memory_that_is_kept_counts_until_it_is_given_back() {
        let (mut sink, _) = grouped(0..300_000);
        assert!(2 * sink.groups.bytes() > sink.resources.memory_bytes);
        sink.clear();
        let few = pile_until_full(&mut sink);
        assert_eq!(sink.groups.bytes(), 0);
        let many = pile_until_full(&mut sink);
        assert!(3 * few < 2 * many, "{few} {many}");
        // What the pile keeps does not keep it from being filled again, groups or not.
        assert_eq!(pile_until_full(&mut sink), many);
        let Ok(_) = sink.group(b"key", |_| Ok::<(), Infallible>(()));
        assert!(pile_until_full(&mut sink) > many * 99 / 100);
    }
}
