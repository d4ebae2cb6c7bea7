"""SIGKILL at every exchange of a transactional step with its database; its effect is there exactly once."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal

import pytest
from killing import LEASES_END
from transactional_kinds import Killer, execute, factory_of, rows, settings_for, shop_for, shop_url

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.records import FINISHED

POINTS = {
    "pysqlite": 22, "psycopg": 19, "raw-psycopg": 25, "aiosqlite": 22, "asyncpg": 19, "psycopg-async-pool": 29,
}  # fmt: skip
"""More than there are."""

LEASE = {"lease_seconds": 30, "renew_seconds": 10}


def run_until_killed(kind, url, at, told=None):
    """Run the saga, whose step and compensation are transactional, and die at a point; else tell how many there are."""

    async def main():
        killer = Killer(at)
        async with factory_of(kind, url, killer) as factory:
            runtime = SagazRuntime(settings_for(url, **LEASE), session_factory=factory)
            await runtime.open()
            try:
                await Sagas(runtime).run(shop_for(kind), {"what": "book", "fails": True}, "run-1")
            except ValueError:
                pass
            finally:
                await runtime.close()
        return killer.count

    count = asyncio.run(main())
    if told is not None:
        told.put(count)


@pytest.fixture(scope="session")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sagaz", __name__])
    return context


@pytest.fixture
def url(request, tmp_path):
    return shop_url(request, tmp_path)


async def resume(kind, url):
    """Have a worker of another process end the run, if the one that died has recorded any; return its status."""
    async with factory_of(kind, url) as factory:
        settings: Settings = settings_for(url, **LEASE)
        runtime = SagazRuntime(settings, sagas=[shop_for(kind)], session_factory=factory, worker=True)
        await runtime.open()
        execute(url, LEASES_END)
        await runtime.begin()
        try:
            async with asyncio.timeout(30):
                while (record := await runtime.store.load("run-1")) is not None and record.status not in FINISHED:
                    await asyncio.sleep(0.02)
        finally:
            await runtime.close()
    return None if record is None else record.status


@pytest.mark.parametrize(("kind", "at"), [(kind, at) for kind, count in POINTS.items() for at in range(1, count)])
def test_a_step_and_its_compensation_have_their_effects_once_wherever_their_process_dies(processes, kind, url, at):
    process = processes.Process(target=run_until_killed, args=(kind, url, at))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    status = asyncio.run(resume(kind, url))
    assert status == "rolled_back"
    assert rows(url, "charges") == [("run-1", "book")]
    assert rows(url, "refunds") == [("run-1", "book")]


@pytest.mark.parametrize("kind", POINTS)
def test_every_exchange_with_the_database_is_among_the_points_at_which_processes_are_killed(processes, kind, url):
    told = processes.Queue()
    process = processes.Process(target=run_until_killed, args=(kind, url, 0, told))
    process.start()
    count = told.get(timeout=60)
    process.join(60)
    # Of the step, and of its compensation: savepoint, insert, release, record, and before and after the commit.
    assert 2 * 6 <= count < POINTS[kind], count
