"""The worker command of all plugins: signals, progress and the end, around one `Worker`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from sagaz_durable.cli.said import Said
from sagaz_durable.runtime.start_warnings import warn_at_start
from sagaz_durable.workers.heartbeat_file import kept_alive
from sagaz_durable.workers.worker import summary
from sagaz_integration_core.context.log_fields import FIELDS, SagazLogFilter
from sagaz_integration_core.errors import SagaNotRegistered, SettingsError, WorkerUnfit

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime
    from sagaz_durable.workers.worker import Worker

__all__ = ["logging_to_stderr", "run_worker", "work"]

Tell = Callable[[str], None]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_COLLECT_AFTER = 10_000
"""After how many new objects cyclic garbage is looked for; Python's 700 are fewer than some fifty runs are made of."""

_SWITCH_BY_DEFAULT = 0.005
_SWITCH_AFTER = 0.0001
"""After how many seconds a thread that waits has its turn: Python's own, and ours."""


async def work(
    runtime: SagazRuntime,
    *,
    concurrency: int | None = None,
    drain: bool = False,
    tell: Tell | None,
    place: str | None = None,
    heartbeat_file: str | None = None,
) -> Counter[str]:
    """Run a worker of an open runtime until a signal stops it, or with ``drain`` until nothing is due.

    The first SIGTERM or SIGINT lets running sagas end within ``drain_seconds`` and gives the rest back; the second one
    ends the process at once, with 128 plus the signal's number.

    Args:
        runtime: Its store was seen to lack no tables and no rights.
        tell: Prints a line; None for a command that is to be silent.
        place: What to call the place that the runs are kept in; by default it is the store's kind.
        heartbeat_file: See `heartbeat_file.kept_alive`.

    Returns:
        How many runs ended, by status; ``given back`` counts those that did not end here.

    Raises:
        SettingsError: The store is this process's own memory.
        SagaNotRegistered: There is no saga that the worker could run.
        StoreUnavailable: With ``drain``, the store is unreachable.
        WorkerUnfit: It can execute no more runs, and has given back what it had; a supervisor is to start another one.
    """
    _check(runtime)
    progress = _Progress() if drain and tell is not None and sys.stdout.isatty() else None
    on_progress = progress.show if progress else None
    worker = runtime.make_worker(concurrency=concurrency, drain=drain, command=True, on_progress=on_progress)
    await _run(worker, runtime, tell or _silently, place or runtime.store.kind, heartbeat_file, drain=drain)
    if progress is not None:
        progress.end()
    if worker.failure is not None:
        raise WorkerUnfit(f"This worker has stopped, so that another one takes its place: {worker.failure}.")
    return worker.ended


async def run_worker(runtime: SagazRuntime, given: Mapping[str, Any]) -> Said:
    """Run a worker with the options of the command ``worker``, and tell how its runs ended; see `work`."""
    warn_at_start(runtime)
    ended = await work(
        runtime, concurrency=given["concurrency"], drain=given["drain"], tell=_print,
        heartbeat_file=given["heartbeat_file"],
    )  # fmt: skip
    return Said(f"Done: {summary(ended)}.")


async def _run(
    worker: Worker, runtime: SagazRuntime, tell: Tell, place: str, heartbeat_file: str | None, *, drain: bool
) -> None:
    names = ", ".join(entry.name for entry in runtime.registry)
    tell(f"Working on {place}: {names}." + ("" if drain else " Ctrl+C stops."))
    runtime.keeper.loops.on_given_up = _leave
    with _signals(worker), _fewer_collections(), _quick_switches():
        async with kept_alive(heartbeat_file, worker):
            await worker.run()
            # Only now: a claim that was under way at the signal has brought its runs.
            if worker.running and worker.failure is None:
                seconds = runtime.settings.drain_seconds
                tell(f"Stopping: {worker.running} runs may end within {seconds:g} s. Once more stops at once.")
            await runtime.drain()


def _leave(reason: str) -> None:
    """End this process although its event loop stands still; its runs were given back."""
    sys.stderr.write(f"This worker ends, so that another one takes its place: {reason}.\n")
    logging.shutdown()
    sys.stderr.flush()
    os._exit(1)


def _check(runtime: SagazRuntime) -> None:
    wording = runtime.settings.wording
    if runtime.store.embedded:
        raise SettingsError(
            "Runs are kept in memory, where no other process can see them, so that this worker would find none. Set "
            f"{wording.setting('storage_url')} (sqlite:///sagaz.db or postgresql://…), or run the worker inside the "
            f"application: {wording.worker}."
        )
    if not len(runtime.registry):
        raise SagaNotRegistered(
            f"No saga is registered, so that this worker could run none. Add the classes to {wording.sagas}."
        )


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Look for cyclic garbage less often, and not in all that was loaded before; an application's own choice stands."""
    before = gc.get_threshold()
    if 0 < before[0] < _COLLECT_AFTER:
        gc.set_threshold(_COLLECT_AFTER, *before[1:])
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@contextmanager
def _quick_switches() -> Iterator[None]:
    """Have threads wait less for each other: the event loop, steps, and Django's database thread share the interpreter.

    By default, an answer of the database waits for 5 ms while the loop is busy, and nothing overlaps. An application's
    own choice stands.
    """
    before = sys.getswitchinterval()
    if before == _SWITCH_BY_DEFAULT:
        sys.setswitchinterval(_SWITCH_AFTER)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _signals(worker: Worker) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # As under a reloader, which has the signals.
        yield
        return
    loop = asyncio.get_running_loop()
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            # Whatever runs here is in the journal; a worker resumes it when its lease ends.
            os._exit(128 + number)
        stopping = True
        loop.call_soon_threadsafe(worker.stop)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """One line on a terminal, written over and over."""

    def __init__(self) -> None:
        self._width = 0

    def show(self, worker: Worker) -> None:
        """Write the line anew."""
        line = f"{summary(worker.ended)}, {worker.running} running"
        sys.stdout.write(f"\r{line:<{self._width}}")
        sys.stdout.flush()
        self._width = len(line)

    def end(self) -> None:
        """Leave the line."""
        sys.stdout.write("\n")
        sys.stdout.flush()


def _print(line: str) -> None:
    """Print a line, at once: a pipe, as a container's log is, would keep it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _silently(line: str) -> None:
    """Print nothing."""


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Show INFO records within the block, with their correlation id and saga_id.

    If the application configured the root logger, that stands. Afterwards the root logger is as it was: a command may
    have been called by a program, a test for example, that goes on.
    """
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = logging.StreamHandler()
    handler.addFilter(SagazLogFilter())
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s [%(correlation_id)s %(saga_id)s] %(message)s"))
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        if root.level == logging.INFO:
            root.setLevel(before)


class _Lines(logging.Formatter):
    """Writes a dash where a record has no such id."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        dashes = {name: "-" for name in FIELDS if getattr(record, name, None) is None}
        return super().formatMessage(logging.makeLogRecord({**record.__dict__, **dashes}))
