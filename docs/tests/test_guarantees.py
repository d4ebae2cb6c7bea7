"""What users may rely on: each line names tests that are there, and none that is promised elsewhere is missing."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/guarantees.md"
LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+\.py)\)")
PROMISED = {
    "README.md": "## If the process dies here, then\n",
    "docs/howto/idempotency.md": "## If the process dies here\n",
    "docs/howto/transactional-steps.md": "## If the process dies here\n",
}


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [one for one, line in zip(cells, lines, strict=True) if "---" not in line and "The process dies" not in line]


def named_in(cell: str) -> list[tuple[str, Path]]:
    return [(text.replace("'s ", "_s ").replace(" ", "_"), ROOT / path) for text, path in LINK.findall(cell)]


def test_each_line_names_tests_and_each_of_them_is_there():
    shown = [row for row in rows(PAGE.read_text()) if "You may rely on" not in row[0]]
    assert len(shown) > 20
    for row in shown:
        assert named_in(row[-1]), row[0]
        for name, path in named_in(row[-1]):
            found = re.findall(rf"^ *(?:async )?def (?:test_)?{name}\(", path.read_text(), re.MULTILINE)
            assert len(found) == 1, (name, path)


def test_no_line_that_is_promised_elsewhere_is_missing():
    shown = {(row[0], row[1].replace("](howto/", "](")) for row in rows(PAGE.read_text())}
    for page, title in PROMISED.items():
        section = (ROOT / page).read_text().partition(title)[2].partition("\n## ")[0]
        promised = rows(section)
        assert promised, page
        for first, then in promised:
            wanted = tuple(cell.replace("](docs/howto/", "](") for cell in (first, then))
            assert wanted in {(one.replace("](howto/", "]("), two) for one, two in shown}, first
