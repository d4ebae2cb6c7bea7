"""What the operators' commands do beneath their options, in every framework; each returns what to print."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from sagaz_durable.cli.numbers import AGE
from sagaz_durable.cli.render_runs import (
    outcomes_json,
    outcomes_text,
    report_json,
    report_text,
    runs_json,
    runs_text,
    time_text,
)
from sagaz_durable.cli.said import Said
from sagaz_durable.operations.operator import Operator
from sagaz_durable.operations.outcomes import Outcome, Settlement
from sagaz_durable.redaction import secret_keys
from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import RunRecord, RunStatus
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SettingsError

__all__ = [
    "LISTED",
    "PruneWords",
    "Selection",
    "decide_runs",
    "list_runs",
    "prune_runs",
    "read_age",
    "resolve_runs",
    "show_run",
]

Format = Literal["text", "json"]

LISTED = 50
"""How many rows are listed, if nobody says otherwise."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PAGE = 200


@record
class Selection:
    """The runs that a command is to decide about: those that are named, or (``every``) all of these statuses."""

    saga_ids: Sequence[str] = ()
    every: bool = False
    statuses: tuple[RunStatus, ...] = ()
    saga_name: str | None = None

    def check(self) -> None:
        """Refuse a selection that says nothing, or two things.

        Raises:
            SettingsError: Saying which.
        """
        if bool(self.saga_ids) == self.every:
            raise SettingsError("Name the runs by their saga_id, or say --all for all that match; one of the two.")
        if self.saga_ids and self.saga_name is not None:
            raise SettingsError("--saga chooses among all runs; leave it out, or say --all instead of a saga_id.")


@record
class PruneWords:
    """What ``prune`` was given on its command line; ``statuses`` are empty when none were."""

    saga_ids: Sequence[str] = ()
    contexts: bool = False
    older_than: str | None = None
    statuses: Sequence[RunStatus] = ()
    reason: str = ""

    def check(self) -> None:
        """Refuse words that say nothing, or two things.

        Raises:
            SettingsError: Saying which.
        """
        if not self.contexts and (self.saga_ids or self.reason):
            what = "A saga_id" if self.saga_ids else "--reason"
            raise SettingsError(f"{what} goes with --contexts, which erases; deleted are runs that are --older-than.")
        if bool(self.saga_ids) == (self.older_than is not None):
            named = "the runs by their saga_id, or (one of the two) " if self.contexts else ""
            raise SettingsError(f"Say {named}--older-than AGE: {AGE}.")
        if self.saga_ids and self.statuses:
            raise SettingsError("--status chooses among old runs; leave it out where runs are named by their saga_id.")


def read_age(text: str) -> timedelta:
    """Read how old something has to be.

    Raises:
        SettingsError: It is not `AGE`.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    if match is None:
        raise SettingsError(f"{value_text(text, 60)} is no age; expected {AGE}.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


async def list_runs(store: SagaStore, query: RunFilter, output: Format) -> Said:
    """List runs, newest first, with what those that wait are waiting for."""
    runs = await store.find(query) if findable(query.saga_name, query.correlation_id, query.owner) else []
    waits = await _open_waits(store, [run.saga_id for run in runs if run.status == "waiting"])
    return Said(runs_json(runs, waits) if output == "json" else runs_text(runs, waits))


async def _open_waits(store: SagaStore, saga_ids: Sequence[str]) -> dict[str, list[WaitRecord]]:
    found: dict[str, list[WaitRecord]] = {}
    for wait in await store.load_waits(*saga_ids) if saga_ids else ():
        if wait.outcome is None:
            found.setdefault(wait.saga_id, []).append(wait)
    return found


async def show_run(
    operator: Operator, saga_id: str, output: Format, *, values: bool, redact_keys: Sequence[str] = ()
) -> Said:
    """Show one run.

    Args:
        values: Whether to show its context and the results of its steps, without their secrets.
        redact_keys: The setting of that name.

    Raises:
        RunNotFound: There is none with this saga_id.
    """
    report = await operator.show(saga_id)
    render = report_json if output == "json" else report_text
    return Said(render(report, values=values, is_secret=secret_keys(redact_keys)))


async def decide_runs(
    operator: Operator,
    store: SagaStore,
    action: Literal["retry", "cancel", "run-now"],
    selection: Selection,
    output: Format,
    *,
    reason: str,
    dry_run: bool,
) -> Said:
    """Retry, cancel or bring forward the selected runs.

    Raises:
        SettingsError: The selection says nothing, or two things.
    """
    selection.check()
    saga_ids = selection.saga_ids or [run.saga_id for run in await _matching(store, selection)]
    decide = {"retry": operator.retry, "cancel": operator.cancel, "run-now": operator.run_now}[action]
    return _said([await decide(saga_id, reason=reason, dry_run=dry_run) for saga_id in saga_ids], output)


async def resolve_runs(
    operator: Operator, saga_ids: Sequence[str], settled: Settlement, output: Format, *, reason: str, dry_run: bool
) -> Said:
    """Note that these runs were settled by a person."""
    outcomes = [await operator.resolve(id_, settled, reason=reason, dry_run=dry_run) for id_ in saga_ids]
    return _said(outcomes, output)


async def prune_runs(
    operator: Operator,
    words: PruneWords,
    output: Format,
    *,
    keep_webhooks: tuple[float, float],
    dry_run: bool,
) -> Said:
    """Delete runs that ended long ago, or erase what they were given and have returned.

    Raises:
        SettingsError: The words say nothing, or two things, or ``older_than`` is not `AGE`.
    """
    words.check()
    if words.older_than is None:
        erased = [await operator.erase(id_, reason=words.reason, dry_run=dry_run) for id_ in words.saga_ids]
        return _said(erased, output)
    before, statuses = _ago(words.older_than), words.statuses or ("completed", "rolled_back")
    if words.contexts:
        count = await operator.erase_old(before, statuses, reason=words.reason, dry_run=dry_run)
    else:
        count = await operator.prune(before, statuses, dry_run=dry_run)
    only_runs = words.contexts or words.statuses
    signals = 0 if only_runs else await operator.prune_signals(before, dry_run=dry_run)
    answers = 0 if only_runs or dry_run else await operator.prune_keys()
    webhooks = 0 if only_runs else await operator.prune_webhooks(*map(_before, keep_webhooks), dry_run=dry_run)
    if output == "json":
        others = {
            name: deleted
            for name, deleted in (("signals", signals), ("answers", answers), ("webhooks", webhooks))
            if deleted
        }
        return Said(json.dumps({"runs": count, **others, "dry_run": dry_run, "before": before.isoformat()}))
    verbs = ("Would erase the contexts of", "Erased the contexts of") if words.contexts else ("Would delete", "Deleted")
    more = f", and {signals} signals that were taken, or sent in vain, before that" if signals else ""
    more += f", and {answers} answers to requests whose time was over" if answers else ""
    more += f", and {webhooks} webhooks whose time was over" if webhooks else ""
    return Said(f"{verbs[0 if dry_run else 1]} {count} runs that ended before {time_text(before)} UTC{more}.")


def _before(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def _ago(age: str) -> datetime:
    try:
        return datetime.now(UTC) - read_age(age)
    except OverflowError:
        raise SettingsError(f"{age!r} goes back to before the year 1; expected {AGE}.") from None


def _said(outcomes: Sequence[Outcome], output: Format) -> Said:
    text = outcomes_json(outcomes) if output == "json" else outcomes_text(outcomes)
    return Said(text, all(outcome.done for outcome in outcomes))


async def _matching(store: SagaStore, selection: Selection) -> list[RunRecord]:
    """Return all runs that match, read before the first is changed: a changed one may match no more, or again."""
    if not findable(selection.saga_name):
        return []
    query = RunFilter(statuses=selection.statuses, saga_name=selection.saga_name, limit=_PAGE)
    found: list[RunRecord] = []
    while page := await store.find(query):
        found += page
        query = replace(query, before=(page[-1].created_at, page[-1].saga_id))
    return found
