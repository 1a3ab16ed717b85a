"""How long it took to go on after a blow, by the storm's clock and the history's timestamps: one clock's."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from storms.blows import Blow

Event = dict[str, Any]


@dataclass(frozen=True)
class Recovery:
    what: str
    seconds: float


UNTIL_NEXT = {
    ("killed", "every worker"): "every worker killed, new ones asked for -> next launch",
    ("killed", "the owner"): "owner killed -> next launch or commit by the next owner",
    ("killed", "every master"): "every master killed, new ones asked for -> next launch or commit",
    ("killed", "the owner and every worker"): "owner, every worker killed, new workers asked for -> next launch",
    ("killed", "everything"): "every master and worker killed, new ones asked for -> next launch",
    ("killed", "everything, with its keeper"): "everything killed, a new cluster asked for -> next launch",
    (
        "killed",
        "everything, the client too",
    ): "everything, the client too, killed, a new cluster asked for -> next launch",
    ("told to go", "the owner"): "owner told to go -> next launch or commit by the next owner",
    ("stopped", "the owner"): "owner stopped -> next launch or commit by the next owner",
    ("stopped", "every master"): "every master stopped, woken up -> next launch or commit",
    ("stopped", "everything"): "everything stopped, woken up -> next launch",
}
OF_EACH_TASK = {
    ("killed", "some workers"): "worker killed -> its task launched elsewhere",
    ("stopped", "some workers"): "worker stopped -> its task launched elsewhere",
}


def recoveries(blow: Blow, events: list[Event], until_ms: int) -> list[Recovery]:
    """What the history tells of this blow, if the job went on between it and `until_ms`, the next one."""
    kind = (blow.how, blow.whom)
    if what := OF_EACH_TASK.get(kind):
        return [Recovery(what, ms / 1000) for ms in _of_each_task(blow, events) if blow.at_ms + ms <= until_ms]
    if what := UNTIL_NEXT.get(kind):
        at_ms = _next(blow, events, what.endswith("commit") or "commit by" in what)
        return [Recovery(what, (at_ms - blow.at_ms) / 1000)] if at_ms is not None and at_ms <= until_ms else []
    return []


def _of_each_task(blow: Blow, events: list[Event]) -> Iterable[int]:
    """For every attempt that was lost with its worker: when its task was launched again."""
    lost = {(e["task"], e["attempt"]) for e in events if e["event"] == "ended" and e["end"] == "lost"}
    launches = [e for e in events if e["event"] == "launched"]
    for n, launch in enumerate(launches):
        is_lost = launch["worker"] in blow.workers and (launch["task"], launch["attempt"]) in lost
        if is_lost and launch["at_ms"] <= blow.at_ms:
            again = [e["at_ms"] for e in launches[n + 1 :] if e["task"] == launch["task"]]
            yield from (at_ms - blow.at_ms for at_ms in again[:1] if at_ms >= blow.at_ms)


def _next(blow: Blow, events: list[Event], commits: bool) -> int | None:
    """When the job went on: under another owner, if its owner was hit for good; on another worker."""
    owner = None
    for event in events:
        if event["event"] == "owned":
            owner = event["owner"]
        goes_on = event["event"] == "launched" and event["worker"] not in blow.workers
        goes_on |= commits and event["event"] == "ended" and event["end"] == "committed"
        if goes_on and event["at_ms"] >= blow.at_ms and (blow.owner is None or owner != blow.owner):
            at_ms: int = event["at_ms"]
            return at_ms
    return None


def table(found: Iterable[Recovery]) -> str:
    """Minimum, median and maximum of each kind."""
    groups: dict[str, list[float]] = {}
    for recovery in found:
        groups.setdefault(recovery.what, []).append(recovery.seconds)
    rows = [f"{'seconds, by the history':<84} {'n':>4} {'min':>6} {'median':>6} {'max':>6}"]
    for what in [*OF_EACH_TASK.values(), *UNTIL_NEXT.values()]:
        if times := groups.get(what):
            median = statistics.median(times)
            rows.append(f"{what:<84} {len(times):>4} {min(times):>6.2f} {median:>6.2f} {max(times):>6.2f}")
    return "\n".join(rows)
