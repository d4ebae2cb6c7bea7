"""Answers as they are kept: what is given again byte by byte, and what is never kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from sagaz_durable.http.messages import HttpResponse

__all__ = ["MOST_BYTES", "REPLAYED", "is_kept", "stored", "unstored"]

MOST_BYTES = 262_144
"""Of a body; the answer to a request that starts something is a few hundred."""

REPLAYED = "Idempotent-Replayed"

_LATER = frozenset({408, 425, 429})
"""Statuses by which a client is told to come again with the same request."""

# Those of one connection or one visitor, and what each server writes anew.
_NEVER = frozenset(
    {
        "connection", "content-length", "date", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "server", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade",
        REPLAYED.lower(),
    }
)  # fmt: skip


def is_kept(status: int) -> bool:
    """Whether an answer with this status is given again: it is no 5xx, and asks nobody to come again."""
    return 200 <= status < 500 and status not in _LATER


def stored(response: HttpResponse) -> str | None:
    """Return an answer as it is kept, as ASCII; None if its body is too large."""
    if len(response.body) > MOST_BYTES:
        return None
    kept = {
        "status": response.status,
        "headers": _kept(response.headers),
        "body": base64.b64encode(response.body).decode(),
    }
    return json.dumps(kept)


def unstored(text: str) -> HttpResponse:
    """Return the answer that was kept, with a header that says that it is given again."""
    kept = json.loads(text)
    return HttpResponse(kept["status"], {**kept["headers"], REPLAYED: "true"}, base64.b64decode(kept["body"]))


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    connection = next((value for name, value in headers.items() if name.lower() == "connection"), "")
    named = {name.strip().lower() for name in connection.split(",")}
    return {name: value for name, value in headers.items() if name.lower() not in _NEVER | named}
