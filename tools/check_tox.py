"""Compare tox.ini's environments with release.toml: every Python, every framework, every floor is tried by name."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from trains import Table


def check_tox(root: Path, release: Table) -> Iterator[str]:
    """Yield what tox.ini lacks, and which of its environments nobody would ever run."""
    environments = read_environments((root / "tox.ini").read_text())
    listed = {name for name, environment in environments.items() if environment["listed"]}
    yield from _check_each(environments)
    pythons = [f"py{python.replace('.', '')}" for python in release["python"]["versions"]]
    for name, package in release["packages"].items():
        label = package["tox"]
        floor = f"{label}-{pythons[0]}-floor"
        wanted = {f"{label}-{python}" for python in pythons}
        if package["needs"]:
            wanted.add(floor)
        if missing := sorted(wanted - listed):
            yield f"tox.ini: env_list lacks {', '.join(missing)}"
        if unknown := sorted(e for e in listed if e.startswith(f"{label}-py") and e not in wanted):
            yield f"tox.ini: env_list has {', '.join(unknown)}, Pythons that release.toml does not list"
        if floor in environments:
            floors = _floors(root, release, name)
            yield from _unpinned(floor, environments[floor], [f"{k}=={v}" for k, v in floors.items()])
        if "framework" in package:
            pins = [pin for name in listed for pin in environments[name]["deps"]]
            yield from _untried(package["framework"], pins)


def _check_each(environments: dict[str, Table]) -> Iterator[str]:
    for name, environment in environments.items():
        if not environment["commands"]:
            yield f"tox.ini: {name} has no commands"
        if not environment["description"]:
            yield f"tox.ini: {name} has no description"
        if not environment["listed"] and not environment["labels"]:
            yield f"tox.ini: {name} is neither in env_list nor under a label, so nothing ever runs it"


def _floors(root: Path, release: Table, name: str) -> dict[str, str]:
    """Return the lowest versions of other people's distributions that a package and what it stands on declare."""
    found = {}
    for each in (name, *(other for other, table in release["packages"].items() if "framework" not in table)):
        project = tomllib.loads((root / release["packages"][each]["path"] / "pyproject.toml").read_text())["project"]
        extras = project.get("optional-dependencies", {}).values()
        for line in (*project["dependencies"], *(line for extra in extras for line in extra)):
            requirement = Requirement(line)
            lowest = [s.version for s in requirement.specifier if s.operator in (">=", "~=")]
            if requirement.name not in release["packages"] and lowest:
                found[requirement.name] = lowest[0]
    framework = release["packages"][name].get("framework")
    return found | ({framework["requirement"]: framework["tested"][0]} if framework else {}) | release["floors"]


def _unpinned(name: str, environment: Table, pins: list[str]) -> Iterator[str]:
    given = {(r.name, str(r.specifier)) for r in map(Requirement, environment["deps"])}
    for pin in map(Requirement, pins):
        if (pin.name, str(pin.specifier)) not in given:
            yield f'tox.ini: {name} does not try the oldest {pin.name}; add "{pin}" to its deps'


def _untried(framework: Table, pins: list[str]) -> Iterator[str]:
    """Yield the series of a framework that no listed environment asks for by name."""
    named = [r.specifier for r in map(Requirement, pins) if r.name == framework["requirement"]]
    for series in framework["tested"]:
        if not any(_asks_for(specifiers, series) for specifiers in named):
            yield f"tox.ini: no environment of env_list has {framework['requirement']}~={series}.0 in its deps"


def _asks_for(specifiers: SpecifierSet, series: str) -> bool:
    return specifiers == SpecifierSet(f"~={series}.0") or specifiers == SpecifierSet(f"=={series}")


@functools.cache
def read_environments(tox_ini: str) -> dict[str, Table]:
    """Return what tox itself makes of a tox.ini, by the names of the environments."""
    keys = ["env_list", "deps", "commands", "base_python", "description", "labels"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tox.ini").write_text(tox_ini)
        command = [sys.executable, "-m", "tox", "config", "-e", "ALL", "--format", "json", "-k", *keys]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"tox cannot read tox.ini:\n{done.stdout}{done.stderr}")
    told = json.loads(done.stdout)
    return {
        name: {**environment, "listed": name in told["tox"]["env_list"]}
        for name, environment in told["env"].items()
        if not name.startswith(".")
    }
