"""Sagas that wait for signals and times, and hold nothing meanwhile."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from contract.case import DURABLE, case, variants
from contract.site import Site


async def paid(site: Site, saga_id: str) -> object:
    [result] = [entry.result for entry in await site.steps(saga_id) if (entry.step, entry.phase) == ("pay", "do")]
    return json.loads(result or "{}")["paid"]


@case("signals", "deferred")
async def a_signal_has_the_run_go_on_with_what_it_brings(site: Site) -> None:
    saga_id = await site.started()
    answer = await site.signal("paid", {"amount": 7}, saga_id=saga_id)
    assert (answer.status, answer.json()) == (200, {"new": True})
    assert (await site.ended(saga_id)).status == "completed"
    assert await paid(site, saga_id) == {"amount": 7}
    assert site.shop.calls(saga_id) == ["reserve", "pay", "pay", "pack"]


@case("signals", "deferred")
async def a_run_that_waits_is_shown_as_such_and_holds_nothing(site: Site) -> None:
    saga_id = await site.started(key="pi_1")
    [run] = await site.runs()
    assert (run.status, run.lease_owner, run.finished_at) == ("waiting", None, None)
    assert await site.journal(saga_id) == ["reserve do done", "pay do waiting"]
    [wait] = await site.driver.ask(lambda store: store.load_waits(saga_id))
    assert (wait.step, wait.name, wait.key, wait.outcome) == ("pay", "paid", "pi_1", None)


@case("signals", "deferred")
async def a_key_leads_to_the_run_that_waits_under_it(site: Site) -> None:
    first, second = await site.started(key="pi_1"), await site.started(key="pi_2")
    await site.signal("paid", key="pi_2")
    assert (await site.ended(second)).status == "completed"
    assert (await site.run(first)).status == "waiting"


@case("signals", "deferred")
async def a_second_run_cannot_wait_under_the_same_key(site: Site) -> None:
    first = await site.started(key="pi_1")
    run = await site.ended(await site.start("deferred", "paid", {"key": "pi_1"}))
    assert run.status == "rolled_back"
    assert f"AlreadyAwaited: Signal 'paid' with this key is awaited already, by run {first}" in (run.error or "")


@case("signals", "deferred")
async def a_signal_that_comes_early_is_kept(site: Site) -> None:
    assert (await site.signal("paid", {"early": True}, key="pi_1")).json() == {"new": True}
    saga_id = await site.start("deferred", "paid", {"key": "pi_1"})
    assert (await site.ended(saga_id)).status == "completed"
    assert await paid(site, saga_id) == {"early": True}


@case("signals", "deferred")
async def a_repeated_signal_changes_nothing_also_after_the_end(site: Site) -> None:
    saga_id = await site.started()
    again = [(await site.signal("paid", {"n": 1}, saga_id=saga_id)).json()["new"] for _ in range(2)]
    await site.ended(saga_id)
    again.append((await site.signal("paid", {"n": 1}, saga_id=saga_id)).json()["new"])
    assert again == [True, False, False]
    assert site.shop.calls(saga_id).count("pack") == 1


@case("signals", "deferred")
async def another_payload_is_refused_and_another_signal_id_is_another_signal(site: Site) -> None:
    await site.signal("paid", {"n": 1}, key="pi_1", signal_id="a")
    answer = await site.signal("paid", {"n": 2}, key="pi_1", signal_id="a")
    assert (answer.status, answer.json()["error"]) == (409, "SignalConflict")
    assert (await site.signal("paid", {"n": 2}, key="pi_1", signal_id="b")).json() == {"new": True}
    saga_id = await site.start("deferred", "paid", {"key": "pi_1"})
    await site.ended(saga_id)
    assert await paid(site, saga_id) == {"n": 1}


@case("signals", "deferred")
async def a_signal_to_a_run_that_has_ended_is_refused(site: Site) -> None:
    saga_id = await site.started()
    await site.signal("paid", saga_id=saga_id)
    await site.ended(saga_id)
    answer = await site.signal("paid", saga_id=saga_id, signal_id="late")
    assert (answer.status, answer.json()["error"]) == (409, "SignalRefused")


@case("signals", "deferred", "join_session", stores=DURABLE)
async def a_signal_is_sent_with_the_transaction_that_commits(site: Site) -> None:
    saga_id = await site.started(key="pi_1")
    assert (await site.signal("paid", {"id": "o-1"}, "commit", key="pi_1")).json() == {"new": True}
    assert await site.driver.own_rows() == ["o-1"]
    assert (await site.ended(saga_id)).status == "completed"


@variants(rollback=("rollback",), savepoint=("savepoint",))
@case("signals", "deferred", "join_session", stores=DURABLE)
async def a_signal_is_gone_with_what_is_rolled_back(site: Site, then: str) -> None:
    saga_id = await site.started(key="pi_1")
    assert (await site.signal("paid", {"id": "o-1"}, then, key="pi_1")).json() == {"new": True}
    assert await site.driver.own_rows() == []
    assert await site.driver.ask(lambda store: store.count_untaken()) == 0
    await site.driver.work()
    assert (await site.run(saga_id)).status == "waiting"


@case("signals", "deferred")
async def a_compensation_may_wait_too(site: Site) -> None:
    saga_id = await site.start("deferred", "paid", {"key": "pi_1", "fail": "pack", "refunds": True})
    await site.signal("paid", key="pi_1")
    await site.waiting(saga_id)
    await site.signal("refunded", saga_id=saga_id)
    assert (await site.ended(saga_id)).status == "rolled_back"
    assert site.shop.calls(saga_id)[-3:] == ["pack", "undo reserve", "undo reserve"]


@case("signals", "deferred")
async def a_step_that_sleeps_is_called_again_when_its_time_has_come(site: Site) -> None:
    await site.signal("paid", key="pi_1")
    saga_id = await site.start("deferred", "paid", {"key": "pi_1", "sleep": 0.1})
    assert (await site.ended_in_time(saga_id)).status == "completed"
    assert site.shop.calls(saga_id)[-2:] == ["pack", "pack"]


@case("sagas", "signals", "deferred", stores=DURABLE)
async def a_sleep_is_over_when_somebody_says_so(site: Site) -> None:
    await site.signal("paid", key="pi_1")
    saga_id = await site.start("deferred", "paid", {"key": "pi_1", "sleep": 3600})
    await site.waiting(saga_id)
    assert (await site.driver.verb("run_now", saga_id, by="ann", reason="it is there")).done
    assert (await site.ended(saga_id)).status == "completed"
    [note] = (await site.driver.verb("status", saga_id)).audit
    assert (note.action, note.actor, note.reason) == ("run-now", "ann", "it is there")


@case("deferred")
async def a_signal_that_does_not_come_in_time_fails_its_step(site: Site) -> None:
    saga_id = await site.start("deferred", "paid", {"timeout": 0.1})
    run = await site.ended_in_time(saga_id)
    assert (run.status, "SignalTimeout: Signal 'paid'" in (run.error or "")) == ("rolled_back", True)
    assert site.shop.calls(saga_id) == ["reserve", "pay", "pay", "undo reserve"]


@case("deferred")
async def a_run_that_waits_is_compensated_at_its_deadline(site: Site) -> None:
    # On a machine that is busy a deadline may pass before the run comes to its wait.
    for seconds in (1, 5, 15):
        deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        saga_id = await site.start("deferred", "paid", {}, Deadline=deadline.isoformat())
        run = await site.waits_or_has_ended(saga_id)
        if run.status == "waiting":
            break
    assert run.status == "waiting"
    run = await site.ended_in_time(saga_id)
    assert (run.status, run.error) == ("rolled_back", "The run's deadline has passed.")
    assert site.shop.calls(saga_id) == ["reserve", "pay", "undo reserve"]


@case("deferred")
async def nothing_is_called_after_a_deadline(site: Site) -> None:
    saga_id = await site.start("deferred", "paid", {}, Deadline="2020-01-01T00:00:00+00:00")
    assert (await site.ended(saga_id)).status == "rolled_back"
    assert site.shop.calls(saga_id) == []


@case("inline")
async def an_inline_run_that_waits_is_answered_with_what_it_waits_for(site: Site) -> None:
    answers = [await site.post("/inline/paid", {}, Idempotency_Key="k") for _ in range(2)]
    for answer in answers:
        body = answer.json()
        assert (answer.status, body["error"], body["waits_for"]) == (202, "RunWaiting", ["signal 'paid'"])
        run = await site.run(body["saga_id"])
        assert (run.status, run.lease_owner, run.failures) == ("waiting", None, 0)
    assert len(await site.runs()) == 1


@case("inline", "signals")
async def an_inline_run_that_waited_goes_on_in_a_worker(site: Site) -> None:
    saga_id = (await site.post("/inline/paid", {}, Idempotency_Key="k")).json()["saga_id"]
    await site.signal("paid", saga_id=saga_id)
    assert (await site.ended(saga_id)).status == "completed"
    again = await site.post("/inline/paid", {}, Idempotency_Key="k")
    assert (again.status, again.json()["status"]) == (200, "completed")
    assert site.shop.calls(saga_id).count("pack") == 1


@case("background", "signals")
async def a_background_run_that_waits_goes_on_too(site: Site) -> None:
    saga_id = await site.start("background", "paid", {})
    await site.waiting(saga_id)
    assert (await site.run(saga_id)).lease_owner is None
    await site.signal("paid", saga_id=saga_id)
    assert (await site.ended(saga_id)).status == "completed"


@case("signals", "deferred", "embedded_worker", worker=True)
async def an_embedded_worker_takes_up_what_waited(site: Site) -> None:
    saga_id = await site.started(key="pi_1")
    await site.signal("paid", key="pi_1")
    assert (await site.ended(saga_id)).status == "completed"
