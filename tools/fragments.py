"""The changelog fragments of one distribution: what they may say of which version."""

from __future__ import annotations

from pathlib import Path

from packaging.version import Version

from trains import Table

BREAKING = {"breaking", "removed"}
NOT_IN_A_FIRST_RELEASE = {"breaking", "removed", "changed", "fixed"}
"""Nobody has had what these changed."""


def read_fragments(folder: Path) -> list[Path]:
    """Return the fragments of the distribution in a folder."""
    return sorted(file for file in (folder / "changelog.d").glob("*.md") if file.name != "README.md")


def type_of(fragment: Path) -> str:
    """Return a fragment's type, as added of +initial.added.md and of 12.added.1.md."""
    return fragment.name.split(".")[-3 if fragment.stem.rpartition(".")[2].isdigit() else -2]


def refuse_fragments(folder: Path, package: Table, version: str, refused: type[Exception]) -> None:
    """Refuse a version that has nothing to say, or that says of a break that it is none."""
    fragments = read_fragments(folder)
    if not fragments:
        raise refused(f"{package['path']}/changelog.d has no entry, so nobody could know what {version} is for")
    breaking = [fragment.name for fragment in fragments if type_of(fragment) in BREAKING]
    old, new = Version(package["version"]), Version(version)
    if "framework" not in package and breaking and new.major == old.major and new != old:
        raise refused(f"{', '.join(breaking)} break what others rely on; make it {old.major + 1}.0.0")


def cleared_for_first_release(folder: Path) -> None:
    """Delete the fragments of what nobody has ever had otherwise: a first release speaks only of what it brings."""
    for fragment in read_fragments(folder):
        if type_of(fragment) in NOT_IN_A_FIRST_RELEASE:
            fragment.unlink()


def after_breaking_contract(folder: Path, needed: str, wanted: str) -> None:
    """Let the changelog of a distribution say that it needs another one anew."""
    (folder / f"changelog.d/+{needed}.framework.md").write_text(f"Needs {needed} `{wanted}`.\n")
