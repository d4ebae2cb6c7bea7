"""A request and its answer, as a case sees them: without any framework's or client's classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Ask"]


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        leave: The client closes the connection as soon as it has sent the request.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    leave: bool = False

    @property
    def route(self) -> str:
        return self.path.partition("?")[0]

    @property
    def query(self) -> str:
        return self.path.partition("?")[2]

    @property
    def sent_headers(self) -> list[tuple[str, str]]:
        """The headers as a client sends them, with those that every client adds."""
        own = {"host": "testserver", "content-type": "application/json", "content-length": str(len(self.body))}
        return list({**own, **{name.lower(): value for name, value in self.headers.items()}}.items())


@dataclass(frozen=True)
class Answer:
    """One response.

    Attributes:
        status: 0 when the application sent none.
        pieces: The body as it was sent, piece by piece.
        error: What the application let out, for the server to log.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    error: Exception | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"HTTP {self.status} with a body that is not JSON: {self.body[:500]!r}") from None

    def header(self, name: str) -> str | None:
        """Return a header's only value; an answer that carries it twice is a bug."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None
