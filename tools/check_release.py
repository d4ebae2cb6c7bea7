"""Compare everything that repeats a version or a range with release.toml, and say how to fix what differs.

Usage: python tools/check_release.py [--write]    (--write regenerates the README's table first)
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from check_tox import check_tox

ROOT = Path(__file__).resolve().parent.parent
CORE = "sagaz-integration-core"
TABLE = re.compile(r"(<!-- release-table -->\n).*?(<!-- /release-table -->)", re.DOTALL)

Table = dict[str, Any]


def check(root: Path) -> list[str]:
    """Return one line for every difference between release.toml and the rest of the repository at ``root``."""
    release = read_toml(root / "release.toml")
    errors = [*check_readme(root, release), *check_tox(root, release)]
    for name, package in release["packages"].items():
        pyproject = f"{package['path']}/pyproject.toml"
        found = [*check_project(root, release, name), *check_version_source(root, name, package)]
        errors += [f"{pyproject}: {error}" for error in found]
        errors += [f"release.toml: {name}: {error}" for error in check_train(package)]
        errors += check_files(root, package)
    return errors


def check_project(root: Path, release: Table, name: str) -> Iterator[str]:
    """Compare one pyproject.toml's ``[project]`` table with release.toml."""
    package = release["packages"][name]
    project = read_toml(root / package["path"] / "pyproject.toml")["project"]
    pythons = release["python"]["versions"]
    if project["name"] != name:
        yield f"name is {project['name']!r}, release.toml calls it {name!r}"
    if project["requires-python"] != f">={pythons[0]}":
        yield f'requires-python is "{project["requires-python"]}", make it ">={pythons[0]}"'
    classified = [c.rsplit(" ", 1)[1] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)]
    if classified != pythons:
        yield f"classifiers name Python {', '.join(classified)}; make them {', '.join(pythons)}"
    yield from check_dependencies(project, expected_ranges(release, package))


def expected_ranges(release: Table, package: Table) -> dict[str, str]:
    """Return the requirements that release.toml prescribes for ``package``, by their names."""
    if "core" not in package:
        return {"sagaz": release["sagaz"]["range"]}
    framework = package["framework"]
    return {framework["requirement"]: framework["range"], CORE: package["core"]}


def check_dependencies(project: Table, expected: dict[str, str]) -> Iterator[str]:
    """Compare the ranges of the requirements that release.toml prescribes."""
    given = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    for name, wanted in expected.items():
        if given.get(name) != SpecifierSet(wanted):
            yield f'dependencies have {name} as "{given.get(name, "missing")}", make it "{name}{wanted}"'


def check_version_source(root: Path, name: str, package: Table) -> Iterator[str]:
    """See that hatchling finds the version in release.toml, in this package's own table."""
    folder = root / package["path"]
    pyproject = read_toml(folder / "pyproject.toml")
    source = pyproject.get("tool", {}).get("hatch", {}).get("version", {})
    pattern = rf'^\[packages\.{name}\]\nversion = "(?P<version>[^"]+)"'
    fix = f"""; make [tool.hatch.version] path = "../../release.toml" and pattern = '{pattern}'"""
    if "version" in pyproject["project"] or pyproject["project"].get("dynamic") != ["version"]:
        yield 'version must come from release.toml: no version, and dynamic = ["version"]'
    elif (folder / source.get("path", "")).resolve() != (root / "release.toml").resolve():
        yield f"the version is not read from release.toml{fix}"
    else:
        found = re.search(source.get("pattern", ""), (root / "release.toml").read_text(), re.MULTILINE)
        if not found or found.groupdict().get("version") != package["version"]:
            yield f"the version is not {package['version']}{fix}"


def check_train(package: Table) -> Iterator[str]:
    """See that version, range and tested series of a plugin agree."""
    if "framework" not in package:
        return
    framework = package["framework"]
    first, last = framework["tested"][0], framework["tested"][-1]
    wanted = f">={first},<{next_series(last)}"
    if series(package["version"]) != last:
        yield f"version {package['version']} does not follow {framework['name']} {last}; make it {last}.<n>"
    if SpecifierSet(framework["range"]) != SpecifierSet(wanted):
        yield f'framework range is "{framework["range"]}", the tested series say "{wanted}"'


def check_files(root: Path, package: Table) -> Iterator[str]:
    """See that a distribution carries the files that it is published with."""
    for file in ("README.md", "CHANGELOG.md", "changelog.d/README.md"):
        if not (root / package["path"] / file).is_file():
            yield f"{package['path']}/{file}: missing"
    licence = root / package["path"] / "LICENSE"
    if not licence.is_file() or licence.read_bytes() != (root / "LICENSE").read_bytes():
        yield f"{package['path']}/LICENSE: differs; cp LICENSE {package['path']}/"


def check_readme(root: Path, release: Table) -> Iterator[str]:
    """Compare the README's table with the one that release.toml gives."""
    readme = (root / "README.md").read_text()
    if not TABLE.search(readme):
        yield "README.md: has no table between <!-- release-table --> and <!-- /release-table -->"
    elif with_table(readme, release) != readme:
        yield "README.md: its table differs; run python tools/check_release.py --write"


def with_table(readme: str, release: Table) -> str:
    """Return ``readme`` with its table made anew."""
    return TABLE.sub(lambda found: found[1] + table(release) + found[2], readme)


def table(release: Table) -> str:
    """Return the README's table of distributions."""
    pythons = release["python"]["versions"]
    lines = ["| Distribution | Version | Made for | Python | Needs |", "| --- | --- | --- | --- | --- |"]
    for name, package in release["packages"].items():
        framework = package.get("framework")
        made_for = "the integrations below"
        if framework:
            made_for = f"{framework['name']} {framework['tested'][0]} to {framework['tested'][-1]}"
        needs = CORE + f" `{package['core']}`" if framework else f"sagaz `{release['sagaz']['range']}`"
        lines.append(f"| `{name}` | {package['version']} | {made_for} | {pythons[0]}–{pythons[-1]} | {needs} |")
    return "\n".join(lines) + "\n"


def series(version: str) -> str:
    """Return the release series of ``version``, as 0.165 for 0.165.2."""
    parsed = Version(version)
    return f"{parsed.major}.{parsed.minor}"


def next_series(tested: str) -> str:
    """Return the series after ``tested``."""
    parsed = Version(tested)
    return f"{parsed.major}.{parsed.minor + 1}"


def read_toml(path: Path) -> Table:
    """Read one TOML file."""
    return tomllib.loads(path.read_text())


def main(root: Path = ROOT) -> int:
    """Print the differences; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="regenerate the README's table first")
    if parser.parse_args().write:
        readme = root / "README.md"
        readme.write_text(with_table(readme.read_text(), read_toml(root / "release.toml")))
    errors = check(root)
    print("\n".join(errors) or "Everything agrees with release.toml.")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
