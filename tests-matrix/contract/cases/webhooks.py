"""Webhooks start and resume runs, durably before they are acknowledged, and once however often they are delivered."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from contract.case import DURABLE, case, variants
from contract.driver import WEBHOOK_SECRET, sign
from contract.site import Site
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.webhooks import TOLD_OTHERWISE, WebhookFilter, WebhookRecord
from support.answers import Answer

ORDERED = {"id": "evt_1", "type": "ordered", "order": 5, "key": "pi_1"}
PAID = {"id": "evt_2", "type": "paid", "key": "pi_1", "amount": 42}


async def deliver(site: Site, event: Any, source: str = "shop", **headers: str) -> Answer:
    return await site.post(f"/webhooks/{source}", event, **headers)


async def taken(site: Site, event: Any, source: str = "shop", **headers: str) -> None:
    answer = await deliver(site, event, source, **headers)
    assert (answer.status, answer.json()) == (200, {"received": True}), answer.body


async def events(site: Site, **query: Any) -> list[WebhookRecord]:
    return await site.driver.ask(lambda store: store.find_webhooks(WebhookFilter(**query)))


async def started(site: Site) -> str:
    """The saga_id of the only run."""
    [run] = await site.driver.ask(lambda store: store.find(RunFilter()))
    return run.saga_id


@case("webhooks")
async def a_webhook_starts_a_run_and_another_resumes_it(site: Site) -> None:
    await taken(site, ORDERED)
    saga_id = await started(site)
    if "deferred" in site.driver.capabilities and not site.worker:
        await site.driver.work()
    await taken(site, PAID)
    assert (await site.ended(saga_id)).status == "completed"
    [result] = [entry.result for entry in await site.steps(saga_id) if (entry.step, entry.phase) == ("pay", "do")]
    assert json.loads(result or "{}")["paid"] == {"amount": 42}
    assert {record.outcome for record in await events(site)} <= {"started", "resumed", "early"}


@case("webhooks")
async def a_webhook_that_comes_before_its_run_waits_is_kept_for_it(site: Site) -> None:
    await taken(site, PAID)
    [record] = await events(site)
    assert (record.outcome, record.signal, record.key) == ("early", "paid", "pi_1")
    await taken(site, ORDERED)
    assert (await site.ended(await started(site))).status == "completed"


@case("webhooks")
async def a_repeated_webhook_changes_nothing_also_after_the_end(site: Site) -> None:
    for event in (ORDERED, ORDERED, PAID, PAID):
        await taken(site, event)
    saga_id = await started(site)
    await site.ended(saga_id)
    calls = site.shop.calls(saga_id)
    for event in (ORDERED, PAID, {**ORDERED, "id": "evt_7"}):
        await taken(site, event)
    assert await started(site) == saga_id
    assert site.shop.calls(saga_id) == calls
    assert {record.saga_id for record in await events(site, outcome="started")} == {saga_id}


@case("webhooks")
async def many_deliveries_of_one_event_at_once_start_one_run(site: Site) -> None:
    await asyncio.gather(*(taken(site, ORDERED) for _ in range(10)))
    await started(site)
    assert len(await events(site)) == 1


@case("webhooks")
async def the_same_event_with_another_meaning_is_acknowledged_and_quarantined(site: Site) -> None:
    await taken(site, ORDERED)
    await taken(site, {**ORDERED, "order": 6})
    [record] = await events(site, outcome="quarantined")
    assert record.reason == TOLD_OTHERWISE
    await started(site)


@case("webhooks")
async def a_webhook_that_its_saga_cannot_use_is_acknowledged_and_quarantined(site: Site) -> None:
    await taken(site, {**ORDERED, "type": "broken"})
    [record] = await events(site)
    assert (record.outcome, record.handler) == ("quarantined", "paid.on_order")
    assert (record.reason or "").startswith("paid.on_order raised Declined: ")
    assert await site.driver.ask(lambda store: store.find(RunFilter())) == []


@case("webhooks")
async def a_webhook_that_no_saga_wants_is_acknowledged_and_kept(site: Site) -> None:
    await taken(site, {"id": "evt_9", "type": "weather"})
    [record] = await events(site)
    assert (record.outcome, record.handler) == ("ignored", "")


@case("webhooks")
async def a_signed_webhook_is_taken_and_a_forged_one_is_not(site: Site) -> None:
    body = json.dumps({"type": "weather"}).encode()
    answer = await site.post("/webhooks/signed", raw=body, **sign("msg_1", body))
    assert answer.status == 200, answer.body
    for changed, headers in (
        (body + b" ", sign("msg_2", body)),
        (body, {**sign("msg_2", body), "webhook_signature": "v1,AAAA"}),
        (body, sign("msg_2", body, secret=WEBHOOK_SECRET[::-1])),
        (body, sign("msg_2", body, sent_at=int(time.time()) - 3_600)),
        (body, sign("msg_2", body, sent_at=int(time.time()) + 3_600)),
        (body, {}),
    ):
        forged = await site.post("/webhooks/signed", raw=changed, **headers)
        assert (forged.status, forged.header("content-type")) == (400, "application/problem+json"), forged.body
        assert "detail" not in forged.json()
    assert [record.delivery_id for record in await events(site)] == ["msg_1"]


@variants(
    unknown_source=("/webhooks/nobody", b"{}", {}, 404),
    no_json=("/webhooks/shop", b"{", {}, 422),
    no_object=("/webhooks/shop", b"5", {}, 422),
    twice=("/webhooks/shop", b'{"id": 1, "id": 2}', {}, 422),
    deep=("/webhooks/shop", b"[" * 1_000 + b"]" * 1_000, {}, 422),
    form=("/webhooks/shop", b"a=b", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
    large=("/webhooks/shop", b" " * 2_000_000, {}, 413),
)
@case("webhooks")
async def what_is_no_webhook_is_refused(
    site: Site, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await site.post(path, raw=body, **headers)
    assert (answer.status, answer.header("content-type")) == (status, "application/problem+json"), answer.body
    assert await events(site) == []


@case("webhooks", stores=DURABLE)
async def a_webhook_is_known_after_a_restart(site: Site) -> None:
    await taken(site, ORDERED)
    saga_id = await started(site)
    await site.driver.stop()
    await site.driver.start()
    await taken(site, ORDERED)
    assert await started(site) == saga_id


@case("webhooks")
async def webhooks_beyond_the_limit_of_their_trigger_start_runs_one_after_another(site: Site) -> None:
    for number in (1, 2):
        await taken(site, {"id": f"evt_q{number}", "type": "queued", "order": number, "key": f"pi_q{number}"})
    second, first = await events(site)
    assert (first.outcome, second.outcome) == ("started", "delayed")
    assert first.saga_id
    assert second.saga_id
    await site.waiting(first.saga_id)
    assert (await site.run(second.saga_id)).status == "pending"
    await taken(site, {**PAID, "key": "pi_q1"})
    assert (await site.ended(first.saga_id)).status == "completed"
    await site.waiting(second.saga_id)
    [record] = await events(site, id=second.id)
    assert record.outcome == "started"
