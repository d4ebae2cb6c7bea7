"""Deciding, by the handler or by a person, how a run goes on when a step has failed behind a pivot."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

from sagaz_durable._upstream.instances import Prepared
from sagaz_durable._upstream.recoveries import action_value
from sagaz_durable.calls.context_values import RunValues
from sagaz_durable.calls.foreign import is_a, is_awaitable
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.calls.step_result import Tried, assigned, fitting, not_awaited
from sagaz_durable.calls.tries import Halted, Tries
from sagaz_durable.concurrency.cancellation import Halt
from sagaz_durable.engine.course import Course
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.engine.recovery.people import answer, asked, options
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.recovery import Action, Recovery, action_of, decoded, encoded
from sagaz_durable.serialization.tagging import untagged
from sagaz_integration_core.contract.records import ClaimedRun, Phase
from sagaz_integration_core.contract.statuses import Call
from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import ContextValueError, StepError

__all__ = ["Recoveries", "unless_halted"]

logger = logging.getLogger(__name__)


class Recoveries:
    """The recoveries of one run: at most one of a step is under way at once.

    A handler that raises, returns something else, or wants what cannot be done has decided nothing: a person is asked.

    Args:
        halt: Of the run.
    """

    def __init__(
        self,
        run: ClaimedRun,
        prepared: Prepared,
        environment: StepEnvironment,
        entries: Entries,
        values: RunValues,
        tries: Tries,
        course: Course,
        halt: Halt,
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._environment = environment
        self._entries = entries
        self._values = values
        self._tries = tries
        self._course = course
        self._halt = halt
        for step, text in entries.recoveries.items():
            values.recover(step, self._decoded(text).changes)

    def is_due(self, step: str, error: Exception) -> bool:
        """Whether the failure of a step is to be recovered, and not the end of the way forward; take note of it."""
        if self._prepared.steps[step].recovery is None or self._course.direction == "back":
            return False
        self._prepared.failures[step] = error
        return True

    def times(self, step: str) -> int:
        """Return how often a step was called again because of its recovery."""
        return self._decoded(self._entries.recovered(step)).times

    async def decide(self, step: str) -> None:
        """Have a person's decision carried out, or else call the handler, and journal what it decides."""
        before = self._decoded(self._entries.recovered(step))
        if (said := answer((step, "redo"), self._entries.waits.of((step, "redo")))) is not None:
            given, tree = self._values.given_to(step), said.get("context", {})
            try:
                # Nobody can say Decimal in a form, or on a command line.
                changed = untagged(tree, type(self._prepared.saga))
                set_ = fitting(step, given, changed, self._prepared.types)
            except ContextValueError as error:
                self._ask(step, f"a person wants to change the context, and {error}", before)
                return
            await self._carry_out(step, said["action"], Recovery(0, {**before.changes, **set_}), "a person")
        elif self._prepared.steps[step].recovery is None:
            self._ask(step, "its handler is not in this deployment", before)
        else:
            await self._call(step, before)

    async def _call(self, step: str, before: Recovery) -> None:
        failed = self._entries.get(step, "do")
        # After a restart, what it raised is known by its text.
        self._prepared.failures.setdefault(step, StepError((failed and failed.error) or "It failed."))
        given = self._tries.given(step, "redo", self._values.given_to(step))
        await unless_halted(self._halt, self._entries.resumed(step, "redo"))
        waits = self._entries.waits.of_call((step, "redo"))
        self._environment.enter(self._run, step, "redo", 0, waits)
        tried = await self._tries.of(step, "redo", given, False, self._course, waits)
        if self._course.direction == "back":
            # What it has decided is of no use any more: a step beside it has failed.
            return
        if tried.left is not None:
            self._entries.waiting(step, "redo", tried.left.new)
            return
        try:
            set_ = {} if tried.error is not None else assigned(step, tried, self._prepared.types)
            after = Recovery(before.times, {**before.changes, **set_})
            self._text(None, after)
        except Exception as error:
            told = error if is_a(error, ContextValueError) else f"it cannot be read: {masked_error(error)}"
            self._ask(step, f"its handler changed the context, and {told}", before)
            return
        action, why = _decision_of(tried)
        if action is None:
            self._ask(step, why, after)
            return
        if action in ("retry", "retry_alt"):
            if before.times >= self._prepared.steps[step].recovery.max_retries:  # type: ignore[union-attr]
                self._ask(step, f"its handler wants a further retry after {before.times}", after)
                return
            after = Recovery(before.times + 1, after.changes)
        await self._carry_out(step, action, after, "its handler")
        if after.times > before.times:
            await self._course.pause(self._environment.backoff(after.times))

    async def _carry_out(self, step: str, action: Action, after: Recovery, who: str) -> None:
        if action == "compensate" and (lasting := self._lasting_pivots(step)):
            names = ", ".join(map(repr, lasting))
            self._ask(step, f"{who} wants the pivots compensated, and {names} has no compensation", after)
            return
        self._values.recover(step, after.changes)
        if action == "skip" and (lacks := self._lacks_without(step)) is not None:
            self._ask(step, f"{who} wants to skip it, and {lacks}", after)
            return
        text, decision = self._text(action, after), None
        if action in ("compensate", "give_up"):
            failed = self._entries.get(step, "do")
            what = "the pivots before it are compensated" if action == "compensate" else "it is given up"
            why = f"{(failed and failed.error) or 'failed'}; {what}, as {who} has decided"
            decision = self._course.turn(step, self._prepared.failures.get(step), why)
        write = self._entries.decided_about(step, text, decision, is_kept=action == "give_up")
        await unless_halted(self._halt, write)

    def _lacks_without(self, step: str) -> str | None:
        """Say what a step behind a skipped one takes, and nobody returns then: the run could not go on."""
        types, graph = self._prepared.types, self._prepared.graph
        for name in graph.nodes if types is not None else ():
            if step in graph.ancestors[name]:
                to_come = [one for one in graph.ancestors[name] if one != step and not self._is_skipped(one)]
                if lacking := types.lacking(name, self._values.given_to(name), to_come):  # type: ignore[union-attr]
                    takes, field = lacking
                    return f"step {name!r} takes {takes}, whose field {field!r} is missing then; set it in the context"
        return None

    def _is_skipped(self, step: str) -> bool:
        entry = self._entries.get(step, "redo")
        return entry is not None and action_of(entry) == "skip"

    def _lasting_pivots(self, step: str) -> list[str]:
        graph = self._prepared.graph
        return [
            name for name in graph.ancestors[step]
            if graph.nodes[name].pivot and not graph.nodes[name].compensated
        ]  # fmt: skip

    def _ask(self, step: str, why: str, after: Recovery) -> None:
        call: Call = (step, "redo")
        self._values.recover(step, after.changes)
        wait = asked(call, self._run.attempt)
        self._entries.asks(call, wait, why, self._text(None, after))
        self._tell_people(f"step {step!r} has failed, and {why}", wait.name, "redo")

    def way_to_undo(self, step: str) -> str:
        """Return how a step is compensated: by being ``run``, as a person has ``done`` it, or not, as he gave it up.

        ``ask``: a person has to say so, and is asked.
        """
        call: Call = (step, "undo")
        if (said := answer(call, self._entries.waits.of(call))) is not None:
            return str(said["action"])
        if not self._prepared.steps[step].manual:
            return "run"
        wait = asked(call, self._run.attempt)
        self._entries.asks(call, wait, "A person has to compensate it.")
        self._tell_people(f"step {step!r} is to be compensated by one", wait.name, "undo")
        return "ask"

    def _tell_people(self, what: str, signal: str, phase: Phase) -> None:
        logger.warning(
            "Run %s of saga %r waits for a person: %s. Send it the signal %r with one of the actions %s.",
            self._run.saga_id, self._run.saga_name, what, signal, ", ".join(options(phase)),
        )  # fmt: skip

    def _text(self, action: Action | None, recovery: Recovery) -> str:
        limit, wording = self._environment.max_bytes, self._environment.wording
        return encoded(action, recovery, limit, wording, type(self._prepared.saga))

    def _decoded(self, text: str | None) -> Recovery:
        return decoded(text, type(self._prepared.saga))


def _decision_of(tried: Tried) -> tuple[Action | None, str]:
    """Return what a handler has decided; None, and why, if a person has to."""
    if tried.error is not None:
        return None, f"its handler raised {masked_error(tried.error)}"
    if is_awaitable(tried.value):
        return None, str(not_awaited("its handler", tried.value))
    action: Any = action_value(tried.value)
    if action is None:
        return None, f"its handler returned a {type_name(tried.value)}, and no RecoveryAction"
    return (None, "its handler wants a person") if action == "manual" else (action, "")


async def unless_halted(halt: Halt, write: Coroutine[Any, Any, None]) -> None:
    """Await a write of the journal, unless the run is being stopped.

    One that cannot be written raises out of the call, which halts the run: no step has failed by that.

    Raises:
        Halted: It is.
    """
    if halt.reason is not None:
        write.close()
        raise Halted
    await write
