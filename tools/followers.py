"""Everything that repeats release.toml: each place, and what release.toml says that it has to hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from trains import Table, next_series

MARKED = r"(<!-- release-{0} -->\n).*?(<!-- /release-{0} -->)"


def differences(root: Path, release: Table) -> Iterator[str]:
    """Yield one line for each line that does not follow release.toml."""
    for file, old, new in _rewritten(root, release):
        if new is None:
            yield f"{file}: {old}"
            continue
        for number, (has, wanted) in enumerate(zip_longest(old.split("\n"), new.split("\n")), 1):
            if has != wanted:
                yield f"{file}:{number}: has {(has or '').strip()!r}, release.toml says {(wanted or '').strip()!r}"
                break


def write(root: Path, release: Table) -> None:
    """Make every place follow release.toml."""
    for file, _, new in _rewritten(root, release):
        if new is not None:
            (root / file).write_text(new)


def _rewritten(root: Path, release: Table) -> Iterator[tuple[str, str, str | None]]:
    """Yield a file, its text and the text that it has to have; instead of the latter two, what it lacks and None."""
    for file, replacements in _places(release).items():
        if not (root / file).exists():
            continue
        text = new = (root / file).read_text()
        for what, pattern, replacement in replacements:
            if not re.search(pattern, new, re.DOTALL | re.MULTILINE):
                yield file, f"has no place for {what}, as in {pattern}", None
            new = re.sub(pattern, lambda found, to=replacement: found.expand(to), new, flags=re.DOTALL | re.MULTILINE)
        yield file, text, new


def _places(release: Table) -> dict[str, list[tuple[str, str, str]]]:
    packages = release["packages"]
    places = {"README.md": [("the table", MARKED.format("table"), rf"\g<1>{_table(release)}\g<2>")]}
    for name, package in packages.items():
        path = package["path"]
        places[f"{path}/pyproject.toml"] = list(_project(release, package))
        links = ("the links", MARKED.format("links"), rf"\g<1>{_links(release, package)}\n\g<2>")
        places[f"{path}/README.md"] = [links]
        if "framework" in package:
            prose = ("the versions", MARKED.format("train"), rf"\g<1>{_train(package)}\n\g<2>")
            places[f"{path}/README.md"].append(prose)
            places[f"{path}/CHANGELOG.md"] = [prose]
            places[f"{package['example']}/requirements.txt"] = [(name, rf"^{name}\b.*?$", _as_required(name, package))]
            places.setdefault("tox.ini", []).extend(_pins(package["framework"]))
    return places


def _project(release: Table, package: Table) -> Iterator[tuple[str, str, str]]:
    pythons, at = release["python"]["versions"], release["repository"]
    urls = "\\n".join(f'{name} = "{url}"' for name, url in _urls(at, package).items())
    yield "links", r"(?<=^\[project\.urls\]\n).*?(?=\n\n)", urls
    yield "Python", r'^requires-python = ".*?"$', f'requires-python = ">={pythons[0]}"'
    yield "Pythons", *_classifiers("Programming Language :: Python", r"3\.\d+", pythons)
    ranges = dict(package["needs"])
    if "framework" in package:
        framework = package["framework"]
        ranges[framework["requirement"]] = framework["range"]
        if framework["name"] == "Django":
            yield "Djangos", *_classifiers("Framework :: Django", r"[\d.]+", framework["tested"])
    for other, wanted in ranges.items():
        yield other, rf'^(dependencies = .*?)"{other}[<>=!~][^"]*"', rf'\g<1>"{other}{wanted}"'


def _classifiers(prefix: str, version: str, wanted: list[str]) -> tuple[str, str]:
    lines = "".join(f'  "{prefix} :: {each}",\\n' for each in wanted)
    return rf'(?:^  "{prefix} :: {version}",\n)+', lines


def _pins(framework: Table) -> Iterator[tuple[str, str, str]]:
    """Yield tox.ini's pins of a framework of which one series is the train; of the others each has its environment."""
    name, tested = framework["requirement"], framework["tested"]
    yield f"the oldest {name}", rf"floor: {name}==.*?$", f"floor: {name}=={tested[0]}"
    if framework.get("every_minor"):
        yield name, rf": {name}~=.*?$", f": {name}~={tested[-1]}.0"


def _as_required(name: str, package: Table) -> str:
    last = package["framework"]["tested"][-1]
    return f"{name}>={last},<{next_series(last)}"


def _links(release: Table, package: Table) -> str:
    return " · ".join(f"[{name}]({url})" for name, url in _urls(release["repository"], package).items())


def _urls(at: str, package: Table) -> dict[str, str]:
    return {
        "Documentation": f"{at}/tree/main/docs",
        "Changelog": f"{at}/blob/main/{package['path']}/CHANGELOG.md",
        "Source": at,
        "Issues": f"{at}/issues",
        "Security": f"{at}/security/policy",
    }


def _train(package: Table) -> str:
    framework = package["framework"]
    first, last = framework["tested"][0], framework["tested"][-1]
    newer = "; a newer one is expected to work, and `check` says so" if framework.get("every_minor") else ""
    return f"Versions follow {framework['name']}'s: {last}.x is made for {framework['name']} {first} to {last}{newer}."


def _table(release: Table) -> str:
    """Return the README's table of distributions."""
    pythons = release["python"]["versions"]
    lines = ["| Distribution | Version | Made for | Python | Needs |", "| --- | --- | --- | --- | --- |"]
    for name, package in release["packages"].items():
        framework = package.get("framework")
        made_for = (
            "who writes a store, an engine or an integration" if not package["needs"] else "the integrations below"
        )
        if framework:
            made_for = f"{framework['name']} {framework['tested'][0]} to {framework['tested'][-1]}"
        needs = ", ".join(f"{other} `{wanted}`" for other, wanted in package["needs"].items()) or "nothing"
        lines.append(f"| `{name}` | {package['version']} | {made_for} | {pythons[0]}–{pythons[-1]} | {needs} |")
    return "\\n".join(lines) + "\\n"
