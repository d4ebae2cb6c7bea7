"""What a plugin makes of its framework's request, and what it makes its framework's response of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any
from urllib.parse import parse_qsl

from sagaz_integration_core.contract.record import record

__all__ = ["HttpRequest", "HttpResponse"]

_MOST_FIELDS = 50
"""Of a query; the routes here know fewer than ten."""


@record
class HttpRequest:
    """One request, as the rules see it.

    Attributes:
        method: In capitals.
        path: Decoded, with what the application is mounted at.
        query: The query string, not decoded, without ``?``.
        headers: Name and value as they came, once for each field line; `header` finds them in any case.
        body: As it came; a plugin reads at most one byte more than the route's limit, which tells that it is longer.
        native: The framework's own request, for the application's own functions.
    """

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    native: Any = field(default=None, repr=False, compare=False)

    def header(self, name: str) -> str | None:
        """Return a header's value, several field lines joined by commas as RFC 9110 has it; None without any."""
        values = list(self._values(name))
        return ", ".join(values) if values else None

    def _values(self, name: str) -> Iterator[str]:
        wanted = name.lower()
        return (value for given, value in self.headers if given.lower() == wanted)

    def parameters(self) -> list[tuple[str, str]]:
        """Return names and values of the query, in their order; what is not UTF-8 is replaced.

        Raises:
            ValueError: There are more than 50.
        """
        return parse_qsl(self.query, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS)


@record
class HttpResponse:
    """One answer; a plugin adds nothing to it but what its framework always adds.

    Attributes:
        headers: Names as they are usually written, and no ``Content-Length``.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
