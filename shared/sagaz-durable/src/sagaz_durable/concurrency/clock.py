"""The clock that leases are measured by: it goes on while the machine sleeps and while the process is stopped."""

from __future__ import annotations

import time

__all__ = ["now"]

# Linux's monotonic clock stands still while the machine is suspended, and the store's clock does not. On macOS
# CLOCK_MONOTONIC goes on, and `time.monotonic` does not. Windows' `time.monotonic` goes on.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def now() -> float:
    """Return seconds since some moment in the past; two processes of one machine have the same one, where it can be."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
