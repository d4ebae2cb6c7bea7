"""The diagram: everything stands where it can be read, whatever the saga looks like."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from xml.etree import ElementTree

import pytest
from django.template.loader import render_to_string

import django_sagaz
from django_sagaz.admin.diagram import picture, translated_words
from sagaz_durable.diagram.layout import lay_out
from sagaz_durable.diagram.states import WORDS, drawn_steps
from sagaz_durable.graph import StepNode

SVG = "{http://www.w3.org/2000/svg}"


def saga(**depends_on):
    return [StepNode(name, tuple(needed), True, False) for name, needed in depends_on.items()]


def entry(step, phase, status):
    return SimpleNamespace(step=step, phase=phase, status=status, compensated=True, started_at=None, finished_at=None)


def drawn(declared, journal=(), awaited=MappingProxyType({})):
    states = drawn_steps(declared, journal, direction="forward", active=True, awaited=awaited)
    registered = declared is not None
    context = {"diagram": picture(states, "s", registered=registered), "registered": registered}
    html = render_to_string("admin/django_sagaz/run/diagram.html", context)
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", html, re.DOTALL)[0])


def boxes(svg):
    rects = [group.find(f"{SVG}rect") for group in svg.iter(f"{SVG}g") if "sagaz-step" in group.get("class")]
    return [tuple(int(rect.get(key)) for key in ("x", "y", "width", "height")) for rect in rects]


def points(line):
    numbers = [int(number) for number in re.findall(r"-?\d+", line.get("d"))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


LONG = "reserve" + "_and_hold" * 21
SAGAS = {
    "one": saga(only=[]),
    "chain": saga(**{f"s{n}": [f"s{n - 1}"] if n else [] for n in range(60)}),
    "all side by side": saga(**{f"s{n}": [] for n in range(60)}),
    "fan": saga(root=[], **{f"s{n}": ["root"] for n in range(30)}, last=[f"s{n}" for n in range(30)]),
    "long jumps": saga(a=[], b=["a"], c=["b"], d=["a"], e=["c", "d"], f=["a", "e"]),
    "long names": saga(**{LONG + "1": [], LONG + "2": [], "予約" * 100: [LONG + "1"], "W" * 200: [LONG + "2"]}),
}


@pytest.mark.parametrize("declared", SAGAS.values(), ids=SAGAS)
def test_no_box_covers_another_and_all_are_inside_the_picture(declared):
    svg = drawn(declared)
    found = boxes(svg)
    assert len(found) == len(declared)
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in itertools.combinations(found, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
    width, height = int(svg.get("width")), int(svg.get("height"))
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in found)
    assert all(0 <= x <= width and 0 <= y <= height for line in svg.iter(f"{SVG}path") for x, y in points(line))
    # Four boxes side by side, and no more: that is what a page has room for.
    assert width <= 1024


@pytest.mark.parametrize("declared", SAGAS.values(), ids=SAGAS)
def test_every_step_stands_below_what_it_depends_on(declared):
    place = dict(zip([step.name for step in declared], [None] * len(declared), strict=True))
    states = drawn_steps(declared, (), direction="forward", active=True)
    place = {box.step.name: box for box in lay_out(states).boxes}
    for step in declared:
        assert all(place[needed].y + place[needed].height < place[step.name].y for needed in step.depends_on)


def test_no_line_runs_through_a_box_that_it_has_nothing_to_do_with():
    svg = drawn(SAGAS["long jumps"])
    for line in svg.iter(f"{SVG}path"):
        if line.get("class") != "sagaz-line":
            continue
        corners = points(line)
        for x, y, w, h in boxes(svg):
            assert not any(x < px < x + w and y < py < y + h for px, py in corners)


def test_nothing_of_a_long_name_is_left_out():
    for name in ("reserve-the-rental-car " * 8, "W" * 200, "予約" * 100):
        svg = drawn(saga(**{name: []}))
        lines = [text.text for text in svg.iter(f"{SVG}text") if text.get("class") == "sagaz-name"]
        assert "".join(lines).replace(" ", "") == name.replace(" ", "")
        assert len(lines) > 5


def test_what_follows_from_other_lines_has_no_line():
    svg = drawn(saga(a=[], b=["a"], c=["a", "b"]))
    assert len([line for line in svg.iter(f"{SVG}path") if line.get("class") == "sagaz-line"]) == 2


def test_each_state_is_told_in_words_for_those_who_see_no_colours():
    journal = [
        entry("a", "do", "done"), entry("b", "do", "in_doubt"), entry("c", "do", "failed"), entry("d", "do", "started"),
        entry("b", "undo", "done"), entry("a", "undo", "failed"),
    ]  # fmt: skip
    svg = drawn(saga(a=[], b=[], c=[], d=[], e=[]), journal)
    told = svg.find(f"{SVG}desc").text
    assert "a: done; compensation failed." in told
    assert "b: in doubt; compensated." in told
    assert "c: failed; compensation not called." in told
    assert "d: started;" in told
    assert "e: not called yet;" in told
    shown = {text.text.strip() for text in svg.iter(f"{SVG}text")}
    assert {"✓ done", "? in doubt", "✕ failed", "▸ started", "○ not called yet", "↩ compensated"} <= shown
    assert svg.get("role") == "img"
    assert svg.find(f"{SVG}title").text == "The steps of saga s"


def test_a_step_that_waits_is_drawn_as_such_and_says_what_for():
    journal = [entry("a", "do", "done"), entry("b", "do", "waiting"), entry("a", "undo", "waiting")]
    awaited = {("b", "do"): "signal paid until Monday", ("a", "undo"): "a time"}
    svg = drawn(saga(a=[], b=["a"], c=["b"]), journal, awaited)
    told = svg.find(f"{SVG}desc").text
    assert "a: done; compensation is waiting: a time." in told
    assert "b: waiting: signal paid until Monday;" in told
    assert "c: not called yet;" in told
    shown = {text.text.strip() for text in svg.iter(f"{SVG}text")}
    assert {"◷ waiting", "↩ compensation is waiting"} <= shown
    groups = [group for group in svg.iter(f"{SVG}g") if "sagaz-is-waiting" in group.get("class").split()]
    assert [group.get("class").split()[0] for group in groups] == ["sagaz-undo", "sagaz-step"]
    assert "b: waiting: signal paid until Monday" in groups[1].find(f"{SVG}title").text


def test_the_legend_has_each_state_that_a_step_is_drawn_in():
    html = render_to_string("admin/django_sagaz/run/diagram.html", {"diagram": ""})
    legend = re.search(r"<ul class=.sagaz-legend.*?</ul>", html, re.DOTALL)[0]
    for state in ("uncalled", "started", "waiting", "done", "indoubt", "failed"):
        assert f"sagaz-key sagaz-is-{state}" in legend
    css = (Path(django_sagaz.__file__).parent / "static/django_sagaz/admin.css").read_text()
    assert ".sagaz-is-waiting > .sagaz-box" in css
    assert css.count("--sagaz-waiting-bg:") == css.count("--sagaz-done-bg:") == 3


def test_without_the_saga_the_order_of_the_starts_is_shown_as_such():
    journal = [entry("first", "do", "done"), entry("second", "do", "failed"), entry("first", "undo", "done")]
    svg = drawn(None, journal)
    [line] = [line for line in svg.iter(f"{SVG}path") if "sagaz-line" in line.get("class")]
    assert line.get("class") == "sagaz-line sagaz-line-order"
    assert len(boxes(svg)) == 2


def test_a_step_that_the_saga_has_no_more_is_shown_besides():
    states = drawn_steps(saga(now=[]), [entry("once", "do", "done")], direction="forward", active=True)
    assert [(state.name, state.declared) for state in states] == [("now", True), ("once", False)]


def test_there_are_neither_scripts_nor_styles_in_it():
    for element in drawn(SAGAS["fan"]).iter():
        assert element.tag != f"{SVG}script"
        assert not [name for name in element.attrib if name == "style" or name.startswith("on")]


def test_the_page_translates_everything_that_a_diagram_says():
    assert translated_words() == WORDS


def test_a_name_that_looks_like_markup_stays_text():
    svg = drawn(saga(**{"<script>&": []}))
    assert [text.text for text in svg.iter(f"{SVG}text")][:2] == ["<script>&", "○ not called yet"]
