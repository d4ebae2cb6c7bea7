"""The trains: which release series of a framework a plugin follows, and what its range and version are because of that.

A series is what a framework keeps compatible: 0.165 of FastAPI, 6.1 of Django. Django counts by years after 6.2: of
2028.1 the series is 2028, and the second number is the patch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FIRST_YEAR = 2000
AFTER = {"6.2": "2028"}
"""Which series comes after one, where the numbers do not tell."""

Table = dict[str, Any]


def read_release(root: Path) -> Table:
    """Return release.toml."""
    return tomllib.loads((root / "release.toml").read_text())


def series(version: str) -> str:
    """Return the release series of a version, as 0.165 of 0.165.2, and 2028 of 2028.1."""
    parsed = Version(version)
    return str(parsed.major) if parsed.major >= FIRST_YEAR else f"{parsed.major}.{parsed.minor}"


def next_series(tested: str) -> str:
    """Return the series after one."""
    parsed = Version(tested)
    if tested in AFTER:
        return AFTER[tested]
    return str(parsed.major + 1) if parsed.major >= FIRST_YEAR else f"{parsed.major}.{parsed.minor + 1}"


def framework_range(framework: Table) -> str:
    """Return the range that follows from the tested series: from the first one, and

    up to the last one, or, for a framework that makes a minor release every few days, up to its next major, without
    what is known to be broken.
    """
    first, last = framework["tested"][0], framework["tested"][-1]
    if not framework.get("every_minor"):
        return f">={first},<{next_series(last)}"
    broken = "".join(f",!={version}" for version in framework.get("broken", []))
    return f">={first}{broken},<{Version(last).major + 1}"


def tested_minors(framework: Table) -> list[str]:
    """Return every series that is tried: those of `tested`, or each minor from the first to the last."""
    if not framework.get("every_minor"):
        return list(framework["tested"])
    first, last = Version(framework["tested"][0]), Version(framework["tested"][-1])
    allowed = SpecifierSet(framework_range(framework))
    minors = [f"{first.major}.{minor}" for minor in range(first.minor, last.minor + 1)]
    return [minor for minor in minors if any(f"{minor}.{patch}" in allowed for patch in range(30))]


def check_train(package: Table) -> Iterator[str]:
    """See that version, range and tested series of a plugin agree."""
    if "framework" not in package:
        return
    framework = package["framework"]
    last, wanted = framework["tested"][-1], framework_range(framework)
    if series(package["version"]) != last:
        yield f"version {package['version']} does not follow {framework['name']} {last}; make it {last}.<n>"
    if SpecifierSet(framework["range"]) != SpecifierSet(wanted):
        yield f'framework range is "{framework["range"]}", the tested series say "{wanted}"'


def check_order(packages: Table) -> Iterator[str]:
    """See that each distribution stands after those of ours that it needs, in ranges that contain their versions."""
    names = list(packages)
    for place, (name, package) in enumerate(packages.items()):
        for other, wanted in ours(packages, package).items():
            if other not in names[:place]:
                yield f"{name}: stands before {other}, which it needs and which is released first; move it down"
            if packages[other]["version"] not in SpecifierSet(wanted):
                yield f"{name}: needs {other}{wanted}, which does not contain {packages[other]['version']}"


def ours(packages: Table, package: Table) -> dict[str, str]:
    """Return what a distribution needs of the other ones of this repository, with the ranges."""
    return {name: wanted for name, wanted in package["needs"].items() if name in packages}


def dependents(packages: Table, name: str) -> list[str]:
    """Return the distributions of this repository that need one directly."""
    return [other for other, package in packages.items() if name in package["needs"]]


def made_for(release: Table, name: str) -> str:
    """Return the sentence of what a release was made for and tested with."""
    package, pythons = release["packages"][name], release["python"]["versions"]
    needs = " and ".join(f"{other} `{wanted}`" for other, wanted in package["needs"].items())
    python = f"tested on Python {pythons[0]} to {pythons[-1]}"
    if "framework" not in package:
        return f"Needs {needs}; {python}."
    framework = package["framework"]
    tested = framework["tested"]
    between = f"{tested[0]} to {tested[-1]}" if framework.get("every_minor") else ", ".join(tested)
    return f"For {framework['name']} `{framework['range']}`, tested with {between}; needs {needs}; {python}."
