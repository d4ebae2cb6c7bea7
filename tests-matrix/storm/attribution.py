"""Why a call was made again: only ever because its outcome was in doubt, and somebody died or could not write."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from storm.storm import Evidence
from support.ledger import Line

__all__ = ["UNRECORDED_SECONDS", "deaths_met", "repetitions", "visits"]

UNRECORDED_SECONDS = 2.0
"""How long the end of a step may stay unrecorded while the database is up: a shared commit on a busy machine."""

Visit = list[Line]


def visits(lines: list[Line]) -> list[Visit]:
    """Split a run's lines into what each process noted in each of its attempts, the earliest first."""
    found: dict[tuple[int, int], Visit] = defaultdict(list)
    for line in lines:
        found[line.pid, line.attempt].append(line)
    return sorted(found.values(), key=lambda visit: visit[0].at)


def repetitions(evidence: Evidence, lines: list[Line]) -> Iterator[tuple[str, bool]]:
    """Yield, for each call of a run that was made again, why, and whether that is allowed."""
    calls: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.event == "begin":
            calls[line.call].append(line)
    for begins in calls.values():
        for one, again in pairwise(begins):
            yield _reason(evidence, lines, one, again)


def _reason(evidence: Evidence, lines: list[Line], one: Line, again: Line) -> tuple[str, bool]:
    own = [line for line in lines if (line.pid, line.attempt) == (one.pid, one.attempt) and line.at >= one.at]
    last = [line for line in own if line.call == one.call][-1]
    what = f"{one.step} {one.phase} of {one.saga_id}"
    if own[-1].call != one.call:
        return f"{what}: repeated although its process had gone on to {own[-1].step} {own[-1].phase}", False
    if (one.pid, one.attempt) == (again.pid, again.attempt):
        return f"{what}: called twice in one attempt", False
    if last.event == "cancelled":
        return "its process gave it up", True
    if last.event == "left" and _was_given_a_signal(lines, again):
        return "it waited", True
    died = evidence.deaths.get(one.pid)
    if died is not None and died < again.at:
        if last.event in ("begin", "suicide") or last.event.startswith("took "):
            return "its process was killed inside it", True
        if died - last.at <= UNRECORDED_SECONDS + evidence.plan.block_seconds:
            return "its process was killed before the end was recorded", True
    if any(pid == one.pid and began < again.at and ended > one.at for pid, began, ended in evidence.stops):
        return "its process was stopped, and its lease ended", True
    if any(saga_id == one.saga_id and began < again.at and last.at < ended for saga_id, began, ended in evidence.locks):
        return "its row was locked before the end was recorded", True
    if any(began < again.at and last.at < ended + UNRECORDED_SECONDS for began, ended in evidence.refused):
        return "the database refused to record the end", True
    if any(down < again.at and last.at < up + UNRECORDED_SECONDS for down, up in evidence.outages):
        return "the database was unreachable before the end was recorded", True
    return f"{what}: {last.event} at {last.at:.3f} in {one.pid}, again at {again.at:.3f}, died {died}", False


def _was_given_a_signal(lines: list[Line], again: Line) -> bool:
    """Whether a call that was made again, after a wait, was given what it waited for, or its process died before."""
    own = [line for line in lines if line[1:6] == again[1:6]]
    return own[-1] == again or own[1].event.startswith("took ")


def reasons(evidence: Evidence, by_saga: dict[str, list[Line]]) -> tuple[Counter[str], list[str]]:
    """Count the allowed reasons, and list everything else."""
    found = [reason for lines in by_saga.values() for reason in repetitions(evidence, lines)]
    return Counter(why for why, allowed in found if allowed), [why for why, allowed in found if not allowed]


def deaths_met(evidence: Evidence, by_saga: dict[str, list[Line]]) -> Counter[str]:
    """Count what a death met: open waits and signals on their way to theirs, and deliveries of events.

    Of the former, the death of a process that executes runs; of the latter, of the one that was to answer.
    """
    found: Counter[str] = Counter()
    executors = {line.pid for line in evidence.lines}
    deaths = sorted(at for pid, at in evidence.deaths.items() if pid in executors)
    sent = {one.signal.signal_id: one.arrived_at for one in evidence.signalled if one.arrived_at is not None}
    for lines in by_saga.values():
        left: dict[tuple[str, str], float] = {}
        for line in lines:
            signal_id = line.event.removeprefix("took ")
            if line.event == "left":
                left[line.call] = line.at
            elif signal_id != line.event and _between(left.get(line.call), deaths, line.at):
                found["waiting compensations" if line.phase == "undo" else "waiting steps"] += 1
            if signal_id in sent and _between(sent[signal_id], deaths, line.at):
                found["signals that were sent"] += 1
    recorded = {row.delivery_id for row in evidence.webhooks}
    found["events between their recording and the answer"] = len(recorded & evidence.unanswered.keys())
    deaths = sorted(evidence.deaths.values())
    found["events between their reception and the answer"] = sum(
        delivery.is_broken and _between(delivery.began, deaths, delivery.ended)
        for one in evidence.signalled
        for delivery in one.deliveries
    )
    return +found


def _between(since: float | None, deaths: list[float], until: float) -> bool:
    return since is not None and any(since < at < until for at in deaths)
