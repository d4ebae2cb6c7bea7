"""Compare everything that repeats a version or a range with release.toml, and say how to fix what differs.

Usage: python tools/check_release.py [--write]    (--write makes all places follow first)
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import followers
from check_tox import check_tox
from fragments import read_fragments
from trains import ROOT, Table, check_order, check_train, read_release


def check(root: Path) -> list[str]:
    """Return one line for every difference between release.toml and the rest of the repository at ``root``."""
    release = read_release(root)
    errors = [f"release.toml: {error}" for error in check_order(release["packages"])]
    errors += [*followers.differences(root, release), *check_tox(root, release)]
    for name, package in release["packages"].items():
        errors += [f"{package['path']}/pyproject.toml: {error}" for error in check_project(root, name, package)]
        errors += [f"release.toml: {name}: {error}" for error in check_train(package)]
        errors += [*check_files(root, package), *check_changelog(root, package)]
    return errors


def check_project(root: Path, name: str, package: Table) -> Iterator[str]:
    """See that a pyproject.toml has its name, and that hatchling finds its version in release.toml."""
    folder = root / package["path"]
    pyproject = tomllib.loads((folder / "pyproject.toml").read_text())
    if pyproject["project"]["name"] != name:
        yield f"name is {pyproject['project']['name']!r}, release.toml calls it {name!r}"
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


def check_files(root: Path, package: Table) -> Iterator[str]:
    """See that a distribution carries the files that it is published with."""
    for file in ("README.md", "CHANGELOG.md", "changelog.d/README.md"):
        if not (root / package["path"] / file).is_file():
            yield f"{package['path']}/{file}: missing"
    licence = root / package["path"] / "LICENSE"
    if not licence.is_file() or licence.read_bytes() != (root / "LICENSE").read_bytes():
        yield f"{package['path']}/LICENSE: differs; cp LICENSE {package['path']}/"


def check_changelog(root: Path, package: Table) -> Iterator[str]:
    """See that a version has an entry or fragments of one, and that each entry says what it was made for."""
    changelog = root / package["path"] / "CHANGELOG.md"
    _, *entries = changelog.read_text().split("\n## ") if changelog.is_file() else [""]
    version = package["version"]
    if entries and not entries[0].startswith(f"{version} (") and not read_fragments(root / package["path"]):
        yield f"{package['path']}: {version} has no entry in CHANGELOG.md and no fragment in changelog.d"
    for entry in entries:
        if "; tested on Python " not in entry:
            yield f"{package['path']}/CHANGELOG.md: {entry.partition(' ')[0]} does not say what it was made for"


def main(root: Path = ROOT) -> int:
    """Print the differences; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make all places follow first")
    if parser.parse_args().write:
        followers.write(root, read_release(root))
    errors = check(root)
    print("\n".join(errors) or "Everything agrees with release.toml.")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
