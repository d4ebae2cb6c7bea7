"""The page of problems explains each kind that there is, and none that there is not; each has its use."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import django_sagaz.checks
import django_sagaz.errors
import sagaz_durable.problem_types
import sagaz_integration_core.errors
from sagaz_durable.problem_types import CATALOGUE, PAGE, kind_of
from sagaz_integration_core.errors import SagazError

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "problems.md").read_text()
SOURCES = [
    path
    for package in (sagaz_durable, django_sagaz)
    for path in Path(package.__path__[0]).rglob("*.py")
    if path.name != "problem_types.py"
]


def section_of(kind):
    return " ".join(TEXT.partition(f"\n## {kind.slug}\n")[2].partition("\n## ")[0].split())


def test_every_problem_has_its_section_in_the_catalogues_order():
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == [kind.slug for kind in CATALOGUE]


def test_each_section_tells_the_status_and_the_title():
    for kind in CATALOGUE:
        told = f"{kind.status}." if kind.status >= 400 else "As the `error` of a run" if kind.status else ""
        assert section_of(kind).startswith(told), kind.slug
        assert kind.title in section_of(kind), kind.slug


def test_the_addresses_are_those_of_the_page_and_each_is_one_problems():
    assert PAGE.endswith("/docs/problems.md")
    assert all(kind.address == f"{PAGE}#{kind.slug}" for kind in CATALOGUE)
    assert len({kind.slug for kind in CATALOGUE}) == len({kind.title for kind in CATALOGUE}) == len(CATALOGUE)


DERIVED = re.compile(rf"^class \w+\([^)]*\b(?:{'|'.join(sagaz_integration_core.errors.__all__)})\b", re.MULTILINE)


def modules_with_errors():
    """The modules that derive errors from the contract's, and may not be loaded."""
    for package in (sagaz_durable, django_sagaz):
        for path in Path(package.__path__[0]).rglob("*.py"):
            if DERIVED.search(path.read_text()):
                below = path.relative_to(package.__path__[0]).with_suffix("")
                yield ".".join((package.__name__, *below.parts))


LOADED = [import_module(name) for name in modules_with_errors()]


def subclasses(error):
    for kind in error.__subclasses__():
        yield kind
        yield from subclasses(kind)


ERRORS = {
    kind.__name__: kind
    for kind in subclasses(SagazError)
    if kind.__module__.partition(".")[0] in ("sagaz_integration_core", "sagaz_durable", "django_sagaz")
}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_has_its_address(name):
    error = ERRORS[name].__new__(ERRORS[name])
    assert kind_of(error) in CATALOGUE


def test_all_errors_are_looked_at():
    assert set(sagaz_integration_core.errors.__all__) - {"SagazError"} <= set(ERRORS)
    assert set(django_sagaz.errors.__all__) <= set(ERRORS)
    assert len(LOADED) >= 4


def test_an_error_that_another_distribution_has_made_up_has_none():
    class Theirs(SagazError):
        pass

    assert kind_of(Theirs()) is None


def test_nothing_in_the_catalogue_is_without_use():
    names = {name for name, value in vars(sagaz_durable.problem_types).items() if value in CATALOGUE}
    of_errors = {kind.slug for kind in map(kind_of, (error.__new__(error) for error in ERRORS.values()))}
    text = "\n".join(path.read_text() for path in SOURCES)
    told = {name for name in names if re.search(rf"\b{name}\b", text)}
    assert {vars(sagaz_durable.problem_types)[name].slug for name in names - told} - of_errors == set()
    assert len(names) == len(CATALOGUE)


def test_every_finding_of_djangos_checks_is_told_where_it_is_explained():
    for check_id, kind in django_sagaz.checks.KINDS.items():
        assert f"`{check_id}`" in section_of(kind), check_id
    documented = set(re.findall(r"\b([EW]0\d\d): ", Path(django_sagaz.checks.__file__).read_text()))
    assert {f"sagaz.{number}" for number in documented} == set(django_sagaz.checks.KINDS)
