"""A worker as a process of its own, for tests of what happens to processes: ``python worker_program.py LEDGER SAGA…``.

Its settings are the environment's. Each call of a step is a line of the ledger: step, saga_id, attempt, retry and pid.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from sagaz import Saga, action, compensate

from sagaz_durable.cli import worker as working
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.errors import SagazError

LEDGER = Path()


def note(what: str = "") -> None:
    """Append a line, in one write."""
    step = current_step()
    name = f"{step.saga_name}.{step.step}" + (".undo" if step.phase == "undo" else "")
    line = json.dumps([name + what, step.saga_id, step.attempt, step.retry, os.getpid(), time.time()])
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (line + "\n").encode())
    os.close(descriptor)


def once(key: str) -> bool:
    """Whether this is the first call of this name by any process."""
    try:
        os.close(os.open(LEDGER.with_name(f"once-{key}"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Quick(Saga):
    saga_name = "quick"

    @action("only")
    async def only(self, ctx):
        note()
        await asyncio.sleep(ctx.get("seconds", 0))


class Blocking(Saga):
    saga_name = "blocking"

    @action("block")
    async def block(self, ctx):
        note()
        time.sleep(ctx["seconds"])  # noqa: ASYNC251


class Forever(Saga):
    saga_name = "forever"

    @action("block", timeout_seconds=0.5)
    async def block(self, ctx):
        note()
        while True:
            time.sleep(0.1)  # noqa: ASYNC251


class Poisoned(Saga):
    saga_name = "poisoned"

    @action("only")
    async def only(self, ctx):
        note()
        await asyncio.sleep(0.3)
        os._exit(137)


def deadly(index):
    async def work(self, ctx):
        note()
        if once(f"{current_step().saga_id}-{index}"):
            os.kill(os.getpid(), signal.SIGKILL)

    return action(f"step-{index}", depends_on=[f"step-{index - 1}"] if index else [])(work)


Deadly = type("Deadly", (Saga,), {"saga_name": "deadly", **{f"step_{index}": deadly(index) for index in range(6)}})
"""Six steps, each of which kills its process once."""


class Pausing(Saga):
    """Its step fails once, and is tried again after a pause."""

    saga_name = "pausing"
    retry_steps = True

    @action("again", max_retries=1)
    async def again(self, ctx):
        note()
        if once(current_step().saga_id):
            raise ConnectionError("once")

    @compensate("again")
    async def undo(self, ctx):
        note()


class Threads(Saga):
    saga_name = "threads"

    @action("hold")
    def hold(self, ctx):
        note()
        time.sleep(ctx["seconds"])


SAGAS = {saga.saga_name: saga for saga in (Quick, Blocking, Forever, Poisoned, Deadly, Pausing, Threads)}


async def main(names: list[str]) -> None:
    runtime = SagazRuntime(Settings.from_env(), sagas=[SAGAS[name] for name in names])
    await runtime.open()
    try:
        await working.work(runtime, tell=lambda line: sys.stdout.write(f"{line}\n"))
    finally:
        await runtime.close()


if __name__ == "__main__":
    LEDGER = Path(sys.argv[1])
    try:
        with working.logging_to_stderr():
            asyncio.run(main(sys.argv[2:]))
    except SagazError as error:
        sys.exit(f"Error: {error}")
