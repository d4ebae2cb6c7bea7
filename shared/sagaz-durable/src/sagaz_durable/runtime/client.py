"""What all verbs of `sagaz_durable.sagas.Sagas` have in common: the runtime through which they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["RuntimeClient"]


class RuntimeClient:
    """Works through one open runtime; usable for as long as that is open, from any thread and any event loop.

    Args:
        runtime: That of the application.
    """

    def __init__(self, runtime: SagazRuntime) -> None:
        self._runtime = runtime
