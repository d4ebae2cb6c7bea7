"""How many runs a trigger may start: what sagaz's names for it mean here, and the runs that wait until they may."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sagaz_durable._upstream.triggers import Trigger, listeners
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.webhooks import DELAYED_UNTIL, StartLimit
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SettingsError

__all__ = ["check_limits", "delayed", "limit_of", "limits_of", "start_delayed"]


def check_limits(name: str, trigger: Trigger) -> None:
    """Refuse limits that are none.

    Raises:
        SettingsError: Naming the method.
    """
    most, rate = trigger.max_concurrent, trigger.rate_limit
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise SettingsError(
            f"{name} is a @trigger with max_concurrent={value_text(most, 60)}; expected a whole number from 1 on."
        )
    if rate is not None and not _is_rate(rate):
        raise SettingsError(
            f"{name} is a @trigger with rate_limit={value_text(rate, 60)}; expected how many runs a second, from one "
            "a day to 1,000,000, as 5 or 0.5."
        )


def limit_of(saga_name: str, handler: str, trigger: Trigger) -> StartLimit:
    """Return the limit of a trigger: ``rate_limit=10`` is 10 starts in any second, 0.5 is 1 in any two seconds."""
    rate = trigger.rate_limit
    starts = None if rate is None else max(1, math.floor(rate))
    seconds = 0.0 if rate is None or starts is None else starts / rate
    return StartLimit(handler, saga_name, trigger.max_concurrent, starts, seconds)


def limits_of(registry: SagaRegistry) -> list[StartLimit]:
    """Return the limits of all triggers; one that has none any more may have had one when events of it came."""
    return [
        limit_of(registration.name, f"{registration.name}.{method}", declared)
        for registration in registry
        for method, declared in listeners(registration.saga_class)
        if isinstance(declared, Trigger)
    ]


def delayed(run: NewRun) -> NewRun:
    """Return a run that begins when `start_delayed` says so; a deadline of so many seconds is counted from then."""
    deadline = run.deadline
    if isinstance(deadline, float):
        deadline = DELAYED_UNTIL + timedelta(seconds=deadline)
    return replace(run, not_before=DELAYED_UNTIL, deadline=deadline)


async def start_delayed(store: SagaStore, limits: Iterable[StartLimit]) -> int:
    """Start the runs that may start now; return how many."""
    if not await store.count_delayed():
        return 0
    return sum([await store.start_delayed(limit) for limit in limits])


def _is_rate(rate: Any) -> bool:
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    return is_number and 1 / 86_400 <= rate <= 1_000_000
