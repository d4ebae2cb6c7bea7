"""A diagram as SVG: for a page that has styles of its own, or as an image with its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from sagaz_durable.diagram.layout import Box, lay_out
from sagaz_durable.diagram.states import WORDS, DrawnStep
from sagaz_integration_core.error_text import visible

__all__ = ["STYLE", "svg"]

_COLOURS = {
    "uncalled": ("#f3f4f6", "#4b5563", "#9ca3af"),
    "started": ("#e0effe", "#0b4a86", "#3b82c4"),
    "waiting": ("#dff3f4", "#0b4f58", "#2f8a97"),
    "done": ("#e2f5e7", "#14572c", "#3f9a5c"),
    "indoubt": ("#fdf2d0", "#6b4700", "#b98a1b"),
    "failed": ("#fde4e4", "#8f1414", "#c93a3a"),
}
"""Background, text and line of each state; for eyes that see no colours, the lines differ too."""

_ALSO = {
    "owed": "uncalled", "none": "uncalled", "kept": "done",
    "lost": "failed", "recovering": "failed", "skipped": "failed",
}  # fmt: skip

STYLE = "".join([
    ".sagaz-diagram{background:#fff}",
    ".sagaz-line{fill:none;stroke:#8a94a0;stroke-width:1.5}.sagaz-line-order{stroke-dasharray:5 4}",
    ".sagaz-arrow{fill:#8a94a0}.sagaz-box{stroke-width:1.5}",
    *(
        f".sagaz-is-{name}>.sagaz-box{{fill:{back};stroke:{line}}}.sagaz-is-{name}>text{{fill:{text}}}"
        for name, (back, text, line) in {**_COLOURS, **{also: _COLOURS[one] for also, one in _ALSO.items()}}.items()
    ),
    ".sagaz-undo.sagaz-is-done>.sagaz-box{fill:#efe6fb;stroke:#8a63c7}.sagaz-undo.sagaz-is-done>text{fill:#4f2a86}",
    ".sagaz-is-uncalled>.sagaz-box,.sagaz-is-owed>.sagaz-box{stroke-dasharray:4 3}",
    ".sagaz-is-waiting>.sagaz-box{stroke-dasharray:1.5 3;stroke-linecap:round;stroke-width:2.5}",
    ".sagaz-is-failed>.sagaz-box{stroke-width:3}",
    ".sagaz-is-indoubt>.sagaz-box{stroke-dasharray:9 3;stroke-width:2.5}",
    ".sagaz-name{font:600 12px ui-monospace,Menlo,Consolas,monospace}",
    ".sagaz-step>.sagaz-name{fill:#1f2933}",
    ".sagaz-state,.sagaz-pivot{font:12px system-ui,sans-serif}.sagaz-undo .sagaz-state{font-size:11.5px}",
])  # fmt: skip
"""What an image that stands alone looks like."""

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold."""

_ARROW = (
    '<defs><marker id="sagaz-arrow" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path class="sagaz-arrow" d="M0 0L8 4L0 8z"/></marker></defs>'
)


def svg(
    steps: Sequence[DrawnStep],
    name: str,
    *,
    words: Mapping[str, str] = WORDS,
    by_order: bool = False,
    style: str = "",
) -> str:
    """Return the picture of a run's steps.

    Args:
        steps: From `drawn_steps`.
        name: The saga's.
        words: As `WORDS`.
        by_order: The lines tell only in which order the steps were started.
        style: Where no page gives one: `STYLE`.
    """
    return "".join(_written(steps, name, words, by_order=by_order, style=style))


def _written(
    steps: Sequence[DrawnStep], name: str, words: Mapping[str, str], *, by_order: bool, style: str
) -> Iterator[str]:
    diagram = lay_out(steps)
    width, height = diagram.width, diagram.height
    yield (
        '<svg class="sagaz-diagram" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'aria-labelledby="sagaz-diagram-title sagaz-diagram-text" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">'
    )
    yield f'<title id="sagaz-diagram-title">{_text(words["title"].format(name=visible(name)))}</title>'
    yield f'<desc id="sagaz-diagram-text">{" ".join(f"{_told(step)}." for step in steps)}</desc>'
    if style:
        yield f"<style>{style}</style>"
    yield _ARROW
    kind = "sagaz-line sagaz-line-order" if by_order else "sagaz-line"
    for line in diagram.lines:
        yield f'<path class="{kind}" d="{line}" marker-end="url(#sagaz-arrow)"/>'
    for box in diagram.boxes:
        yield from _box(box, words)
    yield "</svg>"


def _box(box: Box, words: Mapping[str, str]) -> Iterator[str]:
    step = box.step
    yield f'<g class="sagaz-step sagaz-is-{step.state.replace("_", "")}"><title>{_told(step)}</title>'
    yield _rect(box.x, box.y, box.width, box.height, 6)
    for y, line in zip(box.line_ys, box.lines, strict=True):
        yield _line("sagaz-name", box.text_x, y, line)
    yield _line("sagaz-state", box.text_x, box.state_y, f"{step.sign} {step.label}")
    if step.pivot:
        end = box.x + box.width - 12
        yield _line("sagaz-pivot", end, box.state_y, f"◆ {words['pivot']}", ' text-anchor="end"')
    yield f'<g class="sagaz-undo sagaz-is-{(step.undo or "none").replace("_", "")}">'
    if step.undo:
        yield _rect(*box.undo, 4)
    yield _line("sagaz-state", *box.undo_text, f"↩ {step.undo_label}" if step.undo else step.undo_label)
    yield "</g></g>"


def _rect(x: int, y: int, width: int, height: int, radius: int) -> str:
    return f'<rect class="sagaz-box" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'


def _line(kind: str, x: int, y: int, text: str, more: str = "") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}"{more}>{_text(text)}</text>'


def _told(step: DrawnStep) -> str:
    return _text(f"{step.shown}: {step.told}; {step.undo_told}")


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))
