"""Which changes are made to a module: cosmic-ray's, as far as they differ enough from each other, and our own."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from mutation_operators import OPERATORS

__all__ = ["SOURCE", "Mutant", "key_of", "mutants"]

SOURCE = "shared/sagaz-durable/src/sagaz_durable"

# Of the replacements of one operator by every other one, those that differ least; `|` stands in types.
_CORE = re.compile(
    r"AddNot|NumberReplacer|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ZeroIteration\w+"
    r"|Replace(Break|Continue)With\w+|ExceptionReplacer|ReplaceUnaryOperator_(Delete_Not|USub_UAdd)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|BitAnd_BitOr)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Lt_GtE|Gt_LtE|GtE_Lt"
    r"|LtE_Gt)"
)

# Decorators, the star before parameters that are given by name, and what is changed by another operator too.
_IDLE = re.compile(
    r"^\w+ @|TYPE_CHECKING|Mul_Div .*\*,"
    r"|^AddNot (if|elif|while) (not [\w.]+|[^ ]+ (==|!=|<|<=|>|>=|is|is not|in|not in) [^ ]+):$"
)


class Mutant(NamedTuple):
    """One change: as the lines that it removes and adds, which are known again wherever they have moved to.

    Attributes:
        number: Which of several equal changes of the module it is; 0 for the first.
    """

    module: str
    line: int
    operator: str
    diff: str
    number: int
    code: str

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return key_of(self.module, self.diff, self.number)


def key_of(module: str, diff: str, number: int = 0) -> str:
    """Return what tells a change from all others."""
    return "\n".join([module, diff.strip(), *([f"#{number}"] if number else [])])


def mutants(root: Path, module: str) -> Iterator[Mutant]:
    """Return all changes of one module, each once."""
    source = (root / SOURCE / module).read_text()
    lines = source.splitlines()
    seen, known = {source}, Counter[str]()
    for name, operator in _operators():
        # Positions are pairs of (line, column), and the n-th of them is the operator's n-th change.
        found = [start for node in ast_nodes(get_ast(source)) for start, _ in operator().mutation_positions(node)]
        for number, (line, _) in enumerate(found):
            code = _changed(source, operator(), number)
            if code is None or code in seen or _IDLE.search(f"{name} {lines[line - 1].strip()}"):
                continue
            seen.add(code)
            diff = _diff(source, code)
            yield Mutant(module, line, name, diff, known[diff], code)
            known[diff] += 1


def _changed(source: str, operator: Any, number: int) -> str | None:
    try:
        code: str | None = mutate_code(source, operator, number)
    except AttributeError:
        # cosmic-ray cannot replace `module.Error` among several exceptions.
        return None
    return code


def _operators() -> Iterator[tuple[str, Any]]:
    for name in cosmic_ray.plugins.OPERATOR_PROVIDERS["core"]:
        if _CORE.fullmatch(name):
            yield name, cosmic_ray.plugins.get_operator(f"core/{name}")
    yield from OPERATORS.items()


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines if re.match(r"[+-](?![+-]{2})", line))
