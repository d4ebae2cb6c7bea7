"""The JSON of a decision's request: bounded before it is read, and with nothing in it that is not known."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import (
    BODY_UNREADABLE,
    INVALID_INPUT,
    LENGTH_REQUIRED,
    TOO_LARGE,
    UNSUPPORTED_MEDIA,
)
from sagaz_durable.serialization.json_body import MOST_NESTED, nesting, read_json
from sagaz_integration_core.error_text import error_text, visible
from sagaz_integration_core.errors import InvalidInput

__all__ = ["has_chunks", "read_body", "text_member", "unreadable"]

logger = logging.getLogger(__name__)

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


def has_chunks(environ: Mapping[str, Any]) -> bool:
    """Whether the body of a WSGI request is sent in chunks, without its length, and can be read to its end.

    Raises:
        Problem: It is sent so, and the server does not say where it ends.
    """
    if environ.get("CONTENT_LENGTH") or "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return False
    if not environ.get("wsgi.input_terminated"):
        logger.warning(
            "A request to %s is refused: its body is sent in chunks, and this server does not say where it ends "
            "(wsgi.input_terminated). Have the proxy in front of it buffer bodies, or use gunicorn or waitress.",
            visible(str(environ.get("PATH_INFO")), 200),
        )
        raise Problem(LENGTH_REQUIRED, "Expected Content-Length: this server takes no body in chunks.")
    return True


def unreadable(error: Exception) -> Problem:
    """Return what a body is answered with at which the server fails: it was cut off, or is malformed."""
    logger.info("The body of a request cannot be read: %s", visible(error_text(error), 500))
    return Problem(BODY_UNREADABLE)


def text_member(given: dict[str, Any], name: str, default: str | None = None) -> str:
    """Return a member that is a text.

    Raises:
        Problem: It is none, is missing without a default, or has more than 2,000 characters.
    """
    value = given.get(name, default)
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise Problem(INVALID_INPUT, f"{name} must be a text of at most {_LONGEST_TEXT} characters")
    return value
