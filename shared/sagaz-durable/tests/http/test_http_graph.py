"""The picture of a run: drawn on the server, for browsers and as text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from http_shop import ask

from sagaz_durable.diagram.mermaid import mermaid
from sagaz_durable.diagram.states import drawn_steps
from sagaz_durable.diagram.svg import STYLE, svg
from sagaz_durable.graph import StepNode
from sagaz_durable.http.reading import probe_answer
from sagaz_durable.operations.health import ProbeResult

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    '"];x-->y',
    "a`b`#quot;",
    "\x1b[2J",
    "\u202e",
    "\uffff",
    "]]>&amp;",
    "%%{init}%%",
    ";",
]


async def test_a_browser_is_shown_a_picture_that_can_do_nothing(shop):
    saga_id = await shop.started("waiting", waits=True)
    answer = await shop.api.draw_run(ask(headers={"accept": "text/html,image/svg+xml,*/*;q=0.8"}), saga_id)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
    picture = ElementTree.fromstring(answer.body)
    told = picture.find(f"{SVG}desc").text
    assert "reserve: done" in told
    assert "charge: waiting: signal 'paid'" in told
    assert picture.find(f"{SVG}style").text == STYLE
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("text/vnd.mermaid", "text/vnd.mermaid"), ("text/plain", "text/vnd.mermaid"), ("", "image/svg+xml"),
        ("text/plain, */*", "image/svg+xml"), ("image/svg+xml, text/vnd.mermaid;q=0.5", "text/vnd.mermaid"),
        ("application/pdf", "image/svg+xml"),
    ],
)  # fmt: skip
async def test_text_is_for_those_who_ask_for_it(shop, accept, media):
    saga_id = await shop.started()
    answer = await shop.api.draw_run(ask(headers={"accept": accept}), saga_id)
    assert answer.headers["Content-Type"] == f"{media}; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"


async def test_the_text_has_each_step_with_its_state_and_what_it_depends_on(shop):
    saga_id = await shop.started("rolled_back", declined=True)
    answer = await shop.api.draw_run(ask(), saga_id, "mermaid")
    lines = answer.body.decode().splitlines()
    assert lines[0] == "flowchart TD"
    assert re.fullmatch(r' +s0\["reserve<br/>✓ done, .* s<br/>↩ compensated, .* s"\]:::done', lines[1])
    assert re.fullmatch(r' +s1\["charge<br/>✕ failed, .* s"\]:::failed', lines[2])
    assert lines[3].strip() == "s0 --> s1"


async def test_each_form_has_an_entity_tag_of_its_own(shop):
    saga_id = await shop.started()
    tags = {form: (await shop.api.draw_run(ask(), saga_id, form)).headers["ETag"] for form in ("svg", "mermaid")}
    assert len({*tags.values(), (await shop.api.show_run(ask(), saga_id)).headers["ETag"]}) == 3
    for form, tag in tags.items():
        again = await shop.api.draw_run(ask(headers={"if-none-match": tag}), saga_id, form)
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_steps_name_cannot_leave_its_place(name):
    steps = drawn_steps([StepNode(name)], (), direction="forward", active=True)
    picture = ElementTree.fromstring(svg(steps, name, style=STYLE))
    assert {element.tag for element in picture.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "title", "desc", "style", "defs", "marker", "path", "g", "rect", "text")
    }
    text = mermaid(steps)
    node = text.splitlines()[1]
    assert re.fullmatch(r' +s0\["[\w \-.,:()#;]+<br/>○ not called yet"\]:::uncalled', node), node
    assert text.replace("\n", "").isprintable()


async def test_nobody_sees_a_picture_that_he_may_not_read(shop):
    saga_id = await shop.started()
    shop.rules["authorize"] = None
    assert (await shop.api.draw_run(ask(), saga_id)).status == 404


def test_probes_are_not_told_why():
    assert probe_answer(ProbeResult(True)).status == 200
    failed = probe_answer(ProbeResult(False, "password of db.internal"))
    assert (failed.status, failed.body) == (503, b'{"status": "unavailable"}')
