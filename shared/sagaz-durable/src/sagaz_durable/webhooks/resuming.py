"""`resumes`: by which a saga declares which events of a source are signals to its runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import InvalidInput, SagaDefinitionError

__all__ = ["MARK", "Place", "Resuming", "resumes"]

F = TypeVar("F", bound=Callable[..., Any])

Place: TypeAlias = "str | Callable[[Any], object]"
"""A member of the event, or a function that is given the event."""

MARK = "_sagaz_resumes"
"""The attribute of a method that is declared so; it has a tuple of `Resuming`, each of another source."""


@record
class Resuming:
    """What `resumes` was given."""

    source: str
    signal: str
    key: Place | None
    saga_id: Place | None


def resumes(source: str, *, signal: str, key: Place | None = None, saga_id: Place | None = None) -> Callable[[F], F]:
    """Declare that events of a source are signals to this saga's runs.

    The method is given the event, as JSON has it, and returns the signal's payload (a dict), or None if the event is
    not for this saga. It is called on an instance that runs nothing, so that it can only look at the event::

        @resumes("stripe", signal="paid", key=lambda event: event["data"]["object"]["id"])
        def on_paid(self, event):
            return {"amount": event["data"]["object"]["amount"]} if event["type"] == "charge.succeeded" else None

    Events of several sources: decorate the method once for each.

    Args:
        source: Of the webhooks, as the routes name it.
        signal: Its name, as the waiting step names it.
        key, saga_id: Exactly one of them: where the event has what the run waits under, or its saga_id. The name of a
            member, or a function that is given the event.

    Raises:
        SagaDefinitionError: One of them cannot be what is meant, or the method has this source already.
    """
    resuming = Resuming(source, signal, key, saga_id)
    _check(resuming)

    def mark(method: F) -> F:
        before: tuple[Resuming, ...] = getattr(method, MARK, ())
        if source in [one.source for one in before]:
            raise SagaDefinitionError(
                f"@resumes({value_text(source, 80)}, …) is twice on {value_text(method, 80)}: an event would be two "
                "signals of one method. Write a method for each signal."
            )
        setattr(method, MARK, (resuming, *before))
        return method

    return mark


def _check(resuming: Resuming) -> None:
    for name in ("source", "signal"):
        try:
            check_identifier(name, getattr(resuming, name))
        except InvalidInput as error:
            raise SagaDefinitionError(f"@resumes: {error}") from None
    if (resuming.key is None) == (resuming.saga_id is None):
        raise SagaDefinitionError(
            f"@resumes({value_text(resuming.source, 80)}, signal={value_text(resuming.signal, 80)}): give exactly one "
            'of key and saga_id, as key="payment_id": where the event has what the run waits under, or its saga_id.'
        )
    place = resuming.saga_id if resuming.key is None else resuming.key
    if not (callable(place) or (isinstance(place, str) and place)):
        raise SagaDefinitionError(
            f"@resumes({value_text(resuming.source, 80)}, signal={value_text(resuming.signal, 80)}): key and saga_id "
            f"are the name of a member or a function, not {value_text(place, 80)}."
        )
