"""202 Accepted: where to look, when to look there, and waiting for those who would rather."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from http_shop import Order, ask, read

from sagaz_durable.concurrency.clock import now
from sagaz_durable.engine import running
from sagaz_durable.engine.ends import RecentDurations
from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.rules import ApiRules
from sagaz_integration_core.errors import StoreUnavailable


async def accepted(shop, saga_id, prefer=None):
    headers = {} if prefer is None else {"prefer": prefer}
    return await shop.api.accepted(ask("POST", headers=headers), "order", saga_id, f"/sagas/{saga_id}")


async def test_a_start_is_answered_with_its_address_and_when_to_look_there(shop):
    saga_id = await shop.sagas.start(Order, {"waits": True})
    answer = await accepted(shop, saga_id)
    assert (answer.status, answer.headers["Location"]) == (202, f"/sagas/{saga_id}")
    assert read(answer) == {"saga_id": saga_id, "saga": "order", "location": f"/sagas/{saga_id}"}
    assert answer.headers["Retry-After"] == "1"
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(("took", "expected"), [(1, "1"), (20, "20"), (0.01, "1"), (300, "60")])
async def test_retry_after_is_what_runs_of_the_saga_took_lately(shop, monkeypatch, took, expected):
    real = running.now
    monkeypatch.setattr(running, "now", lambda: real() + took - 0.5)
    for _ in range(3):
        await shop.started()
    assert (await accepted(shop, "another")).headers["Retry-After"] == expected


def test_what_a_run_took_has_its_waits_and_earlier_attempts_in_it():
    entry = SimpleNamespace(started_at=datetime.now(UTC) - timedelta(seconds=30))
    execution = SimpleNamespace(run=SimpleNamespace(steps=[SimpleNamespace(started_at=None), entry]), began_at=now())
    assert 30 <= running.took(execution) < 60


async def test_a_process_learns_from_runs_that_others_have_executed(shop):
    saga_id = await shop.started()
    shop.runtime.registry.durations = RecentDurations()
    await shop.api.show_run(ask(), saga_id)
    assert shop.runtime.registry.durations.typical("order") < 20


def test_half_of_the_latest_runs_took_longer_than_the_typical_one():
    durations = RecentDurations()
    assert durations.typical("order") is None
    for number in range(100):
        durations.note("order", f"o-{number}", float(number))
        durations.note("order", f"o-{number}", 0.0)
    assert durations.typical("order") == 89.5
    assert durations.typical("refund") is None


async def test_no_question_is_put_to_the_store(shop, monkeypatch):
    saga_id = await shop.started()
    monkeypatch.setattr(type(shop.runtime.store), "load", None)
    assert (await accepted(shop, saga_id)).status == 202


async def test_a_client_that_prefers_to_wait_gets_the_result(shop):
    shop.rules |= {"shows": ["reservation"], "authorize": None}
    saga_id = await shop.sagas.start(Order, {})
    answer = await accepted(shop, saga_id, "wait=5")
    assert (answer.status, read(answer)["status"], read(answer)["context"]) == (
        200,
        "completed",
        {"reservation": "R-1"},
    )
    assert (answer.headers["Content-Location"], answer.headers["Preference-Applied"]) == (f"/sagas/{saga_id}", "wait=5")


async def test_a_client_that_has_waited_for_a_failure_is_told_of_it(shop):
    saga_id = await shop.sagas.start(Order, {"declined": True})
    answer = await accepted(shop, saga_id, "wait=5")
    assert (answer.status, read(answer)["status"]) == (200, "rolled_back")


async def test_the_log_has_no_secrets_of_what_a_run_failed_with_while_its_client_waited(shop, caplog):
    async def wait(*_):
        raise OSError("https://me:hunter2@pay.example/ does not answer")

    caplog.set_level("DEBUG", "sagaz_durable")
    saga_id = await shop.started()
    api = SagaApi(shop.runtime, ApiRules(), wait=wait)
    await api.accepted(ask("POST", headers={"prefer": "wait=5"}), "order", saga_id, f"/sagas/{saga_id}")
    assert "https://***@pay.example/ does not answer" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("method", ["load", "load_steps"])
async def test_a_store_that_is_away_by_then_takes_nothing_back(shop, monkeypatch, method):
    async def away(*_):
        raise StoreUnavailable("away")

    async def wait(*_):
        monkeypatch.setattr(shop.runtime.store, method, away)

    saga_id = await shop.started()
    api = SagaApi(shop.runtime, ApiRules(), wait=wait)
    answer = await api.accepted(ask("POST", headers={"prefer": "wait=5"}), "order", saga_id, f"/sagas/{saga_id}")
    assert (answer.status, answer.headers["Location"]) == (202, f"/sagas/{saga_id}")


async def test_so_does_one_that_is_away_while_it_waits(shop, monkeypatch):
    async def away(*_):
        raise StoreUnavailable("away")

    saga_id = await shop.started()
    monkeypatch.setattr(shop.runtime.store, "load", away)
    assert (await accepted(shop, saga_id, "wait=5")).status == 202


async def test_a_client_that_has_waited_in_vain_is_told_where_to_look(shop):
    shop.rules["longest_wait"] = 1
    saga_id = await shop.started("waiting", waits=True)
    answer = await accepted(shop, saga_id, "wait=3600")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=1")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("respond-async", "respond-async"),
        ("respond-async, wait=0", "respond-async, wait=0"),
        ('foo; wait=9, WAIT = "0"', "wait=0"),
        ("wait=x", None), ("wait=-1", None), ("waiting=5", None), ("", None), ("wait=²", None), ("wait=1e3", None),
    ],
)  # fmt: skip
async def test_what_is_preferred_is_read_as_its_standard_says(shop, prefer, applied):
    answer = await accepted(shop, "o-1", prefer)
    assert (answer.status, answer.headers.get("Preference-Applied")) == (202, applied)


async def test_where_nothing_can_wait_nothing_is_promised(shop):
    api = SagaApi(shop.runtime, ApiRules())
    answer = await api.accepted(ask(headers={"prefer": "wait=5"}), "order", "o-1", "/sagas/o-1")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=0")
