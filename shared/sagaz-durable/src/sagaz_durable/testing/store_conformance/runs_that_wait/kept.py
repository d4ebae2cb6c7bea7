"""What a wait was given, or may yet be, is not lost."""

from __future__ import annotations

from sagaz_durable.testing.store_conformance.builders import (
    LONG_AGO,
    SOON,
    claim_all,
    claimed,
    park,
    parked,
    signal,
    wait,
    waits_of,
    write,
)
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["KeptSignals"]


class KeptSignals:
    """A signal that came in time is taken, and stays with the call that took it."""

    async def test_signals_of_one_name_that_came_in_time_are_all_taken_however_late_the_claim_is(
        self, store: SagaStore
    ) -> None:
        run, keys = await claimed(store), ("anna", "bert", "carl")
        await store.send([signal(key=key) for key in keys])
        await park(store, run, *(wait(key=key, n=n, until=LONG_AGO) for n, key in enumerate(keys)))
        for _ in keys:
            [run] = await claim_all(store)
            await park(store, run)
        assert [one.outcome for one in run.waits] == ["signal", "signal", "signal"]
        assert await store.count_untaken() == 0

    async def test_of_a_call_that_is_made_again_what_it_missed_is_forgotten_and_what_it_was_given_stays(
        self, store: SagaStore
    ) -> None:
        await parked(store, wait(key="pi_1"))
        run = await parked(
            store, wait("came"), wait("late", until=LONG_AGO), wait(key="pi_1"), wait("", until=LONG_AGO),
            wait("later"), wait("late", step="b", until=LONG_AGO),
        )  # fmt: skip
        await store.send([signal("came", saga_id=run.saga_id)])
        [run] = await claim_all(store)
        assert await store.write([write(run, missed_waits=(("a", "do"),))]) == [True]
        kept = [(one.step, one.name, one.outcome) for one in await store.load_waits(run.saga_id)]
        assert kept == [("a", "came", "signal"), ("a", "", "timeout"), ("a", "later", None), ("b", "late", "timeout")]
        await park(store, run, wait("late", until=SOON))
        assert (await waits_of(store, run))["a", "late", 0].outcome is None
