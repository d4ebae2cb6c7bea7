"""How records are read from models, and what time it is for the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from django.conf import settings
from django.db.models import ExpressionWrapper, F, TextField, Value

from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.events import OutboxRecord
from sagaz_integration_core.contract.listings import AttemptRecord, WorkerRecord
from sagaz_integration_core.contract.records import RunRecord, StepRecord
from sagaz_integration_core.contract.waits import SignalRecord, WaitRecord
from sagaz_integration_core.contract.webhooks import WebhookRecord

__all__ = [
    "Moment",
    "as_text",
    "attempt_record",
    "audit_record",
    "aware",
    "event_record",
    "json_text",
    "run_record",
    "signal_record",
    "step_record",
    "stored",
    "wait_record",
    "webhook_record",
    "worker_record",
]

T = TypeVar("T")

_CLOCKS = {"mysql": "SELECT UTC_TIMESTAMP(6)", "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL"}


class Moment:
    """The time by the database's clock when a transaction began to ask."""

    def __init__(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_CLOCKS.get(connection.vendor, "SELECT CURRENT_TIMESTAMP"))
            [moment] = cursor.fetchone()
        self.utc: datetime = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

    @property
    def now(self) -> datetime:
        """As the ORM takes it."""
        return stored(self.utc)

    def after(self, seconds: float) -> datetime:
        """Return the time that many seconds later, as the ORM takes it."""
        return stored(self.utc + timedelta(seconds=seconds))


def stored(moment: datetime) -> datetime:
    """Return an aware time as the ORM takes it: without USE_TZ it is naive, and in UTC.

    In the project's time zone an hour comes twice when its clocks are put back, and leases and waits would end in the
    wrong one.
    """
    return moment if settings.USE_TZ else moment.astimezone(UTC).replace(tzinfo=None)


def aware(moment: datetime | None) -> datetime | None:
    """Return a time that the ORM gave as an aware one, in UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def json_text(text: str | None) -> Value | None:
    """Return JSON that a `JSONField` is given as it is, without being read and written anew."""
    return None if text is None else Value(text, output_field=TextField())


def as_text(field: str) -> Any:
    """Return a `JSONField` as it is stored."""
    return ExpressionWrapper(F(field), output_field=TextField())


def run_record(run: Any) -> RunRecord:
    """Read a run that was asked for with its ``context_text``."""
    return _record(RunRecord, run, context="context_text")


def step_record(step: Any) -> StepRecord:
    """Read a journal entry that was asked for with its ``result_text``."""
    return _record(StepRecord, step, result="result_text")


def event_record(event: Any) -> OutboxRecord:
    """Read an event that was asked for with its ``payload_text`` and ``headers_text``."""
    return _record(OutboxRecord, event, payload="payload_text", headers="headers_text")


def audit_record(entry: Any) -> AuditRecord:
    """Read a note about a run."""
    return _record(AuditRecord, entry)


def attempt_record(attempt: Any) -> AttemptRecord:
    """Read how an attempt ended."""
    return _record(AttemptRecord, attempt)


def wait_record(wait: Any) -> WaitRecord:
    """Read a wait that was asked for with its ``payload_text``."""
    return _record(WaitRecord, wait, payload="payload_text")


def signal_record(signal: Any) -> SignalRecord:
    """Read a signal that was asked for with its ``payload_text``."""
    return _record(SignalRecord, signal, payload="payload_text")


def webhook_record(event: Any) -> WebhookRecord:
    """Read an event that was delivered."""
    return _record(WebhookRecord, event)


def worker_record(worker: Any) -> WorkerRecord:
    """Read a process that is alive."""
    record = _record(WorkerRecord, worker)
    return replace(record, sagas=tuple(record.sagas))


def _record(kind: Callable[..., T], model: Any, **texts: str) -> T:
    values = {field.name: getattr(model, texts.get(field.name, field.name)) for field in fields(cast(Any, kind))}
    return kind(**{name: aware(value) if isinstance(value, datetime) else value for name, value in values.items()})
