"""What an sdist and a wheel have to hold before they may be published."""

from __future__ import annotations

import email.message
import email.parser
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trains import read_release

UNWANTED = {"__pycache__", "changelog.d", ".pytest_cache"}


def check_dists(root: Path, name: str, files: list[Path]) -> list[str]:
    """Return what is wrong with the files that were built of a distribution, a line each."""
    package = read_release(root)["packages"][name]
    module = name.replace("-", "_")
    wanted = [f"{module}-{package['version']}-py3-none-any.whl", f"{module}-{package['version']}.tar.gz"]
    if (found := sorted(file.name for file in files)) != wanted:
        return [f"built were {', '.join(found)}, not {', '.join(wanted)}"]
    wheel, sdist = sorted(files)
    folder = root / package["path"]
    return [*_of_wheel(wheel, folder, name, package["version"]), *_of_sdist(sdist, folder), *_of_page(files)]


def wheel_metadata(wheel: Path) -> email.message.Message:
    """Return the metadata that a wheel carries."""
    with zipfile.ZipFile(wheel) as archive:
        (file,) = (member for member in archive.namelist() if member.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(file).decode())


def members_of_sdist(sdist: Path) -> set[str]:
    """Return the names of the files in an sdist, without its top folder."""
    with tarfile.open(sdist) as archive:
        return {str(PurePosixPath(*PurePosixPath(file.name).parts[1:])) for file in archive if file.isfile()}


def _of_wheel(wheel: Path, folder: Path, name: str, version: str) -> Iterator[str]:
    metadata = wheel_metadata(wheel)
    if (metadata["Name"], metadata["Version"]) != (name, version):
        yield f"{wheel.name} calls itself {metadata['Name']} {metadata['Version']}"
    with zipfile.ZipFile(wheel) as archive:
        members = {member for member in archive.namelist() if ".dist-info/" not in member}
    yield from _compared(wheel.name, members, _files(folder / "src"))


def _of_sdist(sdist: Path, folder: Path) -> Iterator[str]:
    made = {"PKG-INFO", ".gitignore"}  # hatchling adds both
    parts = ("src", "tests")
    wanted = {f"{part}/{file}" for part in parts for file in _files(folder / part)}
    wanted |= {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"}
    yield from _compared(sdist.name, members_of_sdist(sdist) - made, wanted)


def _of_page(files: list[Path]) -> Iterator[str]:
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"the index would not show it: {done.stdout}{done.stderr}"


def _files(folder: Path) -> set[str]:
    found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return {str(file.relative_to(folder)) for file in found if not UNWANTED & set(file.parts)}


def _compared(archive: str, has: set[str], wanted: set[str]) -> Iterator[str]:
    if lacking := sorted(wanted - has):
        yield f"{archive} lacks {', '.join(lacking)}"
    if unwanted := sorted(has - wanted):
        yield f"{archive} should not have {', '.join(unwanted)}"
