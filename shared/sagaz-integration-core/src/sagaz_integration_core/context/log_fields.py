"""The correlation id and the run at hand on every log record, whoever logs it."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from sagaz_integration_core.context import correlation as context

__all__ = ["FIELDS", "SagazLogFilter", "install", "log_fields", "uninstall"]

FIELDS = ("correlation_id", "saga_id", "saga_name", "step", "attempt")
"""The attributes that every record has while this is installed; None outside of a request or a run."""

_NO_RUN: Mapping[str, object] = MappingProxyType({})

log_fields: ContextVar[Mapping[str, object]] = ContextVar("sagaz_log_fields", default=_NO_RUN)
"""What the run at hand adds to records, by the names in `FIELDS`; set by the executor."""

_BLANK: Mapping[str, object] = dict.fromkeys(FIELDS)


class _Attributes(dict[str, Any]):
    """A record's ``__dict__`` that hides `FIELDS` from ``Logger.makeRecord``, and from nobody else.

    ``makeRecord`` refuses an ``extra`` that "overwrites" an attribute; since ours are there before, it would refuse
    ``extra={"step": 3}`` in code that ran well without us. Formatters, filters and copies find an ordinary dict.
    """

    __slots__ = ()

    def __contains__(self, key: object) -> bool:
        if key in _BLANK and sys._getframe(1).f_code.co_name == "makeRecord":  # noqa: SLF001 - see above
            return False
        return super().__contains__(key)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        # Whoever unpickles a record need not have this package.
        return dict, (dict(self),)


class _Factory:
    """Makes records with the factory that was there before, and adds the fields; when retired, it adds nothing."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make
        self.retired = False

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        if not self.retired:
            attributes = _Attributes(_BLANK)
            attributes.update(record.__dict__)
            attributes.update(_known())
            record.__dict__ = attributes
        return record


_lock = threading.Lock()
_users = 0
_factory: _Factory | None = None


def install() -> None:
    """Put the fields on every record from now on; each call needs one `uninstall`."""
    global _users, _factory
    with _lock:
        _users += 1
        if _factory is None:
            _factory = _Factory(logging.getLogRecordFactory())
            logging.setLogRecordFactory(_factory)


def uninstall() -> None:
    """Take back one `install`; with the last one, the record factory of before is restored.

    A factory that was set over ours in the meantime stays, and calls through ours, which adds nothing any more.
    """
    global _users, _factory
    with _lock:
        _users = max(_users - 1, 0)
        if _users == 0 and _factory is not None:
            _factory.retired = True
            if logging.getLogRecordFactory() is _factory:
                logging.setLogRecordFactory(_factory.make)
            _factory = None


class SagazLogFilter(logging.Filter):
    """Puts the fields on the records that pass a handler or a logger, for a ``dictConfig`` without `install`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; what it says itself (by ``extra``) is kept."""
        for name, value in {**_BLANK, **_known()}.items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True


def _known() -> Mapping[str, object]:
    fields, correlation_id = log_fields.get(), context.correlation_id()
    return fields if correlation_id is None else {**fields, "correlation_id": correlation_id}
