"""What people decide about runs from an application's own code: a support page, a script."""

# What decides is imported where it is needed; see `sagaz_durable.runtime.starting`.

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.operations.listing import Listing
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz_durable.operations.operator import Operator
    from sagaz_durable.operations.outcomes import Outcome, RunReport, Settlement

__all__ = ["Decisions", "named"]

T = TypeVar("T")


class Decisions(Listing):
    """Asks about runs, and decides about them as the operators' commands do, with the same audit."""

    async def status(self, saga_id: str) -> RunReport:
        """Return all that is known of a run; ``report.status`` is its status, ``report.run`` its row.

        Raises:
            RunNotFound: There is none with this saga_id.
            StoreUnavailable: The store cannot be asked.
        """
        # Whoever only looks needs no name.
        return await self._decide("", lambda operator: operator.show(saga_id))

    async def retry(
        self, saga_id: str, *, by: str, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Have a failed run go on where it stopped, or have its compensation tried again.

        The outcome tells what happens next; where ``outcome.done`` is false, ``outcome.message`` tells why nothing
        does: there is no such run, it is not one that can be retried, or nobody that is alive knows its saga.

        Args:
            by: Who decides, for the audit; it must not be empty.
            reason: Why, for the audit.
            dry_run: Tell what would be done, and do nothing.
            version: Decide only while the run has this version, as ``report.run.version`` of `status` was: nothing has
                been recorded of it since. Without, about the run as it is now.

        Raises:
            RunChanged: The run has another version; nothing was done.
            StoreUnavailable: The store cannot be asked.
            UsageError: ``by`` names nobody, ``reason`` is no text, or ``version`` no number.
        """
        return await self._decide(
            named(by, reason), lambda one: one.retry(saga_id, reason=reason, dry_run=dry_run, version=version)
        )

    async def cancel(
        self, saga_id: str, *, by: str, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Have a run compensate what it has done, instead of going on; a completed pivot refuses it.

        A run that is being executed stops within the renewal of its lease, and is compensated when the lease would
        have ended. Arguments, outcome and errors are those of `retry`.
        """
        return await self._decide(
            named(by, reason), lambda one: one.cancel(saga_id, reason=reason, dry_run=dry_run, version=version)
        )

    async def resolve(
        self,
        saga_id: str,
        settled: Settlement,
        *,
        by: str,
        reason: str,
        dry_run: bool = False,
        version: int | None = None,
    ) -> Outcome:
        """Note that a person has settled a failed run outside; nothing of it is called any more.

        Outcome, other arguments and errors are those of `retry`.

        Args:
            settled: ``completed`` or ``rolled_back``, whichever the person has seen to.
            reason: What was done; it is kept, and an empty one is refused.
        """
        return await self._decide(
            named(by, reason),
            lambda one: one.resolve(saga_id, settled, reason=reason, dry_run=dry_run, version=version),
        )

    async def run_now(
        self, saga_id: str, *, by: str, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Have a run go on now that is delayed, or that sleeps; a signal that it waits for is to be sent instead.

        Arguments, outcome and errors are those of `retry`.
        """
        return await self._decide(
            named(by, reason), lambda one: one.run_now(saga_id, reason=reason, dry_run=dry_run, version=version)
        )

    def run_now_sync(
        self, saga_id: str, *, by: str, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Do as `run_now`, in synchronous code."""
        return self._scope.call(lambda: self.run_now(saga_id, by=by, reason=reason, dry_run=dry_run, version=version))

    async def signal_run(
        self,
        saga_id: str,
        name: str,
        payload: ContextLike = NOTHING,
        *,
        by: str,
        reason: str = "",
        signal_id: str = "",
        dry_run: bool = False,
        version: int | None = None,
    ) -> Outcome:
        """Send a signal to a run as a person's decision, with a note in its audit; see `Sagas.send_signal`.

        Outcome, other arguments and errors are those of `retry`. A signal locks nothing of the run: with ``version``,
        the run had that when the signal was recorded, and may have gone on by the time of its commit. The same one
        sent again is no error, whatever version the run has by then.

        Args:
            name, payload, signal_id: Of the signal, as for `Sagas.send_signal`.

        Raises:
            InvalidInput: A name or id is malformed, or the payload cannot be recorded (`ContextValueError`).
        """
        settings = self._scope.settings
        return await self._decide(
            named(by, reason),
            lambda one: one.send_signal(
                settings, name, payload, saga_id=saga_id, signal_id=signal_id, reason=reason, dry_run=dry_run,
                version=version,
            ),
        )  # fmt: skip

    def signal_run_sync(
        self,
        saga_id: str,
        name: str,
        payload: ContextLike = NOTHING,
        *,
        by: str,
        reason: str = "",
        signal_id: str = "",
        dry_run: bool = False,
        version: int | None = None,
    ) -> Outcome:
        """Do as `signal_run`, in synchronous code."""
        return self._scope.call(
            lambda: self.signal_run(
                saga_id, name, payload, by=by, reason=reason, signal_id=signal_id, dry_run=dry_run, version=version
            )
        )

    def status_sync(self, saga_id: str) -> RunReport:
        """Do as `status`, in synchronous code."""
        return self._scope.call(lambda: self.status(saga_id))

    def retry_sync(
        self, saga_id: str, *, by: str, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Do as `retry`, in synchronous code."""
        return self._scope.call(lambda: self.retry(saga_id, by=by, reason=reason, dry_run=dry_run, version=version))

    def cancel_sync(
        self, saga_id: str, *, by: str, reason: str = "", dry_run: bool = False, version: int | None = None
    ) -> Outcome:
        """Do as `cancel`, in synchronous code."""
        return self._scope.call(lambda: self.cancel(saga_id, by=by, reason=reason, dry_run=dry_run, version=version))

    def resolve_sync(
        self,
        saga_id: str,
        settled: Settlement,
        *,
        by: str,
        reason: str,
        dry_run: bool = False,
        version: int | None = None,
    ) -> Outcome:
        """Do as `resolve`, in synchronous code."""
        return self._scope.call(
            lambda: self.resolve(saga_id, settled, by=by, reason=reason, dry_run=dry_run, version=version)
        )

    async def _decide(self, actor: str, work: Callable[[Operator], Awaitable[T]]) -> T:
        from sagaz_durable.operations.operator import Operator

        scope = self._scope

        async def decide() -> T:
            operator = Operator(
                scope.store,
                scope.registry,
                actor=actor,
                publishes=scope.publishes,
                wording=scope.settings.wording,
            )
            return await work(operator)

        return await scope.reach(decide)


def named(by: object, reason: object) -> str:
    """Return who decides, whatever the reason is, as long as it is text.

    Raises:
        UsageError: It names nobody, or the reason is none.
    """
    if not isinstance(reason, str):
        raise UsageError(f"reason={value_text(reason, 60)}: expected a text, or nothing.")
    if isinstance(by, str) and by.strip():
        return by
    raise UsageError(
        f"by={value_text(by, 60)} names nobody, and who decides about a run is kept with it. Expected a name, as "
        'by=request.user.email or by="nightly clean-up".'
    )
