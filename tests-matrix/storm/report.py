"""The summary of a storm: what raged, what became of everything, and what was contradicted."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from storm.attribution import deaths_met, reasons, visits
from storm.checker import by_saga, contradictions
from storm.storm import Evidence
from storm.webhook_checks import moments

__all__ = ["judge", "summary"]


def summary(evidence: Evidence) -> dict[str, Any]:
    """Return the figures and the verdicts."""
    plan, lines = evidence.plan, by_saga(evidence)
    acknowledged = {saga_id for sent in evidence.sent for saga_id in sent.saga_ids}
    return {
        "seed": plan.seed,
        "workers": plan.workers,
        "servers": plan.webs,
        "seconds until": {what: round(seconds, 1) for what, seconds in evidence.phases.items()},
        "orders": len(evidence.sent),
        "acknowledged": len(acknowledged),
        "unanswered": {
            sent.order.key: sorted(run.saga_id for run in evidence.runs if json.loads(run.context)["number"] == number)
            for number, sent in enumerate(evidence.sent)
            if sent.unanswered and not sent.acknowledged
        },
        "refused": sum(bool(sent.refusals) and not sent.acknowledged for sent in evidence.sent),
        "runs": len(evidence.runs),
        "statuses": dict(Counter(run.status for run in evidence.runs)),
        "kills": evidence.kills,
        "struck": dict(evidence.struck),
        "intended": dict(plan.intended()),
        "crashes inside compensations": sum(line.event == "suicide" for line in evidence.lines),
        "signals": len(evidence.signalled),
        "signals repeated": sum(one.repeated for one in evidence.signalled),
        "signals that nobody took": sum(signal.taken_by is None for signal in evidence.signals),
        "webhooks": dict(Counter(row.outcome for row in evidence.webhooks)),
        "webhooks came": dict(moments(evidence)),
        "deliveries of webhooks": sum(len(one.deliveries) for one in evidence.signalled),
        "deaths during": dict(deaths_met(evidence, lines)),
        "processes stopped": len(evidence.stops),
        "rows locked by others": len(evidence.locks),
        "writes refused for": [round(ended - began, 2) for began, ended in evidence.refused],
        "database restarts": [round(up - down, 2) for down, up in evidence.outages],
        "processes that left by themselves": len(evidence.exits),
        "processes per run": dict(sorted(Counter(len(visits(found)) for found in lines.values()).items())),
        "calls of steps": sum(line.event == "begin" for line in evidence.lines),
        "repeated calls": dict(reasons(evidence, lines)[0]),
        "contradictions": contradictions(evidence),
    }


def judge(evidence: Evidence, folder: Path) -> None:
    """Write the summary, beside the ledger and to SAGAZ_TEST_STORM_DIR, and fail if anything is contradicted."""
    told = summary(evidence)
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (folder / "summary.json").write_text(text)
    if kept := os.environ.get("SAGAZ_TEST_STORM_DIR"):
        (Path(kept) / folder.name / "summary.json").write_text(text)
    found = {name: said[:10] for name, said in told["contradictions"].items() if said}
    assert not found, f"seed {evidence.plan.seed}: {json.dumps(found, indent=1, ensure_ascii=False)}"
