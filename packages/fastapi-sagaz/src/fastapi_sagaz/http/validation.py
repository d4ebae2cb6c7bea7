"""A context that is not what its saga declares, told as FastAPI tells of requests that it cannot validate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError

from sagaz_integration_core import errors

if TYPE_CHECKING:
    from sagaz_durable.contexts.misfit import Misfits

__all__ = ["ContextMismatch"]


class ContextMismatch(errors.ContextMismatch, RequestValidationError):
    """What FastAPI answers with its own 422 and ``detail``, unless the application says otherwise.

    Where `problem_handlers` are installed, they are asked first, as for every error of sagas.
    """

    def __init__(self, message: str, path: str = "", found: Misfits = ()) -> None:
        # Without what was given: the answer would repeat it.
        told = [{"type": "value_error", "loc": ("body", *place), "msg": why} for place, why in found]
        RequestValidationError.__init__(self, told)
        errors.ContextMismatch.__init__(self, message, path, found)

    def __str__(self) -> str:
        return str(self.args[0])
