"""The page of problems explains each kind that there is, and none that there is not."""

import re
from pathlib import Path

from sagaz_durable.http.problems import CATALOGUE, PAGE

TEXT = (Path(__file__).resolve().parents[1] / "problems.md").read_text()


def test_every_problem_has_its_section_in_the_catalogues_order():
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == [kind.slug for kind in CATALOGUE]


def test_each_section_tells_the_status_and_the_title():
    for kind in CATALOGUE:
        section = TEXT.partition(f"\n## {kind.slug}\n")[2].partition("\n## ")[0]
        told = f"{kind.status}." if kind.status >= 400 else "As the `error` of a run"
        assert section.strip().startswith(told), kind.slug
        assert kind.title in " ".join(section.split()), kind.slug


def test_the_addresses_are_those_of_the_page():
    assert PAGE.endswith("/docs/problems.md")
    assert all(kind.address == f"{PAGE}#{kind.slug}" for kind in CATALOGUE)
