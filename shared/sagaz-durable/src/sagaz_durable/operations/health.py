"""What a health route answers: whether this process can take work now, and whether it is to be replaced."""

from __future__ import annotations

import asyncio
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import TYPE_CHECKING

from sagaz_durable.concurrency.pulse import BEAT_SECONDS
from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["ANSWER_SECONDS", "ProbeResult", "liveness", "readiness", "readiness_sync"]

ANSWER_SECONDS = 2.0
"""How long the store's answer is waited for: less than probes wait for theirs."""


@record
class ProbeResult:
    """What was found; true when all is well.

    Attributes:
        ok: Whether all is well.
        problem: What is not, and what to do; None when all is well.
    """

    ok: bool
    problem: str | None = None

    def __bool__(self) -> bool:
        return self.ok


async def readiness(runtime: SagazRuntime, *, seconds: float = ANSWER_SECONDS) -> ProbeResult:
    """Tell whether runs can be started now: the runtime is open, and its store answers and lacks nothing.

    Called on the runtime's event loop; it raises nothing.
    """
    try:
        runtime.check_fit()
        async with asyncio.timeout(seconds):
            await runtime.store.check_ready()
    except TimeoutError:
        return ProbeResult(False, f"The store has not answered within {seconds:g} s.")
    except SagazError as error:
        return ProbeResult(False, str(error))
    except Exception as error:
        return ProbeResult(False, f"The store cannot be asked: {masked_error(error)}")
    return ProbeResult(True)


def readiness_sync(runtime: SagazRuntime, *, seconds: float = ANSWER_SECONDS) -> ProbeResult:
    """Do as `readiness`, from another thread than the event loop's."""
    try:
        runtime.check_fit()
    except SagazError as error:
        return ProbeResult(False, str(error))
    asked = runtime.submit(lambda: readiness(runtime, seconds=seconds))
    try:
        return asked.result(2 * seconds)
    except WaitedTooLong:
        asked.cancel()
        return ProbeResult(False, f"The event loop of sagaz has not come round for {runtime.pulse.age:.0f} s.")


def liveness(runtime: SagazRuntime) -> ProbeResult:
    """Tell whether this process does its work at all; if not, restarting it helps. Callable from any thread.

    An unreachable store is no reason: it is waited for.
    """
    if not runtime.is_open:
        return ProbeResult(True)
    if runtime.pulse.age > (longest := max(runtime.settings.lease_seconds, 2 * BEAT_SECONDS)):
        return ProbeResult(
            False,
            f"The event loop of sagaz has stood still for {runtime.pulse.age:.0f} s, and leases last {longest:g} s. "
            "Something blocks it: an async step that calls what blocks; make it a def step.",
        )
    if runtime.worker_has_died:
        return ProbeResult(False, "The worker in this process has ended, and nobody told it to.")
    return ProbeResult(True)
