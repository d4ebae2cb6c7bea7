"""The architecture page names every room that there is, and none that there is not."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "shared/sagaz-durable/src/sagaz_durable"
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_the_page_lists_the_rooms_of_the_engine():
    table = re.findall(r"^\| (`[^|]+`) \|", PAGE, re.MULTILINE)
    beside = PAGE[PAGE.index("Beside the rooms") :].partition("\n\n")[0]
    named = {name for row in (*table, beside) for name in re.findall(r"`(\w+)`", row)}
    modules = {path.stem for path in ENGINE.glob("*.py")} - {"__init__"}
    rooms = {path.parent.name for path in ENGINE.glob("*/__init__.py")}
    assert named == rooms | modules


def test_every_module_that_the_page_mentions_exists():
    for name in re.findall(r"`(\w+\.\w+)`", PAGE):
        path = ENGINE / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or name == "sagaz.start", name


def test_the_import_rules_list_the_same_rooms():
    rules = (ROOT / ".importlinter").read_text().partition("[importlinter:contract:rooms]")[2]
    layers = rules.partition("layers =")[2].partition("exhaustive")[0]
    rooms = {path.parent.name for path in ENGINE.glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"\w+", layers))
