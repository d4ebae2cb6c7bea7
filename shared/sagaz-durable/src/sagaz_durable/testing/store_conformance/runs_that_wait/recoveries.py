"""Entries and waits of what decides about a step that has failed behind a pivot."""

from __future__ import annotations

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    AT_ONCE,
    LONG_AGO,
    claim_all,
    claimed,
    park,
    signal,
    step,
    taken_one,
    wait,
    write,
)
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.records import RunStatus
from sagaz_integration_core.contract.store import SagaStore


class Recoveries:
    """A recovery is journaled beside its step, waits as a step does, and goes on with a run that goes forward."""

    async def test_a_step_that_failed_keeps_what_was_decided_about_it_beside_its_recovery(
        self, store: SagaStore
    ) -> None:
        run = await claimed(store)
        failed = step("ship", "failed", result='{"times": 1}', error="OSError: away")
        assert await store.write([write(run, steps=(failed, step("ship", "started", "redo")))]) == [True]
        found = {entry.phase: entry for entry in await store.load_steps(run.saga_id)}
        assert (found["do"].status, found["do"].result, found["do"].error) == (
            "failed", '{"times": 1}', "OSError: away"
        )  # fmt: skip
        assert (found["redo"].status, found["redo"].result, found["redo"].attempt) == ("started", None, 1)

    async def test_a_recovery_that_waits_goes_on_with_the_claim_that_brings_its_signal(self, store: SagaStore) -> None:
        run = await claimed(store)
        why = step("ship", "waiting", "redo", error="a person is asked")
        await store.write([write(run, steps=(why,))])
        await park(store, run, wait("decision", "ship", "redo"))
        await store.send([signal("decision", saga_id=run.saga_id)])
        [again] = await claim_all(store)
        [entry] = again.steps
        assert (entry.phase, entry.status, entry.attempt) == ("redo", "started", 2)
        assert (again.waits[0].phase, again.waits[0].outcome) == ("redo", "signal")

    async def test_a_recovery_is_not_gone_on_with_in_a_run_that_rolls_back(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, status="compensating")])
        await park(store, run, wait("", "ship", "redo", until=LONG_AGO), wait("", "charge", "undo", until=LONG_AGO))
        [again] = await claim_all(store)
        assert {(entry.phase, entry.status) for entry in again.steps} == {("redo", "waiting"), ("undo", "started")}

    async def test_a_recovery_is_under_way_when_its_process_dies(self, store: SagaStore) -> None:
        run = await claimed(store, "w1", AT_ONCE)
        await store.write([write(run, steps=(step("pay", "started"), step("ship", "started", "redo")))])
        await taken_one(store, run.saga_id)
        [died] = await store.load_attempts(run.saga_id)
        assert died.under_way == "pay, redo of ship"

    @pytest.mark.parametrize(("status", "left"), [("compensating", {"undo"}), ("completed", set())])
    async def test_a_decision_to_roll_back_ends_the_waits_of_recoveries_too(
        self, store: SagaStore, status: RunStatus, left: set[str]
    ) -> None:
        run = await claimed(store)
        await park(store, run, wait(), wait("b", phase="redo"), wait("c", phase="undo"))
        assert await store.intervene(Intervention(run.saga_id, 1, "waiting", status, "cancel", "me", "why"))
        assert {one.phase for one in await store.load_waits(run.saga_id)} == left
