"""The command on a real PostgreSQL server, which ``migrate`` sets up, ``check`` looks at and ``worker`` works on."""

import json
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from support import pg

if reason := pg.why_not():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[str]:
    with pg.shared_server() as url:
        yield url


@pytest.fixture
def postgres_shop(shop, postgres_server, monkeypatch):
    with pg.database(postgres_server) as url:
        monkeypatch.setenv("SAGAZ_STORAGE_URL", url)
        yield shop
        for process in shop.processes:
            process.end()


def done(shop, *arguments, code=0):
    command = shop.command(*arguments)
    assert command.wait() == code, command.said
    return command.said


def test_migrate_makes_the_tables_once_and_check_tells_before_and_after(postgres_shop):
    before = json.loads(done(postgres_shop, "check", "main:app", "--format", "json", code=1))
    assert (before["reachable"], before["migrated"], before["healthy"]) == (True, False, False)
    assert "tables     missing or old" in done(postgres_shop, "check", "main:app", code=1)
    assert done(postgres_shop, "migrate", "main:app") == "Migrated: 0001_initial.\n"
    assert done(postgres_shop, "migrate", "main:app") == "Nothing to migrate: the tables are up to date.\n"
    after = json.loads(done(postgres_shop, "check", "main:app", "--format", "json"))
    assert (after["migrated"], after["healthy"], after["stats"]["due"]) == (True, True, 0)
    assert not (postgres_shop.folder / "ledger.txt").exists()


def test_a_server_without_tables_starts_says_so_and_recovers_when_they_are_made(postgres_shop):
    server, url = postgres_shop.serve()
    assert "there are no sagaz tables" in server.said
    assert httpx.post(f"{url}/later", json={"order": 1}).status_code == 500
    done(postgres_shop, "migrate", "main:app")
    deadline = time.monotonic() + 30
    while httpx.post(f"{url}/later", json={"order": 1}).status_code == 500:
        assert time.monotonic() < deadline, server.said
    server.says("The store lacks nothing any more")


def test_a_worker_without_tables_ends_at_once_with_1(postgres_shop):
    assert "there are no sagaz tables" in done(postgres_shop, "worker", "main:app", code=1)
    postgres_shop.serve(SAGAZ_MIGRATE="true")


def test_a_worker_is_woken_by_the_commit_of_a_server(postgres_shop):
    done(postgres_shop, "migrate", "main:app")
    # Polling alone would take an hour.
    worker = postgres_shop.command("worker", "main:app", SAGAZ_POLL_SECONDS="3600")
    worker.says("Working on postgres: OrderSaga")
    _, url = postgres_shop.serve()
    for order in range(3):
        httpx.post(f"{url}/later", json={"order": order})
        worker.notes(f"ship {order}")
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 0
    assert "Done: 3 completed." in worker.said
