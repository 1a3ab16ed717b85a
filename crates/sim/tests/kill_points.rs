//! 4 map and 2 reduce tasks, and a process killed at each call to coordination, storage and network: before it takes effect,
//! before its reply, after its reply; or each call refused, or its reply lost, or its caller cut off. `make kill-points`
//! kills at every pair of calls.

use mapreduce_sim::{
    many::{self, Summary},
    run::{self, Calm},
};

#[test]
fn without_a_fault_nothing_runs_twice() {
    for kind in [Calm::Succeeds, Calm::Alone] {
        let verdict = run::calm(kind, Vec::new(), false);
        assert_eq!(verdict.violations, Vec::<String>::new());
        assert_eq!(verdict.n_attempts, 6, "{verdict}");
    }
}

#[test]
fn whatever_fails_at_whichever_call_the_job_ends_rightly() {
    let summary = at_every_call(Calm::Succeeds);
    // Each attempt makes several calls, and each call is a point with three stages.
    assert!(summary.n_worlds > 6 * 5 * 3, "{summary}");
}

#[test]
fn whatever_fails_at_whichever_call_one_master_and_one_worker_end_the_job_rightly() {
    at_every_call(Calm::Alone);
}

/// I13: whoever owns the job after a death goes on with the budget that is left.
#[test]
fn whatever_fails_at_whichever_call_a_job_that_fails_uses_up_no_more_than_its_budget() {
    let verdict = run::calm(Calm::Fails, Vec::new(), false);
    assert_eq!(verdict.phases, ["failed"], "{verdict}");
    at_every_call(Calm::Fails);
}

fn at_every_call(kind: Calm) -> Summary {
    let faults = many::single_faults(kind);
    let summary = many::run(faults.len() as u64, |n| many::with(kind, &faults[n as usize]));
    eprintln!("{kind:?}: {summary}");
    assert!(summary.failed.is_empty(), "{}", summary.failed.join("\n\n"));
    summary
}
