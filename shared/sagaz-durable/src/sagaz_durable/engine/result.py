"""The result of a run, and what is told of one that has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import RunStatus
from sagaz_integration_core.error_text import visible

if TYPE_CHECKING:
    from sagaz import SagaStatus

__all__ = ["Ending", "SagaRun", "missing", "note_end"]

_NOTE = "Saga "


class SagaRun(dict[str, Any]):
    """The result of a run: its final context as a dict, which also knows which run it was.

    Attributes:
        saga_id: The run's id.
        saga_name: The saga's name.
        status: sagaz's ``SagaStatus``.
    """

    saga_id: str
    saga_name: str
    status: SagaStatus

    def __init__(self, values: Mapping[str, Any], *, saga_id: str, saga_name: str, status: RunStatus) -> None:
        from sagaz import SagaStatus

        super().__init__({key: value for key, value in values.items() if not key.startswith("__")})
        self.saga_id = saga_id
        self.saga_name = saga_name
        self.status = SagaStatus(status)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        # So that an endpoint may be annotated `-> SagaRun`: it is answered with the final context.
        return handler(dict[str, Any])

    def __repr__(self) -> str:
        # Without its values: they are customers' data, and what is logged is read by many.
        return f"<SagaRun {self.saga_name} {self.saga_id} {self.status.value}>"


@record
class Ending:
    """What whoever waits for a run is given: its result, or what is raised."""

    result: SagaRun | None = None
    error: Exception | None = None


def missing(saga_id: str) -> str:
    """Say that there is no such run."""
    shown = visible(str(saga_id), 255)
    return f"There is no run {shown} in this store. It may have been pruned, or be in another database."


def note_end(error: BaseException, note: str) -> None:
    """Note how a run ended, in place of what was noted of an earlier one: steps may raise one object again."""
    # It is somebody else's object, and may be frozen, or have notes that are none; the run has ended all the same.
    with suppress(Exception):
        noted = getattr(error, "__notes__", ())
        kept = [text for text in noted if not (isinstance(text, str) and text.startswith(_NOTE))]
        BaseException.__setattr__(error, "__notes__", [*kept, note])
