"""The address of a PostgreSQL store: what libpq is given, what this store asks for itself, and what may be shown."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sagaz_integration_core.errors import SettingsError
from sagaz_integration_core.redaction import redact

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

_FLAGS = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where the store is.

    Attributes:
        conninfo: The connection string, with its password.
        pgbouncer: A pooler is known to stand between. One that is not is noticed; see `session.make_own`.
        shown: The address without its password.
    """

    conninfo: str
    pgbouncer: bool
    shown: str

    def __repr__(self) -> str:
        return f"Address({self.shown!r}, pgbouncer={self.pgbouncer})"


def read_address(url: str) -> Address:
    """Read a storage URL: libpq's own, and the query parameter ``pgbouncer=true`` besides.

    Raises:
        SettingsError: libpq, or this store, does not know one of its parameters.
    """
    base, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    own = [parameter for parameter in parameters if parameter.partition("=")[0] == "pgbouncer"]
    rest = "&".join(parameter for parameter in parameters if parameter not in own)
    pgbouncer = bool(own) and _flag(url, own[-1].partition("=")[2])
    try:
        given = conninfo_to_dict(f"{base}?{rest}" if rest else base)
        conninfo = make_conninfo("", **{**_DEFAULTS, **given, **_OURS})
    except ProgrammingError as error:
        raise _refused(url, str(error)) from None
    return Address(conninfo, pgbouncer, redact(url))


def _flag(url: str, value: str) -> bool:
    try:
        return _FLAGS[value.lower()]
    except KeyError:
        raise SettingsError(
            f"The storage URL {redact(url)!r} has pgbouncer={value!r}; expected pgbouncer=true or pgbouncer=false."
        ) from None


def _refused(url: str, why: str) -> SettingsError:
    # libpq repeats what it could not read, which may be the password; the name of a parameter it may repeat.
    detail = why.strip() if why.startswith("invalid URI query parameter") else "it is no connection URL of libpq's"
    return SettingsError(
        f"The storage URL {redact(url)!r} is refused: {detail}. Expected postgresql://user:password@host:5432/database "
        "with libpq's parameters after ?, or pgbouncer=true."
    )
