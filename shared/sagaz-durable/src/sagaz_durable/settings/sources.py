"""Where settings come from: arguments, Django's ``SAGAZ`` dict, Flask's prefixed keys and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from sagaz_durable.nearest_name import closest
from sagaz_durable.settings.rules import RULES
from sagaz_integration_core.contract.record import record

__all__ = ["Given", "Source", "arguments", "environment", "mapping", "prefixed"]

_KEYS = {name.upper(): name for name in RULES}

_SAGAZ_PARTS = r"(STORAGE|BROKER)_(TYPE|HOST|PORT|DB|USER|PASSWORD)"
"""What sagaz itself reads when there is no URL; ignoring it would leave the user on memory without a word."""

_SAGAZ_OTHERS = (
    r"ENV|LOG_LEVEL|LOG_JSON|METRICS_PORT|METRICS_ENABLED|TRACING_ENABLED|TRACING_ENDPOINT|OUTBOX_\w+|TEST_\w+"
)
"""Names of sagaz, of its ``.env`` template and of tests, that are none of ours and do no harm."""

_SERVICE_LINK = r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?)"
"""What Kubernetes puts into every container's environment when a service's name begins with ``sagaz``."""


@record
class Given:
    """One setting as the user gave it, under the name that the user wrote."""

    label: str
    value: object = field(repr=False)


@record
class Source:
    """The settings from one place, unread; ``unless`` are problems only while nothing gives that setting."""

    values: Mapping[str, Given] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unless: tuple[tuple[str, str], ...] = ()


def arguments(**values: Any) -> Source:
    """Settings given as arguments, by their field names; None stands for not given."""
    given = {name: value for name, value in values.items() if value is not None}
    return _source(given, {name: name for name in RULES}, str)


def mapping(values: Mapping[str, object], name: str = "SAGAZ") -> Source:
    """Settings in a dict with upper-case keys, as Django's ``SAGAZ``; ``name`` is what messages call the dict."""
    if not isinstance(values, Mapping):
        kind = type(values).__name__
        return Source(problems=(f"{name}: expected a dict such as {{'STORAGE_URL': ...}}, not {kind}",))
    return _source(values, _KEYS, lambda key: f'{name}["{key}"]' if key.isidentifier() else f"{name}[{key!r}]")


def prefixed(values: Mapping[str, object], prefix: str = "SAGAZ_") -> Source:
    """Settings among other keys, as in Flask's ``app.config``; keys without the prefix are somebody else's."""
    ours = {key: value for key, value in values.items() if isinstance(key, str) and key.startswith(prefix)}
    return _source(ours, {prefix + key: name for key, name in _KEYS.items()}, str)


def environment(environ: Mapping[str, str] | None = None) -> Source:
    """Settings in environment variables (``SAGAZ_...``), where sagaz and Kubernetes keep theirs too."""
    ours: dict[str, object] = {}
    unless = []
    for key, value in (os.environ if environ is None else environ).items():
        name = key.removeprefix("SAGAZ_")
        if name == key or (name not in _KEYS and _is_elsewhere(name, value)):
            continue
        part = re.fullmatch(_SAGAZ_PARTS, name)
        if part is None:
            ours[key] = value
        else:
            unless.append((f"{part[1].lower()}_url", f"{key}: only whole addresses are read; set SAGAZ_{part[1]}_URL"))
    source = prefixed(ours)
    return Source(source.values, source.problems, tuple(unless))


def _is_elsewhere(name: str, value: str) -> bool:
    if re.fullmatch(_SAGAZ_PARTS, name) is not None:
        return "://" in value and name.endswith("_PORT")  # Kubernetes again: a service called sagaz-storage.
    return re.fullmatch(_SAGAZ_OTHERS, name) is not None or re.fullmatch(_SERVICE_LINK, name) is not None


def _source(values: Mapping[str, object], keys: Mapping[str, str], label: Callable[[str], str]) -> Source:
    given = {keys[key]: Given(label(key), value) for key, value in values.items() if key in keys}
    return Source(given, tuple(_unknown(key, keys, label) for key in values if key not in keys))


def _unknown(key: object, keys: Mapping[str, str], label: Callable[[str], str]) -> str:
    # The value is not shown: under a name that is not ours it may be anything, a password too.
    if not isinstance(key, str):
        return f"a key of type {type(key).__name__}: expected strings such as {next(iter(keys))!r}"
    choices = {name.upper(): known for known, name in keys.items()}
    near = closest(re.sub(r"^.*SAGAZ_", "", key.upper()), choices)
    if near is None:
        return f"{label(key)}: no such setting; there are {', '.join(keys)}"
    return f"{label(key)}: no such setting; did you mean {label(choices[near])}?"
