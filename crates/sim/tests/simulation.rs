//! Simulated worlds, each drawn from its seed. `make sim SEEDS=n` runs more of them.

use mapreduce_sim::{many, run};

/// How many seeds every test run tries.
const SEEDS: u64 = 1000;
/// Others, in which something was found: what was created, in doubt, and read back was taken back by a power cut.
const FOUND: [u64; 1] = [1348];

#[test]
fn every_world_keeps_the_promise() {
    let summary = many::run(SEEDS, many::seeded);
    eprintln!("{summary}");
    assert!(summary.failed.is_empty(), "{}", summary.failed.join("\n\n"));
    assert!(summary.n_attempts > SEEDS, "hardly anything ran: {summary}");
}

#[test]
fn what_was_found_is_mended() {
    let summary = many::run(FOUND.len() as u64, |n| many::seeded(FOUND[n as usize]));
    assert!(summary.failed.is_empty(), "{}", summary.failed.join("\n\n"));
}

/// Else no seed could be replayed.
#[test]
fn a_world_is_a_function_of_its_seed() {
    for seed in (0..SEEDS).step_by(50) {
        let (first, second) = (run::seed(seed, true), run::seed(seed, true));
        for (n, lines) in first.lines.iter().zip(&second.lines).enumerate() {
            assert_eq!(lines.0, lines.1, "seed {seed} goes another way at event {n}");
        }
        assert_eq!(first, second, "seed {seed}");
        assert!(first.trace.1 > 20, "seed {seed}: hardly anything happened");
    }
}
