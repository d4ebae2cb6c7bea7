"""What an insert does, and what it leaves alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    SHORT,
    SOON,
    claim_all,
    claimed,
    eventually,
    load,
    new,
    new_id,
)
from sagaz_integration_core.contract.records import Inserted
from sagaz_integration_core.contract.store import SagaStore


class Insertion:
    """What was inserted is there once, as it was given, and due when it is said to be."""

    async def test_a_new_run_is_pending_and_due_at_once(self, store: SagaStore) -> None:
        run = new(correlation_id="c-1", context='{"items": [1]}')
        before = datetime.now(UTC)
        assert await store.insert([run], LEASE) == [Inserted(run.saga_id, True, "f1")]
        record = await load(store, run.saga_id)
        assert (record.status, record.attempt, record.failures, record.lease_owner) == ("pending", 0, 0, None)
        assert (record.saga_name, record.correlation_id, record.fingerprint) == ("OrderSaga", "c-1", "f1")
        assert json.loads(record.context) == {"items": [1]}
        assert (record.error, record.finished_at, record.lease_expires_at) == (None, None, None)
        assert record.created_at.utcoffset() == timedelta(0)
        assert abs(record.created_at - before) < timedelta(minutes=1)
        assert [c.saga_id for c in await claim_all(store)] == [run.saga_id]

    async def test_a_second_insert_leaves_the_row_and_tells_its_fingerprint(self, store: SagaStore) -> None:
        run = new(fingerprint="first", context='{"n": 1}')
        await store.insert([run], LEASE)
        again = new(run.saga_id, fingerprint="second", context='{"n": 2}')
        assert await store.insert([again], LEASE) == [Inserted(run.saga_id, False, "first")]
        assert json.loads((await load(store, run.saga_id)).context) == {"n": 1}

    @pytest.mark.parametrize("owner", ["user:42", "ü" * 255], ids=["short", "longest"])
    @pytest.mark.parametrize("lease_owner", [None, "inline"], ids=["pending", "leased"])
    async def test_a_run_keeps_its_owner_and_a_second_insert_is_told_it(
        self, store: SagaStore, owner: str, lease_owner: str | None
    ) -> None:
        run, later = new(owner=owner, lease_owner=lease_owner), new(owner=owner, not_before=SOON)
        await store.insert([run], LEASE)
        await store.insert([later, new(owner="another"), new()], LEASE)
        assert (await load(store, run.saga_id)).owner == (await load(store, later.saga_id)).owner == owner
        again = new(run.saga_id, owner="another")
        assert await store.insert([again], LEASE) == [Inserted(run.saga_id, False, "f1", owner=owner)]
        assert (await load(store, run.saga_id)).owner == owner

    async def test_a_run_without_an_owner_has_none(self, store: SagaStore) -> None:
        run = new()
        await store.insert([run], LEASE)
        assert (await load(store, run.saga_id)).owner is None
        assert await store.insert([new(run.saga_id, owner="late")], LEASE) == [Inserted(run.saga_id, False, "f1")]

    async def test_a_leased_insert_over_a_pending_run_does_not_take_it(self, store: SagaStore) -> None:
        run = new()
        await store.insert([run], LEASE)
        await store.insert([new(run.saga_id, lease_owner="inline")], LEASE)
        assert (await load(store, run.saga_id)).lease_owner is None

    async def test_the_answers_come_in_the_order_of_the_runs(self, store: SagaStore) -> None:
        known = new(fingerprint="known")
        await store.insert([known], LEASE)
        twice = new_id()
        batch = [new(twice, fingerprint="a"), new(known.saga_id), new(twice, fingerprint="b"), new()]
        assert await store.insert(batch, LEASE) == [
            Inserted(twice, True, "a"),
            Inserted(known.saga_id, False, "known"),
            Inserted(twice, False, "a"),
            Inserted(batch[3].saga_id, True, "f1"),
        ]

    async def test_an_empty_insert_does_nothing(self, store: SagaStore) -> None:
        assert await store.insert([], LEASE) == []
        assert await store.claim("w1", 10, LEASE, KNOWN) == []

    async def test_a_thousand_runs_in_one_call(self, store: SagaStore) -> None:
        runs = [new() for _ in range(1000)]
        answers = await store.insert(runs, LEASE)
        assert [a.saga_id for a in answers] == [r.saga_id for r in runs]
        assert all(a.created for a in answers)
        assert {c.saga_id for c in await claim_all(store)} == {r.saga_id for r in runs}

    async def test_a_leased_run_is_executing_and_nobody_else_gets_it_before_the_lease_ends(
        self, store: SagaStore
    ) -> None:
        run = new(lease_owner="inline")
        await store.insert([run], LEASE)
        record = await load(store, run.saga_id)
        assert (record.status, record.attempt, record.lease_owner) == ("executing", 1, "inline")
        assert record.lease_expires_at == record.available_at
        assert record.lease_expires_at == pytest.approx(
            record.created_at + timedelta(seconds=LEASE), abs=timedelta(seconds=1)
        )
        assert await claim_all(store) == []
        assert await store.claim("w1", 1, LEASE, KNOWN, saga_ids=[run.saga_id]) == []

    async def test_a_leased_run_is_taken_over_when_its_lease_has_ended(self, store: SagaStore) -> None:
        run = new(lease_owner="inline")
        await store.insert([run], SHORT)
        (claim,) = await eventually(lambda: claim_all(store))
        assert (claim.saga_id, claim.attempt, claim.failures, claim.status) == (run.saga_id, 2, 1, "executing")

    async def test_a_run_for_later_waits_for_its_time(self, store: SagaStore) -> None:
        due_at = datetime.now(UTC) + timedelta(seconds=0.5)
        run = new(not_before=due_at)
        await store.insert([run, new(not_before=due_at + timedelta(days=1))], LEASE)
        assert await claim_all(store) == []
        (claim,) = await eventually(lambda: claim_all(store))
        assert claim.saga_id == run.saga_id
        assert datetime.now(UTC) >= due_at
        assert (claim.attempt, claim.failures) == (1, 0)

    async def test_a_time_in_another_zone_is_the_same_moment(self, store: SagaStore) -> None:
        west, east = timezone(timedelta(hours=-9)), timezone(timedelta(hours=9))
        await store.insert([new(not_before=(datetime.now(UTC) + timedelta(hours=1)).astimezone(west))], LEASE)
        assert await claim_all(store) == []
        past = (datetime.now(UTC) - timedelta(minutes=1)).astimezone(east)
        run = new(not_before=past)
        await store.insert([run], LEASE)
        assert [c.saga_id for c in await claim_all(store)] == [run.saga_id]

    @pytest.mark.parametrize(
        "value",
        ["", "äöü ß – “quoted”", "日本語 🦄 e\u0301", "a'b\"c;--\\ %s ? :x {}", "\u2028\u2029\t\r\n", "x" * 2_000_000],
        ids=["empty", "latin", "wide", "sql", "controls", "large"],
    )
    async def test_values_come_back_as_they_were_given(self, store: SagaStore, value: str) -> None:
        run = await claimed(store, context=json.dumps({"v": value}, ensure_ascii=False), name="Saga ü")
        assert json.loads(run.context) == {"v": value}
        assert run.saga_name == "Saga ü"
        assert json.loads((await load(store, run.saga_id)).context) == {"v": value}
