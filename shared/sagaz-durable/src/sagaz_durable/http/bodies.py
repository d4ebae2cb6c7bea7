"""The JSON of a decision's request: bounded before it is read, and with nothing in it that is not known."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import INVALID_INPUT, TOO_LARGE, UNSUPPORTED_MEDIA
from sagaz_durable.serialization.json_body import MOST_NESTED, nesting, read_json
from sagaz_integration_core.errors import InvalidInput

__all__ = ["read_body", "text_member"]

_LONGEST_TEXT = 2_000


def read_body(request: HttpRequest, most: int, members: Collection[str]) -> dict[str, Any]:
    """Return the members of a body; none if it is empty.

    Args:
        most: How many bytes it may have.
        members: The names that are known.

    Raises:
        Problem: It is too large, no JSON object, nests too deeply, or has another member.
    """
    if len(request.body) > most:
        raise Problem(TOO_LARGE, f"Expected at most {most} bytes.")
    if not request.body:
        return {}
    media = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Problem(UNSUPPORTED_MEDIA, "Expected Content-Type: application/json.")
    if nesting(request.body) > MOST_NESTED:
        raise Problem(INVALID_INPUT, f"the body nests more than {MOST_NESTED} levels deep")
    try:
        given = read_json(request.body)
    except InvalidInput as error:
        raise Problem(INVALID_INPUT, str(error)) from None
    if not given.keys() <= set(members):
        raise Problem(INVALID_INPUT, f"the body has a member that is not known; expected {', '.join(members)}")
    return given


def text_member(given: dict[str, Any], name: str, default: str | None = None) -> str:
    """Return a member that is a text.

    Raises:
        Problem: It is none, is missing without a default, or has more than 2,000 characters.
    """
    value = given.get(name, default)
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise Problem(INVALID_INPUT, f"{name} must be a text of at most {_LONGEST_TEXT} characters")
    return value
