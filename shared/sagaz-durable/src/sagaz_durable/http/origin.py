"""Requests that another site's page has a browser send with the user's cookies: told apart by what browsers say."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import CROSS_SITE
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SettingsError

__all__ = ["check_origin", "check_trusted"]

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_OWN = frozenset(("same-origin", "none"))
"""What ``Sec-Fetch-Site`` says of a page of this very origin, and of what a user has typed."""


def check_origin(request: HttpRequest, trusted: Iterable[str] = ()) -> None:
    """Refuse a request that may change something and comes from the page of another origin.

    Browsers name the origin; a client that names none is no browser, and sends no cookies that are not its own.

    Args:
        trusted: Other origins whose pages may send such requests.

    Raises:
        Problem: It does.
    """
    if request.method in _SAFE:
        return
    origin, site = request.header("Origin"), request.header("Sec-Fetch-Site")
    if origin is not None and origin in trusted:
        return
    if site is not None:
        if site.strip().lower() in _OWN:
            return
    elif origin is None or _host(origin) == (request.header("Host") or "").strip().lower():
        return
    raise Problem(
        CROSS_SITE,
        "Send it from a page of this server, or have the application trust the page's origin: trusted_origins=[…].",
    )


def check_trusted(origin: object) -> str:
    """Return an origin as browsers write it.

    Raises:
        SettingsError: It is none.
    """
    if isinstance(origin, str) and origin.isascii():
        scheme, host = origin.partition("://")[0].lower(), _host(origin)
        if host and scheme in ("http", "https") and f"{scheme}://{host}" == origin.lower():
            return origin.lower()
    raise SettingsError(
        f"trusted_origins has {value_text(origin, 80)}; expected origins as browsers name them, https://shop.example, "
        "without a path."
    )


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
