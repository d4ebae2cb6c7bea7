"""Failure: what is undone, in which order, what the caller sees, and what stays recorded."""

from __future__ import annotations

from contract.case import case, variants
from contract.site import Site

UNDONE = {
    "reserve": ["reserve"],
    "charge": ["reserve", "charge", "undo reserve"],
    "ship": ["reserve", "charge", "ship", "undo charge", "undo reserve"],
}


@variants(first=("reserve",), middle=("charge",), last=("ship",))
@case("inline")
async def a_failed_step_has_those_before_it_undone_in_reverse_order(site: Site, step: str) -> None:
    await site.post("/inline/order", {"order": 1, "fail": step})
    [run] = await site.runs()
    assert run.status == "rolled_back"
    assert site.shop.calls(run.saga_id) == UNDONE[step]


@case("inline")
async def the_caller_gets_the_steps_own_exception_and_is_told_the_run(site: Site) -> None:
    answer = await site.post("/inline/order", {"order": 1, "fail": "ship"})
    [run] = await site.runs()
    body = answer.json()
    assert (answer.status, body["error"], body["message"]) == (500, "Declined", "ship: the card was declined")
    assert any(run.saga_id in note and "rolled_back" in note for note in body["notes"])


@case("inline")
async def the_journal_keeps_what_was_done_what_failed_and_what_was_undone(site: Site) -> None:
    await site.post("/inline/order", {"order": 1, "fail": "ship"})
    [run] = await site.runs()
    assert await site.journal(run.saga_id) == [
        "reserve do done", "charge do done", "ship do failed", "charge undo done", "reserve undo done",
    ]  # fmt: skip
    assert "step 'ship': Declined: ship: the card was declined" in (run.error or "")


@case("inline")
async def a_failed_compensation_is_not_called_rolled_back(site: Site) -> None:
    """A person is needed, and finds both errors in the row."""
    answer = await site.post("/inline/order", {"order": 1, "fail": "ship", "fail_undo": "charge"})
    [run] = await site.runs()
    assert answer.json()["error"] == "Declined"
    assert run.status == "failed"
    assert "the card was declined" in (run.error or "")
    assert "the bank is closed" in (run.error or "")


@case("inline")
async def a_failed_compensation_does_not_keep_the_others_from_running(site: Site) -> None:
    await site.post("/inline/order", {"order": 1, "fail": "ship", "fail_undo": "charge"})
    [run] = await site.runs()
    assert site.shop.calls(run.saga_id)[-2:] == ["undo charge", "undo reserve"]


@case("inline")
async def a_compensation_has_a_key_of_its_own(site: Site) -> None:
    await site.post("/inline/order", {"order": 1, "fail": "charge"})
    [run] = await site.runs()
    assert [e.key for e in site.shop.ledger if e.phase == "undo"] == [f"{run.saga_id}:reserve:undo"]


@case("background", "deferred")
async def it_is_seen_as_compensating_while_it_does(site: Site) -> None:
    saga_id = await site.start("background", context={"order": 1, "fail": "ship", "wait": "undo reserve"})
    await site.called("undo reserve")
    assert (await site.run(saga_id)).status == "compensating"
    site.shop.gate.set()
    assert (await site.ended(saga_id)).status == "rolled_back"


@variants(**{name: (name,) for name in ("zone", "decimal", "bytes", "set", "tuple", "nan", "key", "object")})
@case("inline")
async def a_result_that_no_store_keeps_fails_its_step_naming_the_path(site: Site, unkept: str) -> None:
    """The step has had its effect by then, so it is undone too."""
    body = (await site.post("/inline/odd", {"unkept": unkept})).json()
    [run] = await site.runs()
    assert body["error"] == "ContextValueError"
    assert body["path"].startswith("made.here")
    assert run.status == "rolled_back"
    assert site.shop.calls(run.saga_id) == ["make", "undo make"]
