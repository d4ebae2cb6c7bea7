"""The address of a PostgreSQL store: what libpq is given, what this store asks for itself, and what may be shown."""

from __future__ import annotations

import re
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, PGconn

from sagaz_durable.nearest_name import closest
from sagaz_durable.redaction import redact
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import SettingsError

__all__ = ["Address", "read_address"]

# A peer that vanished without a word is found within half a minute, not after the hours of the system's defaults.
_DEFAULTS = {
    "application_name": "sagaz",
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}

# What is sent and received is UTF-8, whatever the environment says, and whatever the database keeps it in.
_OURS = {"client_encoding": "UTF8"}

_NUMBERS = frozenset(
    ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
)
"""What psycopg and libpq read as whole numbers only when they connect, or not at all."""

_FLAGS = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}


@record
class Address:
    """Where the store is.

    Attributes:
        conninfo: The connection string, with its password.
        pgbouncer: A pooler is known to stand between. One that is not is noticed; see `session.make_own`.
        shown: The address without its password.
        wording: How what errors advise is spelled.
    """

    conninfo: str
    pgbouncer: bool
    shown: str
    wording: Wording = NEUTRAL

    def __repr__(self) -> str:
        return f"Address({self.shown!r}, pgbouncer={self.pgbouncer})"


def read_address(url: str, wording: Wording = NEUTRAL) -> Address:
    """Read a storage URL: libpq's own, and the query parameter ``pgbouncer=true`` besides.

    Raises:
        SettingsError: libpq, or this store, does not know one of its parameters, or its value.
    """
    base, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    own = [parameter for parameter in parameters if parameter.partition("=")[0] == "pgbouncer"]
    rest = "&".join(parameter for parameter in parameters if parameter not in own)
    pgbouncer = bool(own) and _flag(own[-1].partition("=")[2])
    try:
        given = {**_DEFAULTS, **conninfo_to_dict(f"{base}?{rest}" if rest else base), **_OURS}
        conninfo = make_conninfo("", **given)
    except ProgrammingError as error:
        raise _refused(_misread(str(error))) from None
    if (wrong := _wrong_value(given)) is not None:
        raise _refused(f"libpq does not take this value of {wrong}")
    return Address(conninfo, pgbouncer, redact(url), wording)


def _flag(value: str) -> bool:
    try:
        return _FLAGS[value.lower()]
    except KeyError:
        raise _refused("expected pgbouncer=true or pgbouncer=false") from None


def _wrong_value(given: dict[str, Any]) -> str | None:
    """Return the parameter whose value libpq refuses, without a connection: each attempt would fail in the same way."""
    for name in _NUMBERS & given.keys():
        if not re.fullmatch(r"-?[0-9]{1,9}", str(given[name])):
            return name
    nowhere = ",".join("/nonexistent" for _ in str(given.get("host") or given.get("hostaddr") or "").split(","))
    connection = PGconn.connect_start(make_conninfo("", **{**given, "host": nowhere, "hostaddr": None}).encode())
    said = connection.error_message.decode(errors="replace")
    connection.finish()
    if said.startswith("connection to server"):
        return None
    return next(
        (name for name in sorted(given, key=len, reverse=True) if name in said.partition(":")[0]), "a parameter"
    )


def _misread(said: str) -> str:
    # libpq repeats what it could not read, which may be a piece of the password.
    if not said.startswith("invalid URI query parameter"):
        return "it is no connection URL of libpq's"
    names = [option.keyword.decode() for option in Conninfo.get_defaults()]
    near = closest(said.rpartition(": ")[2].strip().strip('"'), names)
    return "libpq does not know one of its parameters" + (f"; did you mean {near}?" if near else "")


def _refused(why: str) -> SettingsError:
    return SettingsError(
        f"The storage URL postgresql://… is refused: {why}. Expected postgresql://user:password@host:5432/database "
        "with libpq's parameters after ?, or pgbouncer=true."
    )
