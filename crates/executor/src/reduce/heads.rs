//! Which of many sorted inputs has the smallest key: a tree of losers (Knuth, The Art of Computer Programming, volume 3,
//! section 5.4.1), which compares once a level where a heap compares twice.

use std::cmp::Ordering;

use crate::{TaskError, shuffle::Entries};

/// Inputs that stand at an entry each, or at their end.
#[derive(Debug)]
pub(super) struct Heads {
    inputs: Vec<Entries>,
    /// The winner of the tournament, the input with the smallest key, and then of each match the loser. The winners of the
    /// matches `2 * n` and `2 * n + 1` meet in `n`; from `inputs.len()` on these are no matches but the inputs themselves.
    tree: Vec<Head>,
}

/// What decides almost every match.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Of the key; the largest there is at the end.
    prefix: u64,
    input: u32,
    is_at_end: bool,
}

impl Heads {
    /// The inputs' first entries.
    pub(super) fn new(mut inputs: Vec<Entries>) -> Result<Self, TaskError> {
        let n_inputs = inputs.len();
        let heads = (0..).zip(&mut inputs).map(|(n, input)| Head::next(n, input));
        // Where winners and losers will stand is anybody until they have met.
        let tree = heads.collect::<Result<Vec<Head>, TaskError>>()?;
        let mut winners: Vec<Head> = tree.iter().chain(&tree).copied().collect();
        let mut heads = Heads { inputs, tree };
        for n in (1..n_inputs).rev() {
            let (a, b) = (winners[2 * n], winners[2 * n + 1]);
            (winners[n], heads.tree[n]) = if heads.is_less(b, a) { (b, a) } else { (a, b) };
        }
        if n_inputs > 0 {
            heads.tree[0] = winners[1];
        }
        Ok(heads)
    }

    /// The input with the smallest key; of those with equal keys the first. None if all are at their end.
    #[inline]
    pub(super) fn first(&self) -> Option<&Entries> {
        self.tree.first().filter(|head| !head.is_at_end).map(|head| &self.inputs[head.input as usize])
    }

    /// Goes on to the next entry of that input.
    pub(super) fn advance(&mut self) -> Result<(), TaskError> {
        let Some(&Head { input, is_at_end: false, .. }) = self.tree.first() else { return Ok(()) };
        let mut head = Head::next(input, &mut self.inputs[input as usize])?;
        let mut at = (input as usize + self.tree.len()) / 2;
        while at > 0 {
            let loser = self.tree[at];
            if self.is_less(loser, head) {
                self.tree[at] = head;
                head = loser;
            }
            at /= 2;
        }
        self.tree[0] = head;
        Ok(())
    }

    #[inline]
    fn is_less(&self, a: Head, b: Head) -> bool {
        if a.prefix == b.prefix { self.is_less_at_last(a, b) } else { a.prefix < b.prefix }
    }

    /// Of two with the same prefix.
    fn is_less_at_last(&self, a: Head, b: Head) -> bool {
        let key = |head: Head| self.inputs[head.input as usize].key();
        let order =
            a.is_at_end.cmp(&b.is_at_end).then_with(|| key(a).cmp(key(b))).then(a.input.cmp(&b.input));
        order == Ordering::Less
    }
}

impl Head {
    /// Of the input's next entry.
    #[inline]
    fn next(input: u32, entries: &mut Entries) -> Result<Head, TaskError> {
        let is_at_end = !entries.advance()?;
        Ok(Head { prefix: if is_at_end { u64::MAX } else { entries.prefix() }, input, is_at_end })
    }
}
