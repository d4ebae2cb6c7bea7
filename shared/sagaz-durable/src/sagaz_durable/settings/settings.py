"""The project's settings: one frozen object, checked once, from whatever place a framework keeps its settings in."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from sagaz_durable.redaction import MASK, redact
from sagaz_durable.settings.rules import RULES, SECRETS, contradictions, problem
from sagaz_durable.settings.sources import Given, Source, arguments, environment, mapping, prefixed
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.errors import SettingsError

__all__ = ["Settings", "arguments", "environment", "mapping", "prefixed"]


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Everything that can be set, and what holds when it is not.

    Attributes:
        storage_url: Where runs are kept: memory, an SQLite file or PostgreSQL.
        broker_url: Where events are published; None for nowhere.
        metrics: Whether sagaz's metrics listener is on.
        logging: Whether sagaz's logging listener is on.
        tracing: Whether sagaz's tracing listener is on.
        header_name: The HTTP header that carries the correlation id.
        max_context_bytes: The largest context, and the largest result of a step, as UTF-8 JSON text.
        lease_seconds: How long a run belongs to a process that gives no sign of life.
        renew_seconds: How often a process gives that sign.
        poll_seconds: How often a worker looks for runs that no wake-up told it of.
        drain_seconds: How long a stopping process lets its runs go on.
        max_failures: After how many failures without progress a run ends as ``failed``.
        backoff_seconds: The pause after the first failed attempt; it doubles from one to the next.
        backoff_max_seconds: The longest such pause.
        concurrency: How many runs a worker executes at once.
        max_due: How many runs may wait for workers before starts are refused with `Overloaded`; None for any number.
        sync_threads: How many threads execute ``def`` steps; None for as many as ``concurrency``.
        background_runs: How many background runs a web process executes at once; the others wait as rows.
        keep_finished: How many finished runs the memory store keeps.
        sqlite_busy_seconds: How long a locked SQLite file is waited for.
        schema: The PostgreSQL schema of the tables; None for the connection's own.
        migrate: Whether opening the runtime migrates PostgreSQL.
        notify: Whether PostgreSQL wakes the workers at a commit; without, they poll.
        pool_size: How many PostgreSQL connections the runtime opens at most.
        event_attempts: After how many attempts an event is set aside.
        keep_sent_seconds: How long a sent event is kept, and with it the idempotency key that it was given.
        keep_signals_seconds: How long it is known that a signal was taken, so that a repeated one changes nothing.
        keep_unclaimed_seconds: How long a signal is kept that nobody has taken; one that a run may yet take stays.
        keep_answers_seconds: How long the answer to a request with an ``Idempotency-Key`` is kept, and given again.
        keep_webhooks_seconds: How long a webhook's event is kept, so that a repeated one changes nothing; then
            a worker deletes it, unless it is quarantined or delayed.
        keep_ignored_webhooks_seconds: How long an event is kept that no saga wants.
        max_webhook_bytes: The largest body of a webhook.
        answer_wait_seconds: How long a repeated request waits for the first one before it is told to come again.
        keep_context_seconds: How long after its end a completed or rolled back run keeps its context and results; then
            they are erased, and its journal stays. None keeps them.
        dispatch: Who is told of a committed start: sagaz's own workers (``worker``) or Celery's (``celery``).
        redact_keys: Which keys of contexts, results and events, besides the usual ones, hold what is not to be shown;
            see `redaction.secret_keys`.
        signing_keys: What tokens for approvals are signed with where the framework has no secret of its own; the first
            signs, and all verify.
        explicit: Which of these were given rather than left to their defaults.
        wording: How messages spell these settings, and commands and extras.
    """

    storage_url: str = "memory://"
    broker_url: str | None = None
    metrics: bool = True
    logging: bool = True
    tracing: bool = False
    header_name: str = "X-Correlation-ID"
    max_context_bytes: int = 1_048_576
    lease_seconds: float = 30.0
    renew_seconds: float = 10.0
    poll_seconds: float = 1.0
    drain_seconds: float = 20.0
    max_failures: int = 10
    backoff_seconds: float = 1.0
    backoff_max_seconds: float = 300.0
    concurrency: int = 10
    max_due: int | None = None
    sync_threads: int | None = None
    background_runs: int = 50
    keep_finished: int = 10_000
    sqlite_busy_seconds: float = 5.0
    schema: str | None = None
    migrate: bool = False
    notify: bool = True
    pool_size: int = 10
    event_attempts: int = 20
    keep_sent_seconds: float = 604_800.0
    keep_signals_seconds: float = 604_800.0
    keep_unclaimed_seconds: float = 2_592_000.0
    keep_answers_seconds: float = 86_400.0
    keep_webhooks_seconds: float = 2_592_000.0
    keep_ignored_webhooks_seconds: float = 604_800.0
    max_webhook_bytes: int = 1_048_576
    answer_wait_seconds: float = 1.0
    keep_context_seconds: float | None = None
    dispatch: str = "worker"
    redact_keys: tuple[str, ...] = ()
    signing_keys: tuple[str, ...] = ()
    explicit: frozenset[str] = field(default=frozenset(), compare=False)
    wording: Wording = field(default=NEUTRAL, compare=False)

    def __post_init__(self) -> None:
        given = {name: Given(name, getattr(self, name)) for name in RULES}
        values = _read(given, [], self.wording)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        changed = {entry.name for entry in fields(self) if entry.name in values and values[entry.name] != entry.default}
        object.__setattr__(self, "explicit", self.explicit | changed)

    @property
    def step_threads(self) -> int:
        """How many threads execute ``def`` steps: by default enough for the runs of a worker."""
        return self.concurrency if self.sync_threads is None else self.sync_threads

    def backoff(self, failures: int) -> float:
        """Return how many seconds to wait after so many failures: doubling, bounded, with jitter."""
        doubled: float = self.backoff_seconds * 2 ** min(failures - 1, 60)
        return min(doubled, self.backoff_max_seconds) * random.uniform(0.5, 1.0)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={_safe(name, getattr(self, name))!r}' for name in RULES)})"

    @classmethod
    def load(cls, *sources: Source, wording: Wording = NEUTRAL) -> Self:
        """Combine settings from several places, e.g. ``load(arguments(...), prefixed(app.config), environment())``.

        Args:
            sources: Made by `arguments`, `mapping`, `prefixed` and `environment`; the earlier one wins.
            wording: How the framework's users spell settings, commands and extras.

        Raises:
            SettingsError: Something is unknown, malformed or contradictory; it lists everything that is.
        """
        given: dict[str, Given] = {}
        for source in sources:
            given = {**source.values, **given}
        problems = [line for source in sources for line in source.problems]
        problems += [line for source in sources for name, line in source.unless if name not in given]
        values = _read(given, problems, wording)
        return cls(**values, explicit=frozenset(values), wording=wording)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], name: str = "SAGAZ", wording: Wording | None = None) -> Self:
        """Read a dict with upper-case keys, as Django's ``SAGAZ``; see `load`."""
        return cls.load(mapping(values, name), wording=wording or Wording(settings=f'{name}["{{name}}"]'))

    @classmethod
    def from_prefixed(cls, values: Mapping[str, object], prefix: str = "SAGAZ_") -> Self:
        """Read the prefixed keys of a larger mapping, as Flask's ``app.config``; see `load`."""
        return cls.load(prefixed(values, prefix), wording=Wording(settings=f"{prefix}{{name}}"))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, wording: Wording = NEUTRAL) -> Self:
        """Read the ``SAGAZ_...`` environment variables; see `load`."""
        return cls.load(environment(environ), wording=wording)


def _read(given: Mapping[str, Given], problems: list[str], wording: Wording) -> dict[str, Any]:
    """Read and check what was given; everything that is wrong, with ``problems``, becomes one error."""
    values: dict[str, Any] = {}
    wrong = []
    for name, entry in given.items():
        try:
            values[name] = RULES[name].read(entry.value)
        except ValueError as error:
            wrong.append((name, problem(name, entry.label, entry.value, error)))
    defaults = {entry.name: entry.default for entry in fields(Settings) if entry.name not in dict(wrong)}
    labels = {name: entry.label for name, entry in given.items()}
    found = [*problems, *(line for _, line in wrong), *contradictions({**defaults, **values}, labels, wording)]
    if found:
        raise SettingsError("\n  ".join([f"{len(found)} settings are wrong:", *found] if len(found) > 1 else found))
    return values


def _safe(name: str, value: object) -> object:
    if name in SECRETS:
        return MASK if value else value
    return redact(value) if name.endswith("_url") and value is not None else value
