"""What each command does with the values of its options, in every framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sagaz_durable.cli.events import EventsRequest, answer
from sagaz_durable.cli.render_health import health_json, health_text
from sagaz_durable.cli.runs import (
    LISTED,
    PruneWords,
    Selection,
    decide_runs,
    list_runs,
    prune_runs,
    resolve_runs,
    show_run,
)
from sagaz_durable.cli.said import Said
from sagaz_durable.cli.signals import list_signals, send_signal
from sagaz_durable.cli.webhooks import dismiss_webhooks, list_webhooks, replay_webhooks
from sagaz_durable.operations import catalogue
from sagaz_durable.operations.checking import THRESHOLDS, Limits, check
from sagaz_durable.operations.operator import Operator
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import RunStatus
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import Scope
    from sagaz_durable.problem_types import Finding
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = [
    "cancel",
    "check_store",
    "events",
    "list_sagas_or_runs",
    "migrate",
    "prune",
    "resolve",
    "retry",
    "run_now",
    "show",
    "signal",
    "webhooks",
]

Values = Mapping[str, Any]


async def list_sagas_or_runs(scope: Scope, given: Values) -> Said:
    """List the sagas, for which no store is needed, or runs, or signals.

    Raises:
        SettingsError: An option is about another listing.
    """
    _refuse_other_filters(given)
    limit = given["limit"] or LISTED
    if given["signals"]:
        return await list_signals(scope.store, limit, given["format"])
    if given["runs"]:
        query = RunFilter(given["status"], given["saga"], given["correlation_id"], given["owner"], limit)
        return await list_runs(scope.store, query, given["format"])
    found = catalogue.list_sagas(scope)
    as_json = given["format"] == "json"
    return Said(catalogue.as_json(found) if as_json else catalogue.list_text(found, scope.settings.wording.sagas))


def _refuse_other_filters(given: Values) -> None:
    of_runs = [
        f"--{name.replace('_', '-')}" for name in ("runs", "status", "saga", "owner", "correlation_id") if given[name]
    ]
    if given["signals"]:
        if of_runs:
            raise SettingsError(f"{of_runs[0]} is about runs; leave it out, or --signals.")
    elif not given["runs"]:
        if of_runs:
            raise SettingsError(f"{of_runs[0]} is about runs; add --runs, or leave it out.")
        if given["limit"] is not None:
            raise SettingsError("--limit is about runs or signals; add --runs or --signals, or leave it out.")


async def show(scope: Scope, given: Values) -> Said:
    """Show one run."""
    return await show_run(
        _operator(scope), given["saga_id"], given["format"], values=given["context"],
        redact_keys=scope.settings.redact_keys,
    )  # fmt: skip


async def retry(scope: Scope, given: Values) -> Said:
    """Have failed runs go on."""
    return await _decide(scope, given, "retry", ("failed",))


async def cancel(scope: Scope, given: Values) -> Said:
    """Have runs compensate what they have done."""
    return await _decide(scope, given, "cancel", ("pending", "executing", "waiting"))


async def run_now(scope: Scope, given: Values) -> Said:
    """Have runs go on that are delayed or asleep."""
    return await _decide(scope, given, "run-now", ("pending", "compensating", "waiting"))


async def signal(scope: Scope, given: Values) -> Said:
    """Send a signal."""
    return await send_signal(_operator(scope, given["by"]), scope.settings, given)


async def resolve(scope: Scope, given: Values) -> Said:
    """Note that failed runs were settled by a person."""
    return await resolve_runs(
        _operator(scope, given["by"]), given["saga_ids"], given["settled"], given["format"], reason=given["reason"],
        dry_run=given["dry_run"],
    )  # fmt: skip


async def prune(scope: Scope, given: Values) -> Said:
    """Delete runs, or erase what they were given and have returned."""
    words = PruneWords(given["saga_ids"], given["contexts"], given["older_than"], given["status"], given["reason"])
    keep = scope.settings.keep_webhooks_seconds, scope.settings.keep_ignored_webhooks_seconds
    operator = _operator(scope, given["by"])
    return await prune_runs(operator, words, given["format"], keep_webhooks=keep, dry_run=given["dry_run"])


async def events(scope: Scope, given: Values) -> Said:
    """List events, or have those that were set aside published."""
    request = EventsRequest(
        event_ids=given["event_ids"],
        statuses=given["status"],
        topic=given["topic"],
        key=given["key"],
        limit=given["limit"],
        payload=given["payload"],
        retry=given["retry"],
        every=given["all"],
        by=given["by"],
        dry_run=given["dry_run"],
        output=given["format"],
    )
    return await answer(scope.store, request, redact_keys=scope.settings.redact_keys)


async def webhooks(scope: Scope, given: Values) -> Said:
    """List webhooks' events, or replay or dismiss those that are quarantined."""
    if given["dismiss"]:
        return await dismiss_webhooks(scope, given)
    if not given["replay"]:
        return await list_webhooks(scope, given)
    # Where the framework has code called in a way of its own, its scope says how.
    return await replay_webhooks(scope, given, getattr(scope, "handler_hook", None) or (lambda method: method))


async def check_store(
    runtime: SagazRuntime, given: Values, *, findings: Sequence[Finding] = (), place: str | None = None
) -> Said:
    """Look at a runtime's store; it need not be open.

    Args:
        findings: What the plugin has found already.
        place: What to call the place that the runs are kept in.
    """
    limits = Limits(**{name: given[name] for name in THRESHOLDS})
    health = await check(runtime, limits, only_reads=given["read_only"], findings=findings)
    health = health if place is None else replace(health, store=place)
    return Said(health_json(health) if given["format"] == "json" else health_text(health), health.healthy)


async def migrate(runtime: SagazRuntime, given: Values) -> Said:
    """Bring the tables of a runtime's store up to date, which need not be open."""
    return Said(await catalogue.migrate(runtime))


async def _decide(
    scope: Scope, given: Values, action: Literal["retry", "cancel", "run-now"], statuses: tuple[RunStatus, ...]
) -> Said:
    chosen = Selection(given["saga_ids"], given["all"], statuses, given["saga"])
    return await decide_runs(
        _operator(scope, given["by"]), scope.store, action, chosen, given["format"], reason=given["reason"],
        dry_run=given["dry_run"],
    )  # fmt: skip


def _operator(scope: Scope, actor: str = "") -> Operator:
    return Operator(scope.store, scope.registry, actor=actor, publishes=scope.publishes, wording=scope.settings.wording)
