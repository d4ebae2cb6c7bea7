"""Refusing starts while more runs wait for workers than these can be expected to catch up with."""

from __future__ import annotations

import time

from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.contract.listings import StoreStats
from sagaz_integration_core.errors import Overloaded

__all__ = ["Backlog"]

_SECONDS = 1.0
"""How long a figure is used: the store is asked for it at most this often by each process."""


class Backlog:
    """What is known of the runs that are due; starts of this process are counted in until the store is asked again.

    Args:
        most: How many may be due.
        wording: How the setting that says so is spelled.
    """

    def __init__(self, most: int, wording: Wording = NEUTRAL) -> None:
        self._most = most
        self._wording = wording
        self._due = 0
        self._known_until = 0.0

    def is_stale(self) -> bool:
        """Whether the caller is to ask the store, and `learn`; until then, the others go by what was known."""
        now = time.monotonic()
        if now < self._known_until:
            return False
        self._known_until = now + _SECONDS
        return True

    def learn(self, stats: StoreStats) -> None:
        """Take the store's figure."""
        self._due = stats.due

    def admit(self, runs: int) -> None:
        """Count in what is about to be started.

        Raises:
            Overloaded: That would be too much.
        """
        if self._due + runs > self._most:
            raise Overloaded(
                f"{self._due} runs wait for workers, and {self._wording.setting('max_due')} allows {self._most}: "
                "nothing was started. Try again later. If it stays so, start more workers, or see with "
                f"{self._wording.command('check')} whether any is alive."
            )
        self._due += runs
