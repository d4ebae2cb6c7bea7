"""Opening and closing with the application, and what two applications in one process share: nothing."""

from __future__ import annotations

import logging

import pytest

from contract.case import DURABLE, case, variants
from contract.sagas import Shop
from contract.site import Site


@case("inline")
async def a_started_application_runs_sagas(site: Site) -> None:
    answer = await site.post("/inline/order", {"order": 5})
    assert answer.status == 200, answer.body


@case("inline", started=False)
async def an_application_can_be_started_again_after_its_shutdown(site: Site) -> None:
    for _ in range(3):
        async with site:
            assert (await site.post("/inline/parcel", {})).status == 200


@case("deferred", stores=DURABLE, started=False)
async def runs_that_one_application_left_are_found_by_the_next(site: Site) -> None:
    async with site:
        saga_id = await site.start("deferred")
        assert (await site.run(saga_id)).status == "pending"
    async with site.another() as later:
        assert (await later.ended(saga_id)).status == "completed"


@case("inline", started=False)
async def steps_find_the_application_that_runs_them(site: Site) -> None:
    async with site:
        await site.start("inline")
        assert all(entry.app is site.driver.app for entry in site.shop.ledger)


@case("inline", "several", started=False)
async def two_applications_in_one_process_share_nothing(site: Site) -> None:
    other = site.another(store={"STORAGE_URL": "memory://"}, shop=Shop())
    async with site, other:
        await site.start("inline", context={"order": 1})
        await other.start("inline", context={"order": 2})
        assert [(entry.order, entry.app) for entry in site.shop.ledger] == [(1, site.driver.app)] * 3
        assert [(entry.order, entry.app) for entry in other.shop.ledger] == [(2, other.driver.app)] * 3
        assert len(await site.runs()) == len(await other.runs()) == 1
    assert site.driver.app is not other.driver.app


@case("inline", "several", started=False)
async def closing_one_application_leaves_the_other_one_open(site: Site) -> None:
    other = site.another(store={"STORAGE_URL": "memory://"}, shop=Shop())
    async with site:
        async with other:
            await other.start("inline")
        assert (await site.post("/inline/order", {"order": 1})).status == 200


@case("inline", "lifespan", started=False)
async def a_request_before_start_up_is_refused_and_told_the_fix(site: Site) -> None:
    site.driver.build()
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("sagaz_durable.http.problems")
    logger.addHandler(handler)
    try:
        answer = await site.post("/inline/order", {"order": 1})
    finally:
        logger.removeHandler(handler)
    if answer.error is None:
        assert (answer.status, answer.json()["type"].partition("#")[2]) == (503, "not-open")
        [told] = [record.getMessage() for record in records]
    else:
        assert type(answer.error).__name__ == "RuntimeNotOpen"
        told = str(answer.error)
    assert "lifespan" in told


@case("inline", stores=("memory",), started=False)
async def the_root_logger_stays_as_the_application_configured_it(site: Site) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    async with site:
        await site.start("inline")
        assert (root.level, list(root.handlers)) == before
    assert (root.level, list(root.handlers)) == before


@variants(
    a_misspelled_key=({"STORAGE_URLL": "memory://"}, "STORAGE_URL"),
    an_unknown_scheme=({"STORAGE_URL": "postgress://me:hunter2@db/x"}, "postgres"),
    a_number_that_is_none=({"LEASE_SECONDS": "soon"}, "LEASE_SECONDS"),
    a_number_out_of_range=({"CONCURRENCY": 0}, "CONCURRENCY"),
    settings_that_contradict_each_other=({"LEASE_SECONDS": 5, "RENEW_SECONDS": 4}, "RENEW_SECONDS"),
)
@case(stores=("memory",), started=False)
async def a_wrong_setting_fails_the_start_up_naming_the_key_and_no_password(
    site: Site, options: dict, expected: str
) -> None:
    with pytest.raises(Exception, match=expected) as caught:
        async with site.another(options=options):
            pass
    assert "hunter2" not in str(caught.value)
    assert next(iter(options)) in str(caught.value)
