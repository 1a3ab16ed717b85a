//! Kill points: every call to coordination, storage and network has a number, and a process can be killed at each, before
//! it takes effect, after that but before the reply, or just after the reply.

use std::{fmt, str::FromStr};

/// Where on the way of a call its process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The call is never made.
    Before,
    /// It takes effect; nobody hears of it.
    BeforeReply,
    /// The reply arrives; the process dies at the next thing it waits for.
    AfterReply,
}

/// Who dies when an executor's call is the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The process that calls.
    Caller,
    /// Of an executor, the worker that it belongs to: both die.
    Worker,
}

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// The number of the call.
    pub point: u64,
    /// Where on its way.
    pub stage: Stage,
    /// Who dies.
    pub victim: Victim,
}

/// Kills of one run, in the order of their points. As text: `12:before:caller,30:after-reply:worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kills(pub Vec<Kill>);

const STAGES: [(&str, Stage); 3] =
    [("before", Stage::Before), ("before-reply", Stage::BeforeReply), ("after-reply", Stage::AfterReply)];
const VICTIMS: [(&str, Victim); 2] = [("caller", Victim::Caller), ("worker", Victim::Worker)];

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, kill) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            let stage = STAGES.iter().find(|(_, stage)| *stage == kill.stage).map_or("", |(name, _)| *name);
            let victim =
                VICTIMS.iter().find(|(_, victim)| *victim == kill.victim).map_or("", |(name, _)| *name);
            write!(f, "{comma}{}:{stage}:{victim}", kill.point)?;
        }
        Ok(())
    }
}

impl FromStr for Kills {
    type Err = String;

    fn from_str(text: &str) -> Result<Kills, String> {
        let kill = |text: &str| {
            let mut parts = text.split(':');
            let point = parts.next()?.parse().ok()?;
            let (stage, victim) = (parts.next()?, parts.next()?);
            let (_, stage) = STAGES.into_iter().find(|(name, _)| *name == stage)?;
            let (_, victim) = VICTIMS.into_iter().find(|(name, _)| *name == victim)?;
            Some(Kill { point, stage, victim })
        };
        let kills: Option<Vec<_>> = text.split(',').map(kill).collect();
        kills.map(Kills).ok_or_else(|| format!("{text} is not like 12:before:caller,30:after-reply:worker"))
    }
}

/// `first`, and each kill that can come after it in a run with these points; `points` says of each call whether it was an
/// executor's.
pub fn after(first: &[Kill], points: &[bool]) -> Vec<Vec<Kill>> {
    let from = first.last().map_or(0, |kill| kill.point + 1);
    let mut all = Vec::new();
    for (point, is_executors) in (0..).zip(points).filter(|(point, _)| *point >= from) {
        let victims = if *is_executors { &VICTIMS[..] } else { &VICTIMS[..1] };
        for (_, stage) in STAGES {
            all.extend(
                victims.iter().map(|(_, victim)| [first, &[Kill { point, stage, victim: *victim }]].concat()),
            );
        }
    }
    all
}

/// The kills of one run, and how many points it has had.
#[derive(Debug, Clone, Default)]
pub(crate) struct KillPlan {
    kills: Vec<Kill>,
    /// Of each, whether it was an executor's.
    pub(crate) points: Vec<bool>,
}

impl KillPlan {
    pub(crate) fn new(kills: Vec<Kill>) -> KillPlan {
        KillPlan { kills, points: Vec::new() }
    }

    /// Counts a call, and says what is to become of its process.
    pub(crate) fn next(&mut self, is_executors: bool) -> Option<Kill> {
        let point = self.points.len() as u64;
        self.points.push(is_executors);
        self.kills.iter().copied().find(|kill| kill.point == point)
    }
}
