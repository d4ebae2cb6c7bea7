"""The report: a JSON file with every round, and a Markdown page that is made of nothing else but it and the notes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.model import Job, Target
from benchmarks.harness.processes import ROOT
from benchmarks.harness.rounds import Results
from benchmarks.harness.stats import figures_of, of_target, ratios, spread

__all__ = ["read", "verdicts", "write"]

_NOTES = ROOT / "benchmarks/notes.toml"
_INTRODUCTION = """# Report

Made by `python -m benchmarks`; see [README](../README.md) for what is compared, and how. Each figure is the median of
its rounds, with the quartiles in brackets; a ratio is the median of the ratios of each round. Every round is in
[report.json](report.json). Compare ratios; figures are this machine's.
"""


def read(folder: Path) -> dict[str, Any]:
    """Return what the last runs have measured, by job."""
    path = folder / "report.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write(folder: Path, jobs: Sequence[Job], found: dict[str, Any]) -> None:
    """Write both files; ``found`` has, by job, ``facts``, ``versions``, ``rounds``, ``left_out`` and ``charts``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    notes = tomllib.loads(_NOTES.read_text())
    measured = [job for job in jobs if job.name in found]
    lines = [_INTRODUCTION, *_summary(measured, found)]
    for job in measured:
        lines += _job(job, found[job.name], notes)
    lines += _machines(measured, found)
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def results_of(entry: dict[str, Any]) -> Results:
    """Return what was measured as the harness had it."""
    return Results(entry["rounds"], entry["left_out"])


def verdicts(job: Job, results: Results) -> Iterator[tuple[Target, str, str]]:
    """Give each target with its figure and whether it was met."""
    for target in job.targets:
        values = of_target(target, results.rounds)
        if not values:
            yield target, "–", "not measured"
            continue
        found = spread(values)
        figure = f"{_short(found.median)} ({_short(found.low)}–{_short(found.high)})"
        yield target, figure, "met" if target.met(found.median) else "**not met**"


def _summary(jobs: Sequence[Job], found: dict[str, Any]) -> Iterator[str]:
    yield "| Job | Targets met | Not met | Not measured |"
    yield "| --- | --- | --- | --- |"
    for job in jobs:
        said = [verdict for _, _, verdict in verdicts(job, results_of(found[job.name]))]
        met, missed = said.count("met"), said.count("**not met**")
        yield f"| [{job.number}. {job.title}](#{_anchor(job)}) | {met} | {missed} | {len(said) - met - missed} |"
    yield ""


def _job(job: Job, entry: dict[str, Any], notes: dict[str, Any]) -> Iterator[str]:
    results = results_of(entry)
    yield f"## {job.number}. {job.title}\n\n{job.what}\n"
    yield from _table(job, results)
    yield from (f"![{name}]({name})" for name in entry["charts"])
    if job.targets:
        yield "\n| Target | Bound | Found | |\n| --- | --- | --- | --- |"
        whys = []
        for target, figure, verdict in verdicts(job, results):
            yield f"| {target.text} | {target.bound} | {figure} | {verdict} |"
            why = notes.get("targets", {}).get(target.id, {}).get("why")
            if why and verdict == "**not met**":
                whys.append(f"- *{target.text}*: {why.strip()}")
        yield "\n".join(["", *whys, ""] if whys else [""])
    if note := notes.get("jobs", {}).get(job.name):
        yield f"{note.strip()}\n"
    yield from (f"Left out: {name} ({why}).\n" for name, why in results.left_out.items())


def _table(job: Job, results: Results) -> Iterator[str]:
    columns = [f"{metric.name} ({metric.unit}) | ratio" for metric in job.metrics]
    yield f"| Contender | {' | '.join(columns)} | Does not |"
    yield f"| --- |{' ---: | ---: |' * len(job.metrics)} --- |"
    for contender in job.contenders:
        if contender.name in results.rounds:
            cells = [_cells(job, results, contender.name, metric.name, metric.digits) for metric in job.metrics]
            yield f"| {contender.name} | {' | '.join(cells)} | {contender.lacks} |"
    yield f"\nRatios are to *{job.baseline}*.\n"


def _cells(job: Job, results: Results, contender: str, metric: str, digits: int) -> str:
    values = figures_of(results.rounds, (contender, metric))
    base = figures_of(results.rounds, (job.baseline, metric))
    if not values:
        return "– | –"
    found = spread(values)
    shown = f"{found.median:,.{digits}f} ({found.low:,.{digits}f}–{found.high:,.{digits}f})"
    if len(base) != len(values) or not all(base):
        return f"{shown} | –"
    ratio = spread(ratios(values, base))
    return f"{shown} | {_short(ratio.median)} ({_short(ratio.low)}–{_short(ratio.high)})"


def _machines(jobs: Sequence[Job], found: dict[str, Any]) -> Iterator[str]:
    """Give once what was the same for all jobs, and by job what was not: jobs are measured again one by one."""
    yield "## Machine and versions\n"
    facts = [{**found[job.name]["facts"], "run": _kind(found[job.name])} for job in jobs]
    versions = [found[job.name]["versions"] for job in jobs]
    same = _shared(versions)
    others = [_listed({name: version for name, version in one.items() if name not in same}) for one in versions]
    if any(others):
        facts = [{**one, "other versions": text} for one, text in zip(facts, others, strict=True)]
    shared = _shared(facts)
    yield from (f"- {name}: {value}" for name, value in shared.items())
    yield f"- versions: {_listed(same)}\n"
    if columns := [name for name in dict.fromkeys(name for one in facts for name in one) if name not in shared]:
        yield f"| Job | {' | '.join(columns)} |"
        yield "| --- |" + " --- |" * len(columns)
        for job, one in zip(jobs, facts, strict=True):
            yield f"| {job.number} | {' | '.join(one.get(name) or '–' for name in columns)} |"


def _kind(entry: dict[str, Any]) -> str:
    rounds = max(map(len, entry["rounds"].values()), default=0)
    return f"{rounds} rounds" + (", quick ones: figures are rough" if entry["quick"] else "")


def _shared(described: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return what is the same in all of them."""
    first = described[0] if described else {}
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in described)}


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _anchor(job: Job) -> str:
    kept = "".join(letter for letter in f"{job.number} {job.title}".lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
