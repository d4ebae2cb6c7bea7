"""Approvals: whoever holds a token decides once, with who and why in the run's audit."""

from __future__ import annotations

import asyncio

from contract.case import DURABLE, case, variants
from contract.cases.waits import paid
from contract.site import Site


async def _audit(site: Site, saga_id: str) -> list[tuple[str, str, str]]:
    notes = await site.driver.ask(lambda store: store.load_audit(saga_id))
    return [(note.action, note.actor, note.reason) for note in notes]


@case("signals", "deferred")
async def a_decision_reaches_its_run_and_the_audit_has_who_and_why(site: Site) -> None:
    saga_id = await site.started()
    assert (await site.decide("mia", {"yes": 1}, saga_id=saga_id)).json() == {"new": True}
    assert (await site.ended(saga_id)).status == "completed"
    assert await paid(site, saga_id) == {"yes": 1}
    assert await _audit(site, saga_id) == [("signal", "mia", "asked")]


@case("signals", "deferred")
async def a_decision_by_key_is_noted_with_the_run_that_waits(site: Site) -> None:
    first, second = await site.started(key="pi_1"), await site.started(key="pi_2")
    await site.decide("mia", {"yes": 1}, key="pi_2")
    assert (await site.ended(second)).status == "completed"
    assert [await _audit(site, saga_id) for saga_id in (first, second)] == [[], [("signal", "mia", "asked")]]


@case("signals", "deferred")
async def a_decision_before_anything_waits_is_noted_with_the_run_that_takes_it(site: Site) -> None:
    assert (await site.decide("mia", {"yes": 1}, key="pi_1")).json() == {"new": True}
    saga_id = await site.start("deferred", "paid", {"key": "pi_1"})
    assert (await site.ended(saga_id)).status == "completed"
    assert await paid(site, saga_id) == {"yes": 1}
    assert await _audit(site, saga_id) == [("signal", "mia", "asked")]


@case("signals", "deferred")
async def the_same_decision_again_is_harmless_and_another_one_is_refused(site: Site) -> None:
    saga_id = await site.started()
    answers = [await site.decide("mia", {"yes": 1}, saga_id=saga_id) for _ in range(2)]
    await site.ended(saga_id)
    answers.append(await site.decide("max", {"yes": 1}, saga_id=saga_id))
    assert [answer.json() for answer in answers] == [{"new": True}, {"new": False}, {"new": False}]
    answer = await site.decide("max", {"yes": 0}, saga_id=saga_id)
    assert (answer.status, answer.json()["error"]) == (409, "ApprovalDecided")
    assert await _audit(site, saga_id) == [("signal", "mia", "asked")]


@case("signals", "deferred")
async def of_different_decisions_at_once_one_counts(site: Site) -> None:
    saga_id = await site.started()
    deciding = (site.decide(f"m{n}", {"n": n}, saga_id=saga_id) for n in range(8))
    answers = await asyncio.gather(*deciding)
    [winner] = [n for n, answer in enumerate(answers) if answer.status == 200]
    assert {answer.json()["error"] for answer in answers if answer.status != 200} == {"ApprovalDecided"}
    await site.ended(saga_id)
    assert await paid(site, saga_id) == {"n": winner}
    assert await _audit(site, saga_id) == [("signal", f"m{winner}", "asked")]


@case("signals", "deferred", "join_session", stores=DURABLE)
async def a_decision_is_taken_with_the_transaction_that_commits(site: Site) -> None:
    saga_id = await site.started()
    assert (await site.decide("mia", {"id": "o-1"}, "commit", saga_id=saga_id)).json() == {"new": True}
    assert await site.driver.own_rows() == ["o-1"]
    assert (await site.ended(saga_id)).status == "completed"
    assert await _audit(site, saga_id) == [("signal", "mia", "asked")]


@variants(rollback=("rollback",), savepoint=("savepoint",))
@case("signals", "deferred", "join_session", stores=DURABLE)
async def a_decision_and_its_note_are_gone_with_what_is_rolled_back(site: Site, then: str) -> None:
    saga_id = await site.started()
    assert (await site.decide("mia", {"id": "o-1"}, then, saga_id=saga_id)).json() == {"new": True}
    assert await site.driver.own_rows() == []
    assert await site.driver.ask(lambda store: store.count_untaken()) == 0
    assert await _audit(site, saga_id) == []
    assert (await site.decide("max", {"id": "o-2"}, saga_id=saga_id)).json() == {"new": True}
