"""Dispatch by Celery: a task for each committed start, and a sweep for everything that no task has reached.

A message names a run, and the database decides: whoever can claim it executes it. So a message that is lost, late or
comes twice changes nothing, or the time at which the run begins.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from celery import signals

from sagaz_durable.concurrency.clock import now
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.workers.delayed_starts import DelayedStarts
from sagaz_durable.workers.erasing import erase_outdated
from sagaz_durable.workers.suspects import Suspects
from sagaz_durable.workers.worker import summary
from sagaz_integration_core.errors import RunInterrupted, SettingsError

if TYPE_CHECKING:
    from celery import Celery

    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["RUN", "SWEEP", "CeleryDispatch", "Perform"]

logger = logging.getLogger(__name__)

RUN = "sagaz.run"
SWEEP = "sagaz.sweep"

_HEARTBEAT_SECONDS = 60.0

_TASKS: dict[str, Any] = {
    # A worker takes no more messages than it has processes, and those of one that dies go to another. That is all
    # that it does: a run whose process died is leased until its lease ends, and then the sweep finds it.
    "acks_late": True,
    # Sent again at once, it would find the lease of the dead process.
    "reject_on_worker_lost": False,
    # The outcome is in the database.
    "ignore_result": True,
    # Not with the other Celery applications of the process, which have other stores.
    "shared": False,
}

_PUBLISHING: dict[str, Any] = {
    # Once more, for a connection that the broker has closed; one that is unreachable must not hold up a request.
    "retry": True,
    "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
}

_REDIS = ("redis:", "rediss:", "redis+", "sentinel:")
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")

T = TypeVar("T")


class Perform(Protocol):
    """Does asynchronous work with this process's open runtime, and waits for it; see `SagazRuntime.call`."""

    def __call__(self, work: Callable[[SagazRuntime], Coroutine[Any, Any, T]], /) -> T:
        """Open the runtime if that is needed, do the work, and return its result."""
        ...


class CeleryDispatch:
    """The tasks of a Celery application that execute runs, and the messages to them.

    Args:
        celery: Gets the tasks ``sagaz.run`` and ``sagaz.sweep``; its configuration is not read yet.
        perform: Does work in a process of Celery's worker. The runtime is opened by the first task, after the fork.
        close: Drains and closes that runtime; called when a forked process of the worker ends.

    Raises:
        SettingsError: The application has the tasks already.
    """

    def __init__(self, celery: Celery, perform: Perform, close: Callable[[], None]) -> None:
        if vars(celery).setdefault("sagaz", self) is not self:
            raise SettingsError(
                f"The Celery application {celery.main!r} executes the runs of another application already, or "
                "register was called twice. Call it once, with a Celery application for each application."
            )
        self._celery = celery
        self._close = close

        # No methods: Celery would ask the senders for a self.
        def run(saga_id: str) -> str:
            """Execute a run, unless it has ended, is not due or is executed elsewhere."""
            return summary(perform(lambda runtime: _execute(runtime, 1, [saga_id])))

        def sweep() -> str:
            """Execute what is due and was not reached by a message, and publish events."""
            return summary(perform(_sweep))

        task: Any = celery.task
        self._task = task(name=RUN, **_TASKS)(run)
        task(name=SWEEP, **_TASKS)(sweep)
        lazily: Any = celery
        if lazily.configured:
            _check_timeouts(celery.conf)
        else:
            after_configure: Any = celery.on_after_configure
            after_configure.connect(self._configured)
        # Its processes end without Python's own exit; those of its other pools do not.
        # Before 5.7 Celery knows a method by its function: the second application's would be left out.
        signals.worker_process_shutdown.connect(self._process_ends, dispatch_uid=f"sagaz-{id(self)}")

    def send(self, saga_ids: Sequence[str]) -> None:
        """Tell Celery's workers of runs that are committed; an unreachable broker is logged, and the sweep finds them.

        Raises nothing, whatever happens: the runs exist.
        """
        try:
            with self._celery.producer_or_acquire() as producer:
                for saga_id in saga_ids:
                    self._task.apply_async(args=[saga_id], producer=producer, **_PUBLISHING)
        except Exception as error:
            logger.warning(
                "Celery's broker took no message for %d of the runs %s. Nothing is lost: the sweep finds them. %s",
                len(saga_ids), ", ".join(saga_ids[:3]), masked_error(error),
            )  # fmt: skip

    def _configured(self, source: Any, **_: Any) -> None:
        _check_timeouts(source)

    def _process_ends(self, **_: Any) -> None:
        self._close()


def _check_timeouts(conf: Any) -> None:
    """Warn of a Redis whose silence would hold up requests: its client waits for an answer for ever by default."""
    address = conf.broker_write_url or conf.broker_url or ""
    address = address if isinstance(address, str) else next(iter(address), "")
    missing = [name for name in _TIMEOUTS if not (conf.broker_transport_options or {}).get(name)]
    if conf.task_always_eager or not missing or not address.startswith(_REDIS):
        return
    logger.warning(
        "Celery's broker is Redis, and broker_transport_options has no %s: a Redis that accepts connections and does "
        "not answer would hold up every commit that starts a saga, for ever. Set broker_transport_options = "
        "{'socket_timeout': 2, 'socket_connect_timeout': 2}.",
        " and no ".join(missing),
    )


async def _execute(
    runtime: SagazRuntime, limit: int, saga_ids: Sequence[str] | None = None, *, alone: Sequence[str] = ()
) -> Counter[str]:
    """Claim runs and execute them to their ends; return how they ended."""
    runtime.check_open()
    taken_at = now()
    runs = await runtime.runs.claim(limit, saga_ids, alone=alone)
    executions = [runtime.runs.park(run, taken_at) for run in runs]
    tasks = [runtime.runs.execute(execution) for execution in executions]
    try:
        if tasks:
            await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for execution in executions:
            execution.halt(RunInterrupted("Celery has stopped its task."))
        raise
    return Counter(execution.outcome or "given back" for execution in executions)


async def _sweep(runtime: SagazRuntime) -> Counter[str]:
    """Execute what is due, so many at once as a worker would, and end: Celery waits for its tasks when it stops."""
    await runtime.store.heartbeat(
        f"{runtime.owner}:sweep", _HEARTBEAT_SECONDS, "sweep", tuple(runtime.registry.first_steps)
    )
    if runtime.relay is not None:
        await runtime.relay.publish_all()
    delayed = DelayedStarts(runtime.runs.environment)
    await delayed.start()
    limit, until = runtime.settings.concurrency, time.monotonic() + runtime.settings.lease_seconds
    ended = found = await _execute(runtime, limit)
    # A claim may leave some of what is due although it has room, as of runs that have slept.
    while (found or await delayed.start()) and time.monotonic() < until:
        found = await _execute(runtime, limit)
        ended = ended + found
    ended = ended + await _execute_suspects(runtime, until)
    await erase_outdated(runtime.runs.environment)
    return ended


async def _execute_suspects(runtime: SagazRuntime, until: float) -> Counter[str]:
    """Execute, one after another, what is to be executed alone, unless a worker command does."""
    suspects, ended = Suspects(runtime.runs.environment, command=False, drain=True), Counter[str]()
    while time.monotonic() < until and (sagas := await suspects.claimable()):
        if not (found := await _execute(runtime, 1, alone=sagas)):
            break
        ended = ended + found
    return ended
