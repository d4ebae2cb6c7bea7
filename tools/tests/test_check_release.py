"""The release check finds each kind of difference, in a copy of this repository's files, and names its place."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import check_release

PACKAGES = check_release.read_release(check_release.ROOT)["packages"]
FILES = [
    *("LICENSE", "README.md", "release.toml", "tox.ini"),
    "examples/integrations/*/requirements.txt",
    *(f"{p['path']}/{file}" for p in PACKAGES.values() for file in ("LICENSE", "*.md", "*.toml", "changelog.d/*")),
]
FASTAPI = "packages/fastapi-sagaz/pyproject.toml"
Edit = Callable[[str, str, str], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for file in (file for pattern in FILES for file in check_release.ROOT.glob(pattern)):
        target = tmp_path / file.relative_to(check_release.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return tmp_path


@pytest.fixture
def edit(root: Path) -> Edit:
    def replace(file: str, pattern: str, new: str) -> None:
        text, count = re.subn(pattern, new, (root / file).read_text())
        assert count
        (root / file).write_text(text)

    return replace


def test_the_repository_agrees_with_itself(root: Path) -> None:
    assert check_release.check(root) == []


@pytest.mark.parametrize(
    ("file", "pattern", "new", "complaint"),
    [
        (FASTAPI, r'">=3\.11"', '">=3.10"', "has 'requires-python = \">=3.10\"'"),
        (FASTAPI, r' ".*:: 3\.12",\n', "", "release.toml says '\"Programming Language :: Python :: 3.12"),
        (FASTAPI, r"fastapi>=", "fastapi>", "has 'dependencies = [\"fastapi>0.121"),
        (FASTAPI, r"durable>=", "durable>", '"sagaz-durable>1.0,<2"]\', release.toml says'),
        (FASTAPI, r"\[project.urls\]\n", "", f"{FASTAPI}: has no place for links"),
        (FASTAPI, r'dynamic = \["version"\]', 'version = "1"', f"{FASTAPI}: version must come from release.toml"),
        (FASTAPI, r"packages..fastapi", "packages.flask", f"{FASTAPI}: the version is not"),
        (FASTAPI, r"\.\./release\.toml", "release.toml", f"{FASTAPI}: the version is not read from release.toml"),
        (FASTAPI, r'name = "fastapi-sagaz"', 'name = "x"', f"{FASTAPI}: name is 'x'"),
        ("packages/django-sagaz/pyproject.toml", r' ".*Django :: 6.0",\n', "", "packages/django-sagaz/pyproject.toml:"),
        ("packages/flask-sagaz/README.md", r"up to|3.1.x", "3.0.x", "packages/flask-sagaz/README.md:"),
        ("packages/flask-sagaz/CHANGELOG.md", r"3.1.x", "3.0.x", "packages/flask-sagaz/CHANGELOG.md:"),
        ("packages/flask-sagaz/CHANGELOG.md", r"$", "\n## 3.0.0 (x)\n", "CHANGELOG.md: 3.0.0 does not say what it was"),
        ("examples/integrations/flask_app/requirements.txt", r"3\.2", "3.1", "flask_app/requirements.txt:1: has"),
        ("release.toml", r'version = "0\.', 'version = "1.', "does not follow FastAPI"),
        ("release.toml", r",<1\"", ',<2"', "the tested series say"),
        ("release.toml", r'"3\.14"\]', '"3.14", "3.99"]', "tox.ini: env_list lacks core-py399"),
        ("release.toml", r', "3\.14"\]', "]", "tox.ini: env_list has core-py314"),
        ("release.toml", r'durable = ">=1\.0,<2"', 'durable = ">=2.0,<3"', "which does not contain 1.0.0"),
        (
            "release.toml",
            r"needs = \{ sagaz = ",
            'needs = { flask-sagaz = ">=3", sagaz = ',
            "stands before flask-sagaz",
        ),
        ("tox.ini", r" fastapi-py311-floor\n", "\n", "tox.ini: env_list lacks fastapi-py311-floor"),
        ("tox.ini", r"celery==5.5", "celery>=5.5", "tox.ini: fastapi-py311-floor does not try the oldest celery"),
        (
            "tox.ini",
            r"floor: psycopg-pool.*\n",
            "",
            "tox.ini: durable-py311-floor does not try the oldest psycopg-pool",
        ),
        ("tox.ini", r"django60: django~=6.0.0\n", "\n", "tox.ini: no environment of env_list has django~=6.0.0"),
        ("tox.ini", r"commands = python -m benchmarks.*\n", "commands =\n", "tox.ini: benchmarks has no commands"),
        ("tox.ini", r"labels = measure\n", "", "tox.ini: benchmarks is neither in env_list nor under a label"),
        ("tox.ini", r"description = Who may.*\n", "", "tox.ini: contracts has no description"),
        ("README.md", r"\| FastAPI ", "| Fast ", "README.md:"),
        ("README.md", r"<!-- release-table -->", "", "README.md: has no place for the table"),
        ("packages/fastapi-sagaz/LICENSE", r"MIT", "BSD", "packages/fastapi-sagaz/LICENSE: differs"),
    ],
)
def test_a_difference_is_named(root: Path, edit: Edit, file: str, pattern: str, new: str, complaint: str) -> None:
    edit(file, pattern, new)
    errors = check_release.check(root)
    assert any(complaint in error for error in errors), errors


def test_write_makes_the_readme_agree(root: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    edit("README.md", r"\| FastAPI ", "| Fast ")
    monkeypatch.setattr(sys, "argv", ["check_release.py", "--write"])
    assert check_release.main(root) == 0


@pytest.mark.parametrize("path", [package["path"] for package in PACKAGES.values()])
def test_towncrier_extends_each_changelog_and_keeps_the_folder(root: Path, path: str) -> None:
    (root / path / "changelog.d/1.fixed.md").write_text("Mended.")
    config = check_release.ROOT / "towncrier.toml"
    command = [
        sys.executable,
        "-m",
        "towncrier",
        "build",
        "--yes",
        "--config",
        config,
        "--dir",
        root / path,
        "--version",
        "9.8.7",
    ]
    subprocess.run(command, check=True, cwd=root)
    changelog = (root / path / "CHANGELOG.md").read_text()
    assert "## 9.8.7 (" in changelog
    assert "### Fixed\n\n- Mended. (#1)" in changelog
    assert [file.name for file in (root / path / "changelog.d").iterdir()] == ["README.md"]
