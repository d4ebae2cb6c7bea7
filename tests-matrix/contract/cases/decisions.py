"""Who decides about a run as he saw it has his way only as long as it is like that."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from contract.case import DURABLE, case
from contract.site import Site
from sagaz_integration_core.errors import RunChanged


@case("sagas", stores=DURABLE)
async def of_two_people_who_saw_the_same_run_one_decides_and_one_is_told(site: Site) -> None:
    saga_id = await site.driver.verb("start", site.shop.sagas["order"], {"order": 1})
    version = (await site.driver.verb("status", saga_id)).run.version
    answers = await asyncio.gather(
        *(site.driver.verb("cancel", saga_id, by=by, version=version) for by in ("ann", "bea")), return_exceptions=True
    )
    [changed] = [answer for answer in answers if isinstance(answer, RunChanged)]
    [outcome] = [answer for answer in answers if not isinstance(answer, RunChanged)]
    now = await site.driver.verb("status", saga_id)
    assert (outcome.done, outcome.status, len(now.audit)) == (True, "compensating", 1)
    assert (changed.saga_id, changed.expected, changed.found) == (saga_id, version, now.run.version)


@case("sagas", stores=DURABLE)
async def what_was_decided_about_another_version_is_not_done(site: Site) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    saga_id = await site.driver.verb("start", site.shop.sagas["order"], {"order": 1}, not_before=later)
    before = await site.run(saga_id)
    for verb, *given in (("retry",), ("cancel",), ("run_now",), ("resolve", "completed"), ("signal_run", "paid", {})):
        for dry_run in (True, False):
            with pytest.raises(RunChanged, match=f"version {before.version} and is pending"):
                await site.driver.verb(
                    verb, saga_id, *given, by="ann", reason="r", version=before.version + 1, dry_run=dry_run
                )
    assert (await site.run(saga_id), (await site.driver.verb("status", saga_id)).audit) == (before, ())
    assert (await site.driver.verb("run_now", saga_id, by="ann", version=before.version)).done


@case("sagas", stores=DURABLE)
async def a_signal_that_was_sent_for_a_version_may_be_sent_again(site: Site) -> None:
    saga_id = await site.driver.verb("start", site.shop.sagas["order"], {"order": 1})
    version = (await site.run(saga_id)).version
    sent = {"payload": {"by": "card"}, "by": "ann", "reason": "a call", "version": version}
    assert (await site.driver.verb("signal_run", saga_id, "paid", **sent)).message == "Sent."
    assert (await site.driver.verb("cancel", saga_id, by="bea", version=version)).done
    assert (await site.driver.verb("signal_run", saga_id, "paid", **sent)).message == "It was sent before."
    notes = (await site.driver.verb("status", saga_id)).audit
    assert [(note.action, note.actor, note.reason) for note in notes] == [
        ("signal", "ann", "a call"), ("cancel", "bea", ""),
    ]  # fmt: skip
