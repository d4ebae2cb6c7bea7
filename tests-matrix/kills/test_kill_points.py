"""SIGKILL at every point of a saga of four steps, in every way of running it; another process ends what is left.

One run is held at each point (before, inside and after each step and each compensation), all in one process, which is
then killed from outside: the state that each run is left in is the one that a death at its point leaves.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from contextlib import suppress
from typing import Any

import httpx
import pytest

from kills.sagas import MOMENTS, STEPS
from kills.scene import Scene, scene
from sagaz_integration_core.contract.records import RunRecord
from support.ledger import Line, of_saga
from support.waiting import until_true

pytest.importorskip("fastapi_sagaz")

FASTAPI = "kills.fastapi_app:app"

POINTS = [
    *({"hold": f"{step} do {moment}", "fails": False} for step in STEPS for moment in MOMENTS),
    *({"hold": f"ship do {moment}", "fails": True} for moment in MOMENTS),
    *({"hold": f"{step} undo {moment}", "fails": True} for step in STEPS[:3] for moment in MOMENTS),
]


@pytest.mark.parametrize("way", ["inline", "background", "embedded", "worker"])
async def test_a_killed_process_loses_nothing_and_repeats_only_what_was_in_doubt(way: str, tmp_path) -> None:
    with scene(tmp_path, FASTAPI) as played:
        died = play(played, way)
        survivor = played.worker if way == "worker" else played.server
        runs = await played.all_ended(len(POINTS))
        survivor.signal(signal.SIGTERM)
        assert survivor.wait(20) in (0, -signal.SIGTERM), survivor.tail()
        lines = played.lines()
        problems = [
            f"{point_of(run)}: {said}" for run in runs for said in check(run, of_saga(lines, run.saga_id), died)
        ]
        assert not problems, "\n".join(problems)
        assert {point_of(run) for run in runs} == {f"{point['hold']} {point['fails']}" for point in POINTS}


def play(played: Scene, way: str) -> int:
    """Hold a run at every point, kill the process that executes them, start another one; return the dead one's pid."""
    kind = "deferred" if way in ("embedded", "worker") else way
    if way == "worker":
        played.start(played.worker, KILLS_HOLD="1")
        played.start(played.server)
    else:
        played.start(played.server, KILLS_HOLD="1", **({"KILLS_WORKER": "1"} if way == "embedded" else {}))
    answers = played.send(kind, POINTS)
    until_true(lambda: played.held().total() == len(POINTS), f"all {len(POINTS)} runs are held")
    executor = played.worker if way == "worker" else played.server
    died = executor.pid
    executor.kill()
    played.start(executor, **({} if way == "worker" else {"KILLS_WORKER": "1"}))
    for answer in answers:
        with suppress(httpx.TransportError):
            assert answer.result(10).status_code == 200, "accepted before the kill"
            assert way != "inline", "an inline run is answered at its end, and its process died before"
    return died


def point_of(run: RunRecord) -> str:
    context: dict[str, Any] = json.loads(run.context)
    return f"{context['hold']} {context['fails']}"


def check(run: RunRecord, lines: list[Line], died: int) -> list[str]:
    """Return what contradicts the guarantees."""
    context = json.loads(run.context)
    step, phase, moment = context["hold"].split()
    # A failure after a call that a death left without an end says nothing of that first call: it is undone as well.
    done = (STEPS if (step, phase) == ("ship", "do") else STEPS[:3]) if context["fails"] else ()
    expected = Counter([*((name, "do") for name in STEPS), *((name, "undo") for name in done)])
    if moment != "before":
        expected[step, phase] += 1
    ended = "rolled_back" if context["fails"] else "completed"
    undone = [line.step for line in lines if line.event == "begin" and line.phase == "undo"]
    keys = {(line.call, line.key) for line in lines}
    first = [line for line in lines if line.pid == died]
    later = [line for line in lines if line.pid != died]
    rules = {
        f"it ended as {run.status}, not {ended}": run.status == ended,
        f"calls were {Counter(line.call for line in lines if line.event == 'begin')}": expected
        == Counter(line.call for line in lines if line.event == "begin"),
        f"it was undone in the order {undone}": list(dict.fromkeys(undone)) == [*reversed(done)],
        "a call was repeated under another key": len(keys) == len({call for call, _ in keys}),
        "two processes were inside it at once": first[-1].at < later[0].at,
        "the attempts do not tell the processes apart": {line.attempt for line in first} == {1}
        and {line.attempt for line in later} <= {2},
        f"its attempt is {run.attempt}, its failures {run.failures}": (run.attempt, run.failures) == (2, 0),
        f"it has still the owner {run.lease_owner}": run.lease_owner is None,
    }
    return [said for said, holds in rules.items() if not holds]
