"""The calls of one run's steps, recoveries and compensations: each with its journal entries, hooks and events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from sagaz_durable._upstream.instances import Prepared
from sagaz_durable.calls.context_values import RunValues
from sagaz_durable.calls.foreign import is_a, is_unread
from sagaz_durable.calls.hooks import Hooks
from sagaz_durable.calls.limits import NO_LIMITS, NotCalled
from sagaz_durable.calls.step_caller import StepCaller
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.calls.step_result import not_awaited, recordable
from sagaz_durable.calls.transactional import NO_WAITS, TransactionalCall
from sagaz_durable.calls.transactional_calls import TransactionalCalls
from sagaz_durable.calls.tries import Halted, Tries
from sagaz_durable.calls.waits import CallWaits
from sagaz_durable.concurrency.cancellation import Halt
from sagaz_durable.engine.course import Course
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.engine.journal.known_entries import ENTERED, TURNED, Entry
from sagaz_durable.engine.recovery.recoveries import Recoveries, unless_halted
from sagaz_durable.leases.lease import Lease
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.serialization import codec
from sagaz_integration_core.contract.records import ClaimedRun, Phase
from sagaz_integration_core.errors import LeaseLost

__all__ = ["RunCalls"]


class RunCalls:
    """Makes the calls of one run, each in the task that the executor gives it."""

    def __init__(
        self,
        run: ClaimedRun,
        prepared: Prepared,
        environment: StepEnvironment,
        lease: Lease,
        entries: Entries,
        events: EventLog,
        hooks: Hooks,
        course: Course,
        halt: Halt,
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._environment = environment
        self._lease = lease
        self._entries = entries
        self._events = events
        self._hooks = hooks
        self._course = course
        self._halt = halt
        self._values = RunValues(run, prepared.graph, entries.results, type(prepared.saga))
        self._transactional = TransactionalCalls(prepared, environment, lease, entries, events)
        self._caller = StepCaller(environment.pool, environment.scope, lease, halt)
        self._tries = Tries(run, prepared, environment, self._caller, entries.waits, halt)
        self._recoveries = Recoveries(run, prepared, environment, entries, self._values, self._tries, course, halt)

    @property
    def in_threads(self) -> list[Future[Any]]:
        """The calls that go on in their threads although nobody waits for them any more."""
        return self._caller.in_threads

    @property
    def values(self) -> dict[str, Any]:
        """The context as the journal tells it: the input, and the results of all steps that are done."""
        return self._values.whole()

    async def make(self, step: str, phase: Phase) -> None:
        """Call a step, its recovery or its compensation, and journal what came of it.

        Raises:
            Halted: The run is being stopped.
        """
        if phase == "do":
            await self._do(step)
        elif phase == "redo":
            await self._recoveries.decide(step)
        else:
            await self._undo(step)

    async def _do(self, step: str) -> None:
        declared, before = self._prepared.steps[step], self._entries.get(step, "do")
        given = self._values.given_to(step)
        watched = self._hooks.listening or declared.hooked
        # What hooks and listeners see, and may change as they like: it is not what the step is called with.
        context = codec.copy_value(given) if watched else {}
        inside = self._transactional.of(step, "do")
        waits = self._entries.waits.of_call((step, "do"), None if inside is None else NO_WAITS)
        if self._is_new(step, "do", before, waits) and watched:
            await self._hooks.tell("on_step_enter", step, context)
            await self._hooks.call(declared.on_enter, "on_enter", context, step)
        # A call of which an earlier attempt does not know the end may have had its effect, whatever comes of this one.
        # What stands before a wait has had its own.
        doubtful = before is not None and not before.begun and before.status in ("started", "waiting", "in_doubt")
        first = self._tries.given(step, "do", given)
        try:
            await self._record(self._started(step, "do", inside))
            tried = await self._tries.of(step, "do", first, doubtful, self._course, waits, inside)
        except (Halted, asyncio.CancelledError):
            if not doubtful and inside is None and not self._caller.has_begun(step):
                self._entries.uncalled(step)
            raise
        if tried.left is not None:
            await self._left(step, "do", tried.left)
            return
        limit, wording = self._environment.max_bytes, self._environment.wording
        kept = recordable(step, tried, self._prepared, self._events, limit, wording)
        if inside is not None:
            kept = inside.kept or kept
        if isinstance(kept, Exception):
            await self._failed(step, kept, in_doubt=tried.doubtful or tried.error is None)
            await self._hooks.call(declared.on_failure, "on_failure", context, step, kept)
            await self._hooks.tell("on_step_failure", step, context, kept)
            await self._hooks.call(declared.on_exit, "on_exit", context, step)
            return
        text = kept.text
        self._entries.done(step, "do", text, kept.events, None if inside is None else inside.write)
        if text is not None:
            added = self._values.add(step, text)
            if watched:
                context.update(codec.copy_value(added))
        if watched:
            await self._hooks.call(declared.on_success, "on_success", context, step, tried.value)
            await self._hooks.tell("on_step_success", step, context, tried.value)
            await self._hooks.call(declared.on_exit, "on_exit", context, step)

    async def _left(self, step: str, phase: Phase, waits: CallWaits) -> None:
        if phase == "do" and self._course.direction == "back":
            # What it waits for is of no use any more: it is to be undone.
            text = "The run rolled back while the step waited."
            write = self._entries.failed(step, "do", text, in_doubt=True, may_be_repeated=self._course.is_kept)
            await self._record(write)
        else:
            self._entries.waiting(step, phase, waits.new)

    async def _failed(self, step: str, error: Exception, *, in_doubt: bool) -> None:
        if is_a(error, NotCalled):
            # No reason by itself: the run has turned back, is to because of its deadline, or has passed a pivot since.
            text, recovers = TURNED, False
            decision = self._course.turn() if self._course.is_overdue else None
        else:
            text, recovers = masked_error(error), self._recoveries.is_due(step, error)
            decision = None if recovers else self._course.turn(step, error, text)
        told = self._events.step_failed(step, error, self._recoveries.times(step))
        write = self._entries.failed(
            step, "do", text, in_doubt=in_doubt, decision=decision, events=told, recovers=recovers,
            may_be_repeated=self._course.is_kept,
        )  # fmt: skip
        await self._record(write)

    async def _undo(self, step: str) -> None:
        declared, before = self._prepared.steps[step], self._entries.get(step, "undo")
        given = self._values.whole()
        context = codec.copy_value(given) if self._hooks.listening or declared.on_compensate is not None else {}
        inside = self._transactional.of(step, "undo")
        waits = self._entries.waits.of_call((step, "undo"), None if inside is None else NO_WAITS)
        if self._is_new(step, "undo", before, waits):
            await self._hooks.tell("on_compensation_start", step, context)
            await self._hooks.call(declared.on_compensate, "on_compensate", context, step)
        if (how := self._recoveries.way_to_undo(step)) == "ask":
            return
        if how == "give_up":
            await self._record(self._entries.failed(step, "undo", "A person has given it up."))
            return
        if how == "run" and not await self._compensated(step, given, waits, inside):
            return
        committed = None if inside is None else inside.write
        self._entries.done(step, "undo", None, self._events.step_undone(step), committed)
        await self._hooks.tell("on_compensation_complete", step, context)

    async def _compensated(
        self, step: str, given: dict[str, Any], waits: CallWaits, inside: TransactionalCall | None
    ) -> bool:
        first = self._tries.given(step, "undo", given)
        await self._record(self._started(step, "undo", inside))
        tried = await self._tries.of(step, "undo", first, False, NO_LIMITS, waits, inside)
        if tried.left is not None:
            await self._left(step, "undo", tried.left)
            return False
        error = tried.error
        if error is None and is_unread(tried.value):
            error = not_awaited(f"The compensation of step {step!r}", tried.value)
        if error is not None:
            await self._record(self._entries.failed(step, "undo", masked_error(error), may_be_repeated=True))
        return error is None

    async def _started(self, step: str, phase: Phase, inside: TransactionalCall | None) -> None:
        if inside is None:
            has_one = self._prepared.graph.nodes[step].compensated
            compensated = phase == "do" and (has_one or self._entries.may_owe(step))
            await self._entries.started(step, phase, compensated=compensated)
        else:
            await self._entries.flushed()

    def _is_new(self, step: str, phase: Phase, before: Entry | None, waits: CallWaits) -> bool:
        """Prepare a call, and return whether hooks and listeners are to be told of it, as they are once per call."""
        self._environment.enter(self._run, step, phase, 0, waits)
        if self._lease.remaining <= 0:
            raise LeaseLost(f"Run {self._run.saga_id}: its lease ended before step {step!r} was called.")
        if before is None or before.begun:
            return True
        if before.status not in ("started", "waiting"):
            return before.error != ENTERED
        # Whether a process that died had told of it is not known.
        after_death = self._run.after_death and before.attempt == self._run.attempt - 1
        return after_death and before.status == "started"

    async def _record(self, write: Coroutine[Any, Any, None]) -> None:
        await unless_halted(self._halt, write)
