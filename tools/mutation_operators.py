"""What cosmic-ray does not change by itself: conditions in SQL, statements left out, arguments left out, membership."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name

__all__ = ["OPERATORS"]

Position = tuple[tuple[int, int], tuple[int, int]]


class _Replacing(Operator):
    """Replaces the text of a leaf by others."""

    def texts(self, node: Any) -> list[str]:
        """Return what may stand in its place."""
        raise NotImplementedError

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """As cosmic-ray wants it."""
        for _ in self.texts(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """As cosmic-ray wants it."""
        text = self.texts(node)[index]
        if hasattr(node, "value"):
            node.value = text
            return node
        return Name(text, node.start_pos, prefix=node.get_first_leaf().prefix)


class LeaveOutStatement(_Replacing):
    """Leaves out a call, an assignment to an attribute or an item, a ``raise`` or a ``return`` without a value."""

    def texts(self, node: Any) -> list[str]:
        """Return ``pass`` for statements without which the rest still runs."""
        if node.parent is None or node.parent.type != "simple_stmt" or node is not node.parent.children[0]:
            return []
        code = node.get_code(include_prefix=False)
        if node.type == "expr_stmt":
            # Without a name that is read later, everything would fail.
            target = node.children[0]
            return ["pass"] if target.type in ("atom_expr", "power") and code.count("=") else []
        called = node.type in ("atom_expr", "power", "await") or code in ("raise", "return")
        left_out = called or node.type in ("raise_stmt", "del_stmt")
        return ["pass"] if left_out and not code.startswith("logger.") else []

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """As cosmic-ray wants it."""
        return (
            Example("if x:\n    stop(1)\n", "if x:\n    pass\n"),
            Example("self.a = 1\nb = 2\n", "pass\nb = 2\n"),
            Example("if x:\n    raise\n", "if x:\n    pass\n"),
        )


class LeaveOutArgument(Operator):
    """Leaves out one keyword argument of a call, so that its default holds."""

    # Without these a call fails, or does the same.
    HARMLESS = ("strict", "name", "daemon")

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """As cosmic-ray wants it."""
        # All of them first: cosmic-ray goes on asking after it has changed the node.
        yield from [(node.children[place].start_pos, node.children[place].end_pos) for place in self._places(node)]

    def mutate(self, node: Any, index: int) -> Any:
        """As cosmic-ray wants it."""
        place = self._places(node)[index]
        del node.children[place]
        if node.type == "arglist" and node.children:
            del node.children[min(place, len(node.children) - 1)]
        return node

    def _places(self, node: Any) -> list[int]:
        if node.type not in ("arglist", "trailer") or (node.parent is not None and node.parent.type == "classdef"):
            return []
        return [
            place
            for place, child in enumerate(node.children)
            if child.type == "argument" and child.children[1] == "=" and child.children[0].value not in self.HARMLESS
        ]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """As cosmic-ray wants it."""
        return (
            Example("f(a, b=1, c=2)", "f(a, c=2)"),
            Example("f(a, b=1)", "f(a)"),
            Example("f(b=1)", "f()"),
        )


class SwapMembership(_Replacing):
    """Makes ``not in`` of ``in``, and the other way round."""

    def texts(self, node: Any) -> list[str]:
        """Return the opposite."""
        if node.parent is None or node.parent.type != "comparison":
            return []
        code = " ".join(node.get_code(include_prefix=False).split())
        return {"in": ["not in"], "not in": ["in"]}.get(code, [])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """As cosmic-ray wants it."""
        return (Example("x in y", "x not in y"), Example("x not in y", "x in y"))


class LeaveOutCondition(_Replacing):
    """Has a comprehension take everything."""

    def texts(self, node: Any) -> list[str]:
        """Return a condition that always holds."""
        return ["if True"] if node.type == "comp_if" else []

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """As cosmic-ray wants it."""
        return (Example("[x for x in y if x.z]", "[x for x in y if True]"),)


class LeaveOutSide(_Replacing):
    """Leaves out the first or the last part of an ``and`` or ``or``."""

    def texts(self, node: Any) -> list[str]:
        """Return what is left."""
        if node.type not in ("and_test", "or_test"):
            return []
        first, last = (
            "".join(c.get_code() for c in node.children[2:]),
            "".join(c.get_code() for c in node.children[:-2]),
        )
        return [first.strip(), last.strip()]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """As cosmic-ray wants it."""
        return (Example("x = a and b", "x = b"), Example("x = a and b", "x = a", occurrence=1))


class ChangeSql(_Replacing):
    """Leaves out conditions, assignments and orders of SQL, and moves its bounds."""

    def texts(self, node: Any) -> list[str]:
        """Return every statement that differs in one place."""
        if node.type not in ("string", "fstring_string") or not _SQL.search(node.value) or "CREATE " in node.value:
            return []
        return list(dict.fromkeys(text for text in _changed(node.value) if text != node.value))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """As cosmic-ray wants it."""
        return (
            Example('"UPDATE t SET a = ?, b = 1 WHERE c = ? AND d = ?"', '"UPDATE t SET b = 1 WHERE c = ? AND d = ?"'),
            Example('"DELETE FROM t WHERE c = ? AND d = ?"', '"DELETE FROM t WHERE c = ?"'),
            Example('"DELETE FROM t WHERE c = ? AND d = ?"', '"DELETE FROM t WHERE d = ?"', occurrence=1),
            Example('f"a = :a AND {b}"', 'f"{b}"'),
        )


_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|WHERE|AND|SET|FROM|CASE|coalesce|IN)(?=\W)", re.S)
_VERB = re.compile(r"\b(SELECT|UPDATE|SET|INSERT|FROM)\b")
_ENDS = re.compile(
    r"\s*(\bAND\b|\bOR\b|\bWHERE\b|\bORDER BY\b|\bLIMIT\b|\bGROUP BY\b|\bRETURNING\b|\bON CONFLICT\b|\bFOR \b|\bUNION\b"
    r"|\bTHEN\b|\bEND\b|\bDO\b|\bCROSS\b|\bLEFT\b|\bJOIN\b|\"|'''|;|$)"
)
_WORD_CHANGES = (
    (r" <= ", [" < "]),
    (r" >= ", [" > "]),
    (r" < ", [" <= "]),
    (r" > ", [" >= "]),
    (r" <> ", [" = "]),
    (r"(?<=[\w?)]) \+ 1\b", [""]),
    (r"\bIS NOT NULL\b", ["IS NULL"]),
    (r"\bIS NULL\b", ["IS NOT NULL"]),
    (r"\bNOT IN\b", ["IN"]),
    (r"coalesce\(([^(),]+), ([^(),]+)\)", [r"\1", r"\2"]),
    (r"\bCASE (?:(?!CASE).)*? ELSE ((?:(?!CASE|END).)*?) END\b", [r"\1"]),
    (r"\bFOR NO KEY UPDATE SKIP LOCKED\b", ["", "FOR NO KEY UPDATE"]),
    (r"\bNOT (?=\w+\b)(?!NULL|EXISTS|IN |MATERIALIZED)", [""]),
    (r"(?<=\()('\w+'), ('\w+')", [r"\1", r"\2"]),
)


def _changed(sql: str) -> Iterator[str]:
    yield from _without_assignments(sql)
    yield from _without_conditions(sql)
    for match in re.finditer(r"\s*\bORDER BY\s+", sql):
        yield sql[: match.start()] + sql[_end(sql, match.end()) :]
    for pattern, texts in _WORD_CHANGES:
        for match in re.finditer(pattern, sql, re.S):
            for text in texts:
                yield sql[: match.start()] + match.expand(text) + sql[match.end() :]


def _without_conditions(sql: str) -> Iterator[str]:
    """Leave out each part of a conjunction; a condition that is alone always holds."""
    for match in re.finditer(r"\s*\bAND\s+", sql):
        end = _end(sql, match.end())
        if end > match.end() and sql[match.end() : end].strip():
            yield sql[: match.start()] + sql[end:]
    starts = [match.end() for match in re.finditer(r"\bWHERE\s+", sql)]
    if (
        not starts
        and not re.search(r"\b(SELECT|UPDATE|SET|INSERT|FROM)\b", sql)
        and re.search(r" AND |^\W*\w+ IN ", sql)
    ):
        # A constant that is only a condition.
        starts = [_begin(sql)]
    for start in starts:
        end = _end(sql, start)
        if not sql[start:end].strip():
            continue
        following = re.compile(r"\s*\bAND\s+").match(sql, end)
        yield sql[:start] + (sql[following.end() :] if following else "1 = 1" + sql[end:])


def _without_assignments(sql: str) -> Iterator[str]:
    """Leave out each assignment of a SET that has several."""
    starts = [match.end() for match in re.finditer(r"\bSET\s+", sql)]
    if not starts and not re.search(r"\b(SELECT|INSERT|FROM)\b", sql) and re.match(r"\W*\w+ = ", sql):
        # A constant that is a part of one.
        starts = [_begin(sql)]
    for start in starts:
        items, place = [], start
        while True:
            end = _end(sql, place, ",")
            items.append((place, end))
            if sql[end : end + 1] != ",":
                break
            place = re.compile(r",\s*").match(sql, end).end()  # type: ignore[union-attr]
        for (begin, end), following in zip(items, [*items[1:], None], strict=True):
            # What an f-string puts in ends elsewhere.
            if len(items) > 1 and sql[begin:end].strip() and sql[begin:end].rstrip()[-1] not in "=<>+":
                until = following[0] if following else end
                before = begin if following else sql.rindex(",", 0, begin)
                yield sql[:before] + sql[until:]


def _begin(text: str) -> int:
    """Return where the text begins behind its quotes; a part of an f-string has none."""
    quotes = re.match(r"\w{0,2}[\"']+\s*", text)
    return quotes.end() if quotes else 0


def _end(sql: str, place: int, stop: str = "\0") -> int:
    """Return where the expression that begins at ``place`` ends."""
    depth = cases = 0
    while place < len(sql):
        if not depth and not cases and (sql[place] == stop or _ENDS.match(sql, place)):
            break
        if re.compile(r"\bCASE\b").match(sql, place):
            cases += 1
        elif re.compile(r"\bEND\b").match(sql, place):
            cases -= 1
        depth += (sql[place] == "(") - (sql[place] == ")")
        if depth < 0:
            break
        place += 1
    return place


OPERATORS: dict[str, type[Operator]] = {
    operator.__name__: operator
    for operator in (LeaveOutStatement, LeaveOutArgument, SwapMembership, LeaveOutCondition, LeaveOutSide, ChangeSql)
}
