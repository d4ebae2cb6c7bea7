"""What the workers of FastAPI and Flask have in common: the engine's PostgreSQL store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psycopg

from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place
from benchmarks.sagas import NoopSaga, WaitingSaga
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings

__all__ = ["QUIET", "check_journal", "empty", "fleet_of", "until_waiting"]

QUIET = {"SAGAZ_METRICS": "0", "SAGAZ_LOGGING": "0"}
"""No other contender counts or logs its runs either."""


@contextmanager
def fleet_of(
    place: Place, command: Sequence[str], beside: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Iterator[Measure]:
    """Measure the workers that this command starts; with the option ``signals``, how they take up what waited."""
    quiet: Mapping[str, str] = {} if place.options.get("defaults") else QUIET
    with asyncio.Runner() as runner, psycopg.connect(place.postgres, autocommit=True) as connection:
        runtime = SagazRuntime(Settings(storage_url=place.postgres, migrate=True), sagas=[NoopSaga, WaitingSaga])

        def enqueue(runs: Iterable[int]) -> None:
            with connection.transaction():
                Sagas(runtime).start_many_sync(NoopSaga, [{"n": n} for n in runs], session=connection)

        def have_wait(runs: Iterable[int]) -> None:
            contexts = [{"n": n} for n in runs]
            with connection.transaction():
                Sagas(runtime).start_many_sync(WaitingSaga, contexts, session=connection)
            until_waiting(place.postgres, len(contexts))

        def signal(runs: Iterable[int]) -> None:
            with connection.transaction():
                for n in runs:
                    Sagas(runtime).send_signal_sync("paid", key=str(n), session=connection)

        waits = place.options.get("signals")
        runner.run(runtime.open())
        try:
            yield measure(
                place,
                Fleet(
                    command=command,
                    environment={**quiet, **place.options.get("environment", {}), "SAGAZ_STORAGE_URL": place.postgres},
                    enqueue=signal if waits else enqueue,
                    prepare=have_wait if waits else lambda runs: None,
                    beside=beside,
                    check=lambda runs: check_journal(place.postgres, runs),
                    reset=lambda: empty(place.postgres),
                    processes=place.options.get("processes", 1),
                ),
            )
        finally:
            runner.run(runtime.close())


def check_journal(url: str, runs: int) -> None:
    """Refuse figures of a worker that has not journaled every step of so many runs."""
    with psycopg.connect(url) as connection:
        completed = connection.execute("SELECT count(*) FROM sagaz_run WHERE status = 'completed'").fetchone()
        done = connection.execute("SELECT count(*) FROM sagaz_step WHERE status = 'done'").fetchone()
    if completed != (runs,) or done != (3 * runs,):
        raise RuntimeError(f"{runs} runs were to be completed with 3 steps each, and {completed} and {done} are.")


def until_waiting(url: str, runs: int) -> None:
    """Return when so many runs wait.

    Raises:
        TimeoutError: They do not, after a minute.
    """
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("SELECT count(*) FROM sagaz_run WHERE status = 'waiting'").fetchone() != (runs,):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{runs} runs do not wait after a minute.")
            time.sleep(0.05)


def empty(url: str) -> None:
    """Forget all runs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE sagaz_run, sagaz_step, sagaz_wait, sagaz_signal, sagaz_outbox CASCADE")
