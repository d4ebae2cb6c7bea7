"""How commands tell of an error: to people, and with ``--format json`` to programs, too."""

from __future__ import annotations

from sagaz_durable.cli.command import Values
from sagaz_durable.problem_types import Finding, kind_of, references
from sagaz_integration_core.error_text import json_text, visible, visible_lines
from sagaz_integration_core.errors import SagazError

__all__ = ["failure_json", "failure_text"]


def failure_text(error: SagazError) -> str:
    """Return what standard error is told: what is wrong, and where that kind of problem is explained."""
    return "\n".join([visible_lines(str(error)), *references([kind_of(error)])])


def failure_json(error: SagazError, given: Values) -> str | None:
    """Return what standard output is told as well, if JSON was asked for: a problem as RFC 9457 has it."""
    kind = kind_of(error)
    if kind is None or given.get("format") != "json":
        return None
    return json_text(Finding(kind, visible(str(error))).document(), indent=2)
