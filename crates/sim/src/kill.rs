//! Kill points: every call to coordination, storage and network has a number, and a process can be killed at each, before
//! it takes effect, after that but before the reply, or just after the reply.

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

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 3] = [Stage::Before, Stage::BeforeReply, Stage::AfterReply];
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

/// The kills of one run, and how many points it has had.
#[derive(Debug, Clone, Default)]
pub struct KillPlan {
    /// In the order of their points.
    pub kills: Vec<Kill>,
    /// Calls so far.
    pub n_points: u64,
}

impl KillPlan {
    /// Counts a call, and says what is to become of its process.
    pub(crate) fn next(&mut self) -> Option<Kill> {
        let point = self.n_points;
        self.n_points += 1;
        self.kills.iter().copied().find(|kill| kill.point == point)
    }
}
