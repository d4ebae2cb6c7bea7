"""The ``Idempotency-Key`` of a request (draft-ietf-httpapi-idempotency-key-header-07), and what stands for it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import KEY_MALFORMED, KEY_MISSING
from sagaz_durable.runtime.new_run import saga_id_of
from sagaz_integration_core.context.identifiers import random_uuid
from sagaz_integration_core.contract.request_keys import NewKey
from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.settings.settings import Settings

__all__ = ["HEADER", "Repeatable", "new_key", "read_key", "run_key_of"]

HEADER = "Idempotency-Key"

_MOST = 255
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")
"""What is no quotation mark, backslash, comma or semicolon, and can be seen."""


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What an application says of an endpoint that clients may repeat.

    Attributes:
        endpoint: Its name, for messages.
        saga: The saga that it starts one run of; None if it starts none, and keeps key and answer with its own rows.
        joins: Whether its key and answer are part of its own transaction.
        required: Whether a request without a key is refused; else it is executed as often as it comes.
        location: The address of its run's status, with ``{saga_id}``: for what is answered in its place after a crash.
    """

    endpoint: str
    saga: type[Saga] | None = None
    joins: bool = False
    required: bool = True
    location: str | None = None

    def __post_init__(self) -> None:
        if self.saga is None and not self.joins:
            raise UsageError(
                f"{self.endpoint} is to be idempotent, and neither starts a saga nor has a transaction that its answer "
                "could be kept with: what it had done before a crash would be done again. Name the saga that it "
                "starts, or the session whose transaction its rows are written in."
            )
        if self.location is not None and "{saga_id}" not in self.location:
            raise UsageError(f"location={self.location!r} of {self.endpoint} has no {{saga_id}} in it.")


def read_key(request: HttpRequest, *, required: bool) -> str | None:
    """Return the key of a request: ``"abc"`` and ``abc`` are the same; None if it has none.

    Raises:
        Problem: It is malformed, longer than 255 characters, or missing although it is required.
    """
    given = [value for name, value in request.headers if name.lower() == HEADER.lower()]
    if not given:
        if required:
            raise Problem(KEY_MISSING, f"Send an {HEADER} header that is new for each new request, as a UUID.")
        return None
    text = given[0].strip(" \t")
    if len(given) == 1 and (quoted := _QUOTED.fullmatch(text)) is not None:
        key = re.sub(r'\\(["\\])', r"\1", quoted[1])
    else:
        key = text if len(given) == 1 and _BARE.fullmatch(text) is not None else ""
    if not 0 < len(key) <= _MOST:
        raise Problem(
            KEY_MALFORMED,
            f'Expected one {HEADER} header with 1 to {_MOST} printable ASCII characters, as "8e03978e-40d5-43dd".',
        )
    return key


def new_key(request: HttpRequest, key: str, caller: Any, endpoint: Repeatable, settings: Settings) -> NewKey:
    """Return the row to claim for a request.

    Args:
        caller: Who sent it, by what `str` makes of it: keys of different callers have nothing to do with each other.
    """
    address = _digest(str(caller) if caller is not None else None, request.method, request.path, key)
    body = hashlib.sha256(request.body).hexdigest()
    return NewKey(
        id=address,
        fingerprint=_digest(request.method, request.path, request.query, body),
        saga_id=None if endpoint.saga is None else saga_id_of(endpoint.saga, run_key_of(address)),
        owner=None if endpoint.joins else random_uuid(),
        lease_seconds=settings.lease_seconds,
        keep_seconds=settings.keep_answers_seconds,
    )


def run_key_of(address: str) -> str:
    """Return the idempotency key of the run that a request starts."""
    return f"request:{address}"


def _digest(*values: str | None) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
