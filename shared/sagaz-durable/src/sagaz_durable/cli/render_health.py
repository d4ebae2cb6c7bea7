"""What `check` found, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from sagaz_durable.operations.checking import Health
from sagaz_durable.problem_types import references
from sagaz_integration_core.error_text import visible

__all__ = ["health_json", "health_text"]


def health_text(health: Health) -> str:
    """Render what `check` found for people."""
    lines = [("store", health.store), ("reachable", _yes(health.reachable)), ("tables", _tables(health))]
    if (stats := health.stats) is not None:
        lines += [
            ("runs", ", ".join(f"{count} {status}" for status, count in stats.counts.items())),
            ("due", f"{stats.due}{_oldest(stats.oldest_due_age)}"),
            ("workers", f"{stats.live_workers} alive"),
            ("people", f"{stats.asking} runs wait for one"),
            ("signals", f"{stats.untaken_signals} not taken"),
            ("deadlines", f"{stats.overdue} passed"),
            ("events", f"{stats.dead_events} set aside{_oldest(stats.oldest_unsent_age, 'unsent ')}"),
            ("webhooks", f"{health.quarantined} quarantined{_delayed(health)}"),
        ]
    if health.store.startswith("memory"):
        lines.append(("note", "each process has a memory of its own; this is not what the server runs"))
    lines += [("note", note) for note in health.notes]
    lines.append(("problem", health.problem or "none"))
    shown = [f"{name:<10} {value}" for name, value in lines]
    return "\n".join(map(visible, [*shown, *references(finding.kind for finding in health.findings)]))


def _delayed(health: Health) -> str:
    return f", {health.delayed} delayed" if health.delayed else ""


def _oldest(age: float | None, of: str = "") -> str:
    return "" if age is None else f", the oldest {of}for {age:.1f} s"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tables(health: Health) -> str:
    if health.migrated:
        return "up to date"
    return "missing or old" if health.reachable else "unknown"


def health_json(health: Health) -> str:
    """Render what `check` found for programs; the keys are the attributes' names, ``problem`` and ``healthy``."""
    findings = [finding.document() for finding in health.findings]
    told = {**asdict(health), "findings": findings, "problem": health.problem, "healthy": health.healthy}
    return json.dumps(told, indent=2)
