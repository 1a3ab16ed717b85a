//! Who is silent: heartbeat counters that stand still for a lease, as counted by the observer's own looks.
//! No two clocks are compared, and an observer that was itself held up starts to count anew, so a machine
//! that stops and goes on as a whole condemns nobody.

use std::collections::HashMap;

use mapreduce_core::Incarnation;

/// Fewest looks in a row that must find a counter unchanged.
pub(super) const LOOKS_MIN: u32 = 4;

/// What one observer knows of the others' heartbeats.
#[derive(Debug)]
pub(super) struct Silence {
    looks: u32,
    seen: HashMap<Incarnation, Seen>,
}

#[derive(Debug)]
struct Seen {
    counter: Vec<u8>,
    unchanged: u32,
}

impl Silence {
    /// Takes a process for silent when `looks` in a row found no heartbeat.
    pub(super) fn new(looks: u32) -> Silence {
        Silence { looks: looks.max(LOOKS_MIN), seen: HashMap::new() }
    }

    /// One look at everybody's counters; answers who is silent. `late`: the observer was held up since the
    /// last look, so that others may have been, too.
    pub(super) fn look(&mut self, counters: Vec<(Incarnation, Vec<u8>)>, late: bool) -> Vec<Incarnation> {
        let mut silent = Vec::new();
        let mut seen = HashMap::with_capacity(counters.len());
        for (id, counter) in counters {
            let unchanged = match self.seen.get(&id) {
                Some(before) if before.counter == counter && !late => before.unchanged + 1,
                _ => 0,
            };
            if unchanged >= self.looks {
                silent.push(id.clone());
            }
            seen.insert(id, Seen { counter, unchanged });
        }
        self.seen = seen;
        silent
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_core::Role;

    use super::*;

    fn id() -> Incarnation {
        Incarnation::new(Role::Worker, 7)
    }
    fn look(silence: &mut Silence, counter: u8, late: bool) -> bool {
        silence.look(vec![(id(), vec![counter])], late) == [id()]
    }

    #[test]
    fn only_a_counter_that_stands_still_in_all_looks_is_silent() {
        let mut silence = Silence::new(4);
        let looks: Vec<bool> = (0..5).map(|_| look(&mut silence, 1, false)).collect();
        assert_eq!(looks, [false, false, false, false, true], "the first look only learns the counter");
        assert!(!look(&mut silence, 2, false), "it beats again");
        for beat in 0..20 {
            assert!(!look(&mut silence, beat / 4, false), "a slow heart is no silent one");
        }
    }

    #[test]
    fn an_observer_that_was_held_up_starts_anew() {
        let mut silence = Silence::new(4);
        for n in 0..20 {
            assert!(!look(&mut silence, 1, n % 4 == 0));
        }
    }

    #[test]
    fn who_was_gone_for_a_while_starts_anew() {
        let mut silence = Silence::new(4);
        for _ in 0..4 {
            assert!(!look(&mut silence, 1, false));
        }
        assert_eq!(silence.look(vec![], false), []);
        assert!(!look(&mut silence, 1, false));
    }
}
