"""Where the boxes and lines of a diagram go: a layer for each rank of dependencies, from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import TypeVar

from sagaz_durable.diagram.states import DrawnStep
from sagaz_durable.diagram.wrapping import wrapped
from sagaz_integration_core.contract.record import record

__all__ = ["Box", "Diagram", "direct_parents", "lay_out"]

T = TypeVar("T")

_COLUMNS = 4
"""How many boxes stand side by side: more would not fit a page."""

_WIDTH, _GAP_X, _GAP_Y, _MARGIN = 216, 36, 44, 20
_LINE, _STATE, _UNDO, _PADDING, _INSET = 17, 20, 24, 10, 6
_CHARACTERS = 26
"""How many characters of the names' font fit a line."""


@record
class Box:
    """One step, placed; lengths in pixels, x and y of its top left corner."""

    step: DrawnStep
    lines: tuple[str, ...]
    x: int
    y: int

    @property
    def undo_y(self) -> int:
        """Where the compensation's part begins."""
        return self.y + _PADDING + _LINE * len(self.lines) + _STATE + 4

    @property
    def height(self) -> int:
        """How high it is."""
        return self.undo_y - self.y + _UNDO + _INSET

    @property
    def middle(self) -> int:
        """Where lines come in and go out."""
        return self.x + _WIDTH // 2

    @property
    def width(self) -> int:
        """How wide it is."""
        return _WIDTH

    @property
    def line_ys(self) -> list[int]:
        """Where the lines of the name stand."""
        return [self._first + _LINE * number for number in range(len(self.lines))]

    @property
    def state_y(self) -> int:
        """Where the state stands."""
        return self._first + _LINE * len(self.lines) + 2

    @property
    def text_x(self) -> int:
        """Where name and state begin."""
        return self.x + 12

    @property
    def undo(self) -> tuple[int, int, int, int]:
        """The compensation's part: x, y, width and height."""
        return self.x + _INSET, self.undo_y, _WIDTH - 2 * _INSET, _UNDO

    @property
    def undo_text(self) -> tuple[int, int]:
        """Where the compensation's state stands."""
        return self.x + (_INSET + 8 if self.step.undo else 12), self.undo_y + 16

    @property
    def _first(self) -> int:
        return self.y + _PADDING + 12


@record
class Diagram:
    """Boxes, and the lines between them as SVG's paths; width and height in pixels."""

    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    width: int
    height: int


def lay_out(steps: Sequence[DrawnStep]) -> Diagram:
    """Place the steps so that each stands below all that it depends on."""
    parents = direct_parents(steps)
    rows = _rows(steps, parents)
    widest = max((len(row) for row in rows), default=1)
    boxes: dict[str, Box] = {}
    y = _MARGIN
    for row in rows:
        # On a grid, so that the gaps between the columns run through all rows.
        first = (widest - len(row)) // 2
        placed = [
            Box(step, wrapped(step.name, _CHARACTERS), _MARGIN + column * (_WIDTH + _GAP_X), y)
            for column, step in enumerate(row, first)
        ]
        boxes |= {box.step.name: box for box in placed}
        y += max(box.height for box in placed) + _GAP_Y
    bottoms = [max(boxes[step.name].y + boxes[step.name].height for step in row) for row in rows]
    numbers = {step.name: number for number, row in enumerate(rows) for step in row}
    lines = [
        _line(boxes[parent], boxes[name], bottoms[numbers[parent]], numbers[name] - numbers[parent] == 1)
        for name in boxes
        for parent in parents[name]
    ]
    width = 2 * _MARGIN + widest * (_WIDTH + _GAP_X) - _GAP_X
    return Diagram(tuple(boxes.values()), tuple(lines), width, max(y - _GAP_Y, _MARGIN) + _MARGIN)


def direct_parents(steps: Sequence[DrawnStep]) -> dict[str, list[str]]:
    """Return what each step depends on, without what it depends on through others anyway."""
    known = {step.name for step in steps}
    needed = {step.name: [name for name in dict.fromkeys(step.depends_on) if name in known] for step in steps}
    above: dict[str, set[str]] = {}
    for name in TopologicalSorter(needed).static_order():
        above[name] = set(needed[name]).union(*(above[parent] for parent in needed[name]))
    return {
        name: [parent for parent in parents if not any(parent in above[other] for other in parents)]
        for name, parents in needed.items()
    }


def _rows(steps: Sequence[DrawnStep], parents: Mapping[str, Sequence[str]]) -> list[list[DrawnStep]]:
    """Return the layers, each in rows of a few; in a layer, steps stand near what they depend on."""
    by_name = {step.name: step for step in steps}
    rank: dict[str, int] = {}
    for name in TopologicalSorter(parents).static_order():
        rank[name] = 1 + max((rank[parent] for parent in parents[name]), default=-1)
    place: dict[str, float] = {}
    rows: list[list[DrawnStep]] = []
    for layer in range(1 + max(rank.values(), default=-1)):
        names = [step.name for step in steps if rank[step.name] == layer]
        names.sort(key=lambda name: sum(place[p] for p in parents[name]) / len(parents[name]) if parents[name] else 0)
        place |= {name: number - (len(names) - 1) / 2 for number, name in enumerate(names)}
        rows += [[by_name[name] for name in part] for part in _parts(names)]
    return rows


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _COLUMNS] for start in range(0, len(items), _COLUMNS)]


def _line(parent: Box, child: Box, bottom: int, adjacent: bool) -> str:
    """Return the path from one box to another; past rows in between it runs through a gap between their columns."""
    x, y = parent.middle, parent.y + parent.height
    end = child.y - 6
    if adjacent:
        bend = (end - y) // 2
        return f"M{x} {y}C{x} {y + bend} {child.middle} {end - bend} {child.middle} {end}"
    gap = child.x - _GAP_X // 2 if parent.middle <= child.middle else child.x + _WIDTH + _GAP_X // 2
    above, turn = bottom + _GAP_Y, child.y - _GAP_Y
    return (
        f"M{x} {y}L{x} {bottom}C{x} {bottom + _GAP_Y // 2} {gap} {bottom + _GAP_Y // 2} {gap} {above}"
        f"L{gap} {turn}C{gap} {end - 8} {child.middle} {turn + 8} {child.middle} {end}"
    )
