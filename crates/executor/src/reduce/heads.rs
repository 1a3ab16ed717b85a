//! Which of many sorted inputs has the smallest key.

use std::cmp::Ordering;

use crate::{TaskError, shuffle::Entries};

/// Inputs that stand at an entry each, in a binary heap. What is compared first lies in the heap itself.
#[derive(Debug)]
pub(super) struct Heads {
    inputs: Vec<Entries>,
    heap: Vec<Head>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    prefix: u64,
    input: u32,
}

impl Heads {
    /// The inputs' first entries.
    pub(super) fn new(mut inputs: Vec<Entries>) -> Result<Self, TaskError> {
        let mut heap = Vec::with_capacity(inputs.len());
        for (n, input) in (0..).zip(&mut inputs) {
            if input.advance()? {
                heap.push(Head { prefix: input.prefix(), input: n });
            }
        }
        let mut heads = Heads { inputs, heap };
        (0..heads.heap.len() / 2).rev().for_each(|at| heads.sift_down(at));
        Ok(heads)
    }

    /// The input with the smallest key; of those with equal keys the first. None if all are at their end.
    pub(super) fn first(&self) -> Option<&Entries> {
        self.heap.first().map(|head| &self.inputs[head.input as usize])
    }

    /// Goes on to the next entry of that input.
    pub(super) fn advance(&mut self) -> Result<(), TaskError> {
        let Some(first) = self.heap.first_mut() else { return Ok(()) };
        let input = &mut self.inputs[first.input as usize];
        if input.advance()? {
            first.prefix = input.prefix();
        } else {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    /// Moves the head at this place down until none below it is smaller.
    fn sift_down(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heap.len() {
                return;
            }
            let child = if right < self.heap.len() && self.is_less(right, left) { right } else { left };
            if !self.is_less(child, at) {
                return;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }

    fn is_less(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        let key = |head: Head| self.inputs[head.input as usize].key();
        let order = a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))).then(a.input.cmp(&b.input));
        order == Ordering::Less
    }
}
