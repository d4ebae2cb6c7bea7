"""The release tool, rehearsed whole on a clone of this repository: from the first releases to a broken contract."""

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

import release
from trains import ROOT, made_for, next_series, read_release, series

CORE, ENGINE, FASTAPI, DJANGO = "sagaz-integration-core", "sagaz-durable", "fastapi-sagaz", "django-sagaz"


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files that git would have, in a repository of their own where nothing was released."""
    files = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for file in files:
        if (ROOT / file).is_file() and not file.startswith(("benchmarks/", "docs/")):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tmp_path / file)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "config", "user.name", "Somebody")
    git(tmp_path, "config", "user.email", "somebody@example.org")
    git(tmp_path, "remote", "add", "origin", read_release(ROOT)["repository"] + ".git")
    commit(tmp_path)
    return tmp_path


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "x")


def add_fragment(root: Path, name: str, kind: str = "added") -> None:
    path = root / read_release(root)["packages"][name]["path"]
    (path / f"changelog.d/+something.{kind}.md").write_text("Something else.")
    commit(root)


def version_of(root: Path, name: str) -> str:
    return read_release(root)["packages"][name]["version"]


def refused(root: Path, name: str, version: str) -> str:
    before = git(root, "rev-parse", "HEAD"), git(root, "tag")
    with pytest.raises(release.Refused) as error:
        release.publish(root, name, version)
    assert (git(root, "rev-parse", "HEAD"), git(root, "tag")) == before
    return str(error.value)


def test_first_releases_a_bump_a_new_framework_and_a_broken_contract(root: Path) -> None:
    # First releases: in order, as they stand, and of what they bring only.
    assert f"release {ENGINE} first" in refused(root, FASTAPI, version_of(root, FASTAPI))
    assert f"release {CORE} first" in refused(root, ENGINE, "1.0.0")
    add_fragment(root, CORE, "fixed")
    assert release.publish(root, CORE, "1.0.0") == f"{CORE}/1.0.0"
    changelog = (root / "shared" / CORE / "CHANGELOG.md").read_text()
    assert made_for(read_release(root), CORE) in changelog
    assert "### Added" in changelog
    assert "### Fixed" not in changelog
    release.publish(root, ENGINE, "1.0.0")
    first = version_of(root, FASTAPI)
    release.publish(root, FASTAPI, first)
    # The tag is of the commit that has the version and the changelog; nothing is left in the tree.
    tagged = git(root, "show", f"{FASTAPI}/{first}:packages/{FASTAPI}/CHANGELOG.md")
    assert f"## {first} (" in tagged
    assert git(root, "rev-parse", "HEAD") == git(root, "rev-parse", f"{FASTAPI}/{first}^{{commit}}")
    assert git(root, "status", "--porcelain") == ""
    with tarfile.open(root / f"dist/fastapi_sagaz-{first}.tar.gz") as sdist:
        assert f"fastapi_sagaz-{first}/tests/conftest.py" in sdist.getnames()
    # No second release without an entry, none outside of the train.
    after = re.sub(r"\d+$", lambda found: str(int(found[0]) + 1), first)
    assert "has no entry" in refused(root, FASTAPI, after)
    add_fragment(root, FASTAPI, "fixed")
    assert "is released already" in refused(root, FASTAPI, first)
    newer = next_series(series(first))
    assert "is not of the train" in refused(root, FASTAPI, f"{newer}.0")
    release.publish(root, FASTAPI, after)
    changelog = (root / f"packages/{FASTAPI}/CHANGELOG.md").read_text()
    assert re.search(rf"## {after} .*\n\n.*\n\n### Fixed\n\n- Something else.\n\n+## {first} \(", changelog)
    # The framework's new minor.
    assert release.follow(root, FASTAPI, newer) == []
    commit(root)
    release.publish(root, FASTAPI, f"{newer}.0")
    assert f"### Supported versions\n\n- FastAPI {newer}." in (root / f"packages/{FASTAPI}/CHANGELOG.md").read_text()
    # A broken contract: the engine has to follow it, and the plugins an engine that is broken, and to say so.
    add_fragment(root, CORE, "breaking")
    assert "make it 2.0.0" in refused(root, CORE, "1.1.0")
    release.publish(root, CORE, "2.0.0")
    assert read_release(root)["packages"][ENGINE]["needs"][CORE] == ">=2.0,<3"
    add_fragment(root, ENGINE, "breaking")
    release.publish(root, ENGINE, "2.0.0")
    assert f"Needs {CORE} `>=2.0,<3`." in (root / f"shared/{ENGINE}/CHANGELOG.md").read_text()
    assert read_release(root)["packages"][FASTAPI]["needs"][ENGINE] == ">=2.0,<3"
    assert f"{FASTAPI}: 1 changes, since {newer}.0" in release.plan(root)
    release.publish(root, FASTAPI, f"{newer}.1")
    assert f"Needs {ENGINE} `>=2.0,<3`." in (root / f"packages/{FASTAPI}/CHANGELOG.md").read_text()


def test_a_frameworks_new_minor_names_all_that_has_to_follow(root: Path) -> None:
    left = release.follow(root, DJANGO, "6.2")
    assert left == ["tox.ini: no environment of env_list has django~=6.2.0 in its deps"]
    changed = git(root, "diff", "--name-only").splitlines()
    package = f"packages/{DJANGO}"
    places = {"CHANGELOG.md", "README.md", "pyproject.toml"}
    assert {f"{package}/{place}" for place in places} | {"README.md", "release.toml"} <= set(changed)
    assert "examples/integrations/django_app/requirements.txt" in changed
    assert '"Framework :: Django :: 6.2"' in (root / package / "pyproject.toml").read_text()
    assert read_release(root)["packages"][DJANGO]["framework"]["range"] == ">=5.2,<2028"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "left.txt").write_text("x"), "not committed"),
        (lambda root: git(root, "remote", "set-url", "origin", "https://example.org/fork"), "origin is"),
    ],
)
def test_a_release_from_elsewhere_or_of_something_else_is_refused(root: Path, spoil, said: str) -> None:
    spoil(root)
    assert said in refused(root, CORE, "1.0.0")


def test_a_failure_leaves_the_tree_as_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "check_dists", lambda *_: ["it is rotten"])
    assert "it is rotten" in refused(root, CORE, "1.0.0")
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("version", "of", "after"), [("0.165.2", "0.165", "0.166"), ("6.2.1", "6.2", "2028"), ("2028.1", "2028", "2029")]
)
def test_series_know_the_year_in_which_django_changes_its_numbers(version: str, of: str, after: str) -> None:
    assert (series(version), next_series(series(version))) == (of, after)
