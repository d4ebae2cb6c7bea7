"""Whether Django's connection pools have enough for the threads of steps; who waits for one in vain fails its step."""

from __future__ import annotations

from django.db import connections

from django_sagaz._project.wording import WORDING

__all__ = ["pool_text", "too_small_pools"]

_POOL_MIN_SIZE = 4
"""What psycopg's pool has when nothing is said, and then not more, either."""

_OWN_CONNECTIONS = 3
"""For the journal, for the leases, and in a worker one that listens."""


def pool_size(alias: str) -> int | None:
    """Return how many connections Django's pool has at most for this database; None without one."""
    given = connections.settings[alias]["OPTIONS"].get("pool")
    if not given:
        return None
    options = {} if given is True else given
    smallest = options.get("min_size", _POOL_MIN_SIZE)
    return int(options.get("max_size") or smallest)


def too_small_pools(threads: int, home: str | None) -> dict[str, tuple[int, int]]:
    """Return the databases whose pools have too few connections for the threads of steps: what they have, and need.

    Args:
        home: The database that keeps the runs, in which sagaz itself has some.
    """
    found = {}
    for alias in connections:
        size, needed = pool_size(alias), threads + (_OWN_CONNECTIONS if alias == home else 0)
        if size is not None and size < needed:
            found[alias] = (size, needed)
    return found


def pool_text(found: dict[str, tuple[int, int]]) -> str:
    """Put into words what `too_small_pools` found."""
    return " ".join(
        f"DATABASES[{alias!r}]: its pool has {size} connections, and the threads of steps and the journal need "
        f"{needed}. Raise max_size in OPTIONS['pool'], or lower {WORDING.setting('sync_threads')}."
        for alias, (size, needed) in found.items()
    )
