"""What is published: an sdist and a wheel of every distribution, the wheel built from the sdist alone."""

import configparser
import email.message
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from check_dists import check_dists, wheel_metadata

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = tomllib.loads((ROOT / "release.toml").read_text())["packages"]

LOOKED_FOR = {
    "django-sagaz": {
        "django_sagaz/migrations/__init__.py",
        "django_sagaz/migrations/0001_initial.py",
        "django_sagaz/management/commands/sagaz_worker.py",
        "django_sagaz/templates/admin/django_sagaz/run/page.html",
        "django_sagaz/static/django_sagaz/admin.css",
    }
}
"""What a framework finds by its place, and whose absence no import would show."""

pytestmark = pytest.mark.parametrize("name", PACKAGES)


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dists")
    subprocess.run([sys.executable, ROOT / "tools/build_dists.py", folder], check=True, timeout=100)
    return folder


def module_of(name: str) -> str:
    return name.replace("-", "_")


def open_wheel(dists: Path, name: str) -> zipfile.ZipFile:
    (wheel,) = dists.glob(f"{module_of(name)}-*.whl")
    return zipfile.ZipFile(wheel)


def metadata_of(dists: Path, name: str) -> email.message.Message:
    (wheel,) = dists.glob(f"{module_of(name)}-*.whl")
    return wheel_metadata(wheel)


def test_archives_hold_what_the_release_tool_demands_and_nothing_else(dists: Path, name: str) -> None:
    assert check_dists(ROOT, name, list(dists.glob(f"{module_of(name)}-*"))) == []


def test_wheel_holds_what_is_found_by_its_place(dists: Path, name: str) -> None:
    with open_wheel(dists, name) as wheel:
        assert {f"{module_of(name)}/py.typed"} | LOOKED_FOR.get(name, set()) <= set(wheel.namelist())


def test_wheel_carries_the_licence(dists: Path, name: str) -> None:
    with open_wheel(dists, name) as wheel:
        (file,) = (member for member in wheel.namelist() if member.endswith(".dist-info/licenses/LICENSE"))
        assert wheel.read(file) == (ROOT / "LICENSE").read_bytes()
    assert metadata_of(dists, name)["License-Expression"] == "MIT"


def test_commands_name_modules_that_the_wheel_holds(dists: Path, name: str) -> None:
    with open_wheel(dists, name) as wheel:
        members = set(wheel.namelist())
        for file in (member for member in members if member.endswith(".dist-info/entry_points.txt")):
            parser = configparser.ConfigParser()
            parser.read_string(wheel.read(file).decode())
            for target in parser["console_scripts"].values():
                path = target.partition(":")[0].replace(".", "/")
                assert {f"{path}.py", f"{path}/__init__.py"} & members, target


def test_requirements_have_bounds(dists: Path, name: str) -> None:
    requirements = [Requirement(line) for line in metadata_of(dists, name).get_all("Requires-Dist", [])]
    ours = {other for other in PACKAGES if other != name}
    plain = [requirement for requirement in requirements if requirement.marker is None]
    assert [str(requirement) for requirement in plain if not requirement.specifier] == []
    core = [requirement for requirement in plain if requirement.name in ours]
    for requirement in core:
        assert requirement.specifier.contains(PACKAGES[requirement.name]["version"])
