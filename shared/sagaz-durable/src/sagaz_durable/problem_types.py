"""The one catalogue of what can go wrong: the same address explains it over HTTP, in commands, checks and the admin."""

from __future__ import annotations

from collections.abc import Iterable

from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import (
    AlreadyAwaited,
    InvalidInput,
    LeaseLost,
    Overloaded,
    RunChanged,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RunNotFound,
    RuntimeNotOpen,
    RunWaiting,
    SagaDefinitionError,
    SagaNotRegistered,
    SagazError,
    SettingsError,
    SignalRefused,
    SignalTimeout,
    SignatureRefused,
    StepError,
    StoreUnavailable,
    TransactionRequired,
    UsageError,
    WorkerUnfit,
    WriteRefused,
    WrongDatabase,
)

__all__ = [
    "ALREADY_AWAITED", "BODY_UNREADABLE", "CATALOGUE", "CELERY_MISSING", "CROSS_SITE", "DEBUG_ON", "DRIVER_MISSING",
    "EVENTS_LATE", "EVENTS_SET_ASIDE", "EVENT_NOT_SET_ASIDE", "INVALID_INPUT", "KEY_IN_PROGRESS", "KEY_MALFORMED",
    "KEY_MISSING", "KEY_REUSED", "LEASE_LOST", "LEASE_SHORT", "LENGTH_REQUIRED", "MIDDLEWARE_LATE", "NOT_FOUND",
    "NOT_OPEN", "NO_AUTOCOMMIT", "NO_SAGAS", "NO_WORKER", "OVERLOADED", "PAGE", "POOL_SMALL", "REFUSED", "RUNS_ASKING",
    "RUNS_IN_MEMORY", "RUNS_LATE", "RUN_CHANGED", "RUN_FAILED", "RUN_INTERRUPTED", "RUN_IN_PROGRESS", "RUN_OVERDUE",
    "RUN_ROLLED_BACK", "RUN_UNSUCCESSFUL", "RUN_WAITING", "SAGA_UNKNOWN", "SAGA_WITHOUT_WORKER", "SAGA_WRONG",
    "SETTINGS_WRONG", "SETTING_WITHOUT_USE", "SIGNAL_TIMEOUT", "STEP_FAILED", "TABLES_ROUTED_AWAY", "TOO_LARGE",
    "TRANSACTION_REQUIRED", "UNAVAILABLE", "UNSUPPORTED_MEDIA", "USAGE_WRONG", "WAITS_LOST", "WEBHOOKS_QUARANTINED",
    "WEBHOOKS_UNSERVED", "WEBHOOK_REFUSED", "WEBHOOK_UNKNOWN", "WORKER_UNFIT", "WRITE_REFUSED", "WRONG_DATABASE",
    "Finding", "Kind", "kind_of", "references",
]  # fmt: skip

PAGE = "https://github.com/sagaz-web/sagaz-web/blob/main/docs/problems.md"


@record
class Kind:
    """One kind of problem.

    Attributes:
        slug: Its anchor on the page.
        title: What it is, the same for each occurrence.
        status: The HTTP status that it is answered with; 200 for what a run's own document tells of its end, 0 for
            what no client is told of.
    """

    slug: str
    title: str
    status: int = 0

    @property
    def address(self) -> str:
        """Where it is explained; as RFC 9457 has it, the ``type`` by which programs tell it from others."""
        return f"{PAGE}#{self.slug}"


@record
class Finding:
    """One thing that a check has found.

    Attributes:
        text: What it is here, and what to do.
    """

    kind: Kind
    text: str

    def document(self) -> dict[str, str]:
        """Return it as JSON has it, with the names of RFC 9457."""
        return {"type": self.kind.address, "title": self.kind.title, "detail": self.text}


NOT_FOUND = Kind("not-found", "There is no such run, or it is not yours to see", 404)
CROSS_SITE = Kind("cross-site-request", "The request comes from another site's page", 403)
TOO_LARGE = Kind("body-too-large", "The request's body is too large", 413)
BODY_UNREADABLE = Kind("body-unreadable", "The request's body cannot be read to its end", 400)
LENGTH_REQUIRED = Kind("length-required", "The request does not say how long its body is", 411)
UNSUPPORTED_MEDIA = Kind("unsupported-media-type", "The request's body is not JSON", 415)
INVALID_INPUT = Kind("invalid-input", "The request cannot be used as it is", 422)
RUN_CHANGED = Kind("run-changed", "The run has changed since it was read", 412)
REFUSED = Kind("decision-refused", "The run does not take this decision", 409)
KEY_MISSING = Kind("idempotency-key-missing", "The request has no Idempotency-Key", 400)
KEY_MALFORMED = Kind("idempotency-key-malformed", "The request's Idempotency-Key is malformed", 400)
KEY_REUSED = Kind("idempotency-key-reused", "The Idempotency-Key belongs to another request", 422)
KEY_IN_PROGRESS = Kind("idempotency-key-in-progress", "The request is being executed", 409)
WEBHOOK_REFUSED = Kind("webhook-refused", "The webhook is not signed as it should be, or not now", 400)
WEBHOOK_UNKNOWN = Kind("webhook-unknown", "No webhooks are taken at this address", 404)
RUN_IN_PROGRESS = Kind("run-in-progress", "The run of this request has not ended yet", 409)
RUN_UNSUCCESSFUL = Kind("run-unsuccessful", "The run of this request has ended without success", 409)
RUN_INTERRUPTED = Kind("run-interrupted", "The run goes on, and not in this process", 503)
OVERLOADED = Kind("overloaded", "Too many runs wait for workers", 503)
UNAVAILABLE = Kind("store-unavailable", "The store of the runs does not answer", 503)
NOT_OPEN = Kind("not-open", "This process takes no requests about sagas now", 503)
RUN_ROLLED_BACK = Kind("run-rolled-back", "The run failed, and what it had done was compensated", 200)
RUN_OVERDUE = Kind("run-overdue", "The run's deadline passed, and what it had done was compensated", 200)
RUN_FAILED = Kind("run-failed", "The run has failed and needs manual intervention", 200)

SETTINGS_WRONG = Kind("settings-wrong", "A setting or an option is wrong")
USAGE_WRONG = Kind("usage-wrong", "The code that calls the library is wrong")
SAGA_WRONG = Kind("saga-wrong", "A saga cannot be run as it is written")
SAGA_UNKNOWN = Kind("saga-unknown", "A saga is not registered here")
RUN_WAITING = Kind("run-waiting", "The run waits for a signal or a time")
TRANSACTION_REQUIRED = Kind("transaction-required", "There is no transaction to be part of")
WRONG_DATABASE = Kind("wrong-database", "The transaction is in another database")
WRITE_REFUSED = Kind("write-refused", "The database refused a statement")
LEASE_LOST = Kind("lease-lost", "Another process has the run now")
SIGNAL_TIMEOUT = Kind("signal-timeout", "A signal did not come in time")
ALREADY_AWAITED = Kind("already-awaited", "Another run waits for this signal")
STEP_FAILED = Kind("step-failed", "A step failed in an earlier attempt")
WORKER_UNFIT = Kind("worker-unfit", "A worker's process can execute no more runs")

RUNS_IN_MEMORY = Kind("runs-in-memory", "Runs are kept in memory")
NO_WORKER = Kind("no-worker", "Runs are due, and no worker is alive")
RUNS_LATE = Kind("runs-late", "Runs are due for longer than they may be")
SAGA_WITHOUT_WORKER = Kind("saga-without-worker", "No live worker knows the saga of runs that are due")
RUNS_ASKING = Kind("runs-asking", "Runs wait for a person to decide")
WAITS_LOST = Kind("waits-lost", "Runs wait in a step that is gone")
EVENTS_SET_ASIDE = Kind("events-set-aside", "Events were set aside")
EVENT_NOT_SET_ASIDE = Kind("event-not-set-aside", "No event with this id was set aside")
EVENTS_LATE = Kind("events-late", "Events wait for longer than they may to be sent")
WEBHOOKS_QUARANTINED = Kind("webhooks-quarantined", "Webhooks are quarantined")

DRIVER_MISSING = Kind("driver-missing", "The database's driver is missing")
CELERY_MISSING = Kind("celery-missing", "No Celery application is registered")
TABLES_ROUTED_AWAY = Kind("tables-routed-away", "A database router keeps the tables out of their database")
WEBHOOKS_UNSERVED = Kind("webhooks-unserved", "Nobody takes the webhooks that a saga wants")
NO_SAGAS = Kind("no-sagas", "No saga was found")
MIDDLEWARE_LATE = Kind("middleware-late", "The middleware comes after others")
DEBUG_ON = Kind("debug-on", "A deployment runs with DEBUG")
LEASE_SHORT = Kind("lease-short", "A lease is very short")
SETTING_WITHOUT_USE = Kind("setting-without-use", "A setting has no use yet")
POOL_SMALL = Kind("pool-small", "A pool has fewer connections than there are threads")
NO_AUTOCOMMIT = Kind("no-autocommit", "Connections do not commit by themselves")

CATALOGUE: tuple[Kind, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
"""All of them, in the order of the page."""

_OF_ERRORS: dict[type[SagazError], Kind] = {
    AlreadyAwaited: ALREADY_AWAITED,
    InvalidInput: INVALID_INPUT,
    LeaseLost: LEASE_LOST,
    Overloaded: OVERLOADED,
    RunChanged: RUN_CHANGED,
    RunFailed: RUN_UNSUCCESSFUL,
    RunInProgress: RUN_IN_PROGRESS,
    RunInterrupted: RUN_INTERRUPTED,
    RunNotFound: NOT_FOUND,
    RunWaiting: RUN_WAITING,
    RuntimeNotOpen: NOT_OPEN,
    SagaDefinitionError: SAGA_WRONG,
    SagaNotRegistered: SAGA_UNKNOWN,
    SettingsError: SETTINGS_WRONG,
    SignalRefused: REFUSED,
    SignalTimeout: SIGNAL_TIMEOUT,
    SignatureRefused: WEBHOOK_REFUSED,
    StepError: STEP_FAILED,
    StoreUnavailable: UNAVAILABLE,
    TransactionRequired: TRANSACTION_REQUIRED,
    UsageError: USAGE_WRONG,
    WorkerUnfit: WORKER_UNFIT,
    WriteRefused: WRITE_REFUSED,
    WrongDatabase: WRONG_DATABASE,
}


def kind_of(error: SagazError) -> Kind | None:
    """Return which problem an error is; None for one that another distribution has made up."""
    return next((_OF_ERRORS[kind] for kind in type(error).__mro__ if kind in _OF_ERRORS), None)


def references(kinds: Iterable[Kind | None]) -> list[str]:
    """Return a line for each of these kinds that says where it is explained."""
    return [f"See {kind.address}" for kind in dict.fromkeys(kinds) if kind is not None]
