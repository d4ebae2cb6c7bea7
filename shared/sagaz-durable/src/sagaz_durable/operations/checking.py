"""The command ``check`` of all plugins: what is wrong with a store and what executes its runs, in the same words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from sagaz_durable.operations.thresholds import THRESHOLDS, Limits
from sagaz_durable.problem_types import (
    EVENTS_LATE,
    EVENTS_SET_ASIDE,
    NO_WORKER,
    RUN_FAILED,
    RUNS_ASKING,
    RUNS_IN_MEMORY,
    RUNS_LATE,
    SAGA_WITHOUT_WORKER,
    UNAVAILABLE,
    WAITS_LOST,
    WEBHOOKS_QUARANTINED,
    Finding,
)
from sagaz_durable.redaction import redact
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.listings import StoreStats
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreNotMigrated, StoreNotReady, StoreUnavailable

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["THRESHOLDS", "Health", "Limits", "check"]

_PATIENCE = 60.0
"""Seconds for which a due run may find no worker, as while a deployment replaces its processes."""


@record
class Health:
    """What `check` found.

    Attributes:
        store: The store's address without its password, or its kind.
        reachable: Whether it answered.
        migrated: Whether its tables are those that this release needs.
        stats: The figures, if it answered.
        findings: What a person has to look at; none when all is well.
        lost_waits: How many runs wait in a step or compensation that this deployment's class has not, by saga and step.
        quarantined: How many events of webhooks need a person.
        delayed: How many events of webhooks wait for the limit of their trigger.
        notes: What is worth knowing, and no problem.
    """

    store: str
    reachable: bool
    migrated: bool
    stats: StoreStats | None
    findings: tuple[Finding, ...] = ()
    lost_waits: dict[str, dict[str, int]] = field(default_factory=dict)
    quarantined: int = 0
    delayed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """What a person has to look at, in one text; None when all is well."""
        return " ".join(finding.text for finding in self.findings) or None

    @property
    def healthy(self) -> bool:
        """Whether runs can be started, somebody executes them, and no threshold is passed."""
        return not self.findings


async def check(
    runtime: SagazRuntime, limits: Limits | None = None, *, only_reads: bool = False, findings: Sequence[Finding] = ()
) -> Health:
    """Look at a runtime's store; one that is not open is opened for that, and closed.

    Args:
        only_reads: Whoever asks has no right to write, and needs none.
        findings: What the plugin has found already.
    """
    was_open = runtime.is_open
    runtime.only_reads = runtime.only_reads or only_reads
    try:
        if not was_open:
            await runtime.open()
        await runtime.store.check_ready(only_reads=only_reads)
        stats = await _stats(runtime.store)
        known = {saga for worker in await runtime.store.workers() if worker.kind != "web" for saga in worker.sagas}
        lost = await _lost_waits(runtime)
        quarantined = await runtime.store.count_quarantined()
        delayed = await runtime.store.count_delayed()
    except StoreNotReady as error:
        is_migrated = not isinstance(error, StoreNotMigrated)
        return Health(_address(runtime), True, is_migrated, None, (Finding(UNAVAILABLE, str(error)),))
    except StoreUnavailable as error:
        return Health(_address(runtime), False, False, None, (Finding(UNAVAILABLE, str(error)),))
    finally:
        if not was_open:
            await runtime.close()
    limits, wording = limits or Limits(), runtime.settings.wording
    found = [
        *findings,
        *_of_settings(runtime),
        *_of_runs(stats, known, limits, wording),
        *_of_lost_waits(lost, limits),
        *_of_events(stats, limits, wording),
        *_of_webhooks(quarantined, limits, wording),
    ]
    return Health(_address(runtime), True, True, stats, tuple(found), lost, quarantined, delayed, _notes(runtime))


async def _stats(store: SagaStore) -> StoreStats:
    """Return the figures, with the runs among those that are due for which a signal has come, and no worker yet."""
    stats, signalled = await store.stats(), await store.count_signalled()
    if not signalled:
        return stats
    by_saga = Counter(stats.due_by_saga) + Counter({saga: count for saga, (count, _) in signalled.items()})
    age = max(stats.oldest_due_age or 0.0, *(age for _, age in signalled.values()))
    return replace(stats, due=by_saga.total(), oldest_due_age=age, due_by_saga=dict(by_saga))


async def _lost_waits(runtime: SagazRuntime) -> dict[str, dict[str, int]]:
    steps = runtime.registry.known_steps()
    found: dict[str, dict[str, int]] = {}
    for (saga, step), count in sorted((await runtime.store.count_lost(steps)).items() if steps else ()):
        found.setdefault(saga, {})[step] = count
    return found


def _notes(runtime: SagazRuntime) -> tuple[str, ...]:
    from sagaz_durable.stores.sqlite.store import SQLiteStore

    steps = [
        f"{entry.name}.{node.name}"
        for entry in runtime.registry for node in entry.graph.nodes.values() if node.transactional
    ]  # fmt: skip
    if not (steps and isinstance(runtime.store, SQLiteStore)):
        return ()
    return (
        f"Transactional steps ({', '.join(steps)}) hold SQLite's write lock while they are called, and no lease can be "
        "renewed meanwhile: keep them short.",
    )


def _address(runtime: SagazRuntime) -> str:
    explicit = "storage_url" in runtime.settings.explicit
    return redact(runtime.settings.storage_url) if explicit else runtime.store.kind


def _of_settings(runtime: SagazRuntime) -> list[Finding]:
    if not runtime.store.embedded or "storage_url" in runtime.settings.explicit:
        return []
    return [
        Finding(
            RUNS_IN_MEMORY,
            "Runs are kept in memory, because no setting says where: set "
            f"{runtime.settings.wording.setting('storage_url')} (memory://, if that is what you want).",
        )
    ]


def _of_runs(stats: StoreStats, known: set[str], limits: Limits, wording: Wording) -> list[Finding]:
    found = _of_unknown_sagas(stats, known, limits)
    age = stats.oldest_due_age or 0.0
    if stats.due and not stats.live_workers and age >= _PATIENCE:
        text = (
            f"{stats.due} runs are due, the oldest for {age:.0f} s, and no worker is alive. Start "
            f"{wording.command('worker')}, or let the application run one."
        )
        found.append(Finding(NO_WORKER, text))
    elif limits.max_age is not None and age > limits.max_age:
        text = f"{stats.due} runs are due, the oldest for {age:.0f} s; at most {limits.max_age:g} s was asked for."
        found.append(Finding(RUNS_LATE, text))
    if limits.max_failed is not None and (failed := stats.counts["failed"]) > limits.max_failed:
        text = (
            f"{failed} runs have failed and need manual intervention; at most {limits.max_failed} was asked for. See "
            f"{wording.command('list', '--runs --status failed')}."
        )
        found.append(Finding(RUN_FAILED, text))
    if limits.max_asking is not None and stats.asking > limits.max_asking:
        text = (
            f"{stats.asking} runs wait for a person to decide; at most {limits.max_asking} was asked for. See "
            f"{wording.command('list', '--runs --status waiting')}, which has the signals that decide."
        )
        found.append(Finding(RUNS_ASKING, text))
    return found


def _of_unknown_sagas(stats: StoreStats, known: set[str], limits: Limits) -> list[Finding]:
    """Tell of runs for which there is no worker among those that live; that none lives is told otherwise."""
    unknown = {saga: count for saga, count in stats.due_by_saga.items() if saga not in known}
    if not stats.live_workers or sum(unknown.values()) <= limits.max_unknown:
        return []
    names = ", ".join(f"{count} of {saga!r}" for saga, count in sorted(unknown.items()))
    text = (
        f"No live worker knows the saga of runs that are due: {names}. Start a worker of the service, or the release, "
        "that has it; until then they stay as they are."
    )
    return [Finding(SAGA_WITHOUT_WORKER, text)]


def _of_lost_waits(lost: dict[str, dict[str, int]], limits: Limits) -> list[Finding]:
    places = [(count, step, saga) for saga, steps in lost.items() for step, count in steps.items()]
    if sum(count for count, _, _ in places) <= limits.max_lost_waits:
        return []
    names = ", ".join(f"{count} in {step!r} of {saga!r}" for count, step, saga in places)
    text = (
        f"Runs wait in a step that their saga has not in this deployment: {names}. Deploy a version that has it; a "
        "worker that starts without it makes them due, and they end as failed."
    )
    return [Finding(WAITS_LOST, text)]


def _of_events(stats: StoreStats, limits: Limits, wording: Wording) -> list[Finding]:
    found = []
    if stats.dead_events > limits.max_dead:
        text = (
            f"{stats.dead_events} events were set aside and need manual intervention. See "
            f"{wording.command('events', '--status dead')}, and {wording.command('events', '--retry')}."
        )
        found.append(Finding(EVENTS_SET_ASIDE, text))
    if (age := stats.oldest_unsent_age or 0.0) > limits.max_event_age:
        text = (
            f"An event has waited for {age:.0f} s to be sent; at most {limits.max_event_age:g} s is right. Look "
            "whether the broker answers, and whether a worker with its URL is alive."
        )
        found.append(Finding(EVENTS_LATE, text))
    return found


def _of_webhooks(quarantined: int, limits: Limits, wording: Wording) -> list[Finding]:
    if quarantined <= limits.max_quarantined:
        return []
    text = (
        f"{quarantined} webhooks are quarantined and need a person. See "
        f"{wording.command('webhooks', '--outcome quarantined')}, and {wording.command('webhooks', '--replay')}."
    )
    return [Finding(WEBHOOKS_QUARANTINED, text)]
