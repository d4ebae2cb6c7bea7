"""However user code ends, its run ends as what it is: what was done is undone, or a person is told."""

from __future__ import annotations

from typing import Any

from sagaz import Saga, action

from contract.case import DURABLE, case, variants
from contract.sagas import Shop
from contract.site import Site

_UNTIL = {
    "charge": ["reserve", "charge", "undo reserve"],
    "ship": ["reserve", "charge", "ship", "undo charge", "undo reserve"],
}
"""What is called when a step has failed for certain."""

_IN_DOUBT = {
    "charge": ["reserve", "charge", "undo charge", "undo reserve"],
    "ship": ["reserve", "charge", "ship", "undo ship", "undo charge", "undo reserve"],
}


@variants(
    frozen_async=("charge", "frozen"),
    frozen_plain=("ship", "frozen"),
    mute_async=("charge", "mute"),
    mute_plain=("ship", "mute"),
    generator_exit_async=("charge", "generator exit"),
    generator_exit_plain=("ship", "generator exit"),
    exit_plain=("ship", "exits"),
)
@case("inline")
async def a_step_that_raises_whatever_has_failed_and_those_before_it_are_undone(
    site: Site, step: str, end: str
) -> None:
    await site.post("/inline/wild", {"order": 1, step: end})
    [run] = await site.runs()
    assert (run.status, site.shop.calls(run.saga_id)) == ("rolled_back", _UNTIL[step])


@variants(
    timeout_async=("charge", "timeout"),
    timeout_plain=("ship", "timeout"),
    forgotten_await=("charge", "forgets to await"),
    task=("charge", "makes a task"),
    list_async=("charge", "list"),
    list_plain=("ship", "list"),
    generator_plain=("ship", "generator"),
    own_cancellation=("charge", "cancels itself"),
)
@case("inline")
async def a_step_whose_effect_is_not_known_is_undone_too(site: Site, step: str, end: str) -> None:
    await site.post("/inline/wild", {"order": 1, step: end})
    [run] = await site.runs()
    assert (run.status, site.shop.calls(run.saga_id)) == ("rolled_back", _IN_DOUBT[step])


@variants(
    frozen=("frozen",),
    mute=("mute",),
    generator_exit=("generator exit",),
    forgotten_await=("forgets to await",),
    generator=("generator",),
    own_cancellation=("cancels itself",),
)
@case("inline")
async def a_compensation_that_has_not_done_its_work_is_not_called_rolled_back(site: Site, end: str) -> None:
    await site.post("/inline/wild", {"order": 1, "ship": "declines", "undo reserve": end})
    [run] = await site.runs()
    assert (run.status, site.shop.calls(run.saga_id)) == ("failed", _UNTIL["ship"])
    assert "compensation of 'reserve'" in (run.error or "")


@case("inline")
async def hooks_whose_await_was_cancelled_skip_neither_steps_nor_compensations(site: Site) -> None:
    answer = await site.post("/inline/wild", {"order": 1, "hooks": True})
    [run] = await site.runs()
    assert (answer.status, run.status) == (200, "completed")
    assert site.shop.calls(run.saga_id) == ["reserve", "charge", "ship"]
    await site.post("/inline/wild", {"order": 1, "hooks": True, "charge": "declines"})
    [failed] = [one for one in await site.runs() if one.saga_id != run.saga_id]
    assert (failed.status, site.shop.calls(failed.saga_id)) == ("rolled_back", _UNTIL["charge"])


@case("inline")
async def a_value_that_changes_its_type_alone_has_changed(site: Site) -> None:
    answer = await site.post("/inline/wild", {"order": 1, "paid": 1, "charge": "another type"})
    assert answer.json()["result"]["paid"] is True


@case("inline", started=False)
async def a_step_that_is_tried_again_begins_with_the_context_that_it_was_given(site: Site) -> None:
    async with site.another(sagas={"again": _tried_again(site.shop)}) as other:
        answer = await other.post("/inline/again", {"order": 1, "items": []})
        [run] = await other.runs()
    assert site.shop.calls(run.saga_id) == ["pack", "pack", "pack"]
    assert answer.json()["result"]["items"] == ["x"]


def _tried_again(shop: Shop) -> type[Saga]:
    class AgainSaga(Saga):
        saga_name = "again"
        retry_steps = True

        @action("pack", max_retries=2)
        async def pack(self, ctx: dict[str, Any]) -> None:
            ctx["items"].append("x")
            shop.note(ctx)
            if len(shop.calls(shop.ledger[-1].saga_id)) < 3:
                raise ConnectionError("no answer")

    return AgainSaga


@case("background", stores=DURABLE, started=False, options={"DRAIN_SECONDS": 0.1})
async def what_was_done_before_a_deployment_is_undone_when_a_step_fails_that_it_gained(site: Site) -> None:
    async with site:
        saga_id = await site.start("background", context={"order": 1, "wait": "ship", "fail": "weigh"})
        await site.called("ship")
    site.shop.gate.set()
    async with site.another(sagas={"order": _gained(site.shop)}) as later:
        run = await later.ended(saga_id)
    assert (run.status, "weigh: the card was declined" in (run.error or "")) == ("rolled_back", True)
    # The step that was under way may be called again beside the new one.
    undone = [one for one in site.shop.calls(saga_id) if one.startswith("undo ")]
    assert undone == ["undo ship", "undo charge", "undo reserve"]


def _gained(shop: Shop) -> type[Saga]:
    order: Any = shop.sagas["order"]

    class OrderSaga(order):  # type: ignore[misc]
        @action("weigh", depends_on=["reserve"])
        async def weigh(self, ctx: dict[str, Any]) -> None:
            await shop.visit(ctx)

        @action("charge", depends_on=["weigh"])
        def charge(self, ctx: dict[str, Any]) -> None:
            super().charge(ctx)

    return OrderSaga
