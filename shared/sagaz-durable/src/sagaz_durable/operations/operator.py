"""What people decide about runs that need them: retry, cancel, resolve; the same for commands and admin pages."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.engine.state import passed_pivots
from sagaz_durable.operations.outcomes import (
    Outcome,
    RunReport,
    Settlement,
    by_call,
    changed,
    check_version,
    missing,
    views_of,
)
from sagaz_durable.operations.removal import TRIES
from sagaz_durable.operations.sending import Sender
from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.contract.decisions import Action, Intervention
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import FOREIGN, RunRecord, RunStatus, StepRecord, erased_as
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.error_text import storable
from sagaz_integration_core.errors import RunNotFound

__all__ = ["Operator"]

logger = logging.getLogger("sagaz_durable.audit")


@record
class _Decision:
    status: RunStatus
    message: str
    error: str | None = None


@record
class _Refusal:
    message: str


class Operator(Sender):
    """One person, in front of one store.

    Two people may decide about a run at once, and a worker may execute it meanwhile: each decision takes effect on
    the very state that it was taken for, or is taken anew for the state that there is now. One that is given the
    ``version`` of the run for which it was taken is not taken anew: where the run has another, `RunChanged` is raised.

    Args:
        registry: Tells which steps are pivots; a saga that is not registered is taken to have none.
        actor: Who decides, for the audit.
        publishes: Whether outcomes are written to the outbox.
        wording: How commands are spelled.
    """

    def __init__(
        self,
        store: SagaStore,
        registry: SagaRegistry,
        *,
        actor: str,
        publishes: bool = False,
        wording: Wording = NEUTRAL,
    ) -> None:
        super().__init__(store, actor, wording)
        self._registry = registry
        self._publishes = publishes

    async def show(self, saga_id: str) -> RunReport:
        """Return all that is known of a run.

        Raises:
            RunNotFound: There is none with this saga_id.
        """
        run = await self._find(saga_id)
        if run is None:
            raise RunNotFound(missing(saga_id))
        steps = await self._store.load_steps(saga_id)
        audit, attempts = await self._store.load_audit(saga_id), await self._store.load_attempts(saga_id)
        waits = await self._store.load_waits(saga_id)
        views = views_of(run, steps, self._registry)
        return RunReport(run, tuple(steps), tuple(audit), tuple(attempts), views, tuple(waits))

    async def retry(
        self, saga_id: str, *, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Have a failed run go on where it stopped, or have its compensation tried again, with no failures counted."""
        return await self._decide(saga_id, "retry", reason, dry_run, None, version)

    async def cancel(
        self, saga_id: str, *, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Have a run compensate what it has done, instead of going on.

        A run that is being executed stops within the renewal of its lease, and is compensated when the lease would
        have ended: then no step of it can be under way any more.
        """
        return await self._decide(saga_id, "cancel", reason, dry_run, None, version)

    async def resolve(
        self, saga_id: str, settled: Settlement, *, reason: str, dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Note that a person has settled a failed run outside; nothing of it is called any more.

        Args:
            settled: ``completed`` or ``rolled_back``, whichever the person has seen to.
            reason: What was done; it is kept, and must not be empty.
        """
        return await self._decide(saga_id, "resolve", reason, dry_run, settled, version)

    async def run_now(
        self, saga_id: str, *, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Have a run go on now that is delayed, or that sleeps; what it waits for by name is not brought forward.

        Delayed is what was started for later, and what a failure of ours has given back, compensations included.
        """
        return await self._decide(saga_id, "run-now", reason, dry_run, None, version)

    async def _decide(
        self, saga_id: str, action: Action, reason: str, dry_run: bool, settled: Settlement | None, version: int | None
    ) -> Outcome:
        check_version(version, saga_id)
        message, reason = missing(saga_id), storable(reason)
        run: RunRecord | None = None
        for _ in range(TRIES):
            run = await self._find(saga_id)
            if run is None:
                return Outcome(saga_id, action, False, None, message)
            if version not in (None, run.version):
                raise changed(run, version)
            decision = await self._consider(run, action, reason, settled)
            if isinstance(decision, _Refusal):
                return Outcome(saga_id, action, False, run.status, decision.message)
            if dry_run:
                return Outcome(saga_id, action, True, run.status, f"Would do: {decision.message}")
            if await self._carry_out(run, action, reason, decision, version):
                return Outcome(saga_id, action, True, decision.status, decision.message)
            message = f"Run {saga_id} changed {TRIES} times meanwhile. Look at it and try again."
        return Outcome(saga_id, action, False, None if run is None else run.status, message)

    async def _consider(
        self, run: RunRecord, action: Action, reason: str, settled: Settlement | None
    ) -> _Decision | _Refusal:
        if action == "resolve" and not reason.strip():
            return _Refusal("Say what was done: a reason is kept with a resolved run.")
        if run.fingerprint == FOREIGN:
            return _Refusal(f"Run {run.saga_id} belongs to sagaz's own engine, which this is not.")
        if action != "resolve" and erased_as(run.fingerprint) is not None:
            return _Refusal(
                f"What run {run.saga_id} was given was erased, so that it can neither go on nor be compensated: no "
                f"{action}. Settle it by hand, and resolve it if it is failed."
            )
        if settled is None and not await self._is_known(run.saga_name):
            return _Refusal(
                f"Neither this application nor a live worker knows saga {run.saga_name!r}, so nobody would do it; "
                f"run {run.saga_id} is left as it is. Start a worker that has the saga, then {action} again."
            )
        if action == "cancel":
            return await self._cancel(run, reason)
        if action == "run-now":
            return await self._run_now(run)
        if run.status != "failed":
            return _Refusal(f"Only a failed run takes a {action}; run {run.saga_id} is {run.status}.")
        if settled is not None:
            return _Decision(settled, f"Settled as {settled}.")
        return await self._retry(run)

    async def _is_known(self, saga_name: str) -> bool:
        return saga_name in self._registry or any(saga_name in one.sagas for one in await self._store.workers())

    async def _cancel(self, run: RunRecord, reason: str) -> _Decision | _Refusal:
        if run.status == "waiting" and run.direction == "back":
            return _Refusal(f"Run {run.saga_id} is rolling back already, and waits in a compensation.")
        if run.status in ("completed", "rolled_back", "compensating"):
            return _Refusal(f"Run {run.saga_id} is {run.status}: there is nothing to cancel.")
        steps = await self._store.load_steps(run.saga_id)
        if pivots := self._passed_pivots(run, steps):
            return _Refusal(
                f"Run {run.saga_id} has completed its pivot {', '.join(pivots)}, behind which nothing is rolled back. "
                "Let it go on (retry a failed one), or settle it by hand and resolve it."
            )
        message = f"What it has done is compensated{_when(run)}."
        return _Decision("compensating", message, _cancelled(self._actor, reason))

    async def _run_now(self, run: RunRecord) -> _Decision | _Refusal:
        if run.status == "pending":
            return _Decision("pending", "It is due now.")
        if run.status == "compensating" and run.lease_expires_at is None:
            return _Decision("compensating", "Its compensation goes on now.")
        if run.status != "waiting":
            return _Refusal(f"Run {run.saga_id} is {run.status}: only what is delayed or asleep is brought forward.")
        waits = [wait for wait in await self._store.load_waits(run.saga_id) if wait.outcome is None]
        if not any(wait.name == "" for wait in waits):
            names = ", ".join(repr(wait.name) for wait in waits)
            return _Refusal(f"Run {run.saga_id} waits for the signal {names}, and not for a time: send it that signal.")
        return _Decision("waiting", "Its sleep is over now.")

    async def _retry(self, run: RunRecord) -> _Decision:
        steps = await self._store.load_steps(run.saga_id)
        why = await self._rolls_back_because(run, steps)
        if why is None:
            return _Decision("pending", "It goes on where it stopped.")
        return _Decision("compensating", "Its compensation is tried again.", why)

    async def _rolls_back_because(self, run: RunRecord, steps: Sequence[StepRecord]) -> str | None:
        """Why a failed run was rolling back; None if it was not, or has passed a pivot and can only go forward."""
        if run.direction == "forward":
            return None
        undone = any(step.phase == "undo" for step in steps)
        if not undone and self._passed_pivots(run, steps):
            return None
        for entry in reversed(await self._store.load_audit(run.saga_id)):
            if entry.action == "cancel":
                return _cancelled(entry.actor, entry.reason)
        for step in steps:
            if step.phase == "do" and step.status in ("failed", "in_doubt"):
                return f"step {step.step!r}: {step.error}"
        return run.error or "The run was rolling back."

    def _passed_pivots(self, run: RunRecord, steps: Sequence[StepRecord]) -> list[str]:
        return passed_pivots(self._registry.graph(run.saga_name), by_call(steps))

    async def _carry_out(
        self, run: RunRecord, action: Action, reason: str, decision: _Decision, version: int | None
    ) -> bool:
        # The decision has an attempt of its own, as a process that executes the run has.
        attempt = run.attempt + 1
        events = EventLog(run.saga_id, run.saga_name, run.correlation_id, attempt, enabled=self._publishes)
        change = Intervention(
            run.saga_id,
            run.attempt,
            run.status,
            decision.status,
            action,
            self._actor,
            reason,
            decision.error,
            # A failed run has told of its failure already.
            events.completed() if decision.status == "completed" else (),
            version,
        )
        done = await self._store.intervene(change) or await self._was_done(change)
        if done:
            logger.warning(
                "%s of run %s (saga %r) by %s: %s, now %s%s",
                action, run.saga_id, run.saga_name, self._actor, run.status, decision.status,
                f" ({reason})" if reason else "",
                extra={"saga_id": run.saga_id, "saga_name": run.saga_name, "attempt": attempt},
            )  # fmt: skip
        return done

    async def _was_done(self, change: Intervention) -> bool:
        # A commit whose answer was lost was sent again, and then refused: the note tells that it was this one.
        now = await self._store.load(change.saga_id)
        if now is None or (now.attempt, now.status) != (change.attempt + 1, change.status):
            return False
        notes = await self._store.load_audit(change.saga_id)
        expected = (change.action, change.actor, change.reason)
        return bool(notes) and (notes[-1].action, notes[-1].actor, notes[-1].reason) == expected


def _cancelled(actor: str, reason: str) -> str:
    """Why a run rolls back that a person has cancelled, as its row and its retries tell."""
    return f"cancelled by {actor}" + (f": {reason}" if reason else "")


def _when(run: RunRecord) -> str:
    if run.lease_expires_at is None:
        return ""
    return f" when the lease of the process that executes it has ended, at {run.lease_expires_at:%H:%M:%S} UTC"
