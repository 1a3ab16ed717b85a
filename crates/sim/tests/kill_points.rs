//! 2 masters, 2 workers, 4 map and 2 reduce tasks, and a process killed at each call to coordination, storage and network:
//! before it takes effect, before its reply, after its reply. `make kill-points` does it at every pair of calls.

use mapreduce_sim::{
    many::{self, Summary},
    run::{self, Calm},
};

#[test]
fn without_a_kill_nothing_runs_twice() {
    let verdict = run::calm(Calm::Succeeds, Vec::new(), false);
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert_eq!(verdict.n_attempts, 6, "{verdict}");
}

#[test]
fn whoever_is_killed_at_whichever_call_the_job_ends_rightly() {
    let summary = at_every_call(Calm::Succeeds);
    // Each attempt makes several calls, and each call is a point with three stages.
    assert!(summary.n_worlds > 6 * 5 * 3, "{summary}");
}

/// I13: whoever owns the job after a death goes on with the budget that is left.
#[test]
fn whoever_is_killed_at_whichever_call_a_job_that_fails_uses_up_no_more_than_its_budget() {
    let verdict = run::calm(Calm::Fails, Vec::new(), false);
    assert_eq!(verdict.phases, ["failed"], "{verdict}");
    at_every_call(Calm::Fails);
}

fn at_every_call(code: Calm) -> Summary {
    let kills = many::kills(code);
    let summary = many::run(kills.len() as u64, |n| many::killed(code, &kills[n as usize]));
    eprintln!("{summary}");
    assert!(summary.failed.is_empty(), "{}", summary.failed.join("\n\n"));
    summary
}
