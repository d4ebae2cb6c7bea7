"""Executes the graph of one run from its journal: each step when its dependencies are done, each compensation when
those of its dependents are."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from sagaz_durable._upstream.instances import Prepared
from sagaz_durable.calls.context_values import RunValues
from sagaz_durable.calls.hooks import Hooks
from sagaz_durable.calls.step_caller import StepCaller
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.calls.step_result import not_awaited, recordable
from sagaz_durable.calls.tries import NO_LIMITS, Halted, Tries
from sagaz_durable.calls.waits import CallWaits
from sagaz_durable.concurrency.cancellation import Halt
from sagaz_durable.engine.call_tasks import CallTasks
from sagaz_durable.engine.course import Course
from sagaz_durable.engine.journal_entries import Entries, Entry
from sagaz_durable.engine.recovery.recoveries import Recoveries, unless_halted
from sagaz_durable.engine.state import RunState, assess
from sagaz_durable.leases.lease import Lease
from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.serialization import codec
from sagaz_integration_core.contract.records import ClaimedRun, Phase
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import LeaseLost, RunInterrupted

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
        self._environment = environment
        self._lease = lease
        self._entries = entries
        self._events = events
        self._halt = Halt()
        self._values = RunValues(run, prepared.graph, entries.results)
        self._hooks = Hooks(run.saga_name, prepared.listeners, self._halt)
        self._caller = StepCaller(environment.pool, environment.scope, lease, self._halt)
        self._tries = Tries(run, prepared, environment, self._caller, entries.waits, self._halt)
        self.course = Course(run, prepared.graph, entries)
        self._recoveries = Recoveries(
            run, prepared, environment, entries, self._values, self._tries, self.course, self._halt
        )
        self._tasks = CallTasks(run.saga_id, self._follow)

    @property
    def halted(self) -> BaseException | None:
        """Why this process stopped executing the run before its end; nothing was compensated because of it."""
        return self._halt.reason

    @property
    def in_threads(self) -> list[Future[Any]]:
        """The calls that go on in their threads although nobody waits for them any more."""
        return self._caller.in_threads

    @property
    def values(self) -> dict[str, Any]:
        """The context as the journal tells it: the input, and the results of all steps that are done."""
        return self._values.whole()

    async def run(self) -> RunState:
        """Call what may be called, until an end is true or the run is halted; return the state at that point."""
        # Once: what may have told of the start is whoever called the first step.
        if self._run.attempt == 1 or not self._run.steps:
            await self._tell_listeners("on_saga_start")
        timer = self.course.deadline.tell(self._tasks.go_on)
        try:
            while self._halt.reason is None:
                state = self._assess()
                if state.end is None and self.course.is_overdue and (decision := self.course.turn()) is not None:
                    await self._entries.decided(decision)
                    continue
                self._begin(state)
                if not self._tasks.calls:
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
        for call in state.begin:
            self._tasks.begin(call, self._call(*call))

    def _follow(self, error: BaseException | None) -> bool:
        """Begin what follows a call that has ended, without waking `run`: that would be one more task's turn a step."""
        if error is not None:
            self.halt(error)
        if self._halt.reason is not None or not self._tasks.is_awaited or self.course.is_overdue:
            return False
        try:
            self._begin(self._assess())
        except Exception:
            # It is raised again where somebody waits for it.
            return False
        return bool(self._tasks.calls)

    async def _call(self, step: str, phase: Phase) -> None:
        try:
            await {"do": self._do, "redo": self._recoveries.decide, "undo": self._undo}[phase](step)
        except Halted:
            return
        except asyncio.CancelledError:
            if self._halt.reason is None:
                # Out of place: its own code, and what it left behind, is dealt with where it is called.
                raise RuntimeError(f"The task of step {step!r} was cancelled by somebody else.") from None
        except (KeyboardInterrupt, SystemExit):
            self.halt(RunInterrupted("this process is stopping."))
            raise

    # What user code is called.

    async def _do(self, step: str) -> None:
        declared, before = self._prepared.steps[step], self._entries.get(step, "do")
        given = self._values.given_to(step)
        # What hooks and listeners see, and may change as they like: it is not what the step is called with.
        context = codec.copy_value(given) if self._hooks.listening or declared.hooked else {}
        waits = self._entries.waits.of_call((step, "do"))
        if self._is_new(step, "do", before, waits):
            await self._hooks.tell("on_step_enter", step, context)
            await self._hooks.call(declared.on_enter, "on_enter", context, step)
        # A call of which an earlier attempt does not know the end may have had its effect, whatever comes of this one.
        # What stands before a wait has had its own.
        doubtful = before is not None and not before.begun and before.status in ("started", "waiting", "in_doubt")
        compensated = self._prepared.graph.nodes[step].compensated
        await self._record(self._entries.started(step, "do", compensated=compensated))
        tried = await self._tries.of(step, "do", given, doubtful, self.course.limits, waits)
        if tried.left is not None:
            await self._left(step, "do", tried.left)
            return
        kept = recordable(step, given, tried, self._events, self._environment.max_bytes, self._environment.wording)
        if isinstance(kept, Exception):
            await self._failed(step, kept, in_doubt=tried.doubtful or tried.error is None)
            await self._hooks.call(declared.on_failure, "on_failure", context, step, kept)
            await self._hooks.tell("on_step_failure", step, context, kept)
            await self._hooks.call(declared.on_exit, "on_exit", context, step)
            return
        text = kept.text
        self._entries.done(step, "do", text, kept.events)
        if text is not None:
            added = self._values.add(step, text)
            if context:  # At least its saga_id is there when anybody is to see it.
                context.update(codec.copy_value(added))
        await self._hooks.call(declared.on_success, "on_success", context, step, tried.value)
        await self._hooks.tell("on_step_success", step, context, tried.value)
        await self._hooks.call(declared.on_exit, "on_exit", context, step)

    async def _left(self, step: str, phase: Phase, waits: CallWaits) -> None:
        if phase == "do" and self.course.direction == "back":
            # What it waits for is of no use any more: it is to be undone.
            text = "The run rolled back while the step waited."
            await self._record(self._entries.failed(step, "do", text, in_doubt=True))
        else:
            self._entries.waiting(step, phase, waits.new)

    async def _failed(self, step: str, error: Exception, *, in_doubt: bool) -> None:
        text, recovers = error_text(error), self._recoveries.is_due(step, error)
        decision = None if recovers else self.course.turn(step, error, text)
        told = self._events.step_failed(step, error, self._recoveries.times(step))
        write = self._entries.failed(
            step, "do", text, in_doubt=in_doubt, decision=decision, events=told, recovers=recovers
        )
        await self._record(write)

    async def _undo(self, step: str) -> None:
        declared, before = self._prepared.steps[step], self._entries.get(step, "undo")
        given = self._values.whole()
        context = codec.copy_value(given) if self._hooks.listening or declared.on_compensate is not None else {}
        waits = self._entries.waits.of_call((step, "undo"))
        if self._is_new(step, "undo", before, waits):
            await self._hooks.tell("on_compensation_start", step, context)
            await self._hooks.call(declared.on_compensate, "on_compensate", context, step)
        if (how := self._recoveries.way_to_undo(step)) == "ask":
            return
        if how == "give_up":
            await self._record(self._entries.failed(step, "undo", "A person has given it up."))
            return
        if how == "run" and not await self._compensated(step, given, waits):
            return
        self._entries.done(step, "undo", None, self._events.step_undone(step))
        await self._hooks.tell("on_compensation_complete", step, context)

    async def _compensated(self, step: str, given: dict[str, Any], waits: CallWaits) -> bool:
        await self._record(self._entries.started(step, "undo"))
        tried = await self._tries.of(step, "undo", given, False, NO_LIMITS, waits)
        if tried.left is not None:
            await self._left(step, "undo", tried.left)
            return False
        error = tried.error
        if error is None and inspect.isawaitable(tried.value):
            error = not_awaited(f"The compensation of step {step!r}", tried.value)
        if error is not None:
            await self._record(self._entries.failed(step, "undo", error_text(error)))
        return error is None

    def _is_new(self, step: str, phase: Phase, before: Entry | None, waits: CallWaits) -> bool:
        """Prepare a call, and return whether hooks and listeners are to be told of it, as they are once per call."""
        self._environment.enter(self._run, step, phase, 0, waits)
        if self._lease.remaining <= 0:
            raise LeaseLost(f"Run {self._run.saga_id}: its lease ended before step {step!r} was called.")
        if before is None or before.begun or before.status not in ("started", "waiting"):
            return True
        # Whether a process that died had told of it is not known.
        after_death = self._run.after_death and before.attempt == self._run.attempt - 1
        return after_death and before.status == "started"

    async def _record(self, write: Coroutine[Any, Any, None]) -> None:
        await unless_halted(self._halt, write)
