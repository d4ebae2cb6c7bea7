"""Steps that fail behind a pivot, and compensations of people."""

from __future__ import annotations

import json
from typing import Any

from contract.case import case, variants
from contract.site import Site

OPERATOR = {"User": "operator-mia"}
BEGINNING = ["reserve", "charge", "ship", "redo ship"]


async def asked(site: Site, saga_id: str) -> str:
    """Wait until a run waits for a person, and return the signal's name."""
    await site.waiting(saga_id)
    [wait] = await site.driver.ask(lambda store: store.load_waits(saga_id))
    return wait.name


async def result(site: Site, saga_id: str, step: str) -> Any:
    [entry] = [one for one in await site.steps(saga_id) if (one.step, one.phase) == (step, "do")]
    return json.loads(entry.result or "{}")


@variants(
    alternative=("retry_alt", ["ship", "notify"], "completed"),
    skipped=("skip", ["notify"], "completed"),
    withdrawn=("compensate", ["undo charge", "undo reserve"], "rolled_back"),
)
@case("deferred")
async def what_a_recovery_decides_is_done(site: Site, decides: str, after: list[str], status: str) -> None:
    saga_id = await site.start("deferred", "pivotal", {"decides": decides})
    assert (await site.ended(saga_id)).status == status
    assert site.shop.calls(saga_id) == [*BEGINNING, *after]
    if status == "completed":
        told = "ox" if decides == "retry_alt" else "nobody"
        assert await result(site, saga_id, "notify") == {"told": told}


@variants(
    again=({"action": "retry", "context": {"carrier": "mia"}}, ["ship", "notify"], "completed"),
    without=({"action": "skip"}, ["notify"], "completed"),
    given_up=({"action": "give_up"}, [], "failed"),
)
@case("deferred", "signals")
async def a_person_decides_when_the_recovery_wants_one(site: Site, payload: Any, after: list[str], status: str) -> None:
    saga_id = await site.start("deferred", "pivotal", {"decides": "manual"})
    name = await asked(site, saga_id)
    assert await site.journal(saga_id) == [
        "reserve do done", "charge do done", "ship do failed", "ship redo waiting"
    ]  # fmt: skip
    answer = await site.signal(name, {"action": "whatever"}, saga_id=saga_id)
    assert (answer.status, answer.json()["error"]) == (400, "InvalidInput")
    assert (await site.signal(name, payload, saga_id=saga_id)).json() == {"new": True}
    assert (await site.ended(saga_id)).status == status
    assert site.shop.calls(saga_id) == [*BEGINNING, *after]


@variants(done=("done", []), run=("run", ["undo charge"]))
@case("deferred", "http")
async def a_manual_compensation_waits_for_a_person_over_http(site: Site, act: str, after: list[str]) -> None:
    saga_id = await site.start("deferred", "by hand")
    name = await asked(site, saga_id)
    [wait] = (await site.get(f"/sagas/{saga_id}", **OPERATOR)).json()["waits_for"]
    assert (wait["step"], wait["signal"], wait["compensates"], wait["recovers"]) == ("charge", name, True, False)
    body = {"payload": {"action": act}, "reason": "by bank transfer"}
    answer = await site.post(f"/sagas/{saga_id}/signal/{name}", body, **OPERATOR)
    assert (answer.status, answer.json()["action"]) == (200, "signal")
    assert (await site.ended(saga_id)).status == "rolled_back"
    assert site.shop.calls(saga_id) == ["reserve", "charge", *after, "undo reserve"]
    [note] = await site.driver.ask(lambda store: store.load_audit(saga_id))
    assert (note.action, note.actor, note.reason) == ("signal", "operator-mia@shop.example", "by bank transfer")
