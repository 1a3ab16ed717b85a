//! Whether the job can always end. `stateright` judges single states; that from *every* state an end is within
//! reach, without another fault and without a late write that happens to arrive, is a question about the whole
//! graph: it is explored once more, its edges are kept, and the ends are followed backwards.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use stateright::Model;

use super::{Action, Protocol, State, world::is_over};

/// What the exploration saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub n_states: usize,
    /// Steps between them.
    pub n_steps: usize,
}

/// A way to a state from which the job can't end.
#[derive(Debug, Clone)]
pub struct Dead {
    /// The steps from the beginning.
    pub steps: Vec<Action>,
    /// Where they lead.
    pub state: Box<State>,
}

/// What is known of one state: how it was reached first, and from where it can be reached without a fault.
struct Node {
    from: Option<(usize, Action)>,
    before: Vec<u32>,
    can_end: bool,
}

/// Explores everything, and finds a state from which the job can't end if there is one.
pub fn explore(protocol: &Protocol) -> Result<Explored, Dead> {
    let (mut nodes, explored) = graph(protocol);
    let mut ending: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].can_end).collect();
    while let Some(node) = ending.pop() {
        for before in std::mem::take(&mut nodes[node].before) {
            let before = before as usize;
            if !std::mem::replace(&mut nodes[before].can_end, true) {
                ending.push(before);
            }
        }
    }
    match nodes.iter().position(|node| !node.can_end) {
        None => Ok(explored),
        Some(dead) => Err(way_to(protocol, &nodes, dead)),
    }
}

/// Breadth first, so that the ways are the shortest. States are told apart by their fingerprints, as in `stateright`.
fn graph(protocol: &Protocol) -> (Vec<Node>, Explored) {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let (mut nodes, mut known, mut layer): (Vec<Node>, HashMap<u64, u32>, _) = Default::default();
    let mut n_steps = 0;
    let mut add = |state: &State, from, nodes: &mut Vec<Node>| match known.entry(hasher.hash_one(state)) {
        Entry::Occupied(known) => (*known.get(), false),
        Entry::Vacant(vacant) => {
            // A state that breaks an invariant is a matter of its own.
            let can_end = is_over(state) || state.broken.is_some();
            nodes.push(Node { from, before: Vec::new(), can_end });
            (*vacant.insert(nodes.len() as u32 - 1), true)
        }
    };
    for state in protocol.init_states() {
        add(&state, None, &mut nodes);
        Vec::push(&mut layer, state);
    }
    let mut first = 0;
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (node, state) in (first..).zip(&layer) {
            for (action, after) in protocol.next_steps(state) {
                n_steps += 1;
                let (index, is_new) = add(&after, Some((node, action)), &mut nodes);
                if !action.is_optional() {
                    nodes[index as usize].before.push(node as u32);
                }
                if is_new {
                    next.push(after);
                }
            }
        }
        first += layer.len();
        layer = next;
    }
    let n_states = nodes.len();
    (nodes, Explored { n_states, n_steps })
}

fn way_to(protocol: &Protocol, nodes: &[Node], mut node: usize) -> Dead {
    let mut steps = Vec::new();
    while let Some((from, action)) = nodes[node].from {
        steps.push(action);
        node = from;
    }
    steps.reverse();
    let begin = State::initial(protocol.faults);
    let state = steps.iter().fold(begin, |state, step| protocol.next_state(&state, *step).unwrap_or(state));
    Dead { steps, state: Box::new(state) }
}
