"""The keys of requests that clients may repeat."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sagaz_durable.testing.store_conformance.builders import LEASE, SHORT, eventually, new, new_id, record_end
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.contract.store import SagaStore

DAY = 86_400.0


def key(owner: str | None = "r1", **values: Any) -> NewKey:
    """Return the key of a new request."""
    given = {"id": new_id(), "fingerprint": "f", "saga_id": None, "lease_seconds": LEASE, "keep_seconds": DAY, **values}
    return NewKey(owner=owner, **given)


async def resumed(store: SagaStore, one: NewKey) -> KeyClaim:
    """Claim a key as soon as somebody else's lease has ended."""

    async def claim() -> KeyClaim | None:
        got = await store.claim_key(one)
        return got if got.claimed else None

    return await eventually(claim)


class RequestKeys:
    """A key is one request's: executed by one at a time, answered once, and forgotten after its time."""

    async def test_a_new_key_is_claimed_and_known(self, store: SagaStore) -> None:
        one = key(saga_id="run-1")
        assert await store.claim_key(one) == KeyClaim(True, saga_id="run-1")
        known = await store.find_key(one.id)
        assert known is not None
        assert (known.claimed, known.fingerprint, known.saga_id, known.answer) == (False, "f", "run-1", None)
        assert known.seconds == pytest.approx(LEASE, abs=5)
        assert await store.find_key("another") is None

    async def test_of_many_that_claim_a_key_at_once_one_gets_it(self, store: SagaStore) -> None:
        one = key()
        claims = await asyncio.gather(*(store.claim_key(replace(one, owner=f"r{n}")) for n in range(10)))
        assert [claim.claimed for claim in claims].count(True) == 1
        assert {claim.answer for claim in claims} == {None}

    async def test_a_claimed_key_is_refused_to_others_and_not_to_its_owner(self, store: SagaStore) -> None:
        one = key(saga_id="run-1")
        await store.claim_key(one)
        busy = await store.claim_key(replace(one, owner="r2"))
        assert (busy.claimed, busy.fingerprint, busy.saga_id, busy.answer) == (False, "f", "run-1", None)
        assert busy.seconds == pytest.approx(LEASE, abs=5)
        assert (await store.claim_key(one)).claimed

    @pytest.mark.parametrize("answer", ["", '{"body": "eyJhIjogMX0="}', "x" * 400_000], ids=["empty", "json", "large"])
    async def test_an_answer_comes_back_as_it_was_given_whoever_asks(self, store: SagaStore, answer: str) -> None:
        one = key(saga_id="run-1")
        await store.claim_key(one)
        assert await store.answer_key(one.id, "r1", answer) is True
        for other in (one, replace(one, owner="r2"), replace(one, owner=None), replace(one, fingerprint="g")):
            assert await store.claim_key(other) == KeyClaim(False, False, "f", "run-1", answer, 0.0)

    async def test_only_its_owner_answers_renews_and_frees_a_key_and_only_until_it_is_answered(
        self, store: SagaStore
    ) -> None:
        one = key()
        await store.claim_key(one)
        assert await store.answer_key(one.id, "r2", "no") is False
        assert await store.renew_key(one.id, "r2", LEASE) is False
        assert await store.free_key(one.id, "r2") is False
        assert await store.renew_key(one.id, "r1", LEASE) is True
        assert await store.answer_key(one.id, "r1", "yes") is True
        assert await store.answer_key(one.id, "r1", "no") is False
        assert await store.renew_key(one.id, "r1", LEASE) is False
        assert await store.free_key(one.id, "r1") is False
        assert (await store.claim_key(one)).answer == "yes"

    async def test_a_lease_that_ended_without_an_answer_is_taken_over_and_its_owner_fenced_out(
        self, store: SagaStore
    ) -> None:
        one = key(saga_id="run-1", lease_seconds=SHORT)
        await store.claim_key(one)
        got = await resumed(store, replace(one, owner="r2", lease_seconds=LEASE, saga_id="run-2"))
        assert got == KeyClaim(True, True, saga_id="run-1")
        assert await store.answer_key(one.id, "r1", "late") is False
        assert await store.renew_key(one.id, "r1", LEASE) is False
        assert await store.answer_key(one.id, "r2", "right") is True

    async def test_another_request_does_not_take_over_a_key(self, store: SagaStore) -> None:
        one = key(lease_seconds=SHORT)
        await store.claim_key(one)
        other = replace(one, owner="r2", fingerprint="g")
        await eventually(lambda: _has_no_lease(store, one.id))
        refused = await store.claim_key(other)
        assert (refused.claimed, refused.fingerprint, refused.seconds) == (False, "f", 0.0)
        assert (await store.claim_key(replace(one, owner="r3"))).resumed

    async def test_a_renewed_lease_lasts(self, store: SagaStore) -> None:
        one = key(lease_seconds=SHORT)
        await store.claim_key(one)
        assert await store.renew_key(one.id, "r1", LEASE) is True
        known = await store.find_key(one.id)
        assert known is not None
        assert known.seconds == pytest.approx(LEASE, abs=5)

    async def test_a_freed_key_is_as_new_unless_its_run_is_there(self, store: SagaStore) -> None:
        run = new()
        await store.insert([run], LEASE)
        without, with_run = key(saga_id="none"), key(saga_id=run.saga_id)
        for one in (without, with_run):
            await store.claim_key(one)
            assert await store.free_key(one.id, "r1") is True
        assert await store.find_key(without.id) is None
        again = replace(with_run, owner="r2")
        assert await store.claim_key(again) == KeyClaim(True, True, saga_id=run.saga_id)
        assert await store.claim_key(replace(without, fingerprint="g")) == KeyClaim(True, saga_id="none")

    async def test_a_key_whose_time_is_over_is_forgotten_claimed_as_new_and_pruned(self, store: SagaStore) -> None:
        old, young = [key(keep_seconds=0.0) for _ in range(3)], key()
        executed = key(keep_seconds=0.0)
        for one in (*old, young):
            await store.claim_key(one)
            await store.answer_key(one.id, "r1", "a")
        await store.claim_key(executed)
        assert await store.find_key(old[0].id) is None
        assert await store.prune_keys(2) == 2
        assert await store.prune_keys(10) == 1, "one that is executed stays, and so does one whose time is to come"
        assert await store.claim_key(replace(old[0], fingerprint="g", saga_id="s")) == KeyClaim(True, saga_id="s")
        assert (await store.claim_key(young)).answer == "a"
        assert await store.answer_key(executed.id, "r1", "a") is True

    async def test_an_expired_key_is_claimed_as_new_before_it_is_pruned(self, store: SagaStore) -> None:
        one = key(keep_seconds=0.0, saga_id="run-1")
        await store.claim_key(one)
        await store.answer_key(one.id, "r1", "a")
        later = replace(one, fingerprint="g", saga_id="run-2", keep_seconds=DAY)
        assert await store.claim_key(later) == KeyClaim(True, saga_id="run-2")
        known = await store.find_key(one.id)
        assert known is not None
        assert (known.fingerprint, known.answer) == ("g", None)

    async def test_the_answer_is_erased_with_the_run_and_the_key_stays(self, store: SagaStore) -> None:
        saga_id = await record_end(store)
        one, other = key(saga_id=saga_id), key(saga_id="other")
        for each in (one, other):
            await store.claim_key(each)
            await store.answer_key(each.id, "r1", "secret")
        assert await store.erase(Erasure("ann", "", ("completed",), saga_ids=(saga_id,)), 10) == 1
        assert await store.claim_key(replace(one, owner="r2")) == KeyClaim(True, True, saga_id=saga_id)
        assert (await store.claim_key(other)).answer == "secret"


async def _has_no_lease(store: SagaStore, key_id: str) -> bool:
    known = await store.find_key(key_id)
    return known is not None and known.seconds == 0
