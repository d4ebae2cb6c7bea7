"""Whether the application takes the events that its sagas want: looked at when it starts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from sagaz_durable._upstream.triggers import Trigger, listeners
from sagaz_durable.workers.start_limits import check_limits
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import SagaRegistry
    from sagaz_durable.webhooks.resuming import Resuming

__all__ = ["check_served", "wants_events"]

logger = logging.getLogger(__name__)


def check_served(registry: SagaRegistry, sources: Collection[str]) -> None:
    """Refuse sagas that are resumed by events of a source of which this application takes none.

    Of triggers of such sources it is told in the log: what sagaz itself starts by them is not durable. So it is of
    sources that no saga wants: their events are answered 200 and ignored.

    Args:
        sources: The names of those that it takes webhooks of; with none, it is not the one that takes them.

    Raises:
        SettingsError: Naming the method, and the sources; or a trigger has a limit that is none.
    """
    wanted = {declared.source for _, declared in _declared(registry)}
    for source in sorted(set(sources) - wanted):
        logger.warning(
            "Webhooks of %r are taken here, and no saga of this process wants them: they are answered 200 and ignored. "
            "Register the saga that has @trigger(source=%r) or @resumes(%r, …), or take the source away.",
            source, source, source,
        )  # fmt: skip
    for name, declared in _declared(registry):
        if declared.source in sources:
            if isinstance(declared, Trigger):
                check_limits(name, declared)
        elif isinstance(declared, Trigger):
            logger.warning(
                "%s is a @trigger of %r, of which no webhooks are taken here: what sagaz's fire_event starts by it is "
                "not durable, it is lost with its process and nobody resumes it. Have its events delivered as "
                "webhooks, or start the saga where they arrive.",
                name, declared.source,
            )  # fmt: skip
        elif sources:
            raise SettingsError(
                f"{name} is resumed by webhooks of {declared.source!r}, and the application takes none of these: it "
                f"takes those of {', '.join(sorted(sources))}. Name one of them, or add the source."
            )


def wants_events(registry: SagaRegistry) -> bool:
    """Whether any of these sagas wants events."""
    return any(True for _ in _declared(registry))


def _declared(registry: SagaRegistry) -> Iterator[tuple[str, Trigger | Resuming]]:
    for registration in registry:
        for method, declared in listeners(registration.saga_class):
            yield f"{registration.name}.{method}", declared
