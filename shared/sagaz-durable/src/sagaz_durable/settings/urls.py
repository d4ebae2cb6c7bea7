"""The addresses of stores and brokers: which there are, how they are read, and what a wrong one should have been."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from sagaz_durable.nearest_name import closest
from sagaz_durable.redaction import redact, scheme_of
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import SettingsError

__all__ = [
    "BrokerURL",
    "StorageURL",
    "parse_broker_url",
    "parse_storage_url",
    "read_broker_url",
    "read_storage_url",
    "refused_url",
]

_STORES = "memory://, sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host/database"
_BROKERS = "redis://, rediss://, amqp://, amqps://, kafka://host:port or memory://"

_BROKER_KINDS: dict[str, Literal["redis", "rabbitmq", "kafka"]] = {
    "redis": "redis",
    "rediss": "redis",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "rabbitmq": "rabbitmq",
    "kafka": "kafka",
}

_UNENCODED = r"(?<![?&]host=)@|\s|%00|%(?![0-9A-Fa-f]{2})"
"""An @ that is left over is most likely the password's; only an abstract socket (``?host=@name``) begins with one."""

_HOST = r"(?a)(\[[^\[\]]*\]|[^:\[\]]*)(:(\d{0,5}))?"
_LAST_PORT = 65_535


@record
class StorageURL:
    """Where runs are kept: ``path`` (absolute) for sqlite, ``dsn`` (as it was given, for libpq) for postgresql."""

    kind: Literal["memory", "sqlite", "postgresql"]
    path: Path | None = None
    dsn: str | None = None

    def __repr__(self) -> str:
        dsn = self.dsn and redact(self.dsn)
        return f"StorageURL(kind={self.kind!r}, path={self.path and str(self.path)!r}, dsn={dsn!r})"


@record
class BrokerURL:
    """Where events are published; ``url`` is what the broker's own client understands."""

    kind: Literal["memory", "redis", "rabbitmq", "kafka"]
    url: str

    def __repr__(self) -> str:
        return f"BrokerURL(kind={self.kind!r}, url={redact(self.url)!r})"


def parse_storage_url(url: str) -> StorageURL:
    """Read the address of a store.

    Raises:
        SettingsError: It is none; of the address the message has only the scheme, and the nearest valid choice.
    """
    try:
        return read_storage_url(url)
    except ValueError as error:
        raise _refusal("storage", url, error) from None


def parse_broker_url(url: str) -> BrokerURL:
    """Read the address of a broker.

    Raises:
        SettingsError: It is none; of the address the message has only the scheme, and the nearest valid choice.
    """
    try:
        return read_broker_url(url)
    except ValueError as error:
        raise _refusal("broker", url, error) from None


def refused_url(url: object) -> str:
    """Return what may be shown of an address that cannot be read: ``postgresql://…``, or nothing.

    Where a password stands in it is not known, and the host, the database or an option may be a piece of one.
    """
    scheme = scheme_of(url) if isinstance(url, str) else ""
    return f"{scheme}://…" if scheme else ""


def _refusal(kind: str, url: str, error: ValueError) -> SettingsError:
    shown = refused_url(url)
    return SettingsError(f"The {kind} URL {shown}{' ' if shown else ''}is wrong: {error}")


def read_storage_url(url: str) -> StorageURL:
    """Read the address of a store; a ValueError tells only what is wrong with it and what would be right."""
    scheme, rest = scheme_of(url), url.partition("://")[2]
    if url == "memory://":
        return StorageURL("memory")
    if scheme == "sqlite":
        return StorageURL("sqlite", path=_sqlite_path(rest))
    if scheme in ("postgresql", "postgres"):
        _check_hosts(rest)
        return StorageURL("postgresql", dsn=url)
    raise ValueError(_storage_advice(url, scheme))


def read_broker_url(url: str) -> BrokerURL:
    """Read the address of a broker; a ValueError tells only what is wrong with it and what would be right."""
    scheme, rest = scheme_of(url), url.partition("://")[2]
    if url == "memory://":
        return BrokerURL("memory", url)
    if scheme not in _BROKER_KINDS:
        raise ValueError(_broker_advice(url, scheme))
    _check_hosts(rest)
    if scheme == "kafka":
        _check_kafka(rest)
    # rabbitmq:// is sagaz's own word; no client knows it.
    return BrokerURL(_BROKER_KINDS[scheme], f"amqp://{rest}" if scheme == "rabbitmq" else url)


def _check_kafka(rest: str) -> None:
    if re.search(r"[@/?#]", rest.removesuffix("/")):
        raise ValueError(
            "a Kafka URL is a list of hosts, kafka://one:9092,two:9092. For a user and a password, or TLS, give a "
            "SagaConfig a KafkaBroker: KafkaBrokerConfig has sasl_username, sasl_password and security_protocol"
        )
    if not rest.removesuffix("/"):
        raise ValueError("it names no host; expected kafka://host:9092")


def _sqlite_path(rest: str) -> Path:
    if rest in ("", "/", ":memory:", "/:memory:"):
        raise ValueError("SQLite in memory is not offered; use memory://, or name a file: sqlite:///sagaz.db")
    if not rest.startswith("/"):
        raise ValueError("after two slashes comes a host; a relative file has three: sqlite:///sagaz.db")
    name = rest[1:]
    if "?" in name or "\0" in name:
        raise ValueError("options and NUL are not taken; expected sqlite:///relative.db or sqlite:////absolute.db")
    if name.endswith("/"):
        raise ValueError("it names a directory; add a file's name, e.g. sagaz.db")
    return Path(name).absolute()


def _check_hosts(rest: str) -> None:
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, _, hosts = authority.rpartition("@")
    broken = not all(map(_is_host, hosts.split(",")))
    # libpq and the brokers' clients would misread such a password, and then repeat it in their errors.
    if (
        re.search(r"[\[\]]", userinfo)
        or re.search(_UNENCODED, userinfo)
        or re.search(_UNENCODED, rest[len(authority) :])
        or (broken and "@" in rest)
    ):
        raise ValueError("percent-encode @ : / ? # % [ ] and spaces in user, password and options (@ is %40, / is %2F)")
    if broken:
        raise ValueError("after the host only a numeric port is expected, and an IPv6 address in brackets: [::1]:5432")


def _is_host(text: str) -> bool:
    found = re.fullmatch(_HOST, text)
    if found is None or int(found[3] or 0) > _LAST_PORT:
        return False
    # Encoded as a whole, user and password become part of the host; a socket's directory may have anything.
    host = unquote(found[1])
    return "%" not in found[1] or host.startswith("/") or re.search(r"[@:/]", host) is None


def _storage_advice(url: str, scheme: str) -> str:
    dialect, _, driver = scheme.partition("+")
    if driver and dialect in ("postgresql", "postgres", "sqlite"):
        return f"sagaz brings its own driver; expected {dialect}:// without +{driver}"
    if dialect in _BROKER_KINDS:
        return f"{dialect} can carry events (as the broker URL) but not keep runs; expected {_STORES}"
    if dialect in ("mysql", "mariadb", "oracle", "mssql"):
        return f"{dialect} keeps runs only through Django's own DATABASES (django-sagaz); expected {_STORES}"
    if url in ("", "memory", "memory:", ":memory:", "sqlite", "sqlite:") or dialect == "memory":
        return f"expected {_STORES}"
    if not scheme and not re.search(r"[@=:?\s]", url):
        return "it has no scheme; a file is named sqlite:///relative.db, an absolute path with four slashes"
    return _nearest(scheme or url.partition(":")[0], ("memory", "sqlite", "postgresql", "postgres"), _STORES)


def _broker_advice(url: str, scheme: str) -> str:
    if scheme.endswith("+socket") or scheme == "unix":
        return "a broker behind a Unix socket is not offered; expected redis://host:6379/0"
    if scheme == "memory":
        return "expected memory://, and nothing after it"
    return _nearest(scheme or url.partition(":")[0], (*_BROKER_KINDS, "memory"), _BROKERS)


def _nearest(scheme: str, choices: tuple[str, ...], expected: str) -> str:
    near = closest(scheme.lower(), choices)
    return f"did you mean {near}://? Expected {expected}" if near else f"expected {expected}"
