"""A runtime per test, on every embedded store, and sagas that write what they do to a ledger."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from inspect import signature

import pytest

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.records import FINISHED


@pytest.fixture
def anyio_backend():
    return "asyncio"


KINDS = ["memory", "sqlite", "postgres", *(["pgbouncer"] if "SAGAZ_TEST_PGBOUNCER" in os.environ else [])]


def _url(request, tmp_path):
    if request.param == "pgbouncer":
        from pooler import pooled

        url = pooled(request.getfixturevalue("postgres_url"))
        request.addfinalizer(lambda: url.__exit__(None, None, None))
        return url.__enter__()
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'sagaz.db'}"


def _settings(url):
    return Settings(storage_url=url, migrate=True, poll_seconds=0.05, backoff_seconds=0.01, drain_seconds=5)


@pytest.fixture(params=KINDS)
def settings(request, tmp_path):
    return _settings(_url(request, tmp_path))


@pytest.fixture(params=KINDS[1:])
def shared_settings(request, tmp_path):
    """Of stores that more than one process, or runtime, can see."""
    return _settings(_url(request, tmp_path))


@asynccontextmanager
async def _opened(settings: Settings, **options) -> AsyncIterator[SagazRuntime]:
    runtime = SagazRuntime(settings, **options)
    await runtime.open()
    await runtime.begin()
    try:
        yield runtime
    finally:
        await runtime.close()


@pytest.fixture
def opened():
    """Opens a runtime for the length of a ``async with`` block."""
    return _opened


@pytest.fixture
async def runtime(settings):
    async with _opened(settings) as runtime:
        yield runtime


@pytest.fixture
async def working(runtime):
    """A runtime with a worker."""
    worker = runtime.make_worker()
    worker.start()
    yield runtime
    worker.stop()
    await worker.stopped()


@pytest.fixture
def ended():
    """Waits until a run has a final status, and returns its row."""

    async def wait(runtime: SagazRuntime, saga_id: str):
        async with asyncio.timeout(20):
            while (record := await runtime.store.load(saga_id)).status not in FINISHED:
                await asyncio.sleep(0.01)
        return record

    return wait


@pytest.fixture
def ledger():
    return []


@pytest.fixture
def command_line(settings, opened):
    """Returns a function that returns what runs a command line against a runtime with a worker and these sagas.

    The store lives as long as the test.
    """
    import click
    from click.testing import CliRunner

    from sagaz_durable.cli.click_commands import click_commands
    from sagaz_durable.settings.wording import NEUTRAL

    with asyncio.Runner() as runner, ExitStack() as stack:

        def make(*sagas):
            block = opened(settings, sagas=sagas, worker=True)
            runtime = runner.run(block.__aenter__())
            stack.callback(lambda: runner.run(block.__aexit__(None, None, None)))

            @asynccontextmanager
            async def reach(need, *, only_reads):
                yield runtime

            group = click.Group("sagaz", {made.name: made for made in click_commands(reach, NEUTRAL, run=runner.run)})

            # Before click 8.2, both streams are one, unless that is said; it is `output` that has both of them then.
            were_one = "mix_stderr" in signature(CliRunner).parameters

            def run(*words, apart=False):
                options = {"mix_stderr": False} if apart and were_one else {}
                return CliRunner(**options).invoke(group, [str(word) for word in words])

            run.runner, run.runtime = runner, runtime
            return run

        yield make
