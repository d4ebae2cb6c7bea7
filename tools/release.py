"""Release one distribution, or let a plugin follow its framework's new series.

Usage:
    python tools/release.py plan                       what waits to be released, in the order in which it has to be
    python tools/release.py publish NAME VERSION       bump, changelog, build, check, commit and tag, in this order
    python tools/release.py follow NAME SERIES         a framework's new release series: all that has to follow it
    python tools/release.py newest NAME                series=…, if the index has a series that is newer than the train
    python tools/release.py build NAME VERSION         what the tag's workflow does: build and check, into dist/

Nothing leaves this machine: what was tagged is pushed by hand, and the tag's workflow publishes it. Whatever fails does
so before the commit, and leaves the tree as it was.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

import followers
from build_dists import build_dist
from check_dists import check_dists
from check_release import check
from fragments import after_breaking_contract, cleared_for_first_release, read_fragments, refuse_fragments
from trains import ROOT, dependents, framework_range, made_for, ours, read_release, series


class Refused(Exception):
    """A release that must not be made, with what to do first."""


def plan(root: Path) -> list[str]:
    """Return one line for each distribution with something to release, in order."""
    lines = []
    for name, package in read_release(root)["packages"].items():
        waiting = read_fragments(root / package["path"])
        released = _released(root, name)
        since = f"since {released[-1]}" if released else f"first release, as {package['version']}"
        if waiting or not released:
            lines.append(f"{name}: {len(waiting)} changes, {since}")
    return lines


def publish(root: Path, name: str, version: str) -> str:
    """Release a distribution, and return the name of its tag.

    Raises:
        Refused: Before anything was changed, or after everything was put back.
    """
    _refuse_dirty(root)
    origin = _git(root, "remote", "get-url", "origin").strip().removesuffix(".git")
    if origin != (hosted := read_release(root)["repository"]):
        raise Refused(f"origin is {origin}, and release.toml's repository, to which all links lead, is {hosted}")
    _refuse(root, name, version)
    try:
        _prepare(root, name, version)
    except BaseException:
        _git(root, "reset", "--quiet", "--hard")
        _git(root, "clean", "--quiet", "-d", "--force")
        raise
    tag = f"{name}/{version}"
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--message", f"Release {name} {version}")
    _git(root, "tag", "--annotate", "--message", f"{name} {version}", tag)
    _refuse_dirty(root)
    return tag


def follow(root: Path, name: str, tested: str) -> list[str]:
    """Let a plugin follow its framework's new series, and return what a person still has to do."""
    release = read_release(root)
    package = release["packages"][name]
    framework = package["framework"]
    if Version(tested) <= Version(framework["tested"][-1]):
        raise Refused(f"{name} follows {framework['name']} {framework['tested'][-1]} already")
    # Of a framework with a minor every few days, `tested` names the first and the last one only.
    kept = framework["tested"][:-1] if framework.get("every_minor") else framework["tested"]
    new = {**framework, "tested": [*kept, tested]}
    version = f"{tested}.0"
    text = _in_table(root, name, r'(?<=^version = ").*?(?=")', version)
    text = _in_table(root, name, r'(?<=\brange = ").*?(?=")', framework_range(new), text)
    text = _in_table(root, name, r"(?<=\btested = \[).*?(?=\])", ", ".join(f'"{each}"' for each in new["tested"]), text)
    (root / "release.toml").write_text(text)
    followers.write(root, read_release(root))
    fragment = root / package["path"] / f"changelog.d/+{framework['requirement']}-{tested}.framework.md"
    fragment.write_text(f"{framework['name']} {tested}.\n")
    return check(root)


def newest(root: Path, name: str) -> str | None:
    """Return the newest series of a plugin's framework on the index, if it is newer than the train."""
    framework = read_release(root)["packages"][name]["framework"]
    said = _run(root, sys.executable, "-m", "pip", "index", "versions", framework["requirement"])
    version = re.search(r"\(([\d.]+)\)", said)
    if version is None:
        raise Refused(f"pip told no version of {framework['requirement']}:\n{said}")
    found = series(version[1])
    return found if Version(found) > Version(framework["tested"][-1]) else None


def build(root: Path, name: str, version: str) -> None:
    """Build a distribution as it stands into dist/, and see that the files are what has to be published."""
    package = read_release(root)["packages"].get(name, {})
    if package.get("version") != version:
        raise Refused(f"release.toml has {name} {package.get('version')}, not {version}")
    if wrong := check_dists(root, name, build_dist(root / package["path"], root / "dist")):
        raise Refused("what was built must not be published:\n  " + "\n  ".join(wrong))


def _refuse(root: Path, name: str, version: str) -> None:
    release = read_release(root)
    packages = release["packages"]
    if name not in packages:
        raise Refused(f"there is no {name}; there are {', '.join(packages)}")
    package, released = packages[name], _released(root, name)
    if released and Version(version) <= Version(released[-1]):
        raise Refused(f"{name} {released[-1]} is released already; {version} is no newer version")
    if not released and version != package["version"]:
        raise Refused(f"the first release of {name} is what release.toml says, {package['version']}")
    for other in ours(packages, package):
        if not _released(root, other) or read_fragments(root / packages[other]["path"]):
            raise Refused(f"{other} has changes that are not released, and {name} needs it; release {other} first")
    if "framework" in package and series(version) != (train := package["framework"]["tested"][-1]):
        raise Refused(f"{name} {version} is not of the train {train}.x; a new train begins with: release.py follow")
    refuse_fragments(root / package["path"], package, version, Refused)


def _prepare(root: Path, name: str, version: str) -> None:
    path = root / read_release(root)["packages"][name]["path"]
    (root / "release.toml").write_text(_in_table(root, name, r'(?<=^version = ").*?(?=")', version))
    for other in dependents(read_release(root)["packages"], name):
        _follow_contract(root, name, version, other)
    release = read_release(root)
    followers.write(root, release)
    if not _released(root, name):
        cleared_for_first_release(path)
    towncrier = [sys.executable, "-m", "towncrier", "build", "--yes", "--config", root / "towncrier.toml"]
    _run(root, *towncrier, "--dir", path, "--version", version)
    _add_made_for(path / "CHANGELOG.md", version, made_for(release, name))
    if errors := check(root):
        raise Refused("something does not follow release.toml:\n  " + "\n  ".join(errors))
    build(root, name, version)


def _follow_contract(root: Path, name: str, version: str, other: str) -> None:
    """Move the range of a distribution that needs this one, if this version breaks the contract."""
    packages = read_release(root)["packages"]
    if version in SpecifierSet(packages[other]["needs"][name]):
        return
    major = Version(version).major
    wanted = f">={major}.{Version(version).minor},<{major + 1}"
    text = _in_table(root, other, rf'(?<=\b{name} = ").*?(?=")', wanted)
    (root / "release.toml").write_text(text)
    after_breaking_contract(root / packages[other]["path"], name, wanted)


def _in_table(root: Path, name: str, pattern: str, new: str, text: str | None = None) -> str:
    """Return release.toml with what the pattern finds in a package's table replaced."""
    text = (root / "release.toml").read_text() if text is None else text
    head, begin, rest = text.partition(f"[packages.{name}]\n")
    table, end, tail = rest.partition("\n[")
    table, count = re.subn(pattern, new.replace("\\", r"\\"), table, count=1, flags=re.MULTILINE)
    if not count:
        raise Refused(f"release.toml: [packages.{name}] has no place for {new}")
    return head + begin + table + end + tail


def _add_made_for(changelog: Path, version: str, sentence: str) -> None:
    text, count = re.subn(rf"^(## {re.escape(version)} .*\n)", rf"\1\n{sentence}\n", changelog.read_text(), flags=re.M)
    assert count == 1, "towncrier has made one entry"
    changelog.write_text(text)


def _released(root: Path, name: str) -> list[str]:
    """Return the versions of a distribution that have a tag, oldest first."""
    tags = _git(root, "tag", "--list", f"{name}/*").split()
    return sorted((tag.rpartition("/")[2] for tag in tags), key=Version)


def _refuse_dirty(root: Path) -> None:
    if changed := _git(root, "status", "--porcelain"):
        raise Refused(f"the tree has changes that are not committed:\n{changed}")


def _git(root: Path, *arguments: str) -> str:
    return _run(root, "git", *arguments)


def _run(root: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(root: Path = ROOT) -> int:
    """Do what the command line says; return 1 if it was refused, or if a person has something left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("plan")
    for command, second in (("publish", "VERSION"), ("build", "VERSION"), ("follow", "SERIES")):
        added = commands.add_parser(command)
        added.add_argument("name", metavar="NAME")
        added.add_argument("version", metavar=second)
    commands.add_parser("newest").add_argument("name", metavar="NAME")
    given = parser.parse_args()
    try:
        if given.command == "plan":
            print("\n".join(plan(root)) or "Nothing waits to be released.")
        elif given.command == "publish":
            print(f"Tagged {publish(root, given.name, given.version)}; `git push --follow-tags` publishes it.")
        elif given.command == "build":
            build(root, given.name, given.version)
        elif given.command == "newest":
            print(f"series={newest(root, given.name) or ''}")
        elif left := follow(root, given.name, given.version):
            print("Left to do by hand:\n" + "\n".join(left))
            return 1
    except Refused as refused:
        print(f"Refused: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
