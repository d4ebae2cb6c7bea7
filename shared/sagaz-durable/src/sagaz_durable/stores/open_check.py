"""Whether a store may be used here and now: opened, not yet closed, and in the process that opened it."""

from __future__ import annotations

from sagaz_durable.concurrency.process_id import current_pid
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["Opened"]


class Opened:
    """Remembers which process opened a store.

    Args:
        what: The store as an error message names it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid: int | None = None

    def __bool__(self) -> bool:
        return self._pid is not None

    @property
    def inherited(self) -> bool:
        """Whether another process opened it, of which this one is a fork."""
        return self._pid is not None and self._pid != current_pid()

    def set(self) -> None:
        """Note that this process has opened it."""
        self._pid = current_pid()

    def clear(self) -> None:
        """Note that it was closed."""
        self._pid = None

    def check(self) -> None:
        """Refuse the use of a store that is not open in this process.

        Raises:
            StoreUnavailable: It is not open, or was opened before a fork.
        """
        if self._pid is None:
            raise StoreUnavailable(
                f"{self._what} is not open. A runtime opens it at start-up and closes it at shutdown: use it in "
                "between, or call `await store.open()` first."
            )
        if self._pid != current_pid():
            raise StoreUnavailable(
                f"{self._what} was opened by process {self._pid} and used after a fork by process {current_pid()}. "
                "Open it after the fork: with gunicorn --preload, in each worker's own start-up."
            )
