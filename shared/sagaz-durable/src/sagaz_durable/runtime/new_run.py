"""Everything that a start is given, checked at the door: the row to insert, and what its key stands for."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sagaz_durable import ContextLike
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_durable.serialization.moments import read_deadline, read_moment
from sagaz_integration_core.context.correlation import current
from sagaz_integration_core.context.identifiers import random_uuid
from sagaz_integration_core.context.request_run import is_started_again
from sagaz_integration_core.contract.records import Inserted, NewRun, erased_as
from sagaz_integration_core.errors import ContextMismatch, IdempotencyConflict, RunErased, UsageError

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.contexts.context_types import ContextTypes, Started
    from sagaz_durable.engine.registry import Registration, SagaRegistry
    from sagaz_durable.settings.settings import Settings

__all__ = ["accept", "due_now", "new_run", "saga_id_of", "saga_id_of_event", "undelayed"]

_NAMESPACE = uuid.UUID("3f1d5c0e-7c55-5a5c-9b1e-6f0f4f6f7a11")


class Known(Protocol):
    """What an application says of its sagas."""

    @property
    def registry(self) -> SagaRegistry:
        """The sagas that can be started."""
        ...

    @property
    def settings(self) -> Settings:
        """The application's."""
        ...


def new_run(
    configuration: Known,
    saga_class: type[Saga],
    context: ContextLike,
    *,
    saga_id: str | None = None,
    idempotency_key: str | None = None,
    not_before: datetime | None = None,
    deadline: datetime | timedelta | None = None,
    owner: str | None = None,
) -> NewRun:
    """Check everything that a start is given, and return the row to insert; nothing is written.

    Raises:
        ContextValueError: The context holds what some store would bend; the message names the path.
        SagaDefinitionError: The class cannot be run as written.
        InvalidInput: The key, the id or the owner is malformed.
        UsageError: A time cannot be used, or both a key and an id were given.
    """
    registration = configuration.registry.add(saga_class)
    name = registration.name
    if owner is not None:
        check_identifier("owner", owner, most=255)
    text, given = _texts(configuration, registration, context)
    request = current()
    begins = None if not_before is None else read_moment("not_before", not_before)
    return NewRun(
        saga_id=_saga_id(name, saga_id, idempotency_key),
        saga_name=name,
        context=text,
        fingerprint=codec.fingerprint(name, given),
        correlation_id=request.correlation_id if request is not None else None,
        not_before=begins,
        fresh=saga_id is None and idempotency_key is None,
        deadline=read_deadline(getattr(saga_class, "deadline", None) if deadline is None else deadline, begins),
        owner=owner,
    )


def _texts(configuration: Known, registration: Registration, context: Any) -> tuple[str, str]:
    """Return a context as it is recorded, and of it what a repetition of the request gives again."""
    limit, wording = configuration.settings.max_context_bytes, configuration.settings.wording
    values = codec.as_dict(context, "the saga's context")
    encode = partial(codec.encode, max_bytes=limit, wording=wording, saga_class=registration.saga_class)
    text = given = encode(values)
    codec.check_reserved(values)
    names = values.keys()
    if (types := registration.types) is not None:
        started = _checked(types, context, values, getattr(configuration, "context_mismatch", ContextMismatch))
        values, names, given = started.values, started.given.keys(), encode(started.given)
        text = encode(values)
    request = current()
    if request is not None and request.propagate and "correlation_id" not in names:
        text = encode({**values, "correlation_id": request.correlation_id})
    return text, given


def _checked(types: ContextTypes, context: Any, values: dict[str, Any], error: type[ContextMismatch]) -> Started:
    from sagaz_durable.contexts.misfit import Misfit

    try:
        return types.start(context, values)
    except Misfit as misfit:
        raise error(f"The context is not what {types.name} says: {misfit}", misfit.path, misfit.found) from None


def saga_id_of(saga_class: type[Saga], idempotency_key: str) -> str:
    """Return the saga_id of the run that a key stands for, whether it has been started or not.

    Raises:
        InvalidInput: The key is malformed.
        SagaDefinitionError: It is no saga class.
    """
    from sagaz_durable._upstream.definitions import saga_name

    return _saga_id(saga_name(saga_class), None, idempotency_key)


def saga_id_of_event(saga_name: str, source: str, key: str) -> str:
    """Return the saga_id of the run that an event of a source starts, which no other start can have."""
    return str(uuid.uuid5(_NAMESPACE, f"{saga_name}\0webhook\0{source}\0{key}"))


def _saga_id(name: str, saga_id: str | None, key: str | None) -> str:
    if saga_id is not None and key is not None:
        raise UsageError("Give saga_id or idempotency_key, not both: the key determines the id.")
    if key is not None:
        check_identifier("idempotency_key", key)
        return str(uuid.uuid5(_NAMESPACE, f"{name}\0{key}"))
    if saga_id is not None:
        check_identifier("saga_id", saga_id)
        return saga_id
    return random_uuid()


def accept(run: NewRun, inserted: Inserted, idempotency_key: str | None) -> str:
    """Return the run's id, unless its key was used for something else.

    Raises:
        IdempotencyConflict: A run with another payload is there, or one that belongs to somebody else.
        RunErased: A run is there of which it is not known any more what it was given.
        UsageError: The request at hand has started the run itself, otherwise.
    """
    # Asked first: how somebody else's run has ended is not told either.
    if not inserted.created and inserted.owner != run.owner:
        raise _taken(run, idempotency_key)
    if (status := erased_as(inserted.fingerprint)) is not None:
        raise RunErased(
            f"Run {run.saga_id} of saga {run.saga_name!r} had ended as {status} before its context and results were "
            "erased, so that there is no result to answer with; nothing was started. Use a new key for a new request.",
            run.saga_id,
            status,
        )
    if not inserted.created and inserted.fingerprint != run.fingerprint:
        raise _taken(run, idempotency_key)
    return inserted.saga_id


def _taken(run: NewRun, idempotency_key: str | None) -> IdempotencyConflict | UsageError:
    """Return the same error, whatever differs: that somebody else has used a key is not told."""
    if is_started_again(idempotency_key):
        # No client can mend it.
        return UsageError(
            f"An endpoint with an Idempotency-Key has started its saga {run.saga_name!r} twice, with another context "
            f"or owner the second time; run {run.saga_id} is the first start's, and the second one started nothing. "
            "One request has one run of its saga: start it once, or give the other an idempotency_key= of its own."
        )
    return IdempotencyConflict(
        f"Run {run.saga_id} of saga {run.saga_name!r} exists with another payload or owner"
        + (f" (idempotency key {idempotency_key!r})" if idempotency_key is not None else "")
        + ". A key stands for one request: send the same payload again, or a new key."
    )


def undelayed(runs: Sequence[NewRun], answers: Sequence[Inserted]) -> list[str]:
    """Return the saga_ids of the runs that are new and due at once: those that a message can tell of."""
    pairs = zip(runs, answers, strict=True)
    return [run.saga_id for run, answer in pairs if answer.created and run.not_before is None]


def due_now(runs: Sequence[NewRun]) -> int:
    """Return how many of these are due as soon as they are recorded."""
    return sum(run.not_before is None for run in runs)
