//! Kill points: every call to coordination, storage and network has a number, and a process can be killed at each, before
//! it takes effect, after that but before the reply, or just after the reply. Or nobody is, and the call alone fails; or it
//! takes long, while its caller is cut off from coordination and taken for dead.

use std::{fmt, str::FromStr};

/// Where on the way of a call something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The call is never made; who lives hears that it was refused.
    Before,
    /// It takes effect; nobody hears of it, and who lives does not know whether it has.
    BeforeReply,
    /// The reply arrives; its process dies at the next thing it waits for.
    AfterReply,
}

/// Who dies when an executor's call is the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The process that calls.
    Caller,
    /// Of an executor, the worker that it belongs to: both die.
    Worker,
    /// Nobody: only the call fails.
    Nobody,
    /// Nobody: but the call is on its way until its caller, cut off from coordination as all workers are, was taken for dead.
    CutOff,
}

/// One death, or one call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The number of the call.
    pub point: u64,
    /// Where on its way.
    pub stage: Stage,
    /// Who dies.
    pub victim: Victim,
}

/// Those of one run, in the order of their points. As text: `12:before:caller,30:after-reply:worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

const STAGES: [(&str, Stage); 3] =
    [("before", Stage::Before), ("before-reply", Stage::BeforeReply), ("after-reply", Stage::AfterReply)];
const VICTIMS: [(&str, Victim); 4] = [
    ("caller", Victim::Caller),
    ("worker", Victim::Worker),
    ("nobody", Victim::Nobody),
    ("cut-off", Victim::CutOff),
];

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            let stage = STAGES.iter().find(|(_, stage)| *stage == fault.stage).map_or("", |(name, _)| *name);
            let victim =
                VICTIMS.iter().find(|(_, victim)| *victim == fault.victim).map_or("", |(name, _)| *name);
            write!(f, "{comma}{}:{stage}:{victim}", fault.point)?;
        }
        Ok(())
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Faults, String> {
        let fault = |text: &str| {
            let mut parts = text.split(':');
            let point = parts.next()?.parse().ok()?;
            let (stage, victim) = (parts.next()?, parts.next()?);
            let (_, stage) = STAGES.into_iter().find(|(name, _)| *name == stage)?;
            let (_, victim) = VICTIMS.into_iter().find(|(name, _)| *name == victim)?;
            Some(Fault { point, stage, victim })
        };
        let faults: Option<Vec<_>> = text.split(',').map(fault).collect();
        faults.map(Faults).ok_or_else(|| format!("{text} is not like 12:before:caller,30:after-reply:worker"))
    }
}

/// `first`, and each death that can come after it in a run with these points; `points` says of each call whether it was
/// an executor's.
pub fn deaths(first: &[Fault], points: &[bool]) -> Vec<Vec<Fault>> {
    let from = first.last().map_or(0, |fault| fault.point + 1);
    let mut all = Vec::new();
    for (point, is_executors) in (0..).zip(points).filter(|(point, _)| *point >= from) {
        let victims = if *is_executors { &[Victim::Caller, Victim::Worker][..] } else { &[Victim::Caller] };
        for (_, stage) in STAGES {
            let fault = |victim: &Victim| Fault { point, stage, victim: *victim };
            all.extend(victims.iter().map(|victim| [first, &[fault(victim)]].concat()));
        }
    }
    all
}

/// Each call that is refused, and each whose reply is lost, in a run with so many of them.
pub fn failures(n_points: u64) -> Vec<Vec<Fault>> {
    let fails = |point| {
        let fault = move |stage| vec![Fault { point, stage, victim: Victim::Nobody }];
        [Stage::Before, Stage::BeforeReply].map(fault)
    };
    (0..n_points).flat_map(fails).collect()
}

/// Each call of a master or worker that is cut off while it is on its way, in a run with these points.
pub fn cut_offs(points: &[bool]) -> Vec<Vec<Fault>> {
    let of_members = (0..).zip(points).filter(|(_, is_executors)| !**is_executors);
    of_members.map(|(point, _)| vec![Fault { point, stage: Stage::Before, victim: Victim::CutOff }]).collect()
}

/// What goes wrong in one run, and how many points it has had.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultPlan {
    faults: Vec<Fault>,
    /// Of each, whether it was an executor's.
    pub(crate) points: Vec<bool>,
}

impl FaultPlan {
    pub(crate) fn new(faults: Vec<Fault>) -> FaultPlan {
        FaultPlan { faults, points: Vec::new() }
    }

    /// Counts a call, and says what is to become of its process.
    pub(crate) fn next(&mut self, is_executors: bool) -> Option<Fault> {
        let point = self.points.len() as u64;
        self.points.push(is_executors);
        self.faults.iter().copied().find(|fault| fault.point == point)
    }
}
