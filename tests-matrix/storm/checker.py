"""What a storm must have left intact; every check returns the contradictions that it found, and nothing is sampled."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import ceil

from sagaz_integration_core.contract.records import FINISHED, RunRecord
from storm.attribution import deaths_met, reasons, visits
from storm.plan import STEPS, Order
from storm.storm import Evidence
from storm.webhook_checks import WEBHOOK_CHECKS
from support.ledger import Line

__all__ = ["CHECKS", "by_saga", "contradictions"]


def by_saga(evidence: Evidence) -> dict[str, list[Line]]:
    """Return the ledger's lines of each run."""
    found: dict[str, list[Line]] = defaultdict(list)
    for line in evidence.lines:
        found[line.saga_id].append(line)
    return found


def order_of(evidence: Evidence, run: RunRecord) -> Order:
    return evidence.sent[json.loads(run.context)["number"]].order


def acknowledged_starts_have_ended(evidence: Evidence) -> Iterator[str]:
    runs = {run.saga_id: run for run in evidence.runs}
    for sent in evidence.sent:
        if len(set(sent.saga_ids)) > 1:
            yield f"{sent.order.key} was acknowledged under several ids: {sent.saga_ids}"
        for saga_id in set(sent.saga_ids):
            run = runs.get(saga_id)
            if run is None:
                yield f"{sent.order.key} was acknowledged as {saga_id}, and there is no such run"
            elif run.status not in FINISHED:
                yield f"{sent.order.key} ({saga_id}) is still {run.status}"


def no_run_was_invented(evidence: Evidence) -> Iterator[str]:
    """A run is there because somebody was told so, or because somebody was told nothing."""
    counts = Counter(order_of(evidence, run).number for run in evidence.runs)
    for run in evidence.runs:
        sent = evidence.sent[order_of(evidence, run).number]
        if counts[sent.order.number] > 1:
            yield f"{sent.order.key} has {counts[sent.order.number]} runs, one of them {run.saga_id}"
        known = run.saga_id in sent.saga_ids or sent.unanswered
        if not known and not _may_be_committed(evidence, sent.refusals):
            yield f"{sent.order.key} has the run {run.saga_id}, and was answered {sent.saga_ids or sent.refusals}"
    for saga_id in by_saga(evidence).keys() - {run.saga_id for run in evidence.runs}:
        yield f"steps of {saga_id} were called, and there is no such run"


def _may_be_committed(evidence: Evidence, refusals: list[tuple[float, int, str]]) -> bool:
    """Whether the answer to a commit was lost: the database died while it was asked."""
    return any(down - 5 < at < up + 5 for at, _, _ in refusals for down, up in evidence.outages)


def no_two_processes_were_inside_one_run(evidence: Evidence) -> Iterator[str]:
    for saga_id, lines in by_saga(evidence).items():
        for one, other in pairwise(visits(lines)):
            left = _left_at(evidence, one)
            if left is not None and left > other[0].at and not _begins_after(one, other[0].at):
                # What it had begun it may have ended, or given up, when it went on.
                left = None if _was_stopped(evidence, one, other[0].at) else left
                if left is None:
                    continue
            if left is None and _was_stopped(evidence, one, other[0].at):
                continue
            if left is None:
                yield f"{saga_id}: process {one[0].pid} never left {one[-1].step}, and {other[0].pid} came"
            elif left > other[0].at:
                yield f"{saga_id}: process {other[0].pid} came {left - other[0].at:.3f} s before {one[0].pid} left"


def _begins_after(visit: list[Line], at: float) -> bool:
    return any(line.event == "begin" and line.at > at for line in visit)


def _was_stopped(evidence: Evidence, visit: list[Line], at: float) -> bool:
    """Whether the process of a visit was stopped between the beginning of its last call and this time."""
    begun = max(line.at for line in visit if line.event == "begin" and line.at <= at)
    return any(pid == visit[0].pid and began <= at and ended >= begun for pid, began, ended in evidence.stops)


def _left_at(evidence: Evidence, visit: list[Line]) -> float | None:
    if visit[-1].event in ("begin", "suicide") or visit[-1].event.startswith("took "):
        return evidence.deaths.get(visit[-1].pid)
    return visit[-1].at


def repeated_calls_were_in_doubt(evidence: Evidence) -> Iterator[str]:
    yield from reasons(evidence, by_saga(evidence))[1]


def final_statuses_are_truthful(evidence: Evidence) -> Iterator[str]:
    lines = by_saga(evidence)
    for run in evidence.runs:
        order = order_of(evidence, run)
        if run.status != order.outcome:
            yield f"{order.key} ({run.saga_id}) ended as {run.status}, planned was {order.outcome}: {run.error}"
        else:
            for said in _untrue(order, lines[run.saga_id]):
                yield f"{order.key} ({run.saga_id}) ended as {run.status}, but {said}"


def _untrue(order: Order, lines: list[Line]) -> Iterator[str]:
    """Compare the ledger with what the final status says; repeated calls are another check's."""
    if order.poisoned:
        if {line.event for line in lines} - {"begin", "suicide", "cancelled"} or {line.step for line in lines} != {
            STEPS[0]
        }:
            yield f"it kills its process in {STEPS[0]}, and its calls were {sorted({line.call for line in lines})}"
        return
    called = {line.call for line in lines if line.event == "begin"}
    ended = {line.call for line in lines if line.event == "end"}
    if any(line.attempt > 1 for line in lines) and (doubtful := (order.fails, "undo")) in ended:
        # An attempt that gave no end of its own may have called the step that fails: then it is in doubt, and undone.
        called, ended = called - {doubtful}, ended - {doubtful}
        lines = [line for line in lines if line.call != doubtful]
    failed = {line.call for line in lines if line.event == "failed"}
    done = STEPS[: STEPS.index(order.fails)] if order.fails else STEPS
    undone = done if order.fails else ()
    expected_end = {(step, "do") for step in done} | {(step, "undo") for step in undone if step != order.broken}
    expected_failure = {(order.fails, "do")} if order.fails else set()
    expected_failure |= {(order.broken, "undo")} if order.broken else set()
    if ended != expected_end:
        yield f"these calls ended: {sorted(ended)}, and these should have: {sorted(expected_end)}"
    if failed != expected_failure:
        yield f"these calls failed: {sorted(failed)}, and these should have: {sorted(expected_failure)}"
    if called != expected_end | expected_failure:
        yield f"these were called too: {sorted(called - expected_end - expected_failure)}"
    first = list(dict.fromkeys(line.call for line in lines if line.event == "begin"))
    forward, backward = [s for s, phase in first if phase == "do"], [s for s, phase in first if phase == "undo"]
    if forward != [*STEPS][: len(forward)] or backward != [*reversed(undone)]:
        yield f"its steps were called in the order {first}"


def _taken(lines: list[Line]) -> dict[str, set[tuple[str, str]]]:
    """Return which calls of a run took which signal."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for line in lines:
        if line.event.startswith("took "):
            found[line.event.removeprefix("took ")].add(line.call)
    return found


def every_signal_had_one_effect(evidence: Evidence) -> Iterator[str]:
    """Each wait took a signal of its own order's, each signal went to one call, and whoever repeated it was told so."""
    lines = by_saga(evidence)
    for run in evidence.runs:
        order, taken = order_of(evidence, run), _taken(lines[run.saga_id])
        waits = set() if order.poisoned else {tuple(call.split()) for call in order.waits}
        for signal_id, calls in taken.items():
            if len(calls) > 1 or not signal_id.startswith(f"{order.number}-"):
                yield f"{order.key} ({run.saga_id}): signal {signal_id} was taken by {sorted(calls)}"
        took = {call for calls in taken.values() for call in calls}
        if took != waits or len(taken) != len(waits):
            yield f"{order.key} ({run.saga_id}): {sorted(waits)} were to take a signal each, and took {dict(taken)}"
    for one in evidence.signalled:
        if one.signal.is_webhook:
            continue
        if len(one.new) > 1 or not (one.new or one.unanswered):
            yield f"signal {one.signal.signal_id} was a new one for {len(one.new)} of {one.signal.senders} senders"
    yield from _never_taken(evidence)


def _never_taken(evidence: Evidence) -> Iterator[str]:
    """Of an order that has run, as many signals are left as were sent that it did not need."""
    started = {order_of(evidence, run).number for run in evidence.runs}
    surplus = {one.signal.signal_id for one in evidence.signalled if one.signal.to_run}
    left, sent = defaultdict(list), Counter[int]()
    for signal in evidence.signals:
        number = int(signal.signal_id.split("-")[0])
        sent[number] += signal.signal_id in surplus
        if signal.taken_by is None:
            left[number].append(signal.signal_id)
    for number in started & left.keys():
        if len(left[number]) > sent[number]:
            yield f"order-{number}: {left[number]} were never taken, and {sent[number]} were not needed"


def the_last_processes_left_when_asked(evidence: Evidence) -> Iterator[str]:
    for code in evidence.exit_codes:
        if code not in (0, -15):
            yield f"a process left with {code} after SIGTERM"


def no_process_died_of_itself(evidence: Evidence) -> Iterator[str]:
    """Except that a program cannot start without its database, nor a worker of Celery's without its broker."""
    for pid, at, code in evidence.exits:
        if not any(down - 1 < at < up + 10 for down, up in [*evidence.outages, *evidence.broker_outages]):
            yield f"process {pid} left by itself with {code}"


def enough_was_killed(evidence: Evidence) -> Iterator[str]:
    """Nothing is proved by a storm whose kills found nobody at work, as on a machine too slow to start programs."""
    intended = evidence.plan.intended()
    for kind, count in intended.items():
        if evidence.struck[kind] < ceil(count / 8):
            yield f"of {count} kills of a {kind} that were intended, {evidence.struck[kind]} found one at work"
    resumed = sum(len(visits(lines)) > 1 for lines in by_saga(evidence).values())
    if resumed < ceil(intended.total() / 20):
        yield f"{intended.total()} kills were intended, and {resumed} runs went on in another process"


def deaths_met_waits(evidence: Evidence) -> Iterator[str]:
    """Nothing is proved of waits by a storm in which nobody died during them."""
    met = deaths_met(evidence, by_saga(evidence))
    for what in (
        "waiting steps", "waiting compensations", "signals that were sent",
        "events between their reception and the answer", "events between their recording and the answer",
    ):  # fmt: skip
        if evidence.plan.waits and not met[what]:
            yield f"nobody died in time for {what}"


CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    acknowledged_starts_have_ended,
    no_run_was_invented,
    no_two_processes_were_inside_one_run,
    repeated_calls_were_in_doubt,
    final_statuses_are_truthful,
    every_signal_had_one_effect,
    the_last_processes_left_when_asked,
    no_process_died_of_itself,
    enough_was_killed,
    deaths_met_waits,
    *WEBHOOK_CHECKS,
)


def contradictions(evidence: Evidence) -> dict[str, list[str]]:
    """Return what every check found."""
    return {check.__name__: list(check(evidence)) for check in CHECKS}
