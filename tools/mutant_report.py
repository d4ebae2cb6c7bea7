"""What became of each change, and the page that tells it: how many were noticed, and why the others were not."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mutant_list import Mutant, key_of

__all__ = ["Outcome", "Reasons", "Results", "report", "sample", "share_of"]

Outcome = Literal["killed", "hung", "survived", "equivalent", "accepted"]
"""``hung``: noticed too. ``equivalent``: nobody could notice it. ``accepted``: not worth a test."""


class Reasons:
    """Why changes may go unnoticed, as tools/mutants.toml says it."""

    def __init__(self, tables: Iterable[dict[str, Any]]) -> None:
        self._found: dict[str, dict[str, Any]] = {}
        for table in tables:
            known = Counter[str]()
            for change in table["changes"]:
                self._found[key_of(table["module"], change, table.get("number", 0) + known[change])] = table
                known[change] += 1

    def of(self, mutant: Mutant) -> dict[str, Any] | None:
        """Return the reason for one change."""
        return self._found.get(mutant.key)


class Results:
    """What became of each change, kept in a file of JSON lines, so that a run can be broken off and go on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        lines = path.read_text().splitlines() if path.exists() else []
        self._outcomes: dict[str, Outcome] = {(one := json.loads(line))["key"]: one["outcome"] for line in lines}

    def of(self, mutant: Mutant) -> Outcome | None:
        """Return what became of one change; None when it was not tried yet."""
        return self._outcomes.get(mutant.key)

    def note(self, mutant: Mutant, outcome: Outcome) -> None:
        """Keep it; usable from any thread."""
        with self._lock, self._path.open("a") as file:
            self._outcomes[mutant.key] = outcome
            print(json.dumps({"key": mutant.key, "outcome": outcome}), file=file)


def share_of(outcomes: Iterable[Outcome | None]) -> float:
    """Return how much was noticed of what is not equivalent."""
    count = Counter(outcome for outcome in outcomes if outcome is not None)
    return (count["killed"] + count["hung"]) / max(1, count.total() - count["equivalent"])


def sample(changes: Iterable[tuple[Mutant, Outcome | None]]) -> list[tuple[Mutant, Outcome]]:
    """Return those that were tried before the first one that was not: what came out of turn would not be by lot."""
    tried: list[tuple[Mutant, Outcome]] = []
    for mutant, outcome in changes:
        if outcome is None:
            break
        tried.append((mutant, outcome))
    return tried


def report(commit: str, became: Sequence[Sequence[tuple[Mutant, Outcome | None]]], reasons: Reasons) -> str:
    """Return the page.

    Args:
        became: Of each module, what became of its changes, in the order in which they were drawn.
    """
    made = {changes[0][0].module: len(changes) for changes in became if changes}
    tried = [one for changes in became for one in sample(changes)]
    untried = set(made) - {mutant.module for mutant, _ in tried}
    total, places = Counter(outcome for _, outcome in tried), sum(made.values())
    drawn_by_lot = f", drawn by lot in each module from {places}" if len(tried) < places else ""
    lines = [
        "# Changes that no test notices",
        "",
        f"`tox run -e mutants` on {commit}: what decides was changed in {len(tried)} places{drawn_by_lot},",
        "one at a time, and the fast tests of its room were run.",
        f"They noticed {_share(total)} of what is not equivalent.",
        "The rooms, their tests and the reasons below stand in `tools/mutants.toml`.",
        *([f"Not tried: {', '.join(f'`{module}`' for module in sorted(untried))}."] if untried else []),
        "",
        "| Module | Changes | Tried | Noticed | by hanging | Equivalent | Not noticed | Noticed of what could be |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *_rows(made, tried),
        _row("**All**", places, total),
        "",
        *_survivors(tried, reasons),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _rows(made: Mapping[str, int], tried: Sequence[tuple[Mutant, Outcome]]) -> Iterator[str]:
    for module in dict.fromkeys(mutant.module for mutant, _ in tried):
        count = Counter(outcome for mutant, outcome in tried if mutant.module == module)
        yield _row(f"`{module}`", made[module], count)


def _row(name: str, made: int, count: Counter[Outcome]) -> str:
    noticed = count["killed"] + count["hung"]
    unnoticed = count["survived"] + count["accepted"]
    cells = (made, count.total(), noticed, count["hung"], count["equivalent"], unnoticed, _share(count))
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _share(count: Counter[Outcome]) -> str:
    return f"{100 * share_of(count.elements()):.1f} %"


def _survivors(tried: Sequence[tuple[Mutant, Outcome]], reasons: Reasons) -> Iterator[str]:
    titles = {
        "accepted": "Not noticed, and not worth a test",
        "survived": "Not noticed, without a reason",
        "equivalent": "Equivalent: nobody could notice it",
    }
    for outcome, title in titles.items():
        some = [mutant for mutant, became in tried if became == outcome]
        if not some:
            continue
        yield from (f"## {title}", "")
        by_reason: dict[tuple[str, str], list[Mutant]] = {}
        for mutant in some:
            reason = reasons.of(mutant)
            by_reason.setdefault((mutant.module, reason["why"] if reason else ""), []).append(mutant)
        for (module, why), group in by_reason.items():
            yield from (f"`{module}`: {why}".rstrip(": "), "", "```diff")
            yield from "\n\n".join(mutant.diff for mutant in group).splitlines()
            yield from ("```", "")
