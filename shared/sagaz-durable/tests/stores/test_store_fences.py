"""What a claim, a decision and an ended lease do to the run that they are for, and to no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    AT_ONCE,
    KNOWN,
    LEASE,
    alone_ones,
    claimed,
    eventually,
    is_due,
    load,
    new,
    outcomes,
    record_end,
    step,
    suspected,
    taken,
    taken_one,
    write,
)
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.records import FirstStep, Release

pytestmark = pytest.mark.anyio


def decide(record, status, action="retry", **values):
    return Intervention(record.saga_id, record.attempt, record.status, status, action, "ann", "why", **values)


# Claims and renewals.


async def test_a_claim_keeps_what_it_charges_and_tells_when_it_was(store):
    run = await claimed(store, "w1", AT_ONCE)
    before = await load(store, run.saga_id)
    for owner, failures in (("w2", 1), ("w3", 2)):
        again = await taken_one(store, run.saga_id, owner, AT_ONCE)
        record = await load(store, run.saga_id)
        assert (again.failures, record.failures) == (failures, failures)
        assert record.updated_at > before.updated_at
        assert record.leased_at == record.updated_at
        before = record


async def test_a_renewal_moves_the_end_of_the_lease_and_with_it_when_others_may_have_the_run(store):
    run, other = await claimed(store), await claimed(store)
    before = await load(store, run.saga_id)
    untouched = await load(store, other.saga_id)
    await store.renew("w1", [(run.saga_id, run.attempt)], LEASE)
    after = await load(store, run.saga_id)
    assert after.lease_expires_at == after.available_at > before.lease_expires_at
    assert await load(store, other.saga_id) == untouched


async def test_a_start_that_finds_its_id_taken_journals_nothing_though_others_of_its_batch_do(store):
    first = (FirstStep("reserve", True),)
    known = new()
    await store.insert([known], LEASE)
    fresh = new(lease_owner="w1", first_steps=first)
    answers = await store.insert([fresh, new(known.saga_id, lease_owner="w1", first_steps=first)], LEASE)
    assert [answer.created for answer in answers] == [True, False]
    assert [one.step for one in await store.load_steps(fresh.saga_id)] == ["reserve"]
    assert await store.load_steps(known.saga_id) == []


async def test_of_named_runs_the_one_that_was_due_first_is_the_first(store):
    hour = datetime.now(UTC) - timedelta(hours=1)
    late, early = new(not_before=hour), new(not_before=hour - timedelta(hours=1))
    await store.insert([late], LEASE)
    await store.insert([early], LEASE)
    ids = [late.saga_id, early.saga_id]
    assert [run.saga_id for run in await store.claim("w1", 1, LEASE, KNOWN, saga_ids=ids)] == [early.saga_id]


async def test_a_run_that_was_deleted_is_claimed_by_nobody(store):
    saga_id = await record_end(store)
    assert await store.delete(saga_id)
    assert await store.claim("w1", 10, LEASE, KNOWN) == []
    assert await store.claim("w1", 10, LEASE, KNOWN, saga_ids=[saga_id]) == []


async def test_a_run_that_is_executed_alone_is_not_claimed_by_its_name_beside_others(store):
    ids = [run.saga_id for run in await alone_ones(store)]
    await eventually(lambda: is_due(store, 2, "OrderSaga"))
    assert await store.claim("w2", 100, LEASE, KNOWN, saga_ids=ids) == []


# Decisions.


async def test_a_decision_is_about_one_run_and_no_other_in_the_same_state(store):
    one, other = await record_end(store, "failed"), await record_end(store, "failed")
    before = await load(store, other)
    assert await store.intervene(decide(await load(store, one), "completed"))
    assert await load(store, other) == before


async def test_a_decision_about_an_earlier_attempt_changes_nothing_though_the_status_is_the_same(store):
    run = await claimed(store)
    seen = await load(store, run.saga_id)
    await store.write([write(run, release=Release())])
    await taken_one(store, run.saga_id, "w2")
    before = await load(store, run.saga_id)
    assert (before.status, before.attempt) == (seen.status, seen.attempt + 1)
    assert not await store.intervene(decide(seen, "compensating"))
    assert await load(store, run.saga_id) == before


async def test_a_decision_clears_what_was_charged_and_ends_the_lease_and_keeps_the_error_unless_it_has_one(store):
    run = await claimed(store)
    await store.write([write(run, error="why", release=Release(failed=True))])
    run = await taken_one(store, run.saga_id)
    record = await load(store, run.saga_id)
    assert (record.failures, record.error) == (1, "why")
    assert await store.intervene(decide(record, "failed", "resolve"))
    after = await load(store, run.saga_id)
    assert (after.failures, after.error, after.lease_owner, after.lease_expires_at) == (0, "why", None, None)
    assert after.updated_at > record.updated_at
    assert await store.intervene(decide(after, "pending", error="tried again"))
    assert (await load(store, run.saga_id)).error == "tried again"


async def test_a_retried_compensation_forgets_failed_compensations_only_of_its_run(store):
    runs = [await claimed(store) for _ in range(2)]
    entries = (step("a", "done"), step("b", "failed", error="no"), step("a", "failed", "undo", error="away"))
    for run in runs:
        await store.write([write(run, steps=entries, status="failed")])
    assert await store.intervene(decide(await load(store, runs[0].saga_id), "compensating"))
    left = [[(one.step, one.phase) for one in await store.load_steps(run.saga_id)] for run in runs]
    assert left == [[("a", "do"), ("b", "do")], [("a", "do"), ("b", "do"), ("a", "undo")]]


# Ended leases.


async def test_an_end_of_an_attempt_is_noted_of_its_run_only_with_its_own_times(store):
    bystander = await claimed(store, "w9")
    run = await claimed(store)
    await store.write([write(run, release=Release())])
    again = await taken_one(store, run.saga_id, "w2", AT_ONCE)
    leased = await load(store, run.saga_id)
    await taken_one(store, again.saga_id, "w3")
    first, second = await store.load_attempts(run.saga_id)
    assert (first.attempt, first.outcome, second.attempt, second.outcome) == (1, "released", 2, "died")
    assert second.began_at == leased.leased_at > first.began_at
    assert second.ended_at == leased.lease_expires_at
    assert await store.load_attempts(bystander.saga_id) == []


async def test_what_was_under_way_is_told_in_the_order_in_which_it_began(store):
    run = await claimed(store)
    for name in ("z", "a", "m"):
        await store.write([write(run, steps=(step(name, "started"),))])
    await store.write([write(run, release=Release())])
    [attempt] = await store.load_attempts(run.saga_id)
    assert attempt.under_way == "z, a, m"


async def test_what_was_under_way_is_told_of_a_step_beside_its_compensation(store):
    run = await claimed(store)
    await store.write([write(run, steps=(step("a", "started"), step("b", "started")))])
    steps = (step("a", "started", "undo"), step("b", "done"))
    await store.write([write(run, steps=steps, status="compensating", release=Release())])
    [attempt] = await store.load_attempts(run.saga_id)
    assert attempt.under_way == "a, undo of a"


async def test_a_process_that_gave_a_run_back_and_died_with_one_is_charged_for_that(store):
    given_back = await claimed(store)
    await store.write([write(given_back, release=Release(delay=3600))])
    run = await claimed(store, "w1", AT_ONCE)
    again = await taken_one(store, run.saga_id)
    assert (again.failures, again.suspicions) == (1, 0)
    assert await outcomes(store, run.saga_id) == [(1, "w1", "died")]


async def test_a_process_that_was_alive_once_is_charged_for_its_death_as_one_that_never_told(store):
    await store.heartbeat("w1", AT_ONCE)
    run = await claimed(store, "w1", AT_ONCE)
    again = await taken_one(store, run.saga_id)
    assert (again.failures, again.after_death) == (1, True)
    assert await outcomes(store, run.saga_id) == [(1, "w1", "died")]


async def test_a_process_that_died_makes_suspects_of_its_own_runs_only(store):
    other = await claimed(store, "w2", AT_ONCE)
    runs = [await claimed(store, "w1", AT_ONCE) for _ in range(2)]
    await suspected(store, "w1", [run.saga_id for run in runs])
    record = await load(store, other.saga_id)
    assert (record.lease_owner, record.suspicions) == ("w2", 0)
    assert await store.load_attempts(other.saga_id) == []


async def test_a_suspicion_is_a_change_of_the_run(store):
    run = await claimed(store, "w1", AT_ONCE)
    before = await load(store, run.saga_id)
    [after] = await suspected(store, "w1", [run.saga_id])
    assert (after.version, after.suspicions) == (before.version + 1, 1)
    assert after.updated_at > before.updated_at


async def test_after_a_decision_no_death_before_it_is_told_any_more(store):
    run = await claimed(store, "w1", AT_ONCE)
    [record] = await suspected(store, "w1", [run.saga_id])
    assert await store.intervene(decide(record, "compensating"))
    again = await taken_one(store, run.saga_id)
    assert (again.attempt, again.after_death) == (3, False)


# Room for what is executed alone.


async def test_runs_beside_which_others_may_run_take_no_room_of_those_that_are_executed_alone(store):
    ids = [run.saga_id for run in await alone_ones(store)]
    other = new()
    await store.insert([other], LEASE)
    assert await store.claim("w5", 1, LEASE, KNOWN, saga_ids=[other.saga_id])
    (run,) = await taken(store, "w2", alone=True)
    assert run.saga_id in ids


async def test_one_that_was_given_back_for_later_takes_no_room(store):
    await alone_ones(store)
    (first,) = await taken(store, "w2", alone=True)
    await store.write([write(first, "w2", release=Release(delay=3600))])
    (second,) = await eventually(lambda: store.claim("w3", 100, LEASE, KNOWN, alone=True))
    assert second.saga_id != first.saga_id


async def test_only_a_due_run_of_these_sagas_that_is_executed_alone_is_told_of(store):
    await store.insert([new()], LEASE)
    assert not await store.any_alone(KNOWN)
    await alone_ones(store)
    await eventually(lambda: is_due(store, 3, "OrderSaga"))
    assert await store.any_alone(KNOWN)
    assert not await store.any_alone({"A": ()})
