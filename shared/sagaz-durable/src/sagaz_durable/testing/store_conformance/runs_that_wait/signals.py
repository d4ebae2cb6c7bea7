"""Signals, and the runs that they reach."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    LONG_AGO,
    SOON,
    claim_all,
    claimed,
    load,
    new,
    new_id,
    park,
    parked,
    signal,
    wait,
    write,
)
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import Sent, SignalFilter


class Signals:
    """A signal reaches one wait, whenever it comes; a repeated one changes nothing."""

    async def test_a_signal_to_its_saga_id_makes_a_run_due_and_is_taken_by_the_claim(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        assert await store.send([signal(saga_id=run.saga_id)]) == [Sent(True, "f")]
        [again] = await claim_all(store)
        assert (again.saga_id, again.status, again.attempt) == (run.saga_id, "executing", 2)
        [taken] = again.waits
        assert (taken.outcome, taken.attempt, taken.payload) == ("signal", 2, '{"n": 1}')
        assert await store.count_untaken() == 0
        [kept] = await store.find_signals(SignalFilter(state="taken"))
        assert (kept.taken_by, kept.payload) == (run.saga_id, None)
        assert (kept.taken_step, kept.taken_phase) == (taken.step, taken.phase)

    async def test_a_signal_for_another_version_of_its_run_is_not_sent(self, store: SagaStore) -> None:
        parked_ = await parked(store, wait())
        run = await load(store, parked_.saga_id)
        early, late = (signal(saga_id=run.saga_id, signal_id=one) for one in ("early", "late"))
        assert await store.send([replace(early, actor="ann", version=run.version - 1)]) == [Sent(False)]
        assert (await store.find_signals(SignalFilter()), await store.load_audit(run.saga_id)) == ([], [])
        assert await store.send([replace(early, version=run.version), late]) == [Sent(True, "f"), Sent(True, "f")]
        assert (await load(store, run.saga_id)).version == run.version
        [again] = await claim_all(store)
        # What was sent before is known, whatever version the run has now.
        assert await store.send([replace(early, version=run.version)]) == [Sent(False, "f")]
        assert await store.send([signal(saga_id=new_id(), signal_id="nobody")]) == [Sent(True, "f")]
        nobody = replace(signal(saga_id=new_id(), signal_id="to nobody"), version=again.version)
        assert await store.send([nobody]) == [Sent(False)]

    async def test_a_signal_that_a_compensation_takes_is_known_as_such(self, store: SagaStore) -> None:
        run = await parked(store, wait(phase="undo", key="pi_1"))
        await store.send([signal(key="pi_1")])
        await claim_all(store)
        [kept] = await store.find_signals(SignalFilter(state="taken"))
        assert (kept.taken_by, kept.taken_phase) == (run.saga_id, "undo")

    async def test_a_signal_to_a_key_makes_the_run_due_that_waits_for_it(self, store: SagaStore) -> None:
        run, _ = await parked(store, wait(key="pi_1")), await parked(store, wait(key="pi_2"))
        await store.send([signal(key="pi_1")])
        assert [one.saga_id for one in await claim_all(store)] == [run.saga_id]

    async def test_a_signal_that_came_early_makes_the_run_due_when_it_begins_to_wait(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.send([signal(saga_id=run.saga_id)])
        await park(store, run, wait())
        [again] = await claim_all(store)
        assert again.waits[0].outcome == "signal"

    async def test_signals_are_taken_oldest_first_and_one_for_each_wait(self, store: SagaStore) -> None:
        run = await claimed(store)
        for n in range(3):
            await store.send([signal(saga_id=run.saga_id, signal_id=str(n), payload=f'{{"n": {n}}}')])
        await park(store, run, wait(), wait(n=1))
        [again] = await claim_all(store)
        assert [one.payload for one in again.waits] == ['{"n": 0}', None]
        await park(store, again)
        [third] = await claim_all(store)
        assert [one.payload for one in third.waits] == ['{"n": 0}', '{"n": 1}']
        assert [one.attempt for one in third.waits] == [2, 3]
        assert await store.count_untaken() == 1

    async def test_two_waits_of_one_name_and_different_keys_get_each_its_own_signal(self, store: SagaStore) -> None:
        run = await parked(store, wait(key="pi_1"), wait(key="pi_2", n=1), wait(key="pi_3", step="b"))
        for key in ("pi_3", "pi_2", "pi_1"):
            await store.send([signal(key=key, payload=json.dumps({"key": key}))])
            [run] = await claim_all(store)
            await park(store, run)
        brought = [(one.step, one.n, json.loads(one.payload or "{}")["key"]) for one in run.waits]
        assert brought == [("a", 0, "pi_1"), ("a", 1, "pi_2"), ("b", 0, "pi_3")]

    async def test_a_signal_of_another_name_or_run_wakes_nobody(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        await store.send([signal("shipped", saga_id=run.saga_id), signal(saga_id=new_id()), signal(key="paid")])
        assert await claim_all(store) == []
        assert await store.count_untaken() == 3

    async def test_a_repeated_signal_is_recognised_and_left_as_it_is(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        await store.send([signal(saga_id=run.saga_id)])
        assert await store.send([signal(saga_id=run.saga_id, fingerprint="g")]) == [Sent(False, "f")]
        await claim_all(store)
        assert await store.send([signal(saga_id=run.saga_id, fingerprint="g")]) == [Sent(False, "f")]
        assert await store.count_untaken() == 0

    async def test_a_run_that_has_ended_takes_no_new_signal(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        await store.send([signal(saga_id=run.saga_id)])
        [again] = await claim_all(store)
        await store.write([write(again, status="completed", left_waits=(("a", "do"),))])
        assert await store.send([signal(saga_id=run.saga_id), signal("late", saga_id=run.saga_id)]) == [
            Sent(False, "f"),
            Sent(False, None),
        ]
        assert await store.count_untaken() == 0
        assert await store.load_waits(run.saga_id) == []

    async def test_a_signal_that_is_there_wins_over_a_time_that_is_over(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.send([signal(saga_id=run.saga_id)])
        await park(store, run, wait(until=LONG_AGO))
        [again] = await claim_all(store)
        assert again.waits[0].outcome == "signal"

    async def test_only_who_knows_the_saga_claims_a_run_that_was_sent_a_signal(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        await store.send([signal(saga_id=run.saga_id)])
        assert await store.claim("w2", 10, LEASE, {"B": ()}) == []
        assert len(await store.claim("w1", 10, LEASE, KNOWN)) == 1

    async def test_a_signal_that_was_seen_before_anybody_waited_is_taken_later(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.send([signal(saga_id=run.saga_id)])
        await claim_all(store)
        await store.heartbeat("w1", LEASE)
        await park(store, run, wait())
        assert len(await claim_all(store)) == 1

    async def test_signals_are_listed_newest_first_by_name_run_and_state(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        for name in ("paid", "b", "c"):
            await store.send([signal(name, saga_id=run.saga_id)])
        await claim_all(store)
        assert [one.name for one in await store.find_signals(SignalFilter())] == ["c", "b"]
        assert [one.name for one in await store.find_signals(SignalFilter(state=None))] == ["c", "b", "paid"]
        assert [one.name for one in await store.find_signals(SignalFilter(name="b"))] == ["b"]
        assert await store.find_signals(SignalFilter(saga_id=new_id())) == []
        [first] = await store.find_signals(SignalFilter(limit=1))
        before = SignalFilter(before=(first.created_at, first.id))
        assert [one.name for one in await store.find_signals(before)] == ["b"]

    async def test_a_persons_signal_to_a_run_is_noted_in_its_audit(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        by: dict[str, Any] = {"actor": "anna", "reason": "called the bank"}
        for _ in range(2):
            await store.send([replace(signal(saga_id=run.saga_id), **by)])
        [note] = await store.load_audit(run.saga_id)
        assert (note.action, note.actor, note.reason, note.found) == ("signal", "anna", "called the bank", "waiting")
        assert len(await claim_all(store)) == 1

    async def test_a_persons_signal_to_a_key_is_noted_in_the_audit_of_whoever_waits(self, store: SagaStore) -> None:
        run, _ = await parked(store, wait(key="pi_1")), await parked(store, wait(key="pi_2"))
        await store.send([replace(signal(key="pi_1"), actor="anna", reason="-"), replace(signal(key="x"), actor="bob")])
        [note] = await store.load_audit(run.saga_id)
        assert (note.action, note.actor, note.found) == ("signal", "anna", "waiting")

    async def test_a_persons_signal_that_came_early_is_noted_in_the_audit_of_the_run_that_takes_it(
        self, store: SagaStore
    ) -> None:
        early = new_id()
        await store.send([replace(signal(key="pi_1"), actor="anna"), replace(signal(saga_id=early), actor="bob")])
        run, other = await parked(store, wait(key="pi_1")), await parked(store, wait(key="pi_2"))
        await park(store, await claimed(store, saga_id=early), wait())
        assert {one.saga_id for one in await claim_all(store)} == {run.saga_id, early}
        for _ in range(2):
            [note] = await store.load_audit(run.saga_id)
            assert (note.saga_id, note.action, note.actor, note.found) == (run.saga_id, "signal", "anna", "waiting")
            [note] = await store.load_audit(early)
            assert (note.saga_id, note.action, note.actor) == (early, "signal", "bob")
            assert await store.load_audit(other.saga_id) == []
            # What is left of the signals is forgotten before the runs are.
            await store.prune_signals(datetime.now(UTC) + timedelta(minutes=1), LONG_AGO, 10)

    async def test_the_note_of_a_signal_that_came_early_goes_with_the_run_that_took_it(self, store: SagaStore) -> None:
        await store.send([replace(signal(key="pi_1"), actor="anna")])
        run = await parked(store, wait(key="pi_1"))
        [run] = await claim_all(store)
        assert await store.write([write(run, status="completed")]) == [True]
        assert len(await store.load_audit(run.saga_id)) == 1
        assert await store.delete(run.saga_id)
        await store.insert([new(saga_id=run.saga_id)], LEASE)
        assert await store.load_audit(run.saga_id) == []

    async def test_a_persons_signal_that_nobody_takes_leaves_no_note(self, store: SagaStore) -> None:
        early, now = new_id(), datetime.now(UTC) + timedelta(minutes=1)
        await store.send([replace(signal(key="pi_1"), actor="anna"), replace(signal(saga_id=early), actor="bob")])
        assert await store.prune_signals(now, now, 10) == 2
        await store.send([signal(key="pi_1")])
        run = await parked(store, wait(key="pi_1"))
        await store.insert([new(saga_id=early)], LEASE)
        assert len(await claim_all(store)) == 2
        assert [await store.load_audit(saga_id) for saga_id in (run.saga_id, early)] == [[], []]

    async def test_untaken_signals_and_runs_past_their_deadline_are_counted(self, store: SagaStore) -> None:
        await store.insert([replace(new(), deadline=LONG_AGO), replace(new(), deadline=1000.0)], LEASE)
        await store.send([signal(key="k")])
        stats = await store.stats()
        assert (stats.untaken_signals, stats.overdue) == (1, 1)

    async def test_a_run_whose_signal_no_claim_has_found_is_known_to_be_due(self, store: SagaStore) -> None:
        due: list[tuple[int, dict[str, int]]] = []

        async def look() -> None:
            stats, signalled = await store.stats(), await store.count_signalled()
            assert all(0 <= age < 60 for _, age in signalled.values())
            counts = Counter(stats.due_by_saga) + Counter({saga: count for saga, (count, _) in signalled.items()})
            due.append((counts.total(), dict(counts)))

        run, busy = await parked(store, wait(), wait(n=1), wait("b", key="pi_1")), await claimed(store)
        other = await parked(store, wait(key="pi_2", until=SOON), name="A")
        await parked(store, wait(key="pi_3"))
        await store.send([signal("shipped", saga_id=run.saga_id), signal(saga_id=busy.saga_id), signal(key="nobody")])
        await look()
        await store.send([signal("b", key="pi_1"), *(signal(saga_id=run.saga_id, signal_id=str(n)) for n in range(2))])
        await look()
        await store.heartbeat("w1", LEASE)
        await store.send([signal(key="pi_2")])
        await look()
        assert await store.claim("w2", 10, LEASE, {"B": ()}) == []
        await look()
        await park(store, busy, wait())
        await look()
        assert {one.saga_id for one in await claim_all(store)} == {run.saga_id, other.saga_id, busy.saga_id}
        await look()
        two, three = (2, {"OrderSaga": 1, "A": 1}), (3, {"OrderSaga": 2, "A": 1})
        assert due == [(0, {}), (1, {"OrderSaga": 1}), two, two, three, (0, {})]

    async def test_a_claim_by_saga_id_finds_a_run_that_was_sent_a_signal(self, store: SagaStore) -> None:
        run, other = await parked(store, wait()), await parked(store, wait())
        await store.send([signal(saga_id=run.saga_id)])
        assert await store.claim("w1", 10, LEASE, KNOWN, saga_ids=[other.saga_id]) == []
        [again] = await store.claim("w1", 10, LEASE, KNOWN, saga_ids=[run.saga_id])
        assert again.waits[0].outcome == "signal"

    async def test_a_run_that_was_sent_a_signal_has_its_turn_among_ever_more_that_are_due(
        self, store: SagaStore
    ) -> None:
        run = await parked(store, wait())
        await store.insert([new() for _ in range(10)], LEASE)
        await store.send([signal(saga_id=run.saga_id)])
        taken: list[str] = []
        for _ in range(5):
            await store.insert([new() for _ in range(4)], LEASE)
            taken += [one.saga_id for one in await store.claim("w1", 4, LEASE, KNOWN)]
        assert (len(taken), run.saga_id in taken) == (20, True)
