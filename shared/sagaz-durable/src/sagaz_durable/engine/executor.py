"""Executes the graph of one run from its journal: each step when its dependencies are done, each compensation when
those of its dependents are."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from sagaz_durable._upstream.instances import Prepared
from sagaz_durable.calls.hooks import Hooks
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.calls.tries import Halted
from sagaz_durable.concurrency.cancellation import Halt
from sagaz_durable.engine.call_tasks import CallTasks
from sagaz_durable.engine.course import Course
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.engine.run_calls import RunCalls
from sagaz_durable.engine.state import RunState, assess
from sagaz_durable.leases.lease import Lease
from sagaz_durable.outbox.run_events import EventLog
from sagaz_integration_core.contract.records import ClaimedRun, Phase
from sagaz_integration_core.errors import RunInterrupted

__all__ = ["Executor"]


class Executor:
    """Calls the steps of one run until an end is true, or until it is halted.

    Attributes:
        course: Whether the run goes forward or rolls back, and why.
    """

    def __init__(
        self,
        run: ClaimedRun,
        prepared: Prepared,
        environment: StepEnvironment,
        lease: Lease,
        entries: Entries,
        events: EventLog,
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._entries = entries
        self._halt = Halt()
        self._hooks = Hooks(run.saga_name, prepared.listeners, self._halt)
        self.course = Course(run, prepared.graph, entries)
        self._calls = RunCalls(run, prepared, environment, lease, entries, events, self._hooks, self.course, self._halt)
        self._tasks = CallTasks(run.saga_id, self._follow)
        self._is_beginning = False

    @property
    def halted(self) -> BaseException | None:
        """Why this process stopped executing the run before its end; nothing was compensated because of it."""
        return self._halt.reason

    @property
    def in_threads(self) -> list[Future[Any]]:
        """The calls that go on in their threads although nobody waits for them any more."""
        return self._calls.in_threads

    @property
    def values(self) -> dict[str, Any]:
        """The context as the journal tells it: the input, and the results of all steps that are done."""
        return self._calls.values

    async def run(self) -> RunState:
        """Call what may be called, until an end is true or the run is halted; return the state at that point."""
        is_told = self._run.attempt > 1 and not self._entries.is_untouched
        self._entries.is_told = True
        if not is_told:
            await self._tell_listeners("on_saga_start")
        timer = self.course.deadline.tell(self._tasks.go_on)
        try:
            while self._halt.reason is None:
                state = self._assess()
                if state.end is None and self.course.is_overdue and (decision := self.course.turn()) is not None:
                    await self._entries.decided(decision)
                    continue
                self._begin(state)
                if not self._tasks.calls and not state.begin:
                    return state
                await self._tasks.wait()
        finally:
            if timer is not None:
                timer.cancel()
            await self._stop_calls()
        return RunState()

    async def tell_end(self, error: Exception | None) -> None:
        """Notify the listeners of the end that has been recorded."""
        if error is None:
            await self._tell_listeners("on_saga_complete")
        else:
            await self._tell_listeners("on_saga_failed", error)

    async def _tell_listeners(self, event: str, *values: Any) -> None:
        if self._hooks.listening:
            await self._hooks.tell(event, self._run.saga_id, self.values, *values)

    def halt(self, reason: BaseException) -> None:
        """Stop where it is: running async steps are cancelled, nothing is compensated, nothing more is begun."""
        if self._halt.reason is None:
            self._halt.reason = reason
        self._tasks.cancel()
        self._tasks.go_on()

    def close(self) -> None:
        """Let go of what refers to itself."""
        self._tasks.close()
        self._prepared.release()

    async def _stop_calls(self) -> None:
        if self._tasks.calls:
            if self._halt.reason is None:
                # Whoever executes the run was cancelled.
                self.halt(RunInterrupted("the task that executes it was cancelled."))
            await self._tasks.end()

    def _assess(self) -> RunState:
        entries, waits = self._entries.all, self._entries.waits
        if not waits.any:
            return assess(self._prepared.graph, self.course.direction, entries, self._tasks.calls)
        waiting = {
            call for call, entry in entries.items()
            if entry.status == "waiting" and call not in self._tasks.calls and not waits.is_over(call, entry.attempt)
        }  # fmt: skip
        return assess(self._prepared.graph, self.course.direction, entries, self._tasks.calls, waiting)

    def _begin(self, state: RunState) -> None:
        # A call may have ended, and another one be due, before this returns: that is looked at afterwards.
        self._is_beginning = True
        for call in state.begin:
            if self._halt.reason is None:
                self._tasks.begin(call, self._call(*call))
        self._is_beginning = False

    def _follow(self) -> bool:
        """Begin what follows a call that has ended, without waking `run`: that would be one more task's turn a step."""
        if self._is_beginning or not self._tasks.is_awaited or self._halt.reason is not None or self.course.is_overdue:
            return False
        try:
            self._begin(self._assess())
        except Exception:
            # It is raised again where somebody waits for it.
            return False
        return bool(self._tasks.calls)

    async def _call(self, step: str, phase: Phase) -> None:
        try:
            await self._calls.make(step, phase)
        except GeneratorExit:
            # The loop is gone, and with it whoever could be told.
            raise
        except (Halted, asyncio.CancelledError):
            if self._halt.reason is None:
                # Out of place: its own code, and what it left behind, is dealt with where it is called.
                self.halt(RuntimeError(f"The task of step {step!r} was cancelled by somebody else."))
        except (KeyboardInterrupt, SystemExit):
            self.halt(RunInterrupted("this process is stopping."))
            self._tasks.ended((step, phase))
            raise
        except BaseException as error:
            self.halt(error)
        self._tasks.ended((step, phase))
