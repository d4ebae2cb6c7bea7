"""What each setting may be: how it is read from a string or a real value, and which settings contradict each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sagaz_durable.settings.urls import read_broker_url, read_storage_url, refused_url
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.error_text import visible

__all__ = ["RULES", "SECRETS", "Rule", "contradictions", "problem"]

_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

_MAX_PATTERN = 200

_LEAST_KEY = 32
"""Bytes: as many as an HMAC with SHA-256 has; a shorter key is weaker than what it signs with."""

SECRETS = frozenset(("signing_keys",))
"""The settings of which nothing is ever shown."""

_MISSING = "None was given; leave it out for the default"


class Rule(Protocol):
    """How one setting is read."""

    def read(self, raw: object) -> Any:
        """Return the value; a ValueError tells what would have been right."""


@record
class Flag:
    """True or false."""

    def read(self, raw: object) -> bool:
        """Accept a bool, or one of the usual words."""
        value = _WORDS.get(str(raw).strip().lower()) if isinstance(raw, bool | int | str) else None
        if value is None:
            raise ValueError("expected true or false (or 1/0, yes/no, on/off)")
        return value


@record
class Number:
    """A number in a range; never NaN or infinite, which are in no range."""

    low: float
    high: float
    kind: type[int] | type[float]
    unit: str
    optional: bool = False

    def read(self, raw: object) -> float | None:
        """Accept a number, or a string that is one; a bool is none, and a float is no whole number."""
        if self.optional and (raw is None or raw == ""):
            return None
        accepted = (int, str) if self.kind is int else (int, float, str)
        if isinstance(raw, bool) or not isinstance(raw, accepted):
            raise ValueError(self._expected())
        try:
            value = self.kind(raw)
        except (ValueError, OverflowError):
            raise ValueError(self._expected()) from None
        if not self.low <= value <= self.high:
            raise ValueError(self._expected())
        return value

    def _expected(self) -> str:
        return f"expected {self.unit} from {self.low:,} to {self.high:,}"


@record
class Text:
    """A string that ``check`` accepts (it raises a ValueError otherwise); None only where that means something."""

    check: Callable[[str], object]
    optional: bool = False

    def read(self, raw: object) -> str | None:
        """Accept a string, without the blanks around it; an empty one counts as None where that means something."""
        if self.optional and (raw is None or raw == ""):
            return None
        if not isinstance(raw, str):
            raise ValueError(_MISSING if raw is None else f"expected a string, not {type(raw).__name__}")
        text = raw.strip()
        self.check(text)
        return text


@record
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, raw: object) -> str:
        """Accept one of them, in any case."""
        word = raw.strip().lower() if isinstance(raw, str) else None
        if word not in self.words:
            raise ValueError(f"expected {' or '.join(self.words)}")
        return word


@record
class Patterns:
    """Shell patterns for keys, each maybe behind a ``!``."""

    def read(self, raw: object) -> tuple[str, ...]:
        """Accept a list or a tuple of strings, or a string with commas between them."""
        given = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
            raise ValueError(self._expected())
        patterns = tuple(item.strip() for item in given if isinstance(item, str))
        if not raw:
            return ()
        if not all(0 < len(pattern.removeprefix("!")) <= _MAX_PATTERN for pattern in patterns):
            raise ValueError(self._expected())
        return patterns

    def _expected(self) -> str:
        return f"expected patterns for keys of 1 to {_MAX_PATTERN} characters, e.g. ['customer_*', '!token_count']"


@record
class Keys:
    """Secret keys: the first signs, and all verify, so that one can be replaced."""

    def read(self, raw: object) -> tuple[str, ...]:
        """Accept a list or a tuple of strings, or a string with commas between them."""
        given = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
            raise ValueError(self._expected())
        keys = tuple(item.strip() for item in given if isinstance(item, str))
        if not raw:
            return ()
        if any(len(key.encode(errors="surrogatepass")) < _LEAST_KEY for key in keys):
            raise ValueError(self._expected())
        return keys

    def _expected(self) -> str:
        return (
            f"expected keys of at least {_LEAST_KEY} bytes, with commas between them; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


def _header_name(text: str) -> None:
    if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", text) is None:
        raise ValueError("expected an HTTP header's name (letters, digits and -), e.g. X-Correlation-ID")


def _schema(text: str) -> None:
    if re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", text) is None or text.startswith("pg_"):
        raise ValueError("expected a plain identifier (a-z, 0-9 and _, at most 63, not pg_...), e.g. sagaz")


def _whole(unit: str, low: int, high: int, *, optional: bool = False) -> Number:
    return Number(low, high, int, f"a whole number of {unit}", optional)


def _seconds(low: float, high: float) -> Number:
    return Number(low, high, float, "a number of seconds")


RULES: Mapping[str, Rule] = {
    "storage_url": Text(read_storage_url),
    "broker_url": Text(read_broker_url, optional=True),
    "metrics": Flag(),
    "logging": Flag(),
    "tracing": Flag(),
    "header_name": Text(_header_name),
    # PostgreSQL's jsonb holds no string over 268,435,455 bytes.
    "max_context_bytes": _whole("bytes", 1_024, 268_435_455),
    "lease_seconds": _seconds(0.1, 86_400),
    "renew_seconds": _seconds(0.01, 43_200),
    "poll_seconds": _seconds(0.01, 3_600),
    "drain_seconds": _seconds(0, 86_400),
    "max_failures": _whole("failures", 1, 1_000_000),
    "backoff_seconds": _seconds(0.001, 86_400),
    "backoff_max_seconds": _seconds(0.001, 604_800),
    "concurrency": _whole("runs", 1, 10_000),
    "max_due": Number(1, 1_000_000_000, int, "a whole number of runs", optional=True),
    "sync_threads": _whole("threads", 1, 1_000, optional=True),
    "background_runs": _whole("runs", 1, 1_000_000),
    "keep_finished": _whole("runs", 0, 100_000_000),
    "sqlite_busy_seconds": _seconds(0, 3_600),
    "schema": Text(_schema, optional=True),
    "migrate": Flag(),
    "notify": Flag(),
    "pool_size": _whole("connections", 1, 1_000),
    "event_attempts": _whole("attempts", 1, 1_000_000),
    "keep_sent_seconds": _seconds(0, 31_536_000),
    "keep_signals_seconds": _seconds(0, 31_536_000),
    "keep_unclaimed_seconds": _seconds(0, 31_536_000),
    "keep_answers_seconds": _seconds(0, 31_536_000),
    "keep_webhooks_seconds": _seconds(0, 315_360_000),
    "keep_ignored_webhooks_seconds": _seconds(0, 315_360_000),
    "max_webhook_bytes": _whole("bytes", 1_024, 33_554_432),
    "answer_wait_seconds": _seconds(0, 60),
    "keep_context_seconds": Number(0, 3_153_600_000, float, "a number of seconds", optional=True),
    "dispatch": Choice(("worker", "celery")),
    "redact_keys": Patterns(),
    "signing_keys": Keys(),
}


def problem(name: str, label: str, raw: object, reason: object) -> str:
    """One line about a wrong value: its name as the user wrote it, what may be shown of the value, and what is right.

    Of what is, or could be, an address that is only its scheme: see `urls.refused_url`. Of `SECRETS` it is nothing.
    """
    return f"{visible(label)}{'' if name in SECRETS else _shown(label, raw)}: {reason}"


def contradictions(values: Mapping[str, Any], labels: Mapping[str, str], wording: Wording) -> list[str]:
    """Tell which settings, each right in itself, cannot be right together.

    Args:
        values: Every setting that could be read, defaults included.
        labels: What the user called those that were given.
        wording: What the user would have called the others.
    """

    def named(name: str) -> str:
        if name in labels:
            return f"{labels[name]}={values[name]:g}"
        return f"{wording.setting(name)}={values[name]:g} (the default)"

    found = []
    lease, renew = values.get("lease_seconds"), values.get("renew_seconds")
    if lease is not None and renew is not None and renew > lease / 2:
        pair = f"{named('renew_seconds')} and {named('lease_seconds')}"
        found.append(f"{pair}: expected to renew at least twice in a lease; renew every {lease / 3:g} seconds or less")
    first, longest = values.get("backoff_seconds"), values.get("backoff_max_seconds")
    if first is not None and longest is not None and first > longest:
        pair = f"{named('backoff_seconds')} and {named('backoff_max_seconds')}"
        found.append(f"{pair}: expected the first pause to be no longer than the longest")
    return found


def _shown(label: str, raw: object) -> str:
    if raw is None or isinstance(raw, bool | int | float):
        return f"={raw!r:.60}"
    if not isinstance(raw, str):
        return f"=<{type(raw).__name__}>"
    if raw and ("URL" in label.upper() or re.search(r"[@=]|://", raw)):
        return f"={shown}" if (shown := refused_url(raw)) else ""
    return f"={raw if len(raw) <= 200 else f'{raw[:200]}...'!r}"
