"""A trigger's limit is kept by all processes together."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psycopg
import pytest

from sagaz_durable.testing.store_conformance.builders import claim_all
from sagaz_durable.testing.store_conformance.webhooks.limits import ONE, deliver

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).with_name("limited_program.py")
EVENTS = 12


async def test_two_processes_never_execute_more_runs_than_the_trigger_allows(store, settings, tmp_path):
    ledger = tmp_path / "ledger"
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), settings.storage_url, settings.schema, str(ledger), name, str(EVENTS),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    try:
        async with asyncio.timeout(120):
            told = [(await process.communicate())[0].decode() for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
    assert [process.returncode for process in processes] == [0, 0], told
    at_once, most, ended = 0, 0, set()
    for line in ledger.read_text().splitlines():
        at_once += 1 if line.startswith("+") else -1
        most = max(most, at_once)
        ended |= {line[2:]} if line.startswith("-") else set()
    assert most == 2
    assert ended == {f"{name}-{n}" for name in "ab" for n in range(EVENTS)}
    assert await store.count_delayed() == 0


async def test_who_counted_before_another_has_started_a_run_counts_again(store, settings):
    await deliver(store, 2)
    async with await psycopg.AsyncConnection.connect(settings.storage_url, autocommit=True) as other:
        # Another process has counted as well, and has not committed: this one waits for its row, and was late.
        async with other.transaction():
            await other.execute(f"INSERT INTO {settings.schema}.sagaz_meta VALUES ('delayed_starts', '1')")
            await other.execute(
                f"UPDATE {settings.schema}.sagaz_webhook SET outcome = 'started' WHERE delivery_id = 'evt_0'"
            )
            await other.execute(
                f"UPDATE {settings.schema}.sagaz_run SET available_at = now(), created_at = now()"
                f" WHERE saga_id = (SELECT saga_id FROM {settings.schema}.sagaz_webhook WHERE delivery_id = 'evt_0')"
            )
            starting = asyncio.create_task(store.start_delayed(ONE))
            async with asyncio.timeout(20), await psycopg.AsyncConnection.connect(settings.storage_url) as watching:
                while not await (
                    await watching.execute(
                        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                        "AND query LIKE '%delayed_starts%' AND pid <> pg_backend_pid()"
                    )
                ).fetchall():
                    await watching.rollback()
                    await asyncio.sleep(0.01)
        assert await starting == 0
    assert len(await claim_all(store)) == 1
