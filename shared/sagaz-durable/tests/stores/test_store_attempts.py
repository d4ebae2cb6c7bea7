"""Who pays for an attempt that did not end well, what is told of it, and who executes suspects."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from store_builders import KNOWN, LEASE, SHORT, claim_all, claimed, eventually, load, new, record_end, step, write

from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import FirstStep, Release

pytestmark = pytest.mark.anyio

AT_ONCE = 0.001
"""A lease whose end nobody has to wait for, and the longest time after which a suspect comes back."""


async def taken(store, owner="w2", lease=LEASE, sagas=KNOWN, **values):
    """Claim until something is due."""
    return await eventually(lambda: store.claim(owner, 100, lease, sagas, **values))


async def outcomes(store, saga_id):
    return [(attempt.attempt, attempt.owner, attempt.outcome) for attempt in await store.load_attempts(saga_id)]


def decide(run, status, found="executing"):
    return Intervention(run.saga_id, run.attempt, found, status, "cancel", "ann", "she called")


async def suspected(store, owner, runs):
    """Have another process find that the owner of these runs is dead, by one more that the owner had."""
    bait = await claimed(store, owner, AT_ONCE, name="Bait")

    async def ended():
        await store.claim("finder", 1, AT_ONCE, {"Bait": ()}, saga_ids=[bait.saga_id])
        records = [await load(store, run.saga_id) for run in runs]
        return all(record.lease_owner is None for record in records) and records

    return await eventually(ended)


async def suspects(store, count=2, owner="w1", **write_values):
    """Make runs whose process died while it had several."""
    runs = [await claimed(store, owner, AT_ONCE) for _ in range(count)]
    await store.write([write(run, owner, **write_values) for run in runs])
    return await suspected(store, owner, runs)


async def taken_one(store, saga_id, owner="w2", lease=LEASE, **values):
    (run,) = await taken(store, owner, lease, saga_ids=[saga_id], **values)
    return run


# Who pays.


async def test_a_run_that_a_dead_process_had_alone_is_charged(store):
    run = await claimed(store, "w1", AT_ONCE)
    await store.write([write(run, steps=(step("pay", "started"), step("ship", "started", "undo")))])
    (again,) = await taken(store)
    assert (again.failures, again.suspicions, again.alone, again.after_death) == (1, 0, False, True)
    (attempt,) = await store.load_attempts(run.saga_id)
    assert (attempt.owner, attempt.outcome, attempt.detail) == ("w1", "died", None)
    assert attempt.under_way == "pay, undo of ship"
    assert attempt.began_at < attempt.ended_at <= datetime.now(UTC)


async def test_a_lease_that_ended_while_its_owner_lives_is_charged_to_nobody(store):
    await store.heartbeat("w1", LEASE)
    run, other = await claimed(store, "w1", AT_ONCE), await claimed(store, "w1", LEASE)
    (again,) = await taken(store)
    assert (again.saga_id, again.failures, again.suspicions, again.after_death) == (run.saga_id, 0, 0, True)
    assert await outcomes(store, run.saga_id) == [(1, "w1", "lost")]
    assert (await load(store, other.saga_id)).lease_owner == "w1"


async def test_the_runs_that_a_dead_process_had_together_are_suspects_and_none_is_charged(store):
    known = [await claimed(store, "w1", AT_ONCE) for _ in range(3)]
    unknown = await claimed(store, "w1", AT_ONCE, name="Elsewhere")
    leased = await claimed(store, "w1", LEASE)
    await eventually(lambda: _due(store, 4))
    assert await store.claim("w2", 100, 3600, KNOWN) == []
    for run in (*known, unknown):
        record = await load(store, run.saga_id)
        assert (record.status, record.failures, record.suspicions, record.alone) == ("pending", 0, 1, False)
        assert (record.lease_owner, record.lease_expires_at) == (None, None)
        assert await outcomes(store, run.saga_id) == [(1, "w1", "died")]
    dues = {(await load(store, run.saga_id)).available_at for run in known}
    assert len(dues) == 3, "they come back apart"
    assert (await load(store, leased.saga_id)).suspicions == 0, "its lease has not ended"


async def test_suspects_come_back_and_tell_that_a_death_was_before_them(store):
    runs = await suspects(store)
    found = {}

    async def all_back():
        found.update({run.saga_id: run for run in await store.claim("w2", 100, LEASE, KNOWN)})
        return len(found) == 2

    await eventually(all_back)
    assert set(found) == {run.saga_id for run in runs}
    assert {(run.after_death, run.suspicions, run.failures, run.attempt) for run in found.values()} == {
        (True, 1, 0, 2),
    }  # fmt: skip


async def test_a_suspect_that_compensates_goes_on_compensating(store):
    runs = await suspects(store, status="compensating", error="declined")
    assert {(run.status, run.direction) for run in runs} == {("compensating", "back")}


async def test_leases_of_a_dead_process_that_end_one_after_another_make_suspects_of_all(store):
    first, last = await claimed(store, "w1", AT_ONCE), await claimed(store, "w1", SHORT)

    async def both():
        await store.claim("w2", 100, LEASE, KNOWN)
        return (await load(store, last.saga_id)).lease_owner != "w1"

    await eventually(both)
    assert [(await load(store, run.saga_id)).suspicions for run in (first, last)] == [1, 1]
    assert [(await load(store, run.saga_id)).failures for run in (first, last)] == [0, 0]


async def test_a_claim_that_finds_suspects_first_still_takes_what_is_behind_them(store):
    runs = [await claimed(store, "w1", AT_ONCE) for _ in range(3)]
    await store.insert([behind := new()], LEASE)
    await eventually(lambda: _due(store, 4))
    assert [run.saga_id for run in await store.claim("w2", 3, 3600, KNOWN)] == [behind.saga_id]
    assert {(await load(store, run.saga_id)).suspicions for run in runs} == {1}


# Those that are executed alone.


async def alone_ones(store, count=2):
    """Make runs that two deaths have made suspects of."""
    runs = await suspects(store, count, "first")
    for run in runs:
        await taken_one(store, run.saga_id, "second", AT_ONCE)
    return await suspected(store, "second", runs)


async def test_a_run_that_was_suspected_twice_is_claimed_only_by_who_asks_for_those_and_one_at_a_time(store):
    runs = await alone_ones(store)
    records = [await load(store, run.saga_id) for run in runs]
    assert [(record.alone, record.failures) for record in records] == [(True, 0)] * 2
    ids = [run.saga_id for run in runs]
    assert await store.claim("w2", 100, LEASE, KNOWN) == []
    assert await store.claim("w2", 100, LEASE, KNOWN, saga_ids=ids) == []
    assert await store.claim("w2", 100, LEASE, {"OtherSaga": ()}, alone=True) == []
    (run,) = await taken(store, alone=True)
    assert (run.alone, run.suspicions, run.after_death) == (True, 2, True)
    assert await store.claim("w3", 100, LEASE, KNOWN, alone=True) == [], "one worker is to be left for the rest"


async def test_half_of_the_workers_that_know_their_saga_may_each_have_one_that_is_executed_alone(store):
    await alone_ones(store, 4)
    for n in range(5):
        await store.heartbeat(f"w{n}", LEASE, "worker", ["OrderSaga"])
    await store.heartbeat("other", LEASE, "worker", ["Elsewhere"])
    await store.heartbeat("site", LEASE, "web", ["OrderSaga"])
    first, second = [await taken(store, f"w{n}", alone=True) for n in range(2)]
    assert first[0].saga_id != second[0].saga_id
    await eventually(lambda: _due(store, 2, "OrderSaga"))
    assert await store.claim("w2", 100, LEASE, KNOWN, alone=True) == []
    done = write(first[0], "w0", status="completed")
    assert await store.write([done]) == [True]
    assert len(await taken(store, "w2", alone=True)) == 1


async def test_nothing_else_is_claimed_by_who_asks_for_those_that_are_executed_alone(store):
    await store.insert([new()], LEASE)
    assert await store.claim("w2", 100, LEASE, KNOWN, alone=True) == []


async def test_a_run_that_kills_its_process_when_it_is_alone_is_charged(store):
    (saga_id, _) = [run.saga_id for run in await alone_ones(store)]
    await taken_one(store, saga_id, "w2", AT_ONCE, alone=True)
    run = await taken_one(store, saga_id, "w3", alone=True)
    assert (run.failures, run.suspicions, run.alone) == (1, 2, True)


# Progress.


@pytest.mark.parametrize("phase", ["do", "undo"])
async def test_a_step_that_is_done_clears_failures_and_suspicions(store, phase):
    (saga_id, _) = [run.saga_id for run in await alone_ones(store)]
    run = await taken_one(store, saga_id, alone=True)
    await store.write([write(run, "w2", release=Release(failed=True))])
    run = await taken_one(store, saga_id, alone=True)
    for entry in (step("a", "started"), step("b", "failed", error="no"), step("c", "in_doubt")):
        await store.write([write(run, "w2", steps=(entry,))])
    record = await load(store, run.saga_id)
    assert (record.failures, record.suspicions, record.alone) == (1, 2, True), "none of these is progress"
    await store.write([write(run, "w2", steps=(step("a", "done", phase),))])
    record = await load(store, run.saga_id)
    assert (record.failures, record.suspicions, record.alone) == (0, 0, False)


async def test_a_release_after_progress_counts_as_the_first_failure(store):
    run = await claimed(store)
    await store.write([write(run, release=Release(failed=True))])
    (run,) = await taken(store, "w1")
    await store.write([write(run, steps=(step("a", "done"),), release=Release(failed=True))])
    assert (await load(store, run.saga_id)).failures == 1


# What a claim is for.


async def test_runs_of_sagas_that_the_claimer_does_not_know_are_left_as_they_are(store):
    run, ended = new(name="Elsewhere"), await claimed(store, "w1", AT_ONCE, name="Elsewhere")
    await store.insert([run], LEASE)
    before = await load(store, ended.saga_id)
    await eventually(lambda: _due(store, 2))
    assert await store.claim("w2", 100, LEASE, KNOWN) == []
    assert await store.claim("w2", 100, LEASE, KNOWN, saga_ids=[run.saga_id, ended.saga_id]) == []
    assert await store.claim("w2", 100, LEASE, {}) == []
    assert await load(store, ended.saga_id) == before
    assert (await store.stats()).due_by_saga == {"Elsewhere": 2}
    assert [one.saga_id for one in await store.claim("w3", 1, LEASE, {"Elsewhere": ()}, saga_ids=[run.saga_id])] == [
        run.saga_id
    ]


async def _due(store, count, name=None):
    stats = await store.stats()
    return (stats.due if name is None else stats.due_by_saga.get(name)) == count


async def test_the_oldest_come_first_whichever_their_saga(store):
    runs = [new(name=name) for name in ("B", "A", "LateSaga", "OtherSaga", "OrderSaga")]
    for run in runs:
        await store.insert([run], LEASE)
    found = await store.claim("w1", 3, LEASE, KNOWN) + await store.claim("w1", 3, LEASE, KNOWN)
    assert [run.saga_id for run in found] == [run.saga_id for run in runs]


# What is told.


async def test_each_attempt_that_did_not_end_the_run_well_is_told_with_its_owner_times_and_reason(store):
    run = await claimed(store, "w1")
    entries = (step("pay", "started"), step("log", "started"), step("log", "done"))
    await store.write([write(run, steps=entries)])
    release = Release(failed=True, detail="ConnectionError: away")
    await store.write([write(run, steps=(step("ship", "started"),), release=release)])
    (run,) = await taken(store, "w2")
    await store.write([write(run, "w2", steps=(step("pay", "done"), step("ship", "done")), release=Release())])
    (run,) = await taken(store, "w3")
    await store.write([write(run, "w3", status="failed", error="Given up.")])
    first, second, third = await store.load_attempts(run.saga_id)
    assert (first.attempt, first.owner, first.outcome) == (1, "w1", "halted")
    assert (first.detail, first.under_way) == ("ConnectionError: away", "pay, ship")
    assert (second.owner, second.outcome, second.detail, second.under_way) == ("w2", "released", None, None)
    assert (third.owner, third.outcome, third.detail) == ("w3", "failed", "Given up.")
    moments = [moment for attempt in (first, second, third) for moment in (attempt.began_at, attempt.ended_at)]
    assert moments == sorted(moments)
    assert moments[-1] == (await load(store, run.saga_id)).finished_at


async def test_a_failed_end_without_a_text_of_its_own_has_the_runs_error(store):
    run = await claimed(store)
    await store.write([write(run, status="compensating", error="declined")])
    await store.write([write(run, status="failed")])
    assert [attempt.detail for attempt in await store.load_attempts(run.saga_id)] == ["declined"]


@pytest.mark.parametrize("status", ["completed", "rolled_back"])
async def test_a_good_end_is_no_attempt_to_tell_of(store, status):
    assert await store.load_attempts(await record_end(store, status)) == []


async def test_a_refused_write_tells_of_no_attempt(store):
    run = await claimed(store)
    assert await store.write([write(run, "w2", status="failed"), write(run, "w2", release=Release())]) == [False] * 2
    assert await store.load_attempts(run.saga_id) == []


async def test_attempts_go_with_their_run(store):
    saga_id = await record_end(store, "failed")
    other = await record_end(store, "failed")
    assert len(await store.load_attempts(saga_id)) == 1
    assert await store.delete(saga_id)
    assert await store.load_attempts(saga_id) == []
    assert await store.prune(datetime.now(UTC), ["failed"], 10) == 1
    assert await store.load_attempts(other) == []


async def test_a_decision_ends_an_attempt_and_clears_failures_and_suspicions(store):
    await alone_ones(store)
    (run,) = await taken(store, "w2", alone=True)
    await store.write([write(run, "w2", steps=(step("pay", "started"),))])
    before = await load(store, run.saga_id)
    assert await store.intervene(decide(run, "compensating"))
    record = await load(store, run.saga_id)
    assert (record.failures, record.suspicions, record.alone) == (0, 0, False)
    assert (record.direction, record.version) == ("back", before.version + 1)
    last = (await store.load_attempts(run.saga_id))[-1]
    assert last == AttemptRecord(
        run.saga_id, run.attempt, "w2", before.leased_at, last.ended_at, "decided", "cancel by ann", "pay"
    )
    assert last.ended_at == record.updated_at


async def test_a_decision_about_a_run_that_nobody_has_ends_no_attempt(store):
    run = new()
    await store.insert([run], LEASE)
    assert await store.intervene(Intervention(run.saga_id, 0, "pending", "compensating", "cancel", "ann", ""))
    assert await store.load_attempts(run.saga_id) == []


# Direction, version, what was compensated.


async def test_the_direction_turns_with_the_status_and_stays_at_the_end(store):
    run = await claimed(store)
    assert run.direction == "forward"
    await store.write([write(run, status="compensating"), write(run, release=Release())])
    (run,) = await taken(store, "w1")
    assert (run.status, run.direction) == ("compensating", "back")
    await store.write([write(run, status="failed")])
    record = await load(store, run.saga_id)
    assert (record.status, record.direction) == ("failed", "back")
    assert await store.intervene(Intervention(run.saga_id, run.attempt, "failed", "pending", "retry", "ann", ""))
    assert (await load(store, run.saga_id)).direction == "forward"


async def test_a_run_that_rolls_back_within_one_batch_has_turned(store):
    run = await claimed(store)
    await store.write([write(run, status="compensating"), write(run, status="rolled_back")])
    assert (await load(store, run.saga_id)).direction == "back"


async def test_the_version_grows_by_every_change_but_a_renewal(store):
    seen = []

    async def look():
        seen.append((await load(store, saga_id)).version)

    saga_id = new().saga_id
    await store.insert([new(saga_id)], LEASE)
    await look()
    (run,) = await claim_all(store)
    seen.append(run.version)
    await look()
    await store.renew("w1", [(saga_id, 1)], LEASE)
    await look()
    await store.write([write(run, steps=(step("a", "started"),)), write(run, steps=(step("a", "done"),))])
    await look()
    await store.write([write(run, release=Release())])
    await look()
    await store.insert([new(saga_id)], LEASE)
    await store.write([write(run, status="failed")])
    await look()
    assert seen == [1, 2, 2, 2, 4, 5, 5]


async def test_what_a_run_was_leased_at_is_kept_after_its_lease(store):
    run = new(owner="w1")
    await store.insert([run, waiting := new()], LEASE)
    record = await load(store, run.saga_id)
    assert record.leased_at == record.created_at
    assert (await load(store, waiting.saga_id)).leased_at is None
    (claim,) = await claim_all(store)
    leased_at = (await load(store, waiting.saga_id)).leased_at
    await store.write([write(claim, status="completed")])
    assert (await load(store, waiting.saga_id)).leased_at == leased_at
    assert leased_at is not None


async def test_the_journal_keeps_whether_a_step_had_a_compensation_when_it_was_called(store):
    run = await claimed(store)
    entries = (
        step("a", "started", compensated=True), step("a", "done"), step("b", "started"), step("b", "done"),
        step("a", "started", "undo", compensated=True), step("c", "started", compensated=True),
    )  # fmt: skip
    await store.write([write(run, steps=entries)])
    await store.write([write(run, steps=(step("c", "failed", error="no"),))])
    noted = {(entry.step, entry.phase): entry.compensated for entry in await store.load_steps(run.saga_id)}
    assert noted == {("a", "do"): True, ("b", "do"): False, ("a", "undo"): False, ("c", "do"): True}
    await store.write([write(run, steps=(step("c", "started"),))])
    noted = {(entry.step, entry.phase): entry.compensated for entry in await store.load_steps(run.saga_id)}
    assert noted["c", "do"] is False


async def test_the_first_steps_are_journaled_with_their_compensations(store):
    steps = (FirstStep("a", True), FirstStep("b", False))
    await store.insert([leased := new(owner="w1", first_steps=steps), new()], LEASE)
    (run,) = await store.claim("w1", 10, LEASE, {"OrderSaga": steps})
    for saga_id in (leased.saga_id, run.saga_id):
        assert [(s.step, s.compensated) for s in await store.load_steps(saga_id)] == [("a", True), ("b", False)]


# Who lives.


async def test_living_processes_are_told_with_their_kind_and_the_sagas_that_they_know(store):
    await store.heartbeat("w1", LEASE, "worker", ["B", "A"])
    await store.heartbeat("site", LEASE, "web", ["A"])
    await store.heartbeat("beat", LEASE, "sweep")
    await store.heartbeat("gone", AT_ONCE)
    await eventually(lambda: _living(store, 3))
    workers = await store.workers()
    assert [(worker.name, worker.kind, worker.sagas) for worker in workers] == [
        ("beat", "sweep", ()), ("site", "web", ("A",)), ("w1", "worker", ("A", "B")),
    ]  # fmt: skip
    assert all(worker.alive_until > datetime.now(UTC) for worker in workers)
    assert (await store.stats()).live_workers == 2, "a web process takes no runs up"
    await store.heartbeat("w1", 0)
    assert [worker.name for worker in await store.workers()] == ["beat", "site"]


async def _living(store, count):
    return len(await store.workers()) == count


async def test_only_the_last_attempts_death_is_told_to_who_claims_next(store):
    await claimed(store, "w1", AT_ONCE)
    (second,) = await taken(store)
    assert second.after_death
    await store.write([write(second, "w2", release=Release())])
    (third,) = await taken(store, "w3")
    assert (third.attempt, third.after_death) == (3, False)
    await store.write([write(third, "w3", release=Release(failed=True))])
    (fourth,) = await taken(store, "w4")
    assert (fourth.attempt, fourth.after_death) == (4, False)
