"""The commands that a README shows, executed against a server, whose answers are compared with those that it shows."""

from __future__ import annotations

import os
import re
import subprocess
import time

__all__ = ["commands", "play"]

_COMMAND = re.compile(r"^\$ ((?:\w+=.*; )?curl .*)\n((?:[^`$].*\n)*)", re.MULTILINE)

_NAME = re.compile(r"[\w:-]{8,}…")
"""An id or a token that is cut short, ``22a8a5a4-…``: the same one wherever it is shown. Any other ``…`` is whatever
is there."""

_SECONDS = 30.0


def commands(readme: str) -> list[tuple[str, str]]:
    """Return the commands of a README, each with the answer that it shows."""
    return _COMMAND.findall(readme)


def play(readme: str, url: str) -> dict[str, str]:
    """Execute all commands in their order; return what the ids and tokens that are cut short were really.

    A command that sends nothing is executed again until its answer is the one that is shown.

    Raises:
        AssertionError: An answer is another one; it says which.
    """
    known: dict[str, str] = {}
    for command, shown in commands(readme):
        line = _NAME.sub(lambda found: known[found[0]], command.replace("http://127.0.0.1:8000", url))
        pattern, names = _pattern(shown.strip(), known)
        until = time.monotonic() + (0 if "--json" in command else _SECONDS)
        while (found := re.fullmatch(pattern, answer := _run(line).strip(), re.DOTALL)) is None:
            if time.monotonic() >= until:
                raise AssertionError(f"{command}\nshows   {shown}\nanswers {answer}")
            time.sleep(0.1)
        known.update(zip(names, found.groups(), strict=True))
    return known


def _pattern(shown: str, known: dict[str, str]) -> tuple[str, list[str]]:
    """Return what matches the answer, with a group for each name that is new, and those names."""
    names: list[str] = []
    pattern, end = "", 0
    for name in _NAME.finditer(shown):
        pattern += _any(shown[end : name.start()])
        if name[0] in known:
            pattern += re.escape(known[name[0]])
        elif name[0] in names:
            pattern += rf"\{names.index(name[0]) + 1}"
        else:
            names.append(name[0])
            pattern += r"([\w:-]{36,})"
        end = name.end()
    return pattern + _any(shown[end:]), names


def _any(text: str) -> str:
    return ".*?".join(map(re.escape, text.split("…")))


def _run(line: str) -> str:
    environment = {**os.environ, "NO_PROXY": "*"}
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, env=environment).stdout
