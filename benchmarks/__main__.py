"""``python -m benchmarks [JOB …]``: measures, prints and reports."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import machine, report, servers
from benchmarks.harness.charts import draw
from benchmarks.harness.model import Job
from benchmarks.harness.processes import unwind_on_sigterm
from benchmarks.harness.rounds import Plan, Services, run
from benchmarks.harness.stats import figures_of, spread
from benchmarks.jobs import JOBS

_REPORT = Path(__file__).parent / "report"


def main() -> None:
    """Read the arguments and do as they say."""
    options = _arguments()
    chosen = [job for job in JOBS if not options.jobs or not _names(job).isdisjoint(options.jobs)]
    if options.list:
        _list(chosen)
        return
    folder = options.out or (None if options.quick else _REPORT)
    if options.render:
        report.write(folder or _REPORT, JOBS, report.read(folder or _REPORT))
        return
    unwind_on_sigterm()
    plan = Plan(options.quick, options.rounds, options.contender)
    # Others' processes have to get into it: PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="sagaz-bench-") as scratch, contextlib.ExitStack() as stack:
        os.chmod(scratch, 0o755)
        url = stack.enter_context(servers.postgres(Path(scratch)))
        missing = servers.why_no_redis()
        redis = "" if missing else stack.enter_context(servers.redis(Path(scratch)))
        services = Services(Path(scratch), url, redis, {"redis": missing} if missing else {})
        complete = [_measure(job, services, plan, folder) for job in chosen]
    if folder is not None:
        print(f"Report: {folder / 'README.md'}")
    if not all(complete):
        raise SystemExit("Somebody failed: see LEFT OUT above.")


def _measure(job: Job, services: Services, plan: Plan, folder: Path | None) -> bool:
    """Measure and report a job; returns whether nobody failed."""
    print(f"{job.number}. {job.title}", flush=True)
    began = time.monotonic()
    facts = machine.facts(services.folder, servers.durability(services.postgres), services.missing.get("redis", ""))
    results = run(job, services, plan, lambda line: print(line, flush=True))
    for name in results.rounds:
        for metric in job.metrics:
            if values := figures_of(results.rounds, (name, metric.name)):
                middle = spread(values)
                row = f"  {name:<46} {metric.name:<22} {middle.median:>12,.{metric.digits}f} {metric.unit}"
                print(f"{row}  ({middle.low:,.{metric.digits}f}–{middle.high:,.{metric.digits}f})")
    for target, figure, verdict in report.verdicts(job, results):
        print(f"  {verdict.strip('*').upper():<12} {target.text}: {figure}, {target.bound}")
    print(f"  took {time.monotonic() - began:.0f} s", flush=True)
    if folder is None:
        return not results.failed
    folder.mkdir(parents=True, exist_ok=True)
    found = report.read(folder)
    found[job.name] = {
        "quick": plan.quick,
        "facts": facts,
        "versions": machine.versions(),
        "rounds": results.rounds,
        "left_out": results.left_out,
        "charts": draw(job, results, folder),
    }
    report.write(folder, JOBS, found)
    return not results.failed


def _names(job: Job) -> set[str]:
    """Return what a job is called on the command line: ``start-django``, ``3a``, and with its siblings ``3``."""
    return {job.name, job.number, job.number.rstrip("abcdef")}


def _list(jobs: Sequence[Job]) -> None:
    for job in jobs:
        print(f"{job.number}. {job.name}: {job.title}")
        for contender in job.contenders:
            print(f"     {contender.name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="names or numbers; by default all of them")
    parser.add_argument("--quick", action="store_true", help="small and few rounds; writes a report only with --out")
    parser.add_argument("--rounds", type=int, help="how many, instead of what each job says")
    parser.add_argument("--contender", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the report goes (benchmarks/report)")
    parser.add_argument("--list", action="store_true", help="show jobs and contenders")
    parser.add_argument("--render", action="store_true", help="write the page anew from report.json and notes.toml")
    options = parser.parse_args()
    names = set().union(*map(_names, JOBS))
    if unknown := set(options.jobs) - names:
        parser.error(f"there is no job {', '.join(sorted(unknown))}; there are {', '.join(job.name for job in JOBS)}")
    return options


if __name__ == "__main__":
    main()
