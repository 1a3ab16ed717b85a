//! What happens on the streams between masters and workers (`master::shell`, `worker::link`, `worker::agent`).

use super::{
    Bug, Protocol,
    state::{Executing, News, Order, Outcome, Slot, State},
};

/// A step on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStep {
    /// The worker takes in the next order.
    ToWorker,
    /// The master takes in the next news.
    ToMaster,
    /// One end sees that the other is registered no more, and closes the stream.
    Close,
    /// The network cuts the stream.
    Cut,
    /// The owner sees that the stream is closed.
    Detach,
    /// The worker opens a new stream.
    Connect,
}

use LinkStep as Do;

/// Adds what can happen between these two.
pub(super) fn enabled(s: &State, m: usize, w: usize, out: &mut Vec<LinkStep>) {
    let link = &s.links[m][w];
    let both = s.masters[m].as_ref().zip(s.workers[w].as_ref());
    let registered = both.is_some_and(|(master, worker)| master.is_registered && worker.is_registered);
    let attached = s.owner(m).is_some_and(|owner| owner.attached[w]);
    if link.is_open {
        if !link.orders.is_empty() {
            out.push(Do::ToWorker);
        }
        if !link.news.is_empty() {
            out.push(Do::ToMaster);
        }
        if !registered {
            out.push(Do::Close);
        }
        if s.left.cuts > 0 && s.owner(m).is_some() {
            out.push(Do::Cut);
        }
    } else if attached {
        out.push(Do::Detach);
    } else if registered {
        out.push(Do::Connect);
    }
}

impl Protocol {
    pub(super) fn link_steps(&self, s: &mut State, m: usize, w: usize, step: LinkStep) {
        match step {
            Do::ToWorker => {
                let order = s.links[m][w].orders.remove(0);
                self.obey(s, m, w, order);
            }
            Do::ToMaster => {
                let news = s.links[m][w].news.remove(0);
                hear(s, m, w, news);
            }
            Do::Close => s.close(m, w),
            Do::Cut => {
                s.left.cuts -= 1;
                s.close(m, w);
            }
            Do::Detach => s.owner_mut(m).into_iter().for_each(|owner| owner.lose(w)),
            Do::Connect => connect(s, m, w),
        }
    }

    fn obey(&self, s: &mut State, m: usize, w: usize, order: Order) {
        let (Some(master), Some(worker)) = (&s.masters[m], &mut s.workers[w]) else { return };
        let highest = worker.recognised.map(|(epoch, _)| epoch);
        let is_older = |epoch| highest.is_some_and(|highest| epoch < highest);
        let offered = worker.slot == Slot::Offered(m);
        match order {
            Order::Query(epoch) if is_older(epoch) => {}
            Order::Query(epoch) => {
                worker.recognised = Some((epoch, master.life));
                let running = match worker.slot {
                    Slot::Running(task, attempt, _) => Some((task, attempt)),
                    _ => None,
                };
                s.links[m][w].news.push(News::Answer(epoch, running));
            }
            Order::Assign(epoch, task, attempt) => {
                let obeys = !is_older(epoch) || self.has(Bug::OldOwnerObeyed);
                if offered && obeys {
                    worker.recognised =
                        worker.recognised.filter(|_| is_older(epoch)).or(Some((epoch, master.life)));
                    worker.slot = Slot::Running(task, attempt, Executing::Begun);
                    return;
                }
                if offered {
                    worker.slot = Slot::Free;
                }
                s.links[m][w].news.push(News::Report(task, attempt, Outcome::Nothing));
            }
            Order::Decline if offered => worker.slot = Slot::Free,
            Order::Decline => {}
        }
    }
}

fn hear(s: &mut State, m: usize, w: usize, news: News) {
    // Answers to an earlier ownership of the job are dropped.
    let Some(owner) = s.owner_mut(m) else { return };
    match news {
        News::Answer(epoch, running) if epoch == owner.record.epoch => owner.answered(w, running),
        News::Answer(..) => {}
        News::Report(task, attempt, outcome) => owner.reported(w, task, attempt, outcome),
    }
}

/// An owner asks a worker that attaches what it runs.
fn connect(s: &mut State, m: usize, w: usize) {
    s.links[m][w].is_open = true;
    let Some(owner) = s.owner_mut(m) else { return };
    owner.attached[w] = true;
    let query = Order::Query(owner.record.epoch);
    s.links[m][w].orders.push(query);
}
